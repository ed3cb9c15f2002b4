//! Starts a daemon in a session of its own and ends, so that the daemon is an orphan.

use std::process::{Command, ExitCode};

/// A daemon that stays.
pub(super) fn run() -> ExitCode {
    start("hang")
}

/// A daemon that stays and has lost its main thread.
pub(super) fn run_undead() -> ExitCode {
    start("hang-lost-main")
}

/// A daemon that ends at once: somebody has to reap it.
pub(super) fn run_and_end() -> ExitCode {
    start("no-such-kind")
}

fn start(kind: &str) -> ExitCode {
    rustix::process::setsid().expect("a fresh child leads no group");
    let program = std::env::current_exe().expect("the program has a file");
    let daemon = Command::new(program).arg(kind).spawn().expect("a daemon can be started");
    // Nobody waits for it: that is the point.
    std::mem::forget(daemon);
    ExitCode::SUCCESS
}
