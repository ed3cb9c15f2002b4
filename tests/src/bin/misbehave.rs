//! A worker program that misbehaves as its first argument, or each request, asks for.

use std::process::ExitCode;

fn main() -> ExitCode {
    lifeboat_tests::behaviours::run()
}
