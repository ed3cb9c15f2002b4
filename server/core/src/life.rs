//! The beginning of a process, and the next one after it.
//!
//! It owns ordering, birth and readiness of processes and the worker's wait between two of them. It must never judge
//! why one ended.

use crate::action::Action;
use crate::core::Core;
use crate::fact::Fact;
use crate::ids::{Incarnation, ProcessKey};
use crate::process::{Phase, Process, Rung};
use crate::restart;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

impl<Q, A> Core<Q, A> {
    /// Orders the next process of a worker that has none.
    pub(crate) fn order_process(&mut self, index: usize) {
        let now = self.now;
        let at = now + self.pool_settings(index).start_timeout;
        let worker = &mut self.workers[index];
        debug_assert!(worker.process.is_none(), "a worker has one process at a time");
        worker.incarnation = Incarnation(worker.incarnation.0 + 1);
        let key = ProcessKey { worker: worker.id, incarnation: worker.incarnation };
        let mut process = Process::new(key, now);
        process.timer = Some((at, TimerKind::StartTimeout));
        worker.process = Some(process);
        let pool = worker.pool;
        self.timers.arm(Timer { at, kind: TimerKind::StartTimeout, owner: TimerOwner::Process(key) });
        self.pools[usize::from(pool.0)].up += 1;
        self.processes += 1;
        self.mark_dirty(pool);
        self.out.act(Action::Spawn { process: key });
        self.out.tell(Fact::WorkerStarting { pool, process: key });
    }

    /// A process was started. The shell tells this before anything else about it.
    pub(crate) fn spawned(&mut self, key: ProcessKey, pid: u32) {
        let Some(index) = self.find_process(key) else { return };
        let process = self.process(index);
        process.pid = Some(pid);
        let timer = process.timer;
        match process.phase {
            Phase::Spawning => self.set_phase(index, Phase::Starting, timer),
            Phase::Ending(Rung::Unborn) => self.kill_as_intended(index),
            Phase::Starting | Phase::Serving | Phase::Cancelling | Phase::Ending(_) | Phase::Collecting => {}
        }
    }

    /// A process said that it can serve. From one that is being ended already, that is too late.
    pub(crate) fn ready_received(&mut self, key: ProcessKey) {
        let now = self.now;
        let Some(index) = self.find_process(key) else { return };
        if self.process(index).phase != Phase::Starting {
            return;
        }
        let pool = self.pool_of(index);
        let stable_at = now + self.pool_settings(index).restart.stable_after;
        self.workers[index].last_activity = now;
        let process = self.process(index);
        process.ready_at = Some(now);
        process.stable_timer = Some(stable_at);
        let (pid, took) = (process.pid.unwrap_or_default(), now - process.ordered_at);
        let owner = TimerOwner::Process(key);
        self.timers.arm(Timer { at: stable_at, kind: TimerKind::StableAfter, owner });
        self.set_phase(index, Phase::Serving, None);
        self.mark_dirty(pool);
        self.out.tell(Fact::WorkerReady { pool, process: key, pid, took });
    }

    /// A worker's process is gone: orders the next one, at once or after a wait. A shutdown orders none.
    pub(crate) fn replace(&mut self, index: usize, at_once: bool) {
        if self.is_draining() {
            return;
        }
        if at_once {
            self.order_process(index);
            return;
        }
        let fraction = self.rng.f64();
        let restart = self.pool_settings(index).restart;
        let worker = &mut self.workers[index];
        worker.unproductive = worker.unproductive.saturating_add(1);
        let (pool, id, unproductive) = (worker.pool, worker.id, worker.unproductive);
        let wait = restart::wait(&restart, unproductive, fraction);
        self.out.tell(Fact::WorkerBackingOff { pool, worker: id, wait, unproductive });
        if wait.is_zero() {
            self.order_process(index);
            return;
        }
        let at = self.now + wait;
        self.workers[index].backoff_until = Some(at);
        self.timers.arm(Timer { at, kind: TimerKind::RestartBackoff, owner: TimerOwner::Worker(id) });
    }

    /// The wait before a worker's next incarnation is over.
    pub(crate) fn restart_due(&mut self, index: usize) {
        self.workers[index].backoff_until = None;
        self.order_process(index);
    }

    /// A shutdown began while a worker was backing off.
    pub(crate) fn cancel_restart(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if let Some(at) = worker.backoff_until.take() {
            let owner = TimerOwner::Worker(worker.id);
            self.timers.cancel(Timer { at, kind: TimerKind::RestartBackoff, owner });
        }
    }
}
