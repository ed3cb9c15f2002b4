//! The beginning of a process, and the next one after it.
//!
//! It owns ordering, birth and readiness of processes, the worker's wait between two of them, and which berth the
//! worker's present process is in. It must never judge why one ended.

use crate::action::Action;
use crate::berth::other;
use crate::core::Core;
use crate::fact::Fact;
use crate::ids::{Incarnation, ProcessKey};
use crate::phase::{Phase, Rung};
use crate::process::Process;
use crate::restart;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

impl<Q, A> Core<Q, A> {
    /// Orders the next process of a worker, for a berth that is empty.
    pub(crate) fn order_process(&mut self, berth: usize) {
        let now = self.now;
        let settings = self.pool_settings(berth);
        let (slots, prefetch, at) = (settings.slots, settings.prefetch, now + settings.start_timeout);
        debug_assert!(self.berthed(berth).is_none(), "a berth has one process at a time");
        let worker = self.worker(berth);
        debug_assert!(worker.backoff_until.is_none(), "whoever backs off orders nothing");
        worker.incarnation = Incarnation(worker.incarnation.0 + 1);
        let key = ProcessKey { worker: worker.id, incarnation: worker.incarnation };
        let pool = worker.pool;
        let mut process = Process::new(key, now, slots.get(), prefetch.get());
        process.timer = Some((at, TimerKind::StartTimeout));
        self.berths[berth].process = Some(process);
        self.timers.arm(Timer { at, kind: TimerKind::StartTimeout, owner: TimerOwner::Process(key) });
        self.pools[usize::from(pool.0)].up += 1;
        self.processes += 1;
        self.mark_dirty(pool);
        self.out.act(Action::Spawn { process: key });
        self.out.tell(Fact::WorkerStarting { pool, process: key });
    }

    /// A process was started. The shell tells this before anything else about it.
    pub(crate) fn spawned(&mut self, key: ProcessKey, pid: u32) {
        let Some(berth) = self.find_process(key) else { return };
        let process = self.process(berth);
        process.pid = Some(pid);
        let timer = process.timer;
        match process.phase {
            Phase::Spawning => self.set_phase(berth, Phase::Starting, timer),
            Phase::Ending(Rung::Unborn) => self.kill_as_intended(berth),
            Phase::Starting | Phase::Serving | Phase::Cancelling | Phase::Ending(_) | Phase::Collecting => {}
        }
    }

    /// A process said that it can serve. From one that is being ended already, that is too late.
    pub(crate) fn ready_received(&mut self, key: ProcessKey, heartbeats: bool) {
        let now = self.now;
        let Some(berth) = self.find_process(key) else { return };
        if self.process(berth).phase != Phase::Starting {
            return;
        }
        let pool = self.pool_of(berth);
        self.worker(berth).last_activity = now;
        let process = self.process(berth);
        process.ready_at = Some(now);
        process.active_at = now;
        process.heard_at = now;
        let (pid, took) = (process.pid.unwrap_or_default(), now - process.ordered_at);
        self.set_phase(berth, Phase::Serving, None);
        self.arm_life(berth, heartbeats);
        self.mark_dirty(pool);
        self.out.tell(Fact::WorkerReady { pool, process: key, pid, took });
        self.take_over(berth);
        self.recycle_if_due_before(berth);
    }

    /// Starts the timers of a ready process.
    fn arm_life(&mut self, berth: usize, heartbeats: bool) {
        let now = self.now;
        let pool = self.pool_of(berth);
        let settings = self.pool_settings(berth);
        let stable_at = now + settings.restart.stable_after;
        let idle_at = settings.recycle.idle.map(|idle| now + idle);
        let silent_at = settings.heartbeat.filter(|_| heartbeats).map(|beat| now + beat.patience());
        let age_at = self.draw_age(pool).map(|age| now + age);
        self.arm_standing(berth, TimerKind::StableAfter, stable_at);
        let others = [
            (TimerKind::Heartbeat, silent_at),
            (TimerKind::RecycleAge, age_at),
            (TimerKind::RecycleIdle, idle_at),
        ];
        for (kind, at) in others {
            if let Some(at) = at {
                self.arm_standing(berth, kind, at);
            }
        }
    }

    /// A process is gone from its berth: its worker goes on with another one, if it is to. `fit` tells that its end was
    /// planned or that it had been productive.
    pub(crate) fn go_on(&mut self, berth: usize, was_ready: bool, fit: bool) {
        let worker = self.worker(berth);
        let (index, pool, present) = (usize::from(worker.id.0), worker.pool, worker.present);
        if present != berth {
            if !was_ready {
                self.successor_failed(index, fit);
            }
            self.advance_recycling(pool);
            return;
        }
        self.cancel_restart(index);
        let next = self.berthed(other(berth)).filter(|process| process.phase.is_starting());
        if next.is_some() {
            self.workers[index].present = other(berth);
            self.recycled(index);
            self.advance_recycling(pool);
            return;
        }
        self.recycled(index);
        if !self.workers[index].disabled {
            self.replace(index, fit);
        }
        self.advance_recycling(pool);
    }

    /// A process that was never ready and is not the present one is gone. If it was the successor that is wanted, the
    /// next one comes after a wait.
    fn successor_failed(&mut self, index: usize, fit: bool) {
        let worker = &self.workers[index];
        let (id, pool) = (worker.id, worker.pool);
        if self.pools[usize::from(pool.0)].replacing != Some(id) {
            return;
        }
        if self.is_closing(pool) {
            self.recycled(index);
            return;
        }
        let place = &mut self.pools[usize::from(pool.0)];
        place.replacing = None;
        place.recycle_due.push_front(id);
        if !fit {
            self.back_off_restart(index);
        }
    }

    /// Orders a worker's next process, at once or after a wait. A shutdown orders none, a tripped pool when it has its
    /// chance.
    fn replace(&mut self, index: usize, fit: bool) {
        let worker = &self.workers[index];
        let (pool, present) = (worker.pool, worker.present);
        if self.is_closing(pool) {
            return;
        }
        if !self.pools[usize::from(pool.0)].breaker.is_closed() {
            return;
        }
        if fit || !self.back_off_restart(index) {
            self.order_process(present);
        }
    }

    /// Begins the wait before a worker's next process, or the next try at a successor: one longer than the last. Tells
    /// whether there is one.
    fn back_off_restart(&mut self, index: usize) -> bool {
        let worker = &mut self.workers[index];
        if !self.pools[usize::from(worker.pool.0)].breaker.is_closed() {
            return true;
        }
        let serves_on = self.berths[worker.present].process.is_some();
        let row = if serves_on { &mut worker.failed_successors } else { &mut worker.unproductive };
        *row = row.saturating_add(1);
        let row = *row;
        self.wait_for_restart(index, row)
    }

    /// Begins the wait after so many unproductive incarnations in a row. Tells whether there is one.
    pub(crate) fn wait_for_restart(&mut self, index: usize, unproductive: u32) -> bool {
        let fraction = self.rng.f64();
        let worker = &self.workers[index];
        let (id, pool) = (worker.id, worker.pool);
        let wait = restart::wait(&self.settings.pool(pool).restart, unproductive, fraction);
        self.out.tell(Fact::WorkerBackingOff { pool, worker: id, wait, unproductive });
        if wait.is_zero() {
            return false;
        }
        let at = self.now + wait;
        self.workers[index].backoff_until = Some(at);
        self.timers.arm(Timer { at, kind: TimerKind::RestartBackoff, owner: TimerOwner::Worker(id) });
        true
    }

    /// The wait before a worker's next incarnation is over.
    pub(crate) fn restart_due(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        worker.backoff_until = None;
        let (present, pool) = (worker.present, worker.pool);
        if self.berthed(present).is_none() {
            self.order_process(present);
        } else {
            self.advance_recycling(pool);
        }
    }

    /// Nobody waits for a worker's next incarnation any more.
    pub(crate) fn cancel_restart(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if let Some(at) = worker.backoff_until.take() {
            let owner = TimerOwner::Worker(worker.id);
            self.timers.cancel(Timer { at, kind: TimerKind::RestartBackoff, owner });
        }
    }
}
