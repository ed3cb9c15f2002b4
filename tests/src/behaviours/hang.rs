//! Never comes back.

use std::process::ExitCode;
use std::thread;

/// A program that does nothing, for ever.
pub(super) fn run() -> ExitCode {
    commit()
}

pub(super) fn commit() -> ! {
    loop {
        thread::park();
    }
}
