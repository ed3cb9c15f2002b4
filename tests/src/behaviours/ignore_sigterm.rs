//! Ignores SIGTERM.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A raw worker that heeds neither a drain nor SIGTERM.
pub(super) fn run() -> ExitCode {
    begin();
    super::raw::serve(true)
}

/// Ignores SIGTERM from now on.
pub(super) fn begin() {
    let never_read = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, never_read).expect("SIGTERM can be caught");
}

pub(super) fn commit() -> ! {
    begin();
    super::hang::commit()
}
