//! A process that SIGKILL does not end, as one is that hangs in a driver: a tracer holds it on its way out.
#![expect(unsafe_code, reason = "no safe call traces a process")]

use std::io;
use std::ptr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// Holds a process from its kill until this is let go or dropped: it lives, and does nothing any more.
#[derive(Debug)]
pub struct Held {
    /// Closed when the process may go.
    tracer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Held {
    /// Traces a process that goes on as before until it ends.
    ///
    /// # Panics
    ///
    /// When it cannot be traced: it is gone, or this process may not.
    #[must_use = "the process goes its way when this is dropped"]
    pub fn on_its_way_out(pid: u32) -> Self {
        let pid = libc::pid_t::try_from(pid).expect("a process id");
        let (seized, is_seized) = channel();
        let (may_go, go) = channel();
        // Only the thread that traces may let go.
        let tracer = thread::spawn(move || {
            seized.send(seize(pid)).expect("somebody waits for it");
            hold(pid, &go);
        });
        is_seized.recv().expect("no panic").expect("the process can be traced");
        Self { tracer: Some((may_go, tracer)) }
    }

    /// Lets it go, and returns when it does. Blocks until it was killed.
    pub fn let_go(mut self) {
        self.release();
    }

    fn release(&mut self) {
        if let Some((may_go, tracer)) = self.tracer.take() {
            drop(may_go);
            drop(tracer.join());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

fn seize(pid: libc::pid_t) -> io::Result<()> {
    let nothing: *mut libc::c_void = ptr::null_mut();
    // SAFETY: with PTRACE_SEIZE the kernel reads the two words as numbers and touches no memory of this process.
    let done =
        unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, libc::PTRACE_O_TRACEEXIT as libc::c_long) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits until the process is on its way out, and then until it may go.
fn hold(pid: libc::pid_t, go: &Receiver<()>) {
    const LEAVING: i32 = libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8;
    loop {
        match stopped(pid) {
            LEAVING => break,
            // A signal comes before the kill.
            signal => go_on(pid, signal),
        }
    }
    // Nothing is sent: it is closed.
    assert!(go.recv().is_err());
    go_on(pid, 0);
}

/// Waits until the process has stopped; says for what.
fn stopped(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the kernel writes one number to `status`, which outlives the call.
    let stopped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert!(stopped == pid && libc::WIFSTOPPED(status), "it has ended without a stop: {status:#x}");
    status >> 8
}

/// Has the process go on with a signal, or 0; one that was killed meanwhile does so by itself.
fn go_on(pid: libc::pid_t, signal: i32) {
    let nothing: *mut libc::c_void = ptr::null_mut();
    // SAFETY: with PTRACE_CONT the kernel reads the two words as numbers and touches no memory of this process.
    unsafe { libc::ptrace(libc::PTRACE_CONT, pid, nothing, libc::c_long::from(signal)) };
}
