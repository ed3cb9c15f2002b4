//! The cgroups that a broker has made.

use std::fs;
use std::path::{Path, PathBuf};

/// Where cgroups are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// The folders of the broker with this process id, in all trees; each worker's process has one in them.
#[must_use]
pub fn cgroups_of(broker: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    search(Path::new(MOUNTS), &format!("lifeboat-{broker}-"), &mut found);
    found
}

fn search(folder: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
    // Any folder may go while it is looked at.
    let Ok(entries) = fs::read_dir(folder) else { return };
    let folders =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
    for entry in folders {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
            found.push(entry.path());
        } else {
            search(&entry.path(), prefix, found);
        }
    }
}
