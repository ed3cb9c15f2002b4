//! Leaves its process group and session as far as the system lets it, and starts a child in a group of its own.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

pub(super) fn commit() {
    // It leads a session, so that the system refuses both. If it did not, the worker would be out of reach of a signal
    // to its group, and the tests would tell.
    let left = rustix::process::setsid().is_ok() || rustix::process::setpgid(None, None).is_ok();
    super::complain(if left { "left its group" } else { "leads its session" });
    let program = std::env::current_exe().expect("the program has a file");
    let child = Command::new(program).arg("hang").process_group(0).spawn();
    // Nobody waits for it: that is the point.
    std::mem::forget(child.expect("a child can be started"));
}
