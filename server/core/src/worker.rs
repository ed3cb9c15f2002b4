//! One worker: the supervised member of a pool that outlives its processes.
//!
//! It owns the worker's name, its present process and what is remembered from life to life: how many incarnations in
//! a row were unproductive, how many failures in a row. It must never start or stop a process.

use crate::ids::{Incarnation, PoolId, ProcessKey, WorkerId};
use crate::process::Process;
use crate::time::Timestamp;

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) pool: PoolId,
    /// Its place in its pool.
    pub(crate) member: u16,
    /// `POOL-MEMBER`.
    pub(crate) name: String,
    pub(crate) process: Option<Process>,
    /// The number of its latest incarnation.
    pub(crate) incarnation: Incarnation,
    /// When its next incarnation is ordered, while it backs off.
    pub(crate) backoff_until: Option<Timestamp>,
    /// Unproductive incarnations in a row.
    pub(crate) unproductive: u32,
    pub(crate) consecutive_failures: u32,
    pub(crate) consecutive_crashes: u32,
    pub(crate) last_crash: Option<(Timestamp, &'static str)>,
    pub(crate) last_activity: Timestamp,
}

impl Worker {
    pub(crate) fn new(id: WorkerId, pool: PoolId, pool_name: &str, member: u16, now: Timestamp) -> Self {
        Self {
            id,
            pool,
            member,
            name: format!("{pool_name}-{member}"),
            process: None,
            incarnation: Incarnation(0),
            backoff_until: None,
            unproductive: 0,
            consecutive_failures: 0,
            consecutive_crashes: 0,
            last_crash: None,
            last_activity: now,
        }
    }

    /// The present process, if the key names it.
    pub(crate) fn process(&self, key: ProcessKey) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.key == key)
    }

    /// Whether its process is ready or starting.
    pub(crate) fn is_up(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.phase.is_up())
    }

    /// An attempt was answered `ok`: every run of failures is over.
    pub(crate) fn note_ok(&mut self) {
        self.unproductive = 0;
        self.consecutive_failures = 0;
        self.consecutive_crashes = 0;
    }

    /// A handler said no.
    pub(crate) fn note_failure(&mut self) {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
    }

    /// A process crashed or was killed, or a handler panicked.
    pub(crate) fn note_crash(&mut self, now: Timestamp, label: &'static str) {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.consecutive_crashes = self.consecutive_crashes.saturating_add(1);
        self.last_crash = Some((now, label));
    }
}
