//! The cgroup of one worker's process: its bounds, its out-of-memory counter, its end.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::files;
use super::hierarchy::{Kind, oom_counter, oom_kills};

/// What the kernel is to bound for a whole tree of processes. `None` is unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Bounds {
    /// Bytes of memory.
    pub(in super::super) memory: Option<u64>,
    /// Processes and threads.
    pub(in super::super) processes: Option<u64>,
}

/// One cgroup, as a folder in each tree that the broker may write to.
#[derive(Debug)]
pub(in super::super) struct Group {
    folders: Vec<(Kind, PathBuf)>,
    /// What its out-of-memory counter had come to when it was last explained.
    oom_kills: Cell<u64>,
    /// It had risen when it was last looked at, and that is not explained.
    has_risen: Cell<bool>,
}

impl Group {
    /// Makes it, bounded. Nothing is left of one that cannot be made.
    pub(super) fn make(folders: Vec<(Kind, PathBuf)>, bounds: Bounds) -> io::Result<Self> {
        let mut group = Self::of(Vec::new());
        let made = folders.into_iter().try_for_each(|(kind, folder)| {
            fs::create_dir(&folder)?;
            group.folders.push((kind, folder));
            Ok(())
        });
        match made.and_then(|()| group.bound(bounds)) {
            Ok(()) => Ok(group),
            Err(error) => {
                // The error that came first is the one to tell.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    fn of(folders: Vec<(Kind, PathBuf)>) -> Self {
        Self { folders, oom_kills: Cell::default(), has_risen: Cell::default() }
    }

    fn bound(&self, bounds: Bounds) -> io::Result<()> {
        for (kind, folder) in &self.folders {
            match kind {
                Kind::Legacy { memory: true, .. } => bound_memory_of_1(folder, bounds)?,
                Kind::Legacy { .. } => {}
                Kind::Unified => bound_memory_of_2(folder, bounds)?,
            }
            bound_processes(folder, bounds)?;
        }
        Ok(())
    }

    /// The files by which a process joins it.
    pub(in super::super) fn doors(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|(_, folder)| folder.join("cgroup.procs")).collect()
    }

    /// How many of its processes the kernel has killed for want of memory that nothing has explained yet; `None` where that is
    /// not counted.
    pub(in super::super) fn killed_for_memory(&self) -> Option<u64> {
        Some(self.read_counter()?.saturating_sub(self.oom_kills.get()))
    }

    /// Explains a rise of the counter by descendants, if one was seen the last time already and the leader lives on all the
    /// same. A leader that the kernel kills dies within that time, or is seen to be dying. Says how many they were.
    pub(in super::super) fn explain_by_descendants(&self, leader_lives_on: impl FnOnce() -> bool) -> u64 {
        let killed = self.killed_for_memory().unwrap_or(0);
        if killed == 0 {
            self.has_risen.set(false);
            return 0;
        }
        if !self.has_risen.replace(true) || !leader_lives_on() {
            return 0;
        }
        self.oom_kills.update(|explained| explained + killed);
        self.has_risen.set(false);
        killed
    }

    fn read_counter(&self) -> Option<u64> {
        let mut files = self.folders.iter().filter_map(|(kind, folder)| oom_counter(*kind, folder));
        files.find_map(|file| oom_kills(&fs::read_to_string(file).ok()?))
    }

    /// SIGKILL to all who live in it; says who they were.
    pub(in super::super) fn kill(&self) -> HashSet<Pid> {
        self.folders.iter().rev().flat_map(|(_, folder)| files::kill(folder)).collect()
    }

    /// Removes it; fails while somebody lives in it.
    pub(in super::super) fn remove(&self) -> io::Result<()> {
        self.folders.iter().map(|(_, folder)| files::remove(folder)).fold(Ok(()), Result::and)
    }
}

/// Memory with and without swap. The second cannot be less than the first, so it is set after it.
fn bound_memory_of_1(folder: &Path, bounds: Bounds) -> io::Result<()> {
    let Some(bytes) = bounds.memory else { return Ok(()) };
    files::write(folder, "memory.limit_in_bytes", &bytes.to_string())?;
    write_if_there(folder, "memory.memsw.limit_in_bytes", &bytes.to_string())
}

fn bound_memory_of_2(folder: &Path, bounds: Bounds) -> io::Result<()> {
    // Half a tree is of no use to anybody.
    write_if_there(folder, "memory.oom.group", "1")?;
    let Some(bytes) = bounds.memory.filter(|_| folder.join("memory.max").exists()) else { return Ok(()) };
    files::write(folder, "memory.max", &bytes.to_string())?;
    write_if_there(folder, "memory.swap.max", "0")
}

fn bound_processes(folder: &Path, bounds: Bounds) -> io::Result<()> {
    bounds.processes.map_or(Ok(()), |processes| write_if_there(folder, "pids.max", &processes.to_string()))
}

fn write_if_there(folder: &Path, file: &str, word: &str) -> io::Result<()> {
    if folder.join(file).exists() { files::write(folder, file, word) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a cgroup of version 2.
    fn faked() -> (tempfile::TempDir, Group) {
        let room = tempfile::tempdir().expect("a temporary directory");
        for file in ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max"] {
            fs::write(room.path().join(file), "").expect("an empty directory takes files");
        }
        fs::write(room.path().join("memory.events"), "max 4\noom 1\noom_kill 0\n").expect("writable");
        let group = Group::of(vec![(Kind::Unified, room.path().to_owned())]);
        (room, group)
    }

    fn rise(room: &tempfile::TempDir, to: u32) {
        fs::write(room.path().join("memory.events"), format!("oom 7\noom_kill {to}\n")).expect("writable");
    }

    #[test]
    fn version_2_is_bounded_as_a_whole() {
        let (room, group) = faked();
        group.bound(Bounds { memory: Some(1 << 20), processes: Some(9) }).expect("all files are there");
        let said = |file| fs::read_to_string(room.path().join(file)).expect("it is there");
        assert_eq!(said("memory.max"), "1048576");
        assert_eq!((said("memory.swap.max"), said("memory.oom.group")), ("0".to_owned(), "1".to_owned()));
        assert_eq!(said("pids.max"), "9");
    }

    #[test]
    fn a_rise_of_the_own_counter_is_proof_until_it_is_explained() {
        let (room, group) = faked();
        assert_eq!(group.killed_for_memory(), Some(0));
        rise(&room, 1);
        assert_eq!(group.killed_for_memory(), Some(1));
        assert_eq!(group.explain_by_descendants(|| panic!("the first look asks nobody")), 0);
        assert_eq!(group.explain_by_descendants(|| false), 0, "the leader is dying: it is its own");
        assert_eq!(group.killed_for_memory(), Some(1));
        rise(&room, 2);
        assert_eq!(group.explain_by_descendants(|| true), 2);
        assert_eq!(group.killed_for_memory(), Some(0));
        assert_eq!(group.explain_by_descendants(|| panic!("there is nothing to explain")), 0);
        rise(&room, 3);
        assert_eq!(group.explain_by_descendants(|| panic!("a new rise is seen twice as well")), 0);
    }

    #[test]
    fn without_a_counter_nothing_is_proven() {
        let (room, group) = faked();
        fs::remove_file(room.path().join("memory.events")).expect("it is there");
        assert_eq!(group.killed_for_memory(), None);
        assert_eq!(group.explain_by_descendants(|| true), 0);
    }
}
