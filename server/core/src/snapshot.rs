//! Snapshots for health, readiness, the page and people.
//!
//! It owns the translation of the core's tables into views. It must never change anything: a view is taken on demand,
//! costs as much as there are workers and pools, and no request waits for one.

use crate::berth::{berths_of, other};
use crate::breaker::BreakerState;
use crate::core::Core;
use crate::ids::{AttemptNumber, MethodId, ProcessKey, RequestId, WorkerId};
use crate::phase::{Phase, Rung};
use crate::pool::Pool;
use crate::process::Process;
use crate::request::{Record, RequestPhase};
use crate::slot::Slot;
use crate::time::Timestamp;
use crate::view::{
    BrokerView, CurrentTask, PoolState, PoolView, RequestState, RequestView, SlotState, SlotView,
    WorkerState, WorkerView,
};
use crate::worker::Worker;

impl<Q, A> Core<Q, A> {
    /// The whole broker at this moment.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> BrokerView {
        BrokerView {
            at: self.now.max(now),
            draining: self.is_draining(),
            open_requests: self.requests.open(),
            pools: self.pools.iter().map(|pool| self.pool_view(pool, now)).collect(),
            workers: self.workers.iter().map(|worker| self.worker_view(worker)).collect(),
        }
    }

    /// The oldest open requests, `most` of them, and whether there are more. Costs as much as there are open requests.
    #[must_use]
    pub fn requests(&self, most: usize) -> (Vec<RequestView>, bool) {
        let mut all: Vec<&Record<Q>> = self.requests.iter().collect();
        let more = all.len() > most;
        if more && most > 0 {
            all.select_nth_unstable_by_key(most - 1, |record| record.id);
        }
        all.truncate(most);
        all.sort_unstable_by_key(|record| record.id);
        (all.into_iter().map(|record| self.request_view(record)).collect(), more)
    }

    /// What a process executes at this moment, slot by slot; empty for one that is gone.
    #[must_use]
    pub fn executing(&self, process: ProcessKey) -> Vec<(RequestId, AttemptNumber, MethodId)> {
        let process = self.find_process(process).and_then(|berth| self.berthed(berth));
        let held = process.into_iter().flat_map(Process::executing);
        held.map(|held| (held.request, held.attempt, held.method)).collect()
    }

    /// Whether requests can be accepted: no shutdown has begun, every pool has a worker that is ready, and none is
    /// tripped or drained. Being busy is not unready.
    #[must_use]
    pub fn ready(&self) -> bool {
        let is_ready = |id: WorkerId| {
            let worker = &self.workers[usize::from(id.0)];
            state(worker, self.berthed(worker.present), self.is_draining()).is_ready()
        };
        let serves = |pool: &Pool| !pool.drained && pool.breaker.is_closed() && pool.workers().any(is_ready);
        !self.is_draining() && self.pools.iter().all(serves)
    }

    fn pool_view(&self, pool: &Pool, now: Timestamp) -> PoolView {
        let oldest = pool.queue.oldest(&self.requests).and_then(|id| self.requests.get(id));
        let state = match pool.breaker.state {
            _ if pool.drained => {
                let runs = pool.berths().any(|berth| self.berthed(berth).is_some());
                if runs { PoolState::Draining } else { PoolState::Drained }
            }
            BreakerState::Closed => PoolState::Serving,
            BreakerState::Open { .. } => PoolState::Tripped,
            BreakerState::HalfOpen => PoolState::Probing,
        };
        PoolView {
            pool: pool.id,
            queue_depth: pool.queue.depth(),
            queue_bytes: pool.queue.bytes(),
            queue_oldest: oldest.map(|record| record.accepted_at),
            state,
            because: self.unfit_because(pool.id),
            quarantined: self.quarantined_in(pool.id, now),
        }
    }

    fn worker_view(&self, worker: &Worker) -> WorkerView {
        let process = self.berthed(worker.present);
        let last = process.or_else(|| self.berthed(other(worker.present)));
        WorkerView {
            worker: worker.id,
            pool: worker.pool,
            state: state(worker, process, self.is_draining()),
            process: last.map(|process| process.key),
            pid: last.and_then(|process| process.pid),
            slots: process.filter(|process| process.ready_at.is_some()).map_or_else(Vec::new, |process| {
                process.slots.iter().map(|slot| self.slot_view(slot)).collect()
            }),
            held: berths_of(worker.id)
                .into_iter()
                .filter_map(|berth| self.berthed(berth))
                .map(Process::load)
                .sum(),
            recycling: worker.recycle,
            last_activity: worker.last_activity,
            consecutive_failures: worker.consecutive_failures,
            consecutive_crashes: worker.consecutive_crashes,
            healthy: !worker.unhealthy,
            last_crash: worker.last_crash,
        }
    }

    fn slot_view(&self, slot: &Slot) -> SlotView {
        let current = slot.executing().and_then(|held| {
            let record = self.requests.get(held.request)?;
            Some(CurrentTask {
                request: held.request,
                method: held.method,
                attempt: held.attempt,
                started_at: record.started_at,
                progress_at: record.progress_at,
            })
        });
        let state = match () {
            () if slot.retired => SlotState::Failed,
            () if slot.line.is_empty() => SlotState::Idle,
            () => SlotState::Busy,
        };
        SlotView { state, current }
    }

    fn request_view(&self, record: &Record<Q>) -> RequestView {
        let holder = match record.phase {
            RequestPhase::Held { process } => Some(process),
            RequestPhase::Queued | RequestPhase::Backoff { .. } | RequestPhase::Ended => None,
        };
        let runs = holder.and_then(|key| self.find_process(key)).and_then(|berth| self.berthed(berth));
        let runs = runs.is_some_and(|process| {
            process.executing().chain(&process.awaiting_death).any(|held| held.request == record.id)
        });
        RequestView {
            request: record.id,
            client: record.client,
            pool: record.pool,
            method: record.method,
            state: match record.phase {
                RequestPhase::Backoff { .. } => RequestState::Backoff,
                RequestPhase::Held { .. } if runs => RequestState::Running,
                RequestPhase::Queued | RequestPhase::Held { .. } | RequestPhase::Ended => {
                    RequestState::Queued
                }
            },
            attempt: AttemptNumber(record.attempts),
            max_attempts: record.max_attempts,
            accepted_at: record.accepted_at,
            started_at: runs.then_some(record.started_at),
            worker: holder.map(|process| process.worker),
            suspect: record.suspect,
        }
    }
}

/// A worker that a shutdown has left without a process is told as `stopping`; one whose pool is tripped waits for the
/// pool's next chance.
fn state(worker: &Worker, process: Option<&Process>, draining: bool) -> WorkerState {
    match process {
        Some(process) => match process.phase {
            Phase::Spawning | Phase::Starting => WorkerState::Starting,
            Phase::Ending(_) | Phase::Collecting if process.phase != Phase::Ending(Rung::Retiring) => {
                WorkerState::Stopping
            }
            _ if worker.disabled => WorkerState::Stopping,
            _ if process.slots_left() < process.slots.len() => WorkerState::Degraded,
            Phase::Serving if process.load() == 0 => WorkerState::Ready,
            Phase::Serving | Phase::Cancelling | Phase::Ending(_) | Phase::Collecting => WorkerState::Busy,
        },
        None if worker.disabled => WorkerState::Disabled,
        None if draining => WorkerState::Stopping,
        None => WorkerState::Backoff,
    }
}
