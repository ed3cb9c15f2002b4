//! Where the kernel wants processes in leaves only (version 2), the broker moves itself into one, and back at the end.
//!
//! Owns what the broker's own cgroup has counted below it. It must never change more than it can undo, nor the root.

use std::fs;
use std::io;
use std::path::Path;

use super::files;

/// The leaf in which the broker and its warden are, where they have to be in one.
pub(super) const LEAF: &str = "broker";

/// What is counted for workers, by its name in version 2.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// Has what workers are limited by counted in the broker's folder; says what is.
pub(super) fn enable(own: &Path, folder: &Path) -> Result<Vec<&'static str>, String> {
    let offered = files::words(own, "cgroup.controllers");
    let wanted: Vec<_> = CONTROLLERS.into_iter().filter(|name| offered.iter().any(|it| it == name)).collect();
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let order = wanted.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
    let passed_on = files::words(own, "cgroup.subtree_control");
    let is_passed_on = wanted.iter().all(|name| passed_on.iter().any(|it| it == name));
    let begun = if is_passed_on { Ok(()) } else { pass_on(own, folder, &order) };
    match begun.and_then(|()| files::write(folder, "cgroup.subtree_control", &order)) {
        Ok(()) => Ok(wanted),
        Err(error) => {
            // What cannot be undone here is told at the end.
            let _ = leave(folder);
            let hint = if error.raw_os_error() == Some(libc::EBUSY) {
                " (other processes share the broker's cgroup; give it one of its own)"
            } else {
                ""
            };
            Err(format!("'{}' cannot limit what is below it: {error}{hint}", own.display()))
        }
    }
}

/// Where processes may only be in leaves, the broker moves into one, so that its cgroup may pass on what is counted. The
/// root, where processes may be, is everybody's: nothing is changed there.
fn pass_on(own: &Path, folder: &Path, order: &str) -> io::Result<()> {
    if !own.join("cgroup.type").exists() {
        return Err(io::Error::other(format!(
            "it is the root; write {order:?} to its cgroup.subtree_control"
        )));
    }
    let leaf = folder.join(LEAF);
    fs::create_dir(&leaf)?;
    files::write(&leaf, "cgroup.procs", "0")?;
    files::write(own, "cgroup.subtree_control", order)
}

/// This process goes back to where the broker was started, and nothing is counted below that any more.
pub(super) fn leave(folder: &Path) -> io::Result<()> {
    let leaf = folder.join(LEAF);
    let Some(own) = folder.parent().filter(|_| leaf.exists()) else { return Ok(()) };
    let all_off = CONTROLLERS.map(|name| format!("-{name}"));
    for place in [folder, own] {
        let passed_on = files::words(place, "cgroup.subtree_control");
        for off in all_off.iter().filter(|off| passed_on.iter().any(|name| *name == off[1..])) {
            files::write(place, "cgroup.subtree_control", off)?;
        }
    }
    files::write(own, "cgroup.procs", "0")?;
    files::remove(&leaf)
}
