//! What the process table says of one process.

use std::fs;

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory, in KiB.
    pub resident_kib: usize,
}

/// What a process uses now.
///
/// # Panics
///
/// When it is gone.
#[must_use]
pub fn usage(pid: u32) -> Usage {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
    };
    Usage { descriptors, threads: number("Threads:"), resident_kib: number("VmRSS:") }
}

/// Whether a process lives; a zombie does not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// How many threads of a process live, whether its main thread is one of them or not; none of a zombie's.
#[must_use]
pub fn threads_of(pid: u32) -> usize {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let alive = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        let state = stat.rsplit_once(')')?.1.split_whitespace().next()?.chars().next()?;
        (state != 'Z' && state != 'X').then_some(())
    };
    threads.filter_map(|thread| alive(thread.ok()?)).count()
}

/// The living processes that have this word on their command line. Zombies have none.
#[must_use]
pub fn running_with(word: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let has_it = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    };
    pids.filter(has_it).collect()
}

/// The zombies whose parent is this process. One that has only lost its main thread is none.
#[must_use]
pub fn zombies_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| state(*pid) == Some(('Z', parent)) && threads_of(*pid) == 0).collect()
}

/// The state's letter and the parent. The name in between may hold anything, a bracket too.
fn state(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}
