//! Ignores SIGTERM.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often one who waits for SIGTERM looks.
const LOOK: Duration = Duration::from_millis(1);

/// A raw worker that heeds neither a drain nor SIGTERM.
pub(super) fn run() -> ExitCode {
    begin();
    super::raw::serve(true)
}

/// Ignores SIGTERM from now on. Gives what tells that one has come.
pub(super) fn begin() -> Arc<AtomicBool> {
    let has_come = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&has_come))
        .expect("SIGTERM can be caught");
    has_come
}

/// Waits until one has come.
pub(super) fn wait(has_come: &AtomicBool) {
    while !has_come.load(Ordering::SeqCst) {
        thread::sleep(LOOK);
    }
}

pub(super) fn commit() -> ! {
    begin();
    super::hang::commit()
}
