//! The bodies of operate and operated messages: what a client asks of the broker itself, and what it is told.
//!
//! Owns their shapes, their words and the bounds on them. Must never hold anything of a request's body: operations
//! show what runs, not what it works on. All times are lengths of time in milliseconds, never times of day.

use serde::{Deserialize, Serialize};

use crate::labels::labels;

/// The longest body of an operate message, in bytes: 4 KiB. A longer one is refused as malformed.
pub const MAX_OPERATE_BODY: usize = 4 * 1024;

/// Request rows told unless the operation says how many.
pub const DEFAULT_ROWS: usize = 100;

/// Request rows told at most, whatever the operation says.
pub const MAX_ROWS: usize = 10_000;

labels! {
    /// What can be asked of the broker.
    Operation {
        /// Show the pools and their workers.
        Workers = "workers",
        /// Show the open requests.
        Requests = "requests",
        /// Whether the broker is ready, and whether it drains.
        Health = "health",
        /// Replace the processes of a pool or worker, each when it has finished what it executes.
        Restart = "restart",
        /// Give a pool or worker nothing new; its processes end, each when it has finished what it executes.
        Drain = "drain",
        /// End the processes of a pool or worker at once.
        Kill = "kill",
    }
}

impl Operation {
    /// The operation with this label; `None` for one that this version does not know.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == label)
    }

    /// Whether it is done to a pool or worker, which must then be named.
    #[must_use]
    pub const fn needs_target(self) -> bool {
        match self {
            Self::Workers | Self::Requests | Self::Health => false,
            Self::Restart | Self::Drain | Self::Kill => true,
        }
    }
}

labels! {
    /// Whether a pool takes requests.
    PoolStateLabel {
        /// It does.
        Serving = "serving",
        /// Its crash loop opened its breaker.
        Tripped = "tripped",
        /// It was tripped and tries one process.
        Probing = "probing",
        /// It finishes what runs.
        Draining = "draining",
        /// It has drained.
        Drained = "drained",
    }
}

labels! {
    /// What a slot does.
    SlotStateLabel {
        /// Nothing.
        Idle = "idle",
        /// It executes a request.
        Busy = "busy",
        /// Nothing any more: it is retired.
        Failed = "failed",
    }
}

labels! {
    /// Where an open request is.
    RequestStateLabel {
        /// In its pool's queue.
        Queued = "queued",
        /// In a slot.
        Running = "running",
        /// Before its next attempt.
        Backoff = "backoff",
    }
}

/// The body of an operate message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operate {
    /// An [`Operation`]'s label. Text and not a closed list here: the broker answers one that it does not know.
    pub operation: String,
    /// A pool's or worker's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many request rows are wanted at most; see [`rows`](Self::rows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl Operate {
    /// An operation without a target.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        Self { operation: operation.as_str().to_owned(), target: None, limit: None }
    }

    /// An operation on a pool or worker.
    #[must_use]
    pub fn on(operation: Operation, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..Self::new(operation) }
    }

    /// How many request rows to tell at most: the limit, [`DEFAULT_ROWS`] without one, never above [`MAX_ROWS`].
    #[must_use]
    pub fn rows(&self) -> usize {
        let limit = self.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        limit.unwrap_or(DEFAULT_ROWS).min(MAX_ROWS)
    }
}

/// The body of an operated message. What is there depends on the operation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operated {
    /// Whether it was done.
    pub ok: bool,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `restart`, `drain`, `kill`: the names of the workers concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affected: Vec<String>,
    /// `workers`, `health`: every pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolRow>,
    /// `workers`: every worker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerRow>,
    /// `requests`: open requests, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestRow>,
    /// Whether rows were left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// `health`: whether requests can be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// `health`: whether the broker shuts down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
}

impl Operated {
    /// Done, with nothing to show.
    #[must_use]
    pub fn done() -> Self {
        Self { ok: true, ..Self::default() }
    }

    /// Not done, and why, for people.
    #[must_use]
    pub fn not_done(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::default() }
    }
}

/// A pool, as `workers` and `health` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRow {
    /// Its name.
    pub pool: String,
    /// Whether it takes requests.
    pub state: PoolStateLabel,
    /// Requests that wait.
    pub queue_depth: u64,
    /// The memory that they pin, in bytes.
    pub queue_bytes: u64,
    /// How long the oldest of them has waited; missing when none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_oldest_ms: Option<u64>,
    /// Why it is in this state, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A worker, as `workers` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Its stable name.
    pub worker: String,
    /// Its pool's name.
    pub pool: String,
    /// `starting`, `ready`, `busy`, `degraded`, `stopping`, `backoff` or `disabled`, as in `/worker-health`. Text and
    /// not a closed list here, so that a state newer than the reader can be shown.
    pub state: String,
    /// Which life its process is; missing while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// Its process's id; missing while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Requests that its process holds, the executing ones included.
    pub held: u64,
    /// Its process's slots, in the order of their numbers.
    pub slots: Vec<SlotRow>,
    /// How long nothing has been executed; 0 while something is.
    pub idle_ms: u64,
    /// Crashes, kills, panics and handler errors since the last `ok`.
    pub consecutive_failures: u64,
    /// Whether it is healthy.
    pub healthy: bool,
    /// The stop reason of its process, if that is being replaced or stopped as planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recycling: Option<String>,
    /// Its last crash, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_crash: Option<LastCrash>,
}

/// A worker's last crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCrash {
    /// The crash reason's label.
    pub reason: String,
    /// How long ago.
    pub ago_ms: u64,
}

/// A slot of a worker's process. All but the state is there while it is busy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRow {
    /// What it does.
    pub state: SlotStateLabel,
    /// The broker's id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The request's method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Which attempt at it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u16>,
    /// How long the attempt has run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_ms: Option<u64>,
    /// How long ago it last made progress; its start counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_ms: Option<u64>,
}

impl SlotRow {
    /// A slot that executes nothing.
    #[must_use]
    pub const fn new(state: SlotStateLabel) -> Self {
        Self { state, request: None, method: None, attempt: None, running_ms: None, progress_ms: None }
    }
}

/// An open request, as `requests` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// The broker's id.
    pub request: u64,
    /// The pool that serves it.
    pub pool: String,
    /// Its method.
    pub method: String,
    /// Where it is.
    pub state: RequestStateLabel,
    /// The number of the present or last attempt; 0: none yet.
    pub attempt: u16,
    /// The attempts allowed, the first included.
    pub max_attempts: u16,
    /// How long ago it was accepted.
    pub age_ms: u64,
    /// `running`: how long the attempt has run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_ms: Option<u64>,
    /// `running`: the worker's stable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The process id of its client, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_pid: Option<u32>,
}

const fn is_false(value: &bool) -> bool {
    !*value
}
