//! Says that it is ready and never reads what it is sent.

use std::process::ExitCode;

use super::raw::Link;

pub(super) fn run() -> ExitCode {
    match Link::open() {
        Ok(_unread) => super::hang::commit(),
        Err(error) => super::raw::by_hand(&error),
    }
}
