//! The mark by which every process of a test is found again, whatever became of its parent, session or name.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_until;

/// The variable that the broker, its workers and all their descendants inherit.
pub const MARK_VARIABLE: &str = "LIFEBOAT_TEST_MARK";

/// A value of [`MARK_VARIABLE`] that no other test has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

/// A living process that carries the mark.
#[derive(Clone, Debug)]
pub struct Marked {
    /// Its id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    worker: Option<(String, u64)>,
}

impl Marked {
    /// The worker and the incarnation that it belongs to, if it is a worker or a worker's descendant.
    #[must_use]
    pub fn worker(&self) -> Option<(&str, u64)> {
        self.worker.as_ref().map(|(worker, incarnation)| (worker.as_str(), *incarnation))
    }
}

impl Mark {
    /// A new mark.
    #[must_use]
    pub fn unique() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self(format!("{}-{now}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The variable's value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.0
    }

    /// Every living process that carries it. Zombies have no environment any more, so they do not count; those that have
    /// only lost their main thread do.
    #[must_use]
    pub fn alive(&self) -> Vec<Marked> {
        let wanted = format!("{MARK_VARIABLE}={}", self.0);
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| {
            // A process may end between the listing and the look: then it is not alive.
            let environment = environment(pid)?;
            let variables =
                environment.split(|byte| *byte == 0).filter_map(|it| std::str::from_utf8(it).ok());
            if !variables.clone().any(|it| it == wanted) {
                return None;
            }
            let value =
                |name: &str| variables.clone().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
            let incarnation = value("LIFEBOAT_INCARNATION").and_then(|it| it.parse().ok());
            let worker = value("LIFEBOAT_WORKER").map(str::to_owned).zip(incarnation);
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            Some(Marked { pid, command, worker })
        })
        .collect()
    }

    /// Kills every process that carries it, until none is left or `limit` has passed.
    pub fn kill_all(&self, limit: Duration) -> Vec<Marked> {
        wait_until(limit, || {
            let alive = self.alive();
            for marked in &alive {
                if let Some(pid) = i32::try_from(marked.pid).ok().and_then(Pid::from_raw) {
                    // It may have ended meanwhile.
                    kill_process(pid, Signal::KILL).unwrap_or_default();
                }
            }
            alive.is_empty()
        });
        self.alive()
    }
}

/// A process's environment. One that has lost its main thread shows it by another.
fn environment(pid: u32) -> Option<Vec<u8>> {
    let of = |path: String| fs::read(path).ok().filter(|environment| !environment.is_empty());
    of(format!("/proc/{pid}/environ")).or_else(|| {
        let mut threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        threads.find_map(|thread| of(thread.ok()?.path().join("environ").to_str()?.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn marked_processes_are_found_and_killed_and_zombies_do_not_count() {
        let mark = Mark::unique();
        assert!(mark.alive().is_empty());
        let mut sleeping = Command::new("sleep");
        sleeping.arg("1000").env(MARK_VARIABLE, mark.value());
        sleeping.env("LIFEBOAT_WORKER", "p-3").env("LIFEBOAT_INCARNATION", "7");
        let mut child = sleeping.spawn().expect("sleep can be started");
        // A process that has just begun its program has no environment for a moment.
        wait_until(Duration::from_secs(5), || !mark.alive().is_empty());
        let alive = mark.alive();
        let [found] = alive.as_slice() else { panic!("one process: {alive:?}") };
        assert_eq!((found.pid, found.worker()), (child.id(), Some(("p-3", 7))));
        assert!(found.command.starts_with("sleep"), "{found:?}");
        // It is not waited for yet: a zombie.
        assert!(mark.kill_all(Duration::from_secs(5)).is_empty());
        assert!(!super::super::is_alive(child.id()));
        child.wait().expect("it is a child");
    }
}
