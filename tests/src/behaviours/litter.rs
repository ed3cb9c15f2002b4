//! Leaves processes behind: a plain child, and a daemon that escaped into a session of its own.

use std::process::Command;

pub(super) fn commit() {
    leave("hang", "escape");
}

/// Those that it leaves have lost their main threads.
pub(super) fn commit_undead() {
    leave("hang-lost-main", "escape-undead");
}

fn leave(child: &str, escaping: &str) {
    let program = std::env::current_exe().expect("the program has a file");
    let child = Command::new(&program).arg(child).spawn().expect("a child can be started");
    // Nobody waits for it: that is the point.
    std::mem::forget(child);
    let mut escaping = Command::new(program).arg(escaping).spawn().expect("a child can be started");
    escaping.wait().expect("the daemon's parent ends");
}
