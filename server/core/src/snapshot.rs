//! Snapshots for health, readiness and the page.
//!
//! It owns the translation of the core's tables into views. It must never change anything: a view is taken on demand,
//! costs as much as there are workers and pools, and no request waits for one.

use crate::core::Core;
use crate::process::{Phase, Process};
use crate::time::Timestamp;
use crate::view::{BrokerView, CurrentTask, PoolView, WorkerState, WorkerView};
use crate::worker::Worker;

impl<Q, A> Core<Q, A> {
    /// The whole broker at this moment.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> BrokerView {
        BrokerView {
            at: self.now.max(now),
            draining: self.is_draining(),
            open_requests: self.requests.open(),
            pools: self
                .pools
                .iter()
                .map(|pool| PoolView {
                    pool: pool.id,
                    queue_depth: pool.queue.depth(),
                    queue_bytes: pool.queue.bytes(),
                    queue_oldest: pool
                        .queue
                        .oldest(&self.requests)
                        .and_then(|id| self.requests.get(id))
                        .map(|record| record.accepted_at),
                })
                .collect(),
            workers: self.workers.iter().map(|worker| self.worker_view(worker)).collect(),
        }
    }

    /// Whether requests can be accepted: no shutdown has begun and every pool has a process that is ready. Being busy
    /// is not unready.
    #[must_use]
    pub fn ready(&self, _now: Timestamp) -> bool {
        !self.is_draining() && self.pools.iter().all(|pool| pool.workers().any(|id| self.serves(id)))
    }

    fn serves(&self, id: crate::ids::WorkerId) -> bool {
        let process = self.workers[usize::from(id.0)].process.as_ref();
        process.is_some_and(|process| matches!(process.phase, Phase::Serving | Phase::Cancelling))
    }

    fn worker_view(&self, worker: &Worker) -> WorkerView {
        let process = worker.process.as_ref();
        WorkerView {
            worker: worker.id,
            pool: worker.pool,
            state: state(worker),
            process: process.map(|process| process.key),
            pid: process.and_then(|process| process.pid),
            current: process.and_then(|process| self.current(process)),
            held: process.map_or(0, |process| process.line.len()),
            last_activity: worker.last_activity,
            consecutive_failures: worker.consecutive_failures,
            consecutive_crashes: worker.consecutive_crashes,
            last_crash: worker.last_crash,
        }
    }

    fn current(&self, process: &Process) -> Option<CurrentTask> {
        let held = process.executing()?;
        let record = self.requests.get(held.request)?;
        let (request, attempt) = (held.request, held.attempt);
        Some(CurrentTask { request, method: held.method, attempt, started_at: record.started_at })
    }
}

/// A worker that a shutdown has left without a process is told as `stopping`.
fn state(worker: &Worker) -> WorkerState {
    match &worker.process {
        Some(process) => match process.phase {
            Phase::Spawning | Phase::Starting => WorkerState::Starting,
            Phase::Serving if process.line.is_empty() => WorkerState::Ready,
            Phase::Serving | Phase::Cancelling => WorkerState::Busy,
            Phase::Ending(_) | Phase::Collecting => WorkerState::Stopping,
        },
        None if worker.backoff_until.is_some() => WorkerState::Backoff,
        None => WorkerState::Stopping,
    }
}
