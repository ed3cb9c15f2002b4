//! Rows: pools, workers and requests, as operations show them.
//!
//! Owns their shapes and their words. Must never hold anything of a request's body: operations show what runs, not what
//! it works on. All times are lengths of time in milliseconds, never times of day.

use serde::{Deserialize, Serialize};

use crate::labels::labels;

labels! {
    /// Whether a pool takes requests.
    ///
    /// ```
    /// # use lifeboat_protocol as lifeboat_client;
    /// use lifeboat_client::PoolStateLabel;
    ///
    /// fn is_down(state: PoolStateLabel) -> bool {
    ///     matches!(state, PoolStateLabel::Tripped | PoolStateLabel::Drained)
    /// }
    ///
    /// assert!(is_down(PoolStateLabel::Tripped) && !is_down(PoolStateLabel::Probing));
    /// assert_eq!(PoolStateLabel::Tripped.as_str(), "tripped");
    /// ```
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
    ///
    /// ```
    /// # use lifeboat_protocol as lifeboat_client;
    /// use lifeboat_client::SlotStateLabel;
    ///
    /// let slots = [SlotStateLabel::Busy, SlotStateLabel::Idle, SlotStateLabel::Failed];
    /// let line: Vec<_> = slots.iter().map(|slot| slot.as_str()).collect();
    /// assert_eq!(line.join(" "), "busy idle failed");
    /// ```
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
    ///
    /// ```
    /// # use lifeboat_protocol as lifeboat_client;
    /// use lifeboat_client::RequestStateLabel;
    ///
    /// /// Whether a process works on it now.
    /// fn costs(state: RequestStateLabel) -> bool {
    ///     state == RequestStateLabel::Running
    /// }
    ///
    /// let idle = RequestStateLabel::ALL.iter().filter(|state| !costs(**state));
    /// let idle: Vec<_> = idle.map(|state| state.as_str()).collect();
    /// assert_eq!(idle, ["queued", "backoff"]);
    /// ```
    RequestStateLabel {
        /// In its pool's queue.
        Queued = "queued",
        /// In a slot.
        Running = "running",
        /// Before its next attempt.
        Backoff = "backoff",
    }
}

/// A pool, as `workers` and `health` show it.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::{PoolRow, PoolStateLabel};
///
/// /// What to tell an operator about a pool, if there is anything.
/// fn alert(pool: &PoolRow) -> Option<String> {
///     let because = pool.because.as_deref().unwrap_or("it did not say why");
///     match pool.state {
///         PoolStateLabel::Tripped => Some(format!("{} takes nothing: {because}", pool.pool)),
///         _ if pool.queue_oldest_ms > Some(5000) => {
///             Some(format!("{}: {} requests wait, the oldest too long", pool.pool, pool.queue_depth))
///         }
///         _ => None,
///     }
/// }
///
/// # let pool = PoolRow {
/// #     pool: "images".into(),
/// #     state: PoolStateLabel::Serving,
/// #     queue_depth: 12,
/// #     queue_bytes: 4096,
/// #     queue_oldest_ms: Some(6000),
/// #     because: None,
/// # };
/// assert_eq!(alert(&pool).as_deref(), Some("images: 12 requests wait, the oldest too long"));
/// ```
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
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::WorkerRow;
///
/// /// A line about a worker: what it is doing, and what became of it before.
/// fn line(row: &WorkerRow) -> String {
///     let mut line = format!("{} is {}", row.worker, row.state);
///     for method in row.slots.iter().filter_map(|slot| slot.method.as_deref()) {
///         line += &format!(", executes {method}");
///     }
///     if let Some(crash) = &row.last_crash {
///         line += &format!(", crashed {} s ago ({})", crash.ago_ms / 1000, crash.reason);
///     }
///     line
/// }
///
/// # use lifeboat_client::{LastCrash, SlotRow, SlotStateLabel};
/// # let row = WorkerRow {
/// #     worker: "images-0".into(),
/// #     pool: "images".into(),
/// #     state: "busy".into(),
/// #     incarnation: Some(3),
/// #     pid: Some(4711),
/// #     held: 1,
/// #     slots: vec![SlotRow { method: Some("resize".into()), ..SlotRow::new(SlotStateLabel::Busy) }],
/// #     idle_ms: 0,
/// #     consecutive_failures: 1,
/// #     healthy: true,
/// #     recycling: None,
/// #     last_crash: Some(LastCrash { reason: "signal".into(), ago_ms: 61_000 }),
/// # };
/// assert_eq!(line(&row), "images-0 is busy, executes resize, crashed 61 s ago (signal)");
/// ```
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
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::LastCrash;
///
/// /// Whether it is worth a look: a crash of the last minute that was not ordered.
/// fn is_news(crash: &LastCrash) -> bool {
///     crash.ago_ms < 60_000 && crash.reason != "operator"
/// }
///
/// assert!(is_news(&LastCrash { reason: "oom".into(), ago_ms: 500 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCrash {
    /// The crash reason's label.
    pub reason: String,
    /// How long ago.
    pub ago_ms: u64,
}

/// A slot of a worker's process. All but the state is there while it is busy.
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::{SlotRow, SlotStateLabel};
///
/// /// Whether a slot's handler has said nothing for as long as it runs, and that is long.
/// fn seems_stuck(slot: &SlotRow) -> bool {
///     slot.state == SlotStateLabel::Busy && slot.progress_ms > Some(30_000) && slot.progress_ms >= slot.running_ms
/// }
///
/// let idle = SlotRow::new(SlotStateLabel::Idle);
/// let stuck = SlotRow {
///     method: Some("resize".into()),
///     running_ms: Some(31_000),
///     progress_ms: Some(31_000),
///     ..SlotRow::new(SlotStateLabel::Busy)
/// };
/// assert!(seems_stuck(&stuck) && !seems_stuck(&idle));
/// ```
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
///
/// ```
/// # use lifeboat_protocol as lifeboat_client;
/// use lifeboat_client::{RequestRow, RequestStateLabel};
///
/// /// A line about a request: where it is and since when.
/// fn line(row: &RequestRow) -> String {
///     let at = format!("{} {}: attempt {} of {}", row.request, row.method, row.attempt, row.max_attempts);
///     match (row.state, &row.worker) {
///         (RequestStateLabel::Running, Some(worker)) => format!("{at}, on {worker}"),
///         _ => format!("{at}, {} for {} ms", row.state, row.age_ms),
///     }
/// }
///
/// # let row = RequestRow {
/// #     request: 42,
/// #     pool: "images".into(),
/// #     method: "resize".into(),
/// #     state: RequestStateLabel::Running,
/// #     attempt: 2,
/// #     max_attempts: 3,
/// #     age_ms: 2750,
/// #     running_ms: Some(1500),
/// #     worker: Some("images-0".into()),
/// #     client_pid: Some(815),
/// #     suspect: false,
/// # };
/// assert_eq!(line(&row), "42 resize: attempt 2 of 3, on images-0");
/// ```
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
    /// It may be to blame for a process's death: it waits for a process of its own, or runs alone in one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspect: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}
