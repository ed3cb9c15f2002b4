//! Bounded snapshots of what runs, for health, readiness and the page. Taken on demand; no stream per request.

use std::time::Duration;

use crate::ids::{AttemptNumber, MethodId, PoolId, ProcessKey, RequestId, WorkerId};
use crate::time::Timestamp;

/// The whole broker at one moment.
#[derive(Clone, Debug, Default)]
pub struct BrokerView {
    /// When it was taken.
    pub at: Timestamp,
    /// A shutdown has begun.
    pub draining: bool,
    /// Requests that have no outcome yet.
    pub open_requests: usize,
    /// The pools, in configuration order.
    pub pools: Vec<PoolView>,
    /// The workers, in the order of their ids.
    pub workers: Vec<WorkerView>,
}

/// A pool at one moment.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// Which.
    pub pool: PoolId,
    /// Requests that wait (for a slot or for their backoff).
    pub queue_depth: usize,
    /// Memory that they pin, in bytes.
    pub queue_bytes: usize,
    /// When the oldest waiting request was accepted.
    pub queue_oldest: Option<Timestamp>,
}

/// A worker at one moment.
#[derive(Clone, Debug)]
pub struct WorkerView {
    /// Which.
    pub worker: WorkerId,
    /// Its pool.
    pub pool: PoolId,
    /// What it is doing.
    pub state: WorkerState,
    /// Its present process, if it has one.
    pub process: Option<ProcessKey>,
    /// The process id.
    pub pid: Option<u32>,
    /// The request it is executing.
    pub current: Option<CurrentTask>,
    /// Requests it holds, the executing one included.
    pub held: usize,
    /// When it last became ready, was given work or answered.
    pub last_activity: Timestamp,
    /// Crashes, kills, panics and handler errors since the last `ok`.
    pub consecutive_failures: u32,
    /// Crashes, kills and panics among them, which alone make a worker unhealthy.
    pub consecutive_crashes: u32,
    /// Its last crash: when, and its reason's label.
    pub last_crash: Option<(Timestamp, &'static str)>,
}

/// The request a worker is executing.
#[derive(Clone, Copy, Debug)]
pub struct CurrentTask {
    /// Its id.
    pub request: RequestId,
    /// Its method.
    pub method: MethodId,
    /// Which attempt.
    pub attempt: AttemptNumber,
    /// Since when.
    pub started_at: Timestamp,
}

/// What a worker is doing: a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerState {
    /// A process was ordered and is not ready yet.
    Starting,
    /// Ready and idle.
    Ready,
    /// Executing.
    Busy,
    /// Some of its slots failed.
    Degraded,
    /// Its process is being ended, or is dead and not yet judged.
    Stopping,
    /// It waits before its next incarnation.
    Backoff,
    /// Out of service.
    Disabled,
}

impl WorkerState {
    /// Every state, in the order of their labels' index.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::Busy,
        Self::Degraded,
        Self::Stopping,
        Self::Backoff,
        Self::Disabled,
    ];

    /// The label used in metrics and health.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Disabled => "disabled",
        }
    }
}

/// Which timer fires next, so that logs and tests can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// An attempt's time limit.
    AttemptTimeout,
    /// A request's deadline.
    Deadline,
    /// The wait before a retry.
    RetryBackoff,
    /// The time a process has to become ready.
    StartTimeout,
    /// A rung of the ladder of a running process.
    Ladder,
    /// The time between the end of a connection and the kill.
    ExitGrace,
    /// The time after SIGKILL until a process is called unkillable.
    KillTimeout,
    /// The wait before a worker's next incarnation.
    RestartBackoff,
    /// A ready process becomes productive.
    StableAfter,
    /// The time a shutdown waits for running attempts.
    DrainTimeout,
}

/// The time after the end of a connection in which the process's own exit is waited for.
///
/// Source: measured; a worker that closed its socket and cleaned up for 5 ms keeps its own exit code 50 times of 50
/// with this much, and none with less than its clean-up takes.
pub const EXIT_GRACE: Duration = Duration::from_millis(100);
