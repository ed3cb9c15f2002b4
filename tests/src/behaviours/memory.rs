//! Takes memory until it is stopped.

use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

/// Taken between two pauses: about 1 GB a second, so that a limit is passed step by step.
const BITE: usize = 4 << 20;
const CHEW: Duration = Duration::from_millis(4);

/// A worker that nobody stops goes no further than this.
const FULL: usize = 1 << 30;

pub(super) fn commit() -> ! {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while eaten.len() * BITE < FULL {
        // Not zero, or the pages would never be touched.
        eaten.push(std::hint::black_box(vec![1; BITE]));
        thread::sleep(CHEW);
    }
    super::hang::commit()
}

/// Waits for a child that does so.
pub(super) fn by_child() {
    let program = std::env::current_exe().expect("the program has a file");
    let ended = Command::new(program).arg("hog").status().expect("a child can be started");
    super::complain(&format!("the child has ended: {ended}"));
}

/// That child.
pub(super) fn run() -> ExitCode {
    commit()
}
