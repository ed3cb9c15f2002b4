//! What every worker is doing: the answer of `/worker-health`. All times are milliseconds; points in time count from
//! 1970.

use lifeboat_core::view::{BrokerView, CurrentTask, SlotView, WorkerState, WorkerView};
use serde::{Serialize, Serializer};

use super::limits::LimitsInForce;
use super::names::Names;
use super::readiness::serves;
use super::wall_clock::{WallClock, millis};

/// What every worker is doing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthSnapshot {
    /// The whole broker in one word.
    pub status: HealthStatus,
    /// When this was taken.
    pub timestamp: u64,
    /// The workers by name, in configuration order.
    #[serde(serialize_with = "as_map")]
    pub workers: Vec<(String, WorkerHealth)>,
}

/// The whole broker in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Every pool serves, and every worker is healthy and in service.
    Ok,
    /// Every pool serves; some worker is unhealthy, degraded, disabled or in backoff.
    Degraded,
    /// Some pool does not serve: it has no ready worker, is tripped or was drained.
    Unhealthy,
}

/// What one worker is doing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerHealth {
    /// Whether it is executing a request.
    pub status: Activity,
    /// The process id, while it has a process.
    pub pid: Option<u32>,
    /// When it last became ready, was given work or answered.
    pub last_activity: u64,
    /// How long ago that was; 0 while busy.
    pub idle_time: u64,
    /// The request it is executing (the oldest, if several).
    pub current_task: Option<TaskHealth>,
    /// When that request's attempt started.
    pub task_start_time: Option<u64>,
    /// How long ago that was.
    pub task_duration: Option<u64>,
    /// How long ago the handler last said that the work moves; `null` while nothing is executed; the start counts.
    pub time_since_progress: Option<u64>,
    /// Crashes, kills, panics and handler errors since the last `ok`.
    pub consecutive_failures: u32,
    /// Fewer crashes, kills and panics since the last `ok` than `unhealthy_after`.
    pub healthy: bool,
    /// Its pool.
    pub pool: String,
    /// The label of its [`WorkerState`].
    pub state: &'static str,
    /// Which life of the worker this is, from 1, while it has a process.
    pub incarnation: Option<u32>,
    /// Its slots, while it has a process that is ready.
    pub slots: Vec<SlotHealth>,
    /// Its last crash, if it ever crashed.
    pub last_crash: Option<LastCrash>,
    /// What its processes may use.
    pub limits: LimitsInForce,
}

/// Whether a worker is executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Executing a request.
    Busy,
    /// Not executing.
    Idle,
}

/// The request that a worker or slot is executing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskHealth {
    /// Its method.
    pub method: String,
    /// Its id, as in the log.
    pub request_id: String,
    /// Which attempt, from 1.
    pub attempt: u16,
}

/// One slot of a process.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotHealth {
    /// The label of its [`SlotState`](lifeboat_core::view::SlotState).
    pub state: &'static str,
    /// The request it is executing.
    pub current_task: Option<TaskHealth>,
    /// When that request's attempt started.
    pub task_start_time: Option<u64>,
    /// How long ago that was.
    pub task_duration: Option<u64>,
    /// How long ago the handler last said that the work moves; the start counts.
    pub time_since_progress: Option<u64>,
}

/// A worker's last crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastCrash {
    /// When it was judged.
    pub at: u64,
    /// The label of its reason.
    pub reason: &'static str,
}

impl HealthSnapshot {
    pub(super) fn new(view: &BrokerView, names: &Names, clock: &WallClock, limits: &[LimitsInForce]) -> Self {
        let workers = view
            .workers
            .iter()
            .map(|worker| {
                let mut health = WorkerHealth::new(worker, view, names, clock);
                health.limits = limits.get(usize::from(worker.pool.0)).cloned().unwrap_or_default();
                (names.worker(worker.worker).to_owned(), health)
            })
            .collect();
        Self { status: overall(view, names), timestamp: clock.unix_millis(view.at), workers }
    }
}

impl WorkerHealth {
    fn new(worker: &WorkerView, view: &BrokerView, names: &Names, clock: &WallClock) -> Self {
        let current = worker.current();
        let task = current.as_ref().map(|task| TaskHealth::new(task, names));
        let idle_time = if task.is_some() { 0 } else { millis(view.at - worker.last_activity) };
        Self {
            status: if task.is_some() { Activity::Busy } else { Activity::Idle },
            pid: worker.pid,
            last_activity: clock.unix_millis(worker.last_activity),
            idle_time,
            task_start_time: current.map(|task| clock.unix_millis(task.started_at)),
            task_duration: current.map(|task| millis(view.at - task.started_at)),
            time_since_progress: current.map(|task| millis(view.at - task.progress_at)),
            consecutive_failures: worker.consecutive_failures,
            healthy: worker.healthy,
            pool: names.pool(worker.pool).to_owned(),
            state: worker.state.label(),
            incarnation: worker.process.map(|process| process.incarnation.0),
            slots: worker.slots.iter().map(|slot| SlotHealth::new(*slot, view, names, clock)).collect(),
            last_crash: worker.last_crash.map(|(at, reason)| LastCrash { at: clock.unix_millis(at), reason }),
            current_task: task,
            limits: LimitsInForce::default(),
        }
    }
}

impl TaskHealth {
    fn new(task: &CurrentTask, names: &Names) -> Self {
        Self {
            method: names.method(task.method).to_owned(),
            request_id: task.request.to_string(),
            attempt: task.attempt.0,
        }
    }
}

impl SlotHealth {
    fn new(slot: SlotView, view: &BrokerView, names: &Names, clock: &WallClock) -> Self {
        let current = slot.current;
        Self {
            state: slot.state.label(),
            current_task: current.as_ref().map(|task| TaskHealth::new(task, names)),
            task_start_time: current.map(|task| clock.unix_millis(task.started_at)),
            task_duration: current.map(|task| millis(view.at - task.started_at)),
            time_since_progress: current.map(|task| millis(view.at - task.progress_at)),
        }
    }
}

fn overall(view: &BrokerView, names: &Names) -> HealthStatus {
    if !names.pools().all(|(pool, _)| serves(pool, view, names)) {
        return HealthStatus::Unhealthy;
    }
    let is_fine = |worker: &WorkerView| match worker.state {
        WorkerState::Starting | WorkerState::Ready | WorkerState::Busy | WorkerState::Stopping => {
            worker.healthy
        }
        WorkerState::Degraded | WorkerState::Backoff | WorkerState::Disabled => false,
    };
    if view.workers.iter().all(is_fine) { HealthStatus::Ok } else { HealthStatus::Degraded }
}

fn as_map<S: Serializer>(workers: &[(String, WorkerHealth)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(workers.iter().map(|(name, health)| (name, health)))
}
