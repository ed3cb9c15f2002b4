//! One worker: the supervised member of a pool that outlives its processes.
//!
//! It owns the worker's name, which of its berths is the present one and what is remembered from life to life: how
//! many incarnations in a row were unproductive, how many failures in a row. It must never start or stop a process.

use crate::berth::berths_of;
use crate::ids::{Incarnation, PoolId, WorkerId};
use crate::reason::StopReason;
use crate::time::Timestamp;

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) pool: PoolId,
    /// `POOL-MEMBER`.
    pub(crate) name: String,
    /// The berth of its present process, whether there is one or not. The other one has a successor that is getting
    /// ready, or a process that is on its way out.
    pub(crate) present: usize,
    /// The number of its latest incarnation.
    pub(crate) incarnation: Incarnation,
    /// When its next incarnation is ordered, while it backs off.
    pub(crate) backoff_until: Option<Timestamp>,
    /// Unproductive incarnations in a row.
    pub(crate) unproductive: u32,
    /// Successors in a row that were never ready, while the present process serves on.
    pub(crate) failed_successors: u32,
    /// Its present process is to be replaced, for this reason.
    pub(crate) recycle: Option<StopReason>,
    /// A person drained it, or it was taken out for its health: it gets no process until a restart.
    pub(crate) disabled: bool,
    pub(crate) consecutive_failures: u32,
    pub(crate) consecutive_crashes: u32,
    /// It has been told to be unhealthy.
    pub(crate) unhealthy: bool,
    pub(crate) last_crash: Option<(Timestamp, &'static str)>,
    pub(crate) last_activity: Timestamp,
}

impl Worker {
    pub(crate) fn new(id: WorkerId, pool: PoolId, pool_name: &str, member: u16, now: Timestamp) -> Self {
        Self {
            id,
            pool,
            name: format!("{pool_name}-{member}"),
            present: berths_of(id)[0],
            incarnation: Incarnation(0),
            backoff_until: None,
            unproductive: 0,
            failed_successors: 0,
            recycle: None,
            disabled: false,
            consecutive_failures: 0,
            consecutive_crashes: 0,
            unhealthy: false,
            last_crash: None,
            last_activity: now,
        }
    }

    /// An attempt was answered `ok`: every run of failures is over.
    pub(crate) fn note_ok(&mut self) {
        self.unproductive = 0;
        self.forgive();
    }

    /// Its failures in a row are forgotten.
    pub(crate) fn forgive(&mut self) {
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
