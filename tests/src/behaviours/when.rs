//! Waits until a file is there.

use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn wait(file: &Path) {
    while !file.exists() {
        thread::sleep(LOOK);
    }
}
