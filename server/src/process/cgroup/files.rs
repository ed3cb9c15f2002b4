//! The files of one cgroup: who is in it, ending them, and its removal. It must never signal a pid that may have been
//! reused.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal};

/// How deep a worker may nest cgroups in its own and have them found.
const DEPTH: usize = 8;

/// How many processes are held by pidfds at once where they are killed one by one: descriptors are needed elsewhere too.
const AT_ONCE: usize = 64;

/// Writes a word to a file of a cgroup.
pub(super) fn write(folder: &Path, file: &str, word: &str) -> io::Result<()> {
    fs::write(folder.join(file), word)
}

/// The words of a file of a cgroup; none where it cannot be read.
pub(super) fn words(folder: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
    text.split_ascii_whitespace().map(String::from).collect()
}

/// The cgroups in a cgroup.
pub(super) fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let folders =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// The processes that live in a cgroup and in those below it.
pub(super) fn members(folder: &Path) -> HashSet<Pid> {
    let mut members = HashSet::new();
    each(folder, DEPTH, &mut |folder| {
        let pids = words(folder, "cgroup.procs").into_iter();
        members.extend(pids.filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)));
    });
    members
}

/// SIGKILL to all who live in a cgroup and below it; says who they were.
pub(super) fn kill(folder: &Path) -> HashSet<Pid> {
    let members = members(folder);
    // Atomic, and below too. It is there from Linux 5.14 on, in version 2.
    let at_once =
        |folder: &Path| folder.join("cgroup.kill").exists() && write(folder, "cgroup.kill", "1").is_ok();
    if !members.is_empty() && !at_once(folder) {
        // Or who forks is quicker. Where that is not possible it takes more rounds.
        if folder.join("pids.max").exists() {
            let _ = write(folder, "pids.max", "0");
        }
        members.iter().copied().collect::<Vec<_>>().chunks(AT_ONCE).for_each(|some| kill_each(folder, some));
    }
    members
}

/// The slow way, to be repeated until nobody is left: whoever is forked meanwhile is not among the members.
fn kill_each(folder: &Path, members: &[Pid]) {
    let open = |pid: &Pid| Some((*pid, rustix::process::pidfd_open(*pid, PidfdFlags::empty()).ok()?));
    let opened: Vec<_> = members.iter().filter_map(open).collect();
    // Looked at again: now a pidfd holds the process that was looked at, or one that is dead.
    let still = self::members(folder);
    for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
        // Failing is told by who is left.
        let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    }
}

/// Removes a cgroup in which nobody lives, and those below it. One that is gone is removed.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let mut result = Ok(());
    each(folder, DEPTH, &mut |folder| match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
        Ok(()) | Err(_) => {}
    });
    result
}

/// Those below first.
fn each(folder: &Path, depth: usize, act: &mut impl FnMut(&Path)) {
    if depth > 0 {
        below(folder).iter().for_each(|folder| each(folder, depth - 1, act));
    }
    act(folder);
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A folder that looks like a cgroup in a tree that counts processes, of before `cgroup.kill`.
    #[test]
    fn one_by_one_all_are_killed_and_none_may_fork_meanwhile() {
        let room = tempfile::tempdir().expect("a temporary directory");
        let start = |_| Command::new("sleep").arg("1000").spawn().expect("sleep can be started");
        let mut children: Vec<Child> = (0..AT_ONCE + 6).map(start).collect();
        let procs: String = children.iter().map(|child| format!("{}\n", child.id())).collect();
        write(room.path(), "cgroup.procs", &procs).expect("writable");
        write(room.path(), "pids.max", "max").expect("writable");
        let killed = kill(room.path());
        assert!(children.iter().all(|child| killed.contains(&Pid::from_child(child))));
        assert_eq!(words(room.path(), "pids.max"), ["0"]);
        for child in &mut children {
            let status = child.wait().expect("our child");
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
        }
    }
}
