//! Planned replacement of healthy processes: the successor is ready before the old one leaves.
//!
//! It owns when a process is due, whose turn it is (one worker of a pool at a time), and the change from the old
//! process to its successor. It must never take a request from a process: the old one finishes what it holds.

use std::time::Duration;

use crate::berth::other;
use crate::core::Core;
use crate::evidence::IntentKind;
use crate::fact::Fact;
use crate::ids::{PoolId, ProcessKey, WorkerId};
use crate::phase::{Phase, Rung};
use crate::reason::StopReason;

/// A process takes up to this part of its age less.
const AGE_SPREAD: f64 = 0.1;

impl<Q, A> Core<Q, A> {
    /// The age at which a process that is ready now is replaced: spread, so that what started together does not end
    /// together.
    pub(crate) fn draw_age(&mut self, pool: PoolId) -> Option<Duration> {
        let age = self.settings.pool(pool).recycle.age?;
        Some(age - age.mul_f64(AGE_SPREAD * self.rng.f64()))
    }

    /// A process has served its number of requests, if there is such a number.
    pub(crate) fn recycle_if_served(&mut self, berth: usize) {
        let most = self.pool_settings(berth).recycle.requests;
        let served = self.process(berth).served;
        if most.is_some_and(|most| served >= most.get()) {
            self.recycle(berth, StopReason::RecycleRequests);
        }
    }

    /// A process uses more memory than a healthy one should keep. That is told once: of one that is not ready yet it
    /// counts when it is.
    pub(crate) fn memory_high(&mut self, key: ProcessKey) {
        if let Some(berth) = self.find_process(key) {
            self.process(berth).memory_high = true;
            self.recycle(berth, StopReason::RecycleMemory);
        }
    }

    /// What was told of a process before it was ready counts now that it is.
    pub(crate) fn recycle_if_due_before(&mut self, berth: usize) {
        if self.process(berth).outdated {
            self.recycle(berth, StopReason::Operator);
        } else if self.process(berth).memory_high {
            self.recycle(berth, StopReason::RecycleMemory);
        }
    }

    /// A process wants to be replaced. From one that is on its way out that is old news.
    pub(crate) fn retire_received(&mut self, key: ProcessKey) {
        self.note_heard(key, Duration::ZERO);
        if let Some(berth) = self.find_process(key) {
            self.recycle(berth, StopReason::RecycleAsked);
        }
    }

    /// A process that has served and was idle for long is due. Tells when to look again, if it is not.
    pub(crate) fn recycle_if_idle(&mut self, berth: usize) -> Option<crate::time::Timestamp> {
        let now = self.now;
        let idle = self.pool_settings(berth).recycle.idle?;
        let process = self.process(berth);
        let due = process.active_at + idle;
        if process.load() > 0 || process.served == 0 {
            return Some(now + idle);
        }
        if due > now {
            return Some(due);
        }
        self.recycle(berth, StopReason::RecycleIdle);
        None
    }

    /// A worker's present process is due. The first reason stays.
    pub(crate) fn recycle(&mut self, berth: usize, reason: StopReason) {
        let worker = self.worker(berth);
        let (id, pool) = (worker.id, worker.pool);
        if worker.present != berth || worker.recycle.is_some() || worker.disabled {
            return;
        }
        let process = self.process(berth);
        if !process.stays() {
            return;
        }
        let process = process.key;
        self.worker(berth).recycle = Some(reason);
        self.pools[usize::from(pool.0)].recycle_due.push_back(id);
        self.out.tell(Fact::RecycleDue { pool, process, reason });
        self.advance_recycling(pool);
    }

    /// Orders the next successor, if none is getting ready in the pool and somebody's turn has come.
    pub(crate) fn advance_recycling(&mut self, pool: PoolId) {
        let place = &self.pools[usize::from(pool.0)];
        if place.replacing.is_some() || !place.breaker.is_closed() || self.is_closing(pool) {
            return;
        }
        let has_room = |id: &WorkerId| {
            let worker = &self.workers[usize::from(id.0)];
            worker.backoff_until.is_none() && self.berths[other(worker.present)].process.is_none()
        };
        let Some(next) = place.recycle_due.iter().position(has_room) else { return };
        let place = &mut self.pools[usize::from(pool.0)];
        let id = place.recycle_due.remove(next);
        place.replacing = id;
        if let Some(id) = id {
            self.order_process(other(self.workers[usize::from(id.0)].present));
        }
    }

    /// A worker is no longer to be recycled: its process was replaced, or died by itself.
    pub(crate) fn recycled(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let (id, pool) = (worker.id, worker.pool);
        if worker.recycle.take().is_none() {
            return;
        }
        worker.failed_successors = 0;
        let place = &mut self.pools[usize::from(pool.0)];
        place.recycle_due.retain(|due| *due != id);
        if place.replacing == Some(id) {
            place.replacing = None;
        }
    }

    /// A successor is ready: it is the present process from here on, and the old one retires.
    pub(crate) fn take_over(&mut self, berth: usize) {
        let worker = self.worker(berth);
        if worker.present == berth {
            return;
        }
        worker.present = berth;
        let reason = worker.recycle.unwrap_or(StopReason::Operator);
        let (id, pool) = (usize::from(worker.id.0), worker.pool);
        self.recycled(id);
        if self.berthed(other(berth)).is_some() {
            self.retire(other(berth), reason);
        }
        self.advance_recycling(pool);
    }

    /// A process is given nothing more. It leaves when it has finished what it holds.
    pub(crate) fn retire(&mut self, berth: usize, reason: StopReason) {
        let process = self.process(berth);
        match process.phase {
            Phase::Spawning | Phase::Starting => self.kill(berth, IntentKind::Stop(reason)),
            Phase::Serving => {
                process.leaving = Some(reason);
                self.set_phase(berth, Phase::Ending(Rung::Retiring), None);
                self.leave_if_done(berth);
            }
            Phase::Cancelling => {
                process.leaving = Some(reason);
                let pool = self.pool_of(berth);
                self.mark_dirty(pool);
            }
            Phase::Ending(_) | Phase::Collecting => {}
        }
    }

    /// A retiring process that holds nothing more is told to drain, and leaves.
    pub(crate) fn leave_if_done(&mut self, berth: usize) {
        let process = self.process(berth);
        if process.phase != Phase::Ending(Rung::Retiring) || process.load() > 0 {
            return;
        }
        if let Some(reason) = process.leaving {
            process.drained = true;
            self.send_drain(berth);
            self.set_intent(berth, IntentKind::Stop(reason));
            self.ask_to_leave(berth);
        }
    }
}
