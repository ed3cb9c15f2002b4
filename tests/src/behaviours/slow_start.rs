//! Takes its time before it is ready, then serves on the raw protocol.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The second argument says how many milliseconds.
pub(super) fn run() -> ExitCode {
    let Some(millis) = std::env::args().nth(2).and_then(|it| it.parse().ok()) else {
        super::complain("say how many milliseconds the start takes");
        return ExitCode::from(2);
    };
    thread::sleep(Duration::from_millis(millis));
    super::raw::run()
}
