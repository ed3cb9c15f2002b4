//! Leaves processes behind: a plain child, and a daemon that escaped into a session of its own.

use std::process::Command;

pub(super) fn commit() {
    let program = std::env::current_exe().expect("the program has a file");
    let child = Command::new(&program).arg("hang").spawn().expect("a child can be started");
    // Nobody waits for it: that is the point.
    std::mem::forget(child);
    let mut escaping = Command::new(program).arg("escape").spawn().expect("a child can be started");
    escaping.wait().expect("the daemon's parent ends");
}
