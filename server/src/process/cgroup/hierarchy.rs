//! Which cgroups this process is in, and where they are mounted. Reads only.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// What a tree of cgroups is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Version 2: any of what there is, as its files say.
    Unified,
    /// Version 1: one of both, or both in one tree.
    Legacy { memory: bool, processes: bool },
}

/// A cgroup that this process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Hierarchy {
    pub(in super::super) kind: Kind,
    /// Its folder.
    pub(in super::super) own: PathBuf,
}

/// The cgroups of this process that may be of use, version 1 first.
pub(in super::super) fn own_cgroups() -> Vec<Hierarchy> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut found = find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
    found.retain(|hierarchy| hierarchy.own.join("cgroup.procs").exists());
    found
}

fn find(groups: &str, mounts: &str) -> Vec<Hierarchy> {
    let v1 = |wanted: &str| {
        let group = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|name| name == wanted).then_some(path)
        });
        directory(mounts, group?, "cgroup", Some(wanted))
    };
    let v2 = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let (memory, processes) = (v1("memory"), v1("pids"));
    let are_one = memory == processes;
    let found = [
        (Kind::Legacy { memory: true, processes: are_one }, memory),
        (Kind::Legacy { memory: false, processes: true }, processes.filter(|_| !are_one)),
        (Kind::Unified, v2.and_then(|group| directory(mounts, group, "cgroup2", None))),
    ];
    found.into_iter().filter_map(|(kind, own)| Some(Hierarchy { kind, own: own? })).collect()
}

/// The folder of a cgroup: where its tree is mounted, and its path below what is mounted there. A mount that does not show
/// it is passed over: what is mounted in a container may begin above or beside the container's own cgroup.
fn directory(mounts: &str, group: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        // "36 35 98:0 ROOT MOUNT-POINT OPTIONS [FIELDS] - KIND SOURCE SUPER-OPTIONS"
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, mount_point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let has =
            |options: &str| controller.is_none_or(|name| options.split(',').any(|option| option == name));
        if right.next()? != kind || !has(right.nth(1)?) {
            return None;
        }
        let below = Path::new(group).strip_prefix(root).ok()?;
        let climbs = below.components().any(|part| part == Component::ParentDir);
        (!climbs).then(|| Path::new(mount_point).join(below))
    })
}

/// The file of a cgroup that counts how often the kernel has killed a process of it for want of memory, if its kind has one.
pub(in super::super) fn oom_counter(kind: Kind, folder: &Path) -> Option<PathBuf> {
    match kind {
        Kind::Legacy { memory, .. } => memory.then(|| folder.join("memory.oom_control")),
        Kind::Unified => Some(folder.join("memory.events")),
    }
}

/// The `oom_kill` line of `memory.oom_control`, `memory.events` or `/proc/vmstat`: they have the same form.
pub(in super::super) fn oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_beside_its_neighbours() {
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(oom_kills("low 0\noom 9\noom_kill 4\noom_group_kill 5\n"), Some(4));
        assert_eq!(oom_kills("oom_kill_disable 0\n"), None);
    }

    fn found(groups: &str, mounts: &str) -> Vec<(Kind, String)> {
        let found = find(groups, mounts).into_iter();
        found.map(|it| (it.kind, it.own.to_str().expect("text").to_owned())).collect()
    }

    const MEMORY: Kind = Kind::Legacy { memory: true, processes: false };
    const PROCESSES: Kind = Kind::Legacy { memory: false, processes: true };
    const BOTH: Kind = Kind::Legacy { memory: true, processes: true };

    #[test]
    fn cgroups_are_found_in_both_versions() {
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      37 31 0:34 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let expected = [
            (MEMORY, "/sys/fs/cgroup/memory/box/7".to_owned()),
            (PROCESSES, "/sys/fs/cgroup/pids/".to_owned()),
            (Kind::Unified, "/sys/fs/cgroup/unified/slice".to_owned()),
        ];
        assert_eq!(found("8:pids:/\n4:memory:/box/7\n1:cpu:/\n0::/slice\n", mounts), expected);
        assert!(found("", "garbage\n").is_empty());
    }

    #[test]
    fn what_is_mounted_in_one_tree_is_one() {
        let mounts = "35 31 0:32 / /cgroup rw - cgroup cgroup rw,cpu,memory,pids\n";
        assert_eq!(found("3:cpu,memory,pids:/box\n", mounts), [(BOTH, "/cgroup/box".to_owned())]);
    }

    #[test]
    fn a_mount_that_does_not_show_the_cgroup_is_none() {
        let contained = "35 31 0:32 /docker/ab /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let unified = [(Kind::Unified, "/sys/fs/cgroup/".to_owned())];
        assert_eq!(found("0::/docker/ab\n", contained), unified);
        assert!(found("0::/\n", contained).is_empty());
        assert!(found("0::/docker/abc\n", contained).is_empty());
        // A cgroup namespace of its own, and the mount of another one.
        let above = "35 31 0:32 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(found("0::/\n", above).is_empty());
        let own = "36 31 0:32 / /run/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(found("0::/\n", &format!("{above}{own}")), [(Kind::Unified, "/run/cgroup/".to_owned())]);
        assert!(found("0::/../beside\n", own).is_empty());
    }
}
