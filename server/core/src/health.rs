//! The health of workers: who failed too often in a row, and what comes of it.
//!
//! It owns when a worker becomes unhealthy, when it is healthy again and whether it is taken out of service. It must never
//! take a worker out of a pool in which no other one serves: whether a whole pool can serve is the breaker's question.

use crate::berth::berths_of;
use crate::core::Core;
use crate::fact::Fact;
use crate::ids::WorkerId;
use crate::process::Process;
use crate::settings::HealthSettings;
use crate::worker::Worker;

impl<Q, A> Core<Q, A> {
    /// A worker's run of failures has changed.
    pub(crate) fn mind_health(&mut self, index: usize) {
        let worker = &self.workers[index];
        let (id, pool) = (worker.id, worker.pool);
        let health = self.settings.pool(pool).health;
        let unhealthy = is_unhealthy(worker, health);
        if unhealthy != worker.unhealthy {
            self.workers[index].unhealthy = unhealthy;
            self.out.tell(if unhealthy {
                let failures = self.workers[index].consecutive_failures;
                let last_crash = self.workers[index].last_crash.map(|(_, label)| label);
                Fact::WorkerUnhealthy { pool, worker: id, failures, last_crash }
            } else {
                Fact::WorkerHealthy { pool, worker: id }
            });
        }
        if unhealthy && health.disable && self.can_be_spared(index) {
            self.out.tell(Fact::WorkerDisabled { pool, worker: id });
            self.drain_worker(index);
        }
    }

    /// Another worker of its pool is in service and serves, and nobody has taken this one out yet.
    fn can_be_spared(&self, index: usize) -> bool {
        let worker = &self.workers[index];
        let place = &self.pools[usize::from(worker.pool.0)];
        let mut others = place.workers().filter(|id| *id != worker.id);
        !worker.disabled && !self.is_closing(worker.pool) && others.any(|id| self.serves(id))
    }

    /// It is in service and has a process that is ready and is to go on.
    fn serves(&self, id: WorkerId) -> bool {
        let mut theirs = berths_of(id).into_iter().filter_map(|berth| self.berthed(berth));
        !self.workers[usize::from(id.0)].disabled && theirs.any(Process::stays)
    }
}

const fn is_unhealthy(worker: &Worker, health: HealthSettings) -> bool {
    let row = if health.on_failed { worker.consecutive_failures } else { worker.consecutive_crashes };
    row >= health.unhealthy_after.get()
}
