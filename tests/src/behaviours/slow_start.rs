//! Takes its time before it is ready, then serves on the raw protocol or on the SDK.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

pub(super) fn run() -> ExitCode {
    if take_time() { super::raw::run() } else { ExitCode::from(2) }
}

pub(super) fn run_sdk() -> ExitCode {
    if take_time() { super::sdk::run() } else { ExitCode::from(2) }
}

/// The second argument says how many milliseconds.
fn take_time() -> bool {
    let Some(millis) = std::env::args().nth(2).and_then(|it| it.parse().ok()) else {
        super::complain("say how many milliseconds the start takes");
        return false;
    };
    thread::sleep(Duration::from_millis(millis));
    true
}
