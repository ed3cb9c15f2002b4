//! Loses its main thread; another one serves on. The kernel then shows the process as a zombie that lives.
#![expect(unsafe_code, reason = "no safe call ends the calling thread alone")]

use std::process::ExitCode;
use std::thread;

pub(super) fn run() -> ExitCode {
    thread::spawn(|| {
        // The main thread is gone, so nobody turns this into the process's exit code but this.
        let code = super::raw::serve(false);
        std::process::exit(i32::from(code != ExitCode::SUCCESS) * 69)
    });
    end_this_thread()
}

/// A program that does nothing, for ever, without a main thread.
pub(super) fn run_and_hang() -> ExitCode {
    thread::spawn(|| super::hang::commit());
    end_this_thread()
}

fn end_this_thread() -> ! {
    // SAFETY: the call takes one number and ends the calling thread without touching memory. What this thread's stack
    // holds is never freed and nobody borrows from it: the other thread owns all that it uses.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("a thread that has ended does not go on")
}
