//! The health of workers, as the shadow sees it.

use lifeboat_core::ids::WorkerId;

use super::Shadow;
use super::process::Process;
use crate::sim::coverage::Coverage;

impl Shadow {
    /// A worker failed once more. Whether that takes it out of service is settled at once.
    pub(super) fn failed_again(&mut self, id: WorkerId) {
        let pool = self.worker_pools[usize::from(id.0)];
        let spared = !self.is_closing(pool) && self.is_anybody_else_in_service(id);
        let out = self.pool_settings(pool).health.disable && self.is_unhealthy(id) && spared;
        let worker = self.worker(id);
        worker.promoted = None;
        worker.must_be_disabled = out && !worker.disabled;
    }

    pub(super) fn is_unhealthy(&self, id: WorkerId) -> bool {
        let health = self.pool_settings(self.worker_pools[usize::from(id.0)]).health;
        let worker = &self.workers[usize::from(id.0)];
        let row = if health.on_failed { worker.failures } else { worker.crashes };
        row >= health.unhealthy_after.get()
    }

    fn is_anybody_else_in_service(&self, id: WorkerId) -> bool {
        let pool = self.worker_pools[usize::from(id.0)];
        let serves = |other: &Process| other.pool == pool && other.is_ready() && !other.is_ending();
        let others = self.processes.iter().filter(|other| other.key.worker != id && serves(other));
        others.into_iter().any(|other| !self.workers[usize::from(other.key.worker.0)].disabled)
    }

    pub(super) fn unhealthy(&mut self, id: WorkerId, failures: u32, coverage: &mut Coverage) {
        assert!(self.is_unhealthy(id), "{id:?} has not failed as often");
        let worker = self.worker(id);
        assert!(!worker.told_unhealthy, "{id:?} is told unhealthy twice");
        assert_eq!(failures, worker.failures, "{id:?}: failures in a row");
        worker.told_unhealthy = true;
        let stays = !worker.must_be_disabled && !worker.disabled;
        coverage.see("worker unhealthy");
        let pool = self.worker_pools[usize::from(id.0)];
        if stays && self.pool_settings(pool).health.disable && !self.is_closing(pool) {
            assert!(!self.is_anybody_else_in_service(id));
            coverage.see("the last one in service stays");
        }
    }

    pub(super) fn healthy(&mut self, id: WorkerId, coverage: &mut Coverage) {
        assert!(!self.is_unhealthy(id), "{id:?} has failed too often");
        let worker = self.worker(id);
        assert!(std::mem::take(&mut worker.told_unhealthy), "{id:?} was healthy");
        coverage.see("worker healthy again");
    }

    pub(super) fn disabled(&mut self, id: WorkerId, coverage: &mut Coverage) {
        assert!(std::mem::take(&mut self.worker(id).must_be_disabled), "{id:?} is to stay in service");
        // The one that was to follow the process that died now is not wanted any more.
        let worker = self.worker(id);
        if worker.promoted.take().is_some() {
            worker.present = None;
            coverage.see("unhealthy with a successor on its way");
        }
        self.drain(id);
        coverage.see("unhealthy worker out of service");
    }

    /// What this entry point had to tell of it was told.
    pub(super) fn check_health(&self) {
        for (id, worker) in (0..).map(WorkerId).zip(&self.workers) {
            assert!(!worker.must_be_disabled, "{id:?} is taken out of service");
            assert_eq!(worker.told_unhealthy, self.is_unhealthy(id), "{id:?}: its health is told");
        }
    }
}
