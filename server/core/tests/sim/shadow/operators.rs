//! What people order, as the shadow sees it.

use lifeboat_core::event::{Operation, Target};
use lifeboat_core::ids::{PoolId, WorkerId};
use lifeboat_core::reason::{KillReason, StopReason};

use super::Shadow;
use super::request::Place;
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn operated(&mut self, operation: Operation, target: Target, coverage: &mut Coverage) {
        let workers = match target {
            Target::Pool(pool) if usize::from(pool.0) < self.pools.len() => self.workers_of(pool),
            Target::Worker(id) if usize::from(id.0) < self.workers.len() => vec![id],
            Target::Pool(_) | Target::Worker(_) => return,
        };
        self.operated = true;
        if self.draining && operation != Operation::Kill {
            return;
        }
        match (operation, target) {
            (Operation::Restart, Target::Pool(pool)) => self.reopen(pool, coverage),
            (Operation::Drain, Target::Pool(pool)) => self.close_pool(pool, coverage),
            (Operation::Restart | Operation::Drain | Operation::Kill, _) => {}
        }
        for worker in workers {
            match operation {
                Operation::Restart => self.restart(worker),
                Operation::Drain => self.drain(worker),
                Operation::Kill => self.kill(worker),
            }
        }
    }

    fn reopen(&mut self, pool: PoolId, coverage: &mut Coverage) {
        if self.look_pool(pool).drained {
            coverage.see("drained pool restarted");
        }
        let place = self.pool(pool);
        place.drained = false;
        place.must_recover = !place.is_closed();
        for worker in self.workers_of(pool) {
            self.worker(worker).disabled = false;
        }
    }

    /// What waits is closed; the pool takes nothing new.
    fn close_pool(&mut self, pool: PoolId, coverage: &mut Coverage) {
        let waiting: Vec<u64> =
            self.open.iter().copied().filter(|serial| self.waits_in(*serial, pool)).collect();
        if !waiting.is_empty() {
            coverage.see("closed by the drain of its pool");
        }
        self.must_end.extend(waiting);
        let place = self.pool(pool);
        place.drained = true;
        place.forget();
    }

    fn waits_in(&self, serial: u64, pool: PoolId) -> bool {
        let request = self.peek(serial);
        request.pool == pool && matches!(request.place, Place::Waiting | Place::Backoff(_))
    }

    /// Nobody backs off any longer; who serves is replaced.
    fn restart(&mut self, id: WorkerId) {
        if self.is_closing(self.worker_pools[usize::from(id.0)]) {
            return;
        }
        let worker = self.worker(id);
        worker.disabled = false;
        worker.backoff_until = None;
        worker.row = 0;
        worker.successor_row = 0;
        (worker.failures, worker.crashes) = (0, 0);
        let (present, successor) = (worker.present, worker.successor);
        for key in [present, successor].into_iter().flatten() {
            // One that is not ready yet was ordered before: it is replaced when it is.
            if let Some(process) = self.process(key) {
                process.may_be_restarted = process.is_ready() || process.is_starting();
            }
        }
    }

    /// Out of service: what it holds is finished, what is not ready is killed.
    pub(super) fn drain(&mut self, id: WorkerId) {
        let worker = self.worker(id);
        worker.disabled = true;
        worker.backoff_until = None;
        worker.must_back_off = None;
        worker.due = None;
        worker.successor = None;
        for process in self.processes.iter_mut().filter(|process| process.key.worker == id) {
            if process.concluded {
                continue;
            }
            process.doomed |= process.is_starting();
            process.leaving.push(StopReason::Drain);
        }
    }

    fn kill(&mut self, id: WorkerId) {
        for process in self.processes.iter_mut().filter(|process| process.key.worker == id) {
            if process.concluded {
                continue;
            }
            process.doomed |= process.is_starting();
            process.killed_by_hand = true;
            process.may_be_killed_for(KillReason::Operator);
        }
    }
}
