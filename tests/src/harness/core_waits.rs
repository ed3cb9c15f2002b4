//! When a thread of another process was ready to run and no core was free for it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::now;

/// How often is looked.
const LOOK: Duration = Duration::from_millis(2);

/// Watches a thread until [`CoreWaits::end`].
#[derive(Debug)]
pub struct CoreWaits {
    over: Arc<AtomicBool>,
    looking: JoinHandle<Vec<Look>>,
}

/// How long the thread has waited for a core in all, at a time; both in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    at: u64,
    waited: u64,
}

/// When it waited for a core.
#[derive(Clone, Debug)]
pub struct CoreWaited(Vec<Look>);

impl CoreWaits {
    /// Begins to watch the thread of a process that has this name.
    ///
    /// # Panics
    ///
    /// When it has none.
    #[must_use]
    pub fn watch(pid: u32, thread: &str) -> Self {
        let file = schedstat(pid, thread).unwrap_or_else(|| panic!("process {pid} has no thread {thread:?}"));
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let looking = thread::spawn(move || {
            let mut looks = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                looks.extend(waited(&file).map(|waited| Look { at: now(), waited }));
                thread::sleep(LOOK);
            }
            looks
        });
        Self { over, looking }
    }

    /// Ends watching and tells what was seen; nothing where the kernel keeps no such count.
    ///
    /// # Panics
    ///
    /// When the watching thread did.
    #[must_use]
    pub fn end(self) -> CoreWaited {
        self.over.store(true, Ordering::Relaxed);
        CoreWaited(self.looking.join().expect("it only looks"))
    }
}

fn schedstat(pid: u32, name: &str) -> Option<PathBuf> {
    let mut threads =
        fs::read_dir(format!("/proc/{pid}/task")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_it =
        |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
    Some(threads.find(is_it)?.join("schedstat"))
}

/// The second number: the time on a run queue.
fn waited(file: &PathBuf) -> Option<u64> {
    fs::read_to_string(file).ok()?.split_whitespace().nth(1)?.parse().ok()
}

impl CoreWaited {
    /// For how much of a time it waited for a core. A wait is counted when it ends: the looks before and behind are taken.
    #[must_use]
    pub fn within(&self, from: u64, to: u64) -> Duration {
        let before =
            self.0[..self.0.partition_point(|look| look.at <= from)].last().or_else(|| self.0.first());
        let behind = self.0.get(self.0.partition_point(|look| look.at < to)).or_else(|| self.0.last());
        let waited = |look: Option<&Look>| look.map_or(0, |look| look.waited);
        Duration::from_nanos(waited(behind).saturating_sub(waited(before)).min(to.saturating_sub(from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_looks_around_a_time_count() {
        let look = |at, waited| Look { at, waited };
        let waited = CoreWaited(vec![look(10, 0), look(20, 0), look(30, 7), look(40, 9)]);
        let within = |from, to| waited.within(from, to).as_nanos();
        assert_eq!(
            [within(20, 30), within(22, 29), within(30, 40), within(0, 15), within(25, 100)],
            [7, 7, 2, 0, 9]
        );
        assert_eq!(within(29, 30), 1, "never more than the time itself");
        assert_eq!(CoreWaited(Vec::new()).within(0, 10), Duration::ZERO);
    }

    #[test]
    fn a_thread_of_this_process_is_found() {
        let named = thread::Builder::new().name("waits-test".into());
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = named.spawn(move || assert!(wait.recv().is_err())).expect("a thread");
        // It names itself when it begins.
        super::super::wait_until(Duration::from_secs(5), || {
            schedstat(std::process::id(), "waits-test").is_some()
        });
        let waits = CoreWaits::watch(std::process::id(), "waits-test");
        drop(done);
        thread.join().expect("no panic");
        drop(waits.end());
    }
}
