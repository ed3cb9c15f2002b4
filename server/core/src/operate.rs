//! What a person orders: restart, drain, kill.
//!
//! It owns what each means for a pool and its workers. It must never know who asks: the shell has checked that.

use crate::berth::{berths_of, other};
use crate::core::Core;
use crate::event::{Operation, Target};
use crate::evidence::IntentKind;
use crate::fact::Fact;
use crate::ids::PoolId;
use crate::phase::Phase;
use crate::reason::{KillReason, StopReason};
use crate::slot::Settled;

impl<Q, A> Core<Q, A> {
    /// Carries out an order. One for a pool or worker that is not there is ignored; a shutdown heeds none but kills.
    pub(crate) fn operated(&mut self, operation: Operation, target: Target) {
        let (pool, workers) = match target {
            Target::Pool(pool) => match self.pools.get(usize::from(pool.0)) {
                Some(place) => (pool, place.workers().map(|id| usize::from(id.0)).collect()),
                None => return,
            },
            Target::Worker(id) => match self.workers.get(usize::from(id.0)) {
                Some(worker) => (worker.pool, vec![usize::from(id.0)]),
                None => return,
            },
        };
        self.out.tell(Fact::Operated { operation, target });
        if self.is_draining() && operation != Operation::Kill {
            return;
        }
        if operation == Operation::Restart {
            self.note_outdated(&workers);
        }
        match (operation, target) {
            (Operation::Restart, Target::Pool(_)) => self.reopen(pool),
            (Operation::Drain, Target::Pool(_)) => self.close_pool(pool),
            _ => {}
        }
        for worker in workers {
            match operation {
                Operation::Restart => self.restart_worker(worker),
                Operation::Drain => self.drain_worker(worker),
                Operation::Kill => self.kill_worker(worker),
            }
        }
    }

    fn reopen(&mut self, pool: PoolId) {
        self.pools[usize::from(pool.0)].drained = false;
        for worker in self.pools[usize::from(pool.0)].workers() {
            let worker = &mut self.workers[usize::from(worker.0)];
            worker.disabled = false;
            worker.unproductive = 0;
        }
        self.recover(pool);
    }

    /// What waits is closed, as in a shutdown.
    fn close_pool(&mut self, pool: PoolId) {
        self.pools[usize::from(pool.0)].drained = true;
        self.stop_probing(pool);
        for id in self.pools[usize::from(pool.0)].queue.everyone(&self.requests) {
            self.abandon(id, Settled::Closed);
        }
    }

    /// Processes that are not ready yet are replaced too, once they are: another one would take longer.
    fn note_outdated(&mut self, workers: &[usize]) {
        for berth in workers.iter().flat_map(|index| berths_of(self.workers[*index].id)) {
            if let Some(process) = self.berths[berth].process.as_mut() {
                process.outdated |= matches!(process.phase, Phase::Spawning | Phase::Starting);
            }
        }
    }

    fn restart_worker(&mut self, index: usize) {
        let (present, pool) = (self.workers[index].present, self.workers[index].pool);
        // A drained pool is restarted as a whole: a worker of it stays as it is.
        if self.is_closing(pool) {
            return;
        }
        self.workers[index].disabled = false;
        self.cancel_restart(index);
        self.workers[index].unproductive = 0;
        self.workers[index].failed_successors = 0;
        self.workers[index].forgive();
        self.mind_health(index);
        if self.berthed(present).is_some() {
            self.recycle(present, StopReason::Operator);
            self.advance_recycling(pool);
        } else if self.pools[usize::from(pool.0)].breaker.is_closed() {
            self.order_process(present);
        } else {
            // A tripped pool orders its processes itself, one at a time.
            self.go_on_probing(pool);
        }
    }

    /// Out of service until a restart. What it holds is finished first.
    pub(crate) fn drain_worker(&mut self, index: usize) {
        self.workers[index].disabled = true;
        self.cancel_restart(index);
        self.recycled(index);
        let present = self.workers[index].present;
        for berth in [present, other(present)] {
            if self.berthed(berth).is_some() {
                self.retire(berth, StopReason::Drain);
            }
        }
        let pool = self.workers[index].pool;
        self.advance_recycling(pool);
    }

    fn kill_worker(&mut self, index: usize) {
        let worker = self.workers[index].id;
        for berth in berths_of(worker) {
            if self.berthed(berth).is_some() {
                self.kill(berth, IntentKind::Kill(KillReason::Operator));
            }
        }
    }
}
