//! The broker's own folder in each tree of cgroups: what may be used, who came before, and that nothing stays.
//!
//! A folder is locked for as long as its broker lives, so that folders of brokers that are gone can be told from others.
//! None is used that a process has not been seen to join: a worker that cannot join its cgroup does not start.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::group::{Bounds, Group};
use super::hierarchy::{Hierarchy, Kind};
use super::leaf;
use super::leftovers::{PREFIX, claim, remove_leftovers, take_down};

/// The cgroup by which it is tried whether a process can join one.
const TRIAL: &str = "trial";

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
    /// Finds out what may be used, and logs it. Fails only where something is required and missing, with what to do. `join`
    /// has some process that ends at once join a cgroup by its file.
    pub(in super::super) fn make(
        wanted: CgroupUse,
        own: Vec<Hierarchy>,
        mark: &str,
        join: impl Fn(&Path) -> Result<(), String>,
    ) -> Result<Self, String> {
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
            if let Err(why) = home.settle_in(hierarchy, mark, &join) {
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

    fn settle_in(
        &mut self,
        Hierarchy { kind, own }: Hierarchy,
        mark: &str,
        join: impl Fn(&Path) -> Result<(), String>,
    ) -> Result<(), String> {
        remove_leftovers(&own);
        let path = own.join(format!("{PREFIX}{mark}"));
        let lock =
            claim(&path).map_err(|error| format!("no folder can be made in '{}': {error}", own.display()))?;
        let limits = match kind {
            Kind::Legacy { memory, processes } => Ok((memory, processes)),
            Kind::Unified => leaf::enable(&own, &path)
                .map(|enabled| (enabled.contains(&"memory"), enabled.contains(&"pids"))),
        };
        if let Err(why) = self.try_to_join(kind, &path, join) {
            if let Err(error) = take_down(&path) {
                tracing::warn!(folder = %path.display(), %error, "a cgroup of the broker's is left");
            }
            return Err(format!("no process can join a cgroup in '{}': {why}", own.display()));
        }
        self.folders.push(Folder { kind, path, _lock: lock });
        self.in_use.kill = true;
        let (memory, processes) = limits?;
        self.in_use.memory |= memory;
        self.in_use.processes |= processes;
        Ok(())
    }

    /// What is writable may still let nobody in: a threaded tree, a namespace, a security policy.
    fn try_to_join(
        &self,
        kind: Kind,
        folder: &Path,
        join: impl Fn(&Path) -> Result<(), String>,
    ) -> Result<(), String> {
        let group = Group::make(vec![(kind, folder.join(TRIAL))], Bounds::default())
            .map_err(|error| error.to_string())?;
        let joined = group.doors().iter().try_for_each(|door| join(door));
        self.retire(group);
        joined
    }

    /// A cgroup for a process: `None` where there are none, or where this one cannot be made and need not be: memory can be
    /// bounded without, the number of processes cannot.
    pub(in super::super) fn group(&self, name: &str, bounds: Bounds) -> Result<Option<Group>, String> {
        if self.folders.is_empty() {
            return Ok(None);
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        let folders = self.folders.iter().map(|folder| (folder.kind, folder.path.join(&name)));
        match Group::make(folders.collect(), bounds) {
            Ok(group) => Ok(Some(group)),
            Err(error) if self.required || (self.in_use.processes && bounds.processes.is_some()) => {
                Err(format!("cannot make its cgroup: {error}"))
            }
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

#[cfg(test)]
mod tests {
    use std::fs;

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
        let home = Home::make(CgroupUse::Required, own, "1-a", |_| Ok(())).expect("all is there");
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
        leaf::leave(&folder).expect("it may");
        assert_eq!(said(room.path().join("cgroup.subtree_control")), "-memory");
        assert_eq!(said(room.path().join("cgroup.procs")), "0", "it is back");
        assert!(!folder.join("broker").exists());
    }

    #[test]
    fn what_is_passed_on_already_moves_nobody() {
        let offered = ("cgroup.controllers", "memory pids");
        let (room, own) = faked(&[offered, ("cgroup.subtree_control", "cpu memory pids")]);
        let home = Home::make(CgroupUse::Required, own, "1-a", |_| Ok(())).expect("all is there");
        assert!(home.in_use().memory && home.in_use().processes);
        assert!(!room.path().join("lifeboat-1-a/broker").exists());
        assert_eq!(said(room.path().join("cgroup.subtree_control")), "cpu memory pids");
    }

    #[test]
    fn the_root_is_not_changed() {
        let (room, own) = faked(&[("cgroup.controllers", "memory pids")]);
        let error =
            Home::make(CgroupUse::Required, own.clone(), "1-a", |_| Ok(())).expect_err("it is the root");
        assert!(error.contains("memory and the number of processes cannot be limited"), "{error}");
        assert!(error.contains("it is the root"), "{error}");
        assert_eq!(said(room.path().join("cgroup.subtree_control")), "");
        let home = Home::make(CgroupUse::Auto, own, "1-b", |_| Ok(())).expect("nothing is required");
        assert_eq!(home.in_use(), CgroupsInUse { memory: false, processes: false, kill: true });
    }

    #[test]
    fn without_any_there_is_nothing_in_use() {
        for wanted in [CgroupUse::Auto, CgroupUse::Off] {
            let home = Home::make(wanted, Vec::new(), "1-a", |_| Ok(())).expect("nothing is required");
            assert_eq!(home.in_use(), CgroupsInUse::default());
            assert!(home.group("images-0-1", Bounds::default()).expect("nor is a cgroup").is_none());
        }
        let error =
            Home::make(CgroupUse::Required, Vec::new(), "1-a", |_| Ok(())).expect_err("nothing is there");
        assert!(error.contains("no cgroup of the broker's offers it"), "{error}");
    }

    #[test]
    fn one_tree_for_both_gets_one_folder() {
        let (room, mut own) = faked(&[]);
        own[0].kind = Kind::Legacy { memory: true, processes: true };
        let home = Home::make(CgroupUse::Required, own, "1-a", |_| Ok(())).expect("both are counted there");
        assert_eq!(home.in_use(), CgroupsInUse { memory: true, processes: true, kill: true });
        let group = home.group("images-0-1", Bounds::default()).expect("it may").expect("there is one");
        assert_eq!(group.doors(), [room.path().join("lifeboat-1-a/images-0-1/cgroup.procs")]);
    }

    #[test]
    fn where_no_process_can_join_none_is_used() {
        let (room, mut own) = faked(&[]);
        own[0].kind = Kind::Legacy { memory: true, processes: true };
        let door = room.path().join("lifeboat-1-a/trial/cgroup.procs");
        let refuse = |tried: &Path| {
            assert_eq!(tried, door);
            Err("not supported".to_owned())
        };
        let error = Home::make(CgroupUse::Required, own.clone(), "1-a", refuse).expect_err("nobody can join");
        assert!(error.contains("no process can join") && error.contains("not supported"), "{error}");
        let home = Home::make(CgroupUse::Auto, own, "1-a", refuse).expect("nothing is required");
        assert_eq!(home.in_use(), CgroupsInUse::default());
        let bounds = Bounds { processes: Some(9), ..Bounds::default() };
        assert!(home.group("images-0-1", bounds).expect("none is in use").is_none());
        assert!(!room.path().join("lifeboat-1-a").exists(), "nothing is left of the try");
    }

    #[test]
    fn a_limit_that_takes_a_cgroup_is_never_dropped() {
        let (room, mut own) = faked(&[]);
        own[0].kind = Kind::Legacy { memory: true, processes: true };
        let home = Home::make(CgroupUse::Auto, own, "1-a", |_| Ok(())).expect("both are counted there");
        fs::create_dir(room.path().join("lifeboat-1-a/images-0-1")).expect("it may");
        let bounded = |memory, processes| home.group("images-0-1", Bounds { memory, processes });
        assert!(bounded(Some(1 << 20), None).expect("memory is sampled then").is_none());
        let error = bounded(None, Some(9)).expect_err("nothing else bounds that");
        assert!(error.contains("cannot make its cgroup"), "{error}");
    }
}
