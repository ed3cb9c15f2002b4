//! Exit codes: documented in `lifeboat --help`, and the same for every subcommand.

use std::process::{ExitCode, Termination};

/// The part of `--help` that lists the codes.
pub const HELP: &str = "\
Exit codes:
  0  done; for `call`, the outcome is ok; for `healthcheck`, the broker is ready; for `demo`, the account balanced
  1  it could not be done; for `call`, any other outcome; for `demo`, the account did not balance
  2  the command line or the configuration is wrong; for `dev`, the program cannot be run";

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// It could not be done.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// As a worker of the demo ends; the codes are those of the worker SDK.
    Worker(u8),
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Worker(code) => code,
        })
    }
}
