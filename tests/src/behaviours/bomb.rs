//! Starts as many processes as it may, each in a session of its own, which start as many as they may.

use std::process::{Command, ExitCode};

pub(super) fn commit(word: &str) -> ! {
    burst(word);
    super::hang::commit()
}

pub(super) fn run() -> ExitCode {
    let word = std::env::args().nth(2).unwrap_or_default();
    // Failing leaves it where it is.
    let _ = rustix::process::setsid();
    burst(&word);
    super::hang::commit()
}

/// Goes on until the system says no.
fn burst(word: &str) {
    let program = std::env::current_exe().expect("the program has a file");
    while let Ok(child) = Command::new(&program).args(["bomb", word]).spawn() {
        std::mem::forget(child);
    }
}
