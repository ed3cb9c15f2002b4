//! Exits with code 3 before it is ready.

use std::process::ExitCode;

pub(super) fn run() -> ExitCode {
    super::complain("no model found");
    ExitCode::from(3)
}
