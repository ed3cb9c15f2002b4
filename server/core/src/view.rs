//! Bounded snapshots of what runs, for health, readiness and the page. Taken on demand; no stream per request.

use std::sync::Arc;
use std::time::Duration;

use crate::fact::Death;
use crate::ids::{
    AttemptNumber, ClientId, Digest, MethodId, PoolId, ProcessKey, ReportId, RequestId, WorkerId,
};
use crate::reason::StopReason;
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
    /// Whether it serves.
    pub state: PoolState,
    /// The last death that counted towards the trip, while it is tripped.
    pub because: Option<Arc<Death>>,
    /// How many bodies are in quarantine.
    pub quarantined: usize,
}

/// A body that is refused for the processes that it crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineView {
    /// Its method's pool.
    pub pool: PoolId,
    /// Its method.
    pub method: MethodId,
    /// The digest of method and body.
    pub digest: Digest,
    /// How many it has crashed, and slots that its panics have cost.
    pub crashes: u32,
    /// When it did last.
    pub last_crash: Timestamp,
    /// Until then it is refused.
    pub until: Timestamp,
    /// The report of the last process that it crashed; `None` where only slots were lost.
    pub report: Option<ReportId>,
}

/// Whether a pool serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolState {
    /// It takes requests.
    Serving,
    /// Its crash loop opened the breaker: it refuses requests until its next chance.
    Tripped,
    /// It is given a chance: one process, one request at a time.
    Probing,
    /// A person drains it: what runs is finished.
    Draining,
    /// A person drained it: nothing runs.
    Drained,
}

impl PoolState {
    /// Every state, in the order of their labels' index.
    pub const ALL: [Self; 5] = [Self::Serving, Self::Tripped, Self::Probing, Self::Draining, Self::Drained];

    /// The word used in logs and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Tripped => "tripped",
            Self::Probing => "probing",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }

    /// Its breaker is open, or half open.
    #[must_use]
    pub const fn is_tripped(self) -> bool {
        matches!(self, Self::Tripped | Self::Probing)
    }
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
    /// Its slots, in order; empty before it is ready.
    pub slots: Vec<SlotView>,
    /// Requests it holds, those that execute included.
    pub held: usize,
    /// A successor is wanted, for this reason.
    pub recycling: Option<StopReason>,
    /// When it last became ready, was given work or answered.
    pub last_activity: Timestamp,
    /// Crashes, kills, panics and handler errors since the last `ok`.
    pub consecutive_failures: u32,
    /// Crashes, kills and panics among them.
    pub consecutive_crashes: u32,
    /// Not as many since its last `ok` as its pool's settings allow.
    pub healthy: bool,
    /// Its last crash: when, and its reason's label.
    pub last_crash: Option<(Timestamp, &'static str)>,
}

impl WorkerView {
    /// The oldest of the requests that it executes.
    #[must_use]
    pub fn current(&self) -> Option<CurrentTask> {
        self.slots.iter().filter_map(|slot| slot.current).min_by_key(|task| task.started_at)
    }
}

/// A slot at one moment.
#[derive(Clone, Copy, Debug)]
pub struct SlotView {
    /// What it is doing.
    pub state: SlotState,
    /// What it executes.
    pub current: Option<CurrentTask>,
}

/// What a slot is doing: a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotState {
    /// Ready for a request.
    Idle,
    /// Executing.
    Busy,
    /// Retired after a panic.
    Failed,
}

impl SlotState {
    /// Every state, in the order of their labels' index.
    pub const ALL: [Self; 3] = [Self::Idle, Self::Busy, Self::Failed];

    /// The label used in metrics and health.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// An open request at one moment.
#[derive(Clone, Copy, Debug)]
pub struct RequestView {
    /// Its id.
    pub request: RequestId,
    /// Who asked; told also after that client has gone.
    pub client: ClientId,
    /// Its pool.
    pub pool: PoolId,
    /// Its method.
    pub method: MethodId,
    /// Where it is in its life.
    pub state: RequestState,
    /// The present or last attempt; 0 before the first.
    pub attempt: AttemptNumber,
    /// How many it may have.
    pub max_attempts: u16,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When its present attempt started, while it runs.
    pub started_at: Option<Timestamp>,
    /// The worker that holds it.
    pub worker: Option<WorkerId>,
    /// It may be to blame for a process's death: it waits for a process of its own, or runs alone in one.
    pub suspect: bool,
}

/// Where a request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestState {
    /// Waits for a slot, in the queue or behind another request.
    Queued,
    /// Executes.
    Running,
    /// Waits for its next attempt.
    Backoff,
}

impl RequestState {
    /// The word used in health and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Backoff => "backoff",
        }
    }
}

/// A request that a slot executes.
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
    /// When its handler last told of progress; the start counts.
    pub progress_at: Timestamp,
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

    /// Whether the worker executes requests now or as soon as it is free. Being busy is not unready.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        match self {
            Self::Ready | Self::Busy | Self::Degraded => true,
            Self::Starting | Self::Stopping | Self::Backoff | Self::Disabled => false,
        }
    }

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
    /// The time a request may wait for its first dispatch.
    QueueTimeout,
    /// An attempt's time limit.
    AttemptTimeout,
    /// The time an attempt may be without progress.
    ProgressTimeout,
    /// The time an attempt's process may be without output.
    OutputTimeout,
    /// A request's deadline.
    Deadline,
    /// The wait before a retry.
    RetryBackoff,
    /// The time a suspect waits for another worker than that of its last attempt.
    Avoidance,
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
    /// A process should have said that it is there.
    Heartbeat,
    /// A process has reached its age.
    RecycleAge,
    /// A process has been idle for long.
    RecycleIdle,
    /// A tripped pool is given its next chance.
    Probe,
    /// The time a shutdown waits for running attempts.
    DrainTimeout,
}

/// What is written may be told this much later: an output limit waits for it, so that it never fires early.
///
/// Source: the promise of the process plane's `OutputSeen`.
pub const OUTPUT_LAG: Duration = Duration::from_millis(10);

/// The time after the end of a connection in which the process's own exit is waited for.
///
/// Source: measured; a worker that closed its socket and cleaned up for 5 ms keeps its own exit code 50 times of 50
/// with this much, and none with less than its clean-up takes.
pub const EXIT_GRACE: Duration = Duration::from_millis(100);
