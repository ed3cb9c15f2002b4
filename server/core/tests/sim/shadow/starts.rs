//! Processes that are ordered: none too many, none too early.

use lifeboat_core::ids::ProcessKey;

use super::Shadow;
use super::process::Process;
use crate::sim::coverage::Coverage;

impl Shadow {
    /// A worker's first process, its next one, or the successor of one that is due.
    pub(super) fn starting(&mut self, key: ProcessKey, coverage: &mut Coverage) {
        let now = self.now;
        let pool = self.worker_pools[usize::from(key.worker.0)];
        assert!(!self.is_closing(pool), "{key}: nothing is started in a pool that is drained");
        let lives = self.processes.iter().filter(|other| other.key.worker == key.worker && !other.concluded);
        assert!(lives.count() < 2, "{key}: two processes of one worker at most");
        let slots = self.pool_settings(pool).slots.get();
        let place = self.look_pool(pool);
        assert!(!place.is_open(), "{key}: a tripped pool starts nothing");
        if place.is_half_open() {
            let up = self.processes.iter().any(|other| other.pool == pool && other.is_up());
            assert!(!up, "{key}: a pool that has its chance has one process");
        }
        let worker = self.worker(key.worker);
        assert!(!worker.disabled, "{key}: its worker is out of service");
        assert_eq!(worker.backoff_until, None, "{key}: its worker backs off");
        assert_eq!(worker.must_back_off, None, "{key}: its worker has to wait first");
        if worker.present.is_some() {
            assert!(worker.due.is_some(), "{key}: nobody wanted a successor");
            assert!(worker.successor.is_none(), "{key}: one successor at a time");
            worker.successor = Some(key);
            coverage.see("successor ordered");
        } else {
            worker.present = Some(key);
        }
        assert!(self.processes.iter().all(|other| other.key != key), "{key}: names are never used again");
        self.processes.push(Process::new(key, pool, now, slots));
    }
}
