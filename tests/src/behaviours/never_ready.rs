//! Takes the socket and never says hello.

use std::process::ExitCode;

pub(super) fn run() -> ExitCode {
    super::hang::commit()
}
