//! The broker's own folder in each tree of cgroups: what may be used, who came before, and that nothing stays.
//!
//! A folder is locked for as long as its broker lives, so that folders of brokers that are gone can be told from others.
//! Where the kernel wants processes in leaves only (version 2), the broker moves itself into one, and back at the end.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation};

use super::super::table::BrokerMark;
use super::files;
use super::group::{Bounds, Group};
use super::hierarchy::{Hierarchy, Kind};

/// How the folder of a broker begins; its mark follows.
const PREFIX: &str = "lifeboat-";

/// The leaf in which the broker and its warden are, where they have to be in one.
const LEAF: &str = "broker";

/// What is counted for workers, by its name in version 2.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// How long those of a broker that is gone may take to die before their folder is left to the next start.
const LEFTOVERS: Duration = Duration::from_millis(200);

/// Between two looks at what is dying.
const PAUSE: Duration = Duration::from_millis(2);

/// What is to be done about cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupUse {
    /// Whatever of them may be used.
    Auto,
    /// Nothing.
    Off,
    /// Limits on memory and processes must be possible.
    Required,
}

/// What of cgroups is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupsInUse {
    /// The kernel limits the memory of a tree, and counts what it has killed for want of it.
    pub memory: bool,
    /// The kernel limits the processes of a tree.
    pub processes: bool,
    /// A tree can be found and killed by its cgroup.
    pub kill: bool,
}

/// The broker's folders.
#[derive(Debug)]
pub(in super::super) struct Home {
    folders: Vec<Folder>,
    in_use: CgroupsInUse,
    /// A missing cgroup is a failed start.
    required: bool,
    /// Those that could not be removed yet.
    retired: RefCell<Vec<Group>>,
    /// It is logged that a process runs without.
    complained: Cell<bool>,
}

#[derive(Debug)]
struct Folder {
    kind: Kind,
    path: PathBuf,
    /// Held for as long as the broker lives.
    _lock: OwnedFd,
}

impl Home {
    /// Finds out what may be used, and logs it. Fails only where something is required and missing, with what to do.
    pub(in super::super) fn make(wanted: CgroupUse, own: Vec<Hierarchy>, mark: &str) -> Result<Self, String> {
        let mut home = Self {
            folders: Vec::new(),
            in_use: CgroupsInUse::default(),
            required: wanted == CgroupUse::Required,
            retired: RefCell::default(),
            complained: Cell::new(false),
        };
        if wanted == CgroupUse::Off {
            return Ok(home);
        }
        let mut missing = Vec::new();
        for hierarchy in own {
            if let Err(why) = home.settle_in(hierarchy, mark) {
                missing.push(why);
            }
        }
        let CgroupsInUse { memory, processes, kill } = home.in_use;
        let lacks = [(memory, "memory"), (processes, "the number of processes")];
        let lacks: Vec<_> = lacks.iter().filter(|(there, _)| !there).map(|(_, what)| *what).collect();
        if lacks.is_empty() {
            tracing::info!(memory, processes, kill, "each process gets a cgroup of its own");
            return Ok(home);
        }
        if missing.is_empty() {
            missing.push("no cgroup of the broker's offers it".to_owned());
        }
        let (lacks, why) = (lacks.join(" and "), missing.join("; "));
        if home.required {
            return Err(format!("{lacks} cannot be limited: {why}"));
        }
        tracing::info!(memory, processes, kill, why, "cgroups cannot limit {lacks}");
        Ok(home)
    }

    /// What is in use.
    pub(in super::super) const fn in_use(&self) -> CgroupsInUse {
        self.in_use
    }

    fn settle_in(&mut self, Hierarchy { kind, own }: Hierarchy, mark: &str) -> Result<(), String> {
        let failed = |what: &str, error: io::Error| format!("{what} '{}': {error}", own.display());
        // Whoever joins one of its folders leaves this one.
        rustix::fs::access(own.join("cgroup.procs"), Access::WRITE_OK)
            .map_err(|errno| failed("processes cannot be moved out of", errno.into()))?;
        remove_leftovers(&own);
        let path = own.join(format!("{PREFIX}{mark}"));
        let lock = claim(&path).map_err(|error| failed("no folder can be made in", error))?;
        let (memory, processes) = match kind {
            Kind::Memory => (true, false),
            Kind::Processes => (false, true),
            Kind::Unified => (false, false),
        };
        self.folders.push(Folder { kind, path: path.clone(), _lock: lock });
        self.in_use.kill = true;
        self.in_use.memory |= memory;
        self.in_use.processes |= processes;
        if kind == Kind::Unified {
            let enabled = enable(&own, &path)?;
            self.in_use.memory |= enabled.contains(&"memory");
            self.in_use.processes |= enabled.contains(&"pids");
        }
        Ok(())
    }

    /// A cgroup for a process: `None` where there are none, or where this one cannot be made and need not be.
    pub(in super::super) fn group(&self, name: &str, bounds: Bounds) -> Result<Option<Group>, String> {
        if self.folders.is_empty() {
            return Ok(None);
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        let folders = self.folders.iter().map(|folder| (folder.kind, folder.path.join(&name)));
        match Group::make(folders.collect(), bounds) {
            Ok(group) => Ok(Some(group)),
            Err(error) if self.required => Err(format!("cannot make its cgroup: {error}")),
            Err(error) => {
                if !self.complained.replace(true) {
                    tracing::warn!(name, %error, "a process runs without a cgroup, and maybe others; told once");
                }
                Ok(None)
            }
        }
    }

    /// The process of this cgroup is gone: so is it, as soon as that is possible.
    pub(in super::super) fn retire(&self, group: Group) {
        if group.remove().is_err() {
            self.retired.borrow_mut().push(group);
        }
    }

    /// Tries again to remove those that could not be; kills what lives in them.
    pub(in super::super) fn clear(&self) {
        self.retired.borrow_mut().retain(|group| {
            group.kill();
            group.remove().is_err()
        });
    }

    /// The broker's folders, for the warden.
    pub(in super::super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.folders.iter().map(|folder| folder.path.as_path())
    }
}

/// All that was made goes with it. No process may be left.
impl Drop for Home {
    fn drop(&mut self) {
        self.clear();
        for folder in &self.folders {
            if let Err(error) = take_down(&folder.path) {
                tracing::warn!(folder = %folder.path.display(), %error, "a cgroup of the broker's is left");
            }
        }
    }
}

/// Makes a folder and locks it. Another broker that starts may take it for a leftover before it is locked.
fn claim(path: &Path) -> io::Result<OwnedFd> {
    loop {
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let Ok(folder) = File::open(path) else { continue };
        rustix::fs::flock(&folder, FlockOperation::LockExclusive)?;
        if path.exists() {
            return Ok(folder.into());
        }
    }
}

/// Has what workers are limited by counted in the broker's folder; says what is.
fn enable(own: &Path, folder: &Path) -> Result<Vec<&'static str>, String> {
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
            let _ = leave_leaf(folder);
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
fn leave_leaf(folder: &Path) -> io::Result<()> {
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

/// SIGKILL to all in the cgroups of a broker's folder, the broker's own leaf apart; whether there was anybody.
pub(in super::super) fn end_all_in(folder: &Path) -> bool {
    let groups = files::below(folder).into_iter().filter(|group| !group.ends_with(LEAF));
    groups.map(|group| !files::kill(&group).is_empty()).fold(false, |any, found| any | found)
}

/// Removes a broker's folder with all in it; this process leaves it first if it is in it.
pub(in super::super) fn take_down(folder: &Path) -> io::Result<()> {
    for group in files::below(folder).into_iter().filter(|group| !group.ends_with(LEAF)) {
        files::remove(&group)?;
    }
    leave_leaf(folder)?;
    files::remove(folder)
}

/// Whether a folder of this name can be a broker's: others begin with the same word.
fn is_broker_s(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(BrokerMark::is_one)
}

/// Ends and removes what brokers have left that are gone.
fn remove_leftovers(own: &Path) {
    let is_ours = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_broker_s);
    for folder in files::below(own).into_iter().filter(is_ours) {
        // One that is locked has a broker; one that cannot be opened is gone, or somebody else's.
        let Ok(lock) = File::open(&folder) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let give_up = Instant::now() + LEFTOVERS;
        while end_all_in(&folder) && Instant::now() < give_up {
            thread::sleep(PAUSE);
        }
        match files::remove(&folder) {
            Ok(()) => {
                tracing::info!(folder = %folder.display(), "removed what a broker has left that is gone")
            }
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "what a broker has left cannot be removed yet");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a cgroup of version 2 with these files.
    fn faked(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<Hierarchy>) {
        let room = tempfile::tempdir().expect("a temporary directory");
        for (file, text) in [("cgroup.procs", ""), ("cgroup.subtree_control", "")].iter().chain(files) {
            fs::write(room.path().join(file), text).expect("an empty directory takes files");
        }
        let own = room.path().to_owned();
        (room, vec![Hierarchy { kind: Kind::Unified, own }])
    }

    fn said(path: impl AsRef<Path>) -> String {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
    }

    #[test]
    fn what_is_delegated_is_passed_on_from_a_leaf_and_all_of_it_is_undone() {
        let (room, own) = faked(&[("cgroup.controllers", "cpu memory pids"), ("cgroup.type", "domain")]);
        let home = Home::make(CgroupUse::Required, own, "1-a").expect("all is there");
        assert_eq!(home.in_use(), CgroupsInUse { memory: true, processes: true, kill: true });
        let folder = room.path().join("lifeboat-1-a");
        assert_eq!(said(folder.join("broker/cgroup.procs")), "0", "the broker is in a leaf");
        for place in [room.path(), &folder] {
            assert_eq!(said(place.join("cgroup.subtree_control")), "+memory +pids");
        }
        // As the kernel would show it.
        for place in [room.path(), &folder] {
            fs::write(place.join("cgroup.subtree_control"), "memory").expect("writable");
        }
        fs::remove_file(folder.join("broker/cgroup.procs")).expect("it is there");
        leave_leaf(&folder).expect("it may");
        assert_eq!(said(room.path().join("cgroup.subtree_control")), "-memory");
        assert_eq!(said(room.path().join("cgroup.procs")), "0", "it is back");
        assert!(!folder.join("broker").exists());
    }

    #[test]
    fn what_is_passed_on_already_moves_nobody() {
        let offered = ("cgroup.controllers", "memory pids");
        let (room, own) = faked(&[offered, ("cgroup.subtree_control", "cpu memory pids")]);
        let home = Home::make(CgroupUse::Required, own, "1-a").expect("all is there");
        assert!(home.in_use().memory && home.in_use().processes);
        assert!(!room.path().join("lifeboat-1-a/broker").exists());
        assert_eq!(said(room.path().join("cgroup.subtree_control")), "cpu memory pids");
    }

    #[test]
    fn the_root_is_not_changed() {
        let (room, own) = faked(&[("cgroup.controllers", "memory pids")]);
        let error = Home::make(CgroupUse::Required, own.clone(), "1-a").expect_err("it is the root");
        assert!(error.contains("memory and the number of processes cannot be limited"), "{error}");
        assert!(error.contains("it is the root"), "{error}");
        assert_eq!(said(room.path().join("cgroup.subtree_control")), "");
        let home = Home::make(CgroupUse::Auto, own, "1-b").expect("nothing is required");
        assert_eq!(home.in_use(), CgroupsInUse { memory: false, processes: false, kill: true });
    }

    #[test]
    fn without_any_there_is_nothing_in_use() {
        for wanted in [CgroupUse::Auto, CgroupUse::Off] {
            let home = Home::make(wanted, Vec::new(), "1-a").expect("nothing is required");
            assert_eq!(home.in_use(), CgroupsInUse::default());
            assert!(home.group("images-0-1", Bounds::default()).expect("nor is a cgroup").is_none());
        }
        let error = Home::make(CgroupUse::Required, Vec::new(), "1-a").expect_err("nothing is there");
        assert!(error.contains("no cgroup of the broker's offers it"), "{error}");
    }

    #[test]
    fn a_folder_with_an_owner_is_no_leftover() {
        let room = tempfile::tempdir().expect("a temporary directory");
        let (held, left, other) = {
            let join = |name| room.path().join(name);
            (
                join("lifeboat-1-0123456789abcdef"),
                join("lifeboat-2-0123456789abcdef"),
                join("lifeboat-2-b.slice"),
            )
        };
        let _lock = claim(&held).expect("it may");
        fs::create_dir_all(left.join("images-0-1")).expect("it may");
        fs::create_dir(&other).expect("it may");
        remove_leftovers(room.path());
        assert!(held.exists() && other.exists() && !left.exists());
    }
}
