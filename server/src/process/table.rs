//! The processes that the plane has started and not yet reaped, and the mark by which their descendants are known.
//!
//! A pid in this table cannot be reused by the kernel, because nobody but the plane reaps it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::ids::ProcessKey;
use rustix::process::Pid;
use tokio::task::AbortHandle;

use super::cgroup::Group;
use super::look::Seen;
use super::output::Output;
use super::proc_fs;

/// The variable naming the broker's life.
pub(super) const BROKER_VARIABLE: &str = "LIFEBOAT_BROKER";
/// The variable naming the worker.
pub(super) const WORKER_VARIABLE: &str = "LIFEBOAT_WORKER";
/// The variable naming the worker's life.
pub(super) const INCARNATION_VARIABLE: &str = "LIFEBOAT_INCARNATION";

/// One process that the plane has started and not yet reaped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) key: ProcessKey,
    /// The worker's name, as in its mark.
    pub(super) worker_name: String,
    /// Its leader's pid, and that of its session and first process group.
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) output: Rc<Output>,
    /// The task that reads its output.
    pub(super) reader: AbortHandle,
    /// Its cgroup.
    pub(super) group: RefCell<Option<Group>>,
    /// The limit on memory that is sampled.
    pub(super) memory_limit: Option<u64>,
    /// The kernel limits its memory.
    pub(super) kernel_bounds_memory: bool,
    /// The soft limit.
    pub(super) memory_high: Option<u64>,
    /// The CPU time at which the kernel kills it.
    pub(super) cpu_limit: Option<Duration>,
    /// Its memory when it was last looked at, in bytes.
    pub(super) resident: Cell<u64>,
    /// The largest memory seen while it lived, in bytes.
    pub(super) seen_peak: Cell<u64>,
    pub(super) memory_told: Cell<bool>,
    pub(super) memory_high_told: Cell<bool>,
    /// This broker's own peak at the spawn. The kernel counts it as the child's (see `collect`).
    pub(super) broker_peak: u64,
    /// The broker sent SIGKILL.
    pub(super) kill_sent: Cell<bool>,
    /// It was exiting already when that was to be sent.
    pub(super) was_exiting: Cell<bool>,
    /// What looks at it have found.
    pub(super) seen: Seen,
    /// A task is collecting it.
    pub(super) collecting: Cell<bool>,
    /// Its leader has exited: nothing of its tree may live.
    pub(super) exited: Cell<bool>,
    /// It is collected but for its leader's reaping, because its status is withheld.
    pub(super) unreaped: Cell<bool>,
    /// Nobody wants to hear of it any more.
    pub(super) forgotten: Cell<bool>,
    /// Descendants that had to be killed.
    pub(super) descendants_killed: Cell<u32>,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_key: HashMap<ProcessKey, Rc<Process>>,
    by_pid: HashMap<i32, ProcessKey>,
}

impl Table {
    pub(super) fn insert(&mut self, process: Rc<Process>) {
        self.by_pid.insert(process.pid.as_raw_pid(), process.key);
        self.by_key.insert(process.key, process);
    }

    pub(super) fn remove(&mut self, process: &Process) {
        self.by_pid.remove(&process.pid.as_raw_pid());
        self.by_key.remove(&process.key);
    }

    pub(super) fn get(&self, key: ProcessKey) -> Option<&Rc<Process>> {
        self.by_key.get(&key)
    }

    /// The process whose leader, session or first process group has this number.
    pub(super) fn by_pid(&self, pid: i32) -> Option<&Rc<Process>> {
        self.by_key.get(self.by_pid.get(&pid)?)
    }

    pub(super) fn by_mark(&self, mark: &Mark) -> Option<&Rc<Process>> {
        self.iter().find(|process| mark.names(process))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Process>> {
        self.by_key.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

/// What tells the processes of this broker's life from those of all others.
#[derive(Clone, Debug)]
pub(super) struct BrokerMark(String);

/// Whose descendant a process says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    worker: String,
    incarnation: String,
}

/// What a look at a process's mark found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Marking {
    /// It descends from one of our processes.
    Ours(Mark),
    /// It carries no mark, or another broker's.
    NotOurs,
    /// It is a zombie, is just being started, or may not be looked at.
    Unreadable,
}

impl Mark {
    /// Whether this is the mark of that process.
    pub(super) fn names(&self, process: &Process) -> bool {
        self.incarnation == process.key.incarnation.0.to_string() && self.worker == process.worker_name
    }
}

impl BrokerMark {
    /// A mark that no other broker has: the pid for people, 64 random bits for uniqueness.
    pub(super) fn new() -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self(format!("{}-{random:016x}", std::process::id()))
    }

    /// Whether a text has the form of a mark.
    pub(super) fn is_one(text: &str) -> bool {
        text.split_once('-').is_some_and(|(pid, random)| {
            let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
            is_pid && random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }

    /// One that was made elsewhere.
    pub(super) const fn of(value: String) -> Self {
        Self(value)
    }

    /// The value of [`BROKER_VARIABLE`].
    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// What mark a process carries.
    pub(super) fn read(&self, pid: Pid) -> Marking {
        proc_fs::environ(pid).map_or(Marking::Unreadable, |environ| self.find_in(&environ))
    }

    fn find_in(&self, environ: &[u8]) -> Marking {
        if proc_fs::variable(environ, BROKER_VARIABLE) != Some(self.0.as_bytes()) {
            return Marking::NotOurs;
        }
        let text =
            |name| String::from_utf8_lossy(proc_fs::variable(environ, name).unwrap_or_default()).into_owned();
        Marking::Ours(Mark { worker: text(WORKER_VARIABLE), incarnation: text(INCARNATION_VARIABLE) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_broker_s_mark_counts() {
        let ours = BrokerMark::new();
        assert!(BrokerMark::is_one(ours.value()));
        for other in ["", "1", "1-", "-0123456789abcdef", "x-0123456789abcdef", "1-0123456789abcdef.slice"] {
            assert!(!BrokerMark::is_one(other), "{other}");
        }
        let environ = |broker: &str| {
            format!("A=b\0LIFEBOAT_WORKER=w\0LIFEBOAT_INCARNATION=3\0LIFEBOAT_BROKER={broker}\0").into_bytes()
        };
        let mark = Mark { worker: String::from("w"), incarnation: String::from("3") };
        assert_eq!(ours.find_in(&environ(ours.value())), Marking::Ours(mark));
        assert_eq!(ours.find_in(&environ(BrokerMark::new().value())), Marking::NotOurs);
        assert_eq!(ours.find_in(&environ("")), Marking::NotOurs);
        assert_eq!(ours.find_in(b"LIFEBOAT_WORKER=w\0LIFEBOAT_INCARNATION=3\0"), Marking::NotOurs);
    }
}
