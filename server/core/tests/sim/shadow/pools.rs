//! Pools that trip and come back, and processes that are replaced as planned, checked against what was seen.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::fact::{Death, TripWhy};
use lifeboat_core::ids::{PoolId, ProcessKey};
use lifeboat_core::reason::{CrashReason, KillReason, StopReason};
use lifeboat_core::restart;

use super::pool::Trip;
use super::process::Process;
use super::{Shadow, Wait};
use crate::sim::coverage::Coverage;

impl Shadow {
    /// What a crash means for its worker and its pool.
    pub(super) fn weigh(&mut self, death: &Arc<Death>, coverage: &mut Coverage) {
        let (now, key) = (self.now, death.process);
        let closing = self.is_closing(death.pool);
        let by_hand = death.reason == CrashReason::Killed(KillReason::Operator);
        let settings = self.settings.pool(death.pool).restart;
        let worker = self.worker(key.worker);
        let (present, successor) = (worker.present == Some(key), worker.successor == Some(key));
        let (disabled, due) = (worker.disabled, worker.due.is_some());
        worker.must_back_off = None;
        if death.productive || by_hand || closing {
            worker.row = if death.productive && present { 0 } else { worker.row };
            return;
        }
        let closed = self.look_pool(death.pool).is_closed();
        if !present {
            self.worker(key.worker).must_back_off = (successor && due && closed).then_some(Wait::Longer);
            return;
        }
        let worn_out = self.worn_out(death.pool, key, false);
        let may_be = self.worn_out(death.pool, key, true).is_some();
        let pool = self.pool(death.pool);
        pool.may_wear_out = may_be && pool.is_closed();
        let count = pool.note_unproductive(now, settings.window);
        pool.must_trip = match (pool.trip, settings.max_restarts) {
            (Trip::HalfOpen(_), _) => Some(TripWhy::ChanceLost),
            (Trip::Closed, Some(most)) if count >= most.get() => Some(TripWhy::TooMany(most.get())),
            (Trip::Closed, Some(_)) => worn_out,
            (Trip::Closed, None) | (Trip::Open(_), _) => None,
        };
        match pool.must_trip {
            Some(TripWhy::ChanceLost) => coverage.see("opened again"),
            Some(TripWhy::WornOut(_)) => coverage.see("worn out"),
            Some(TripWhy::TooMany(_)) | None => {}
        }
        self.worker(key.worker).must_back_off = (closed && !disabled).then_some(Wait::Longer);
    }

    /// All workers wait their longest, three times in a row at least, or had too many each; and nobody serves. Whether
    /// those of whom that is not sure count is up to the caller.
    fn worn_out(&self, id: PoolId, last: ProcessKey, unsure: bool) -> Option<TripWhy> {
        let settings = self.settings.pool(id).restart;
        let most = settings.max_restarts?.get();
        let in_service: Vec<u32> = (self.workers_of(id).into_iter())
            .filter(|worker| !self.workers[usize::from(worker.0)].disabled)
            .filter(|worker| !(unsure && self.workers[usize::from(worker.0)].row_unsure))
            .map(|worker| self.workers[usize::from(worker.0)].row + u32::from(worker == last.worker))
            .collect();
        let waits_longest = |row| row >= 3 && restart::wait(&settings, row, 1.0) == settings.max;
        let hopeless = in_service.iter().all(|row| *row >= most || waits_longest(*row));
        let serves = |other: &Process| other.pool == id && other.is_ready() && !other.is_ending();
        if in_service.is_empty() && !unsure || !hopeless || self.processes.iter().any(serves) {
            return None;
        }
        Some(TripWhy::WornOut(self.workers[usize::from(last.worker.0)].row + 1))
    }

    pub(super) fn tripped(
        &mut self,
        id: PoolId,
        why: TripWhy,
        wait: Duration,
        because: &Arc<Death>,
        coverage: &mut Coverage,
    ) {
        let now = self.now;
        let settings = self.settings.pool(id).restart;
        let pool = self.look_pool(id);
        let may_trip = pool.may_wear_out && matches!(why, TripWhy::WornOut(_));
        assert!(pool.must_trip == Some(why) || may_trip, "{id:?} has no such reason to trip: {why:?}");
        assert_eq!((because.pool, because.productive), (id, false), "{id:?} trips for its own");
        let (least, most) = (restart::longest_wait(&settings, 0.0), restart::longest_wait(&settings, 1.0));
        assert!(least <= wait && wait <= most && most == settings.max, "{id:?}: waits for {wait:?}");
        if self.look_pool(id).waiting.iter().any(|serial| self.peek(*serial).ended > 0) {
            coverage.see("tripped while some came back");
        }
        self.pool(id).become_trip(Trip::Open(now + wait));
        for worker in self.workers_of(id) {
            let worker = self.worker(worker);
            worker.backoff_until = None;
            worker.must_back_off = None;
        }
    }

    pub(super) fn probed(&mut self, id: PoolId) {
        let now = self.now;
        let stable_after = self.settings.pool(id).restart.stable_after;
        let Trip::Open(until) = self.look_pool(id).trip else { panic!("{id:?} is not tripped") };
        assert!(now >= until, "{id:?}: its chance comes too early");
        self.pool(id).become_trip(Trip::HalfOpen(now));
        // Who was stable before shows it again; who becomes so just now does so after the chance began.
        let just_now: Vec<ProcessKey> = self.stable.iter().map(|(_, key)| *key).collect();
        for process in self.processes.iter_mut().filter(|process| process.pool == id && process.is_ready()) {
            let before = process.is_stable && !just_now.contains(&process.key);
            if before && process.leaving.is_empty() && !process.is_ending() {
                process.is_stable = false;
                process.stable_at = Some(now + stable_after);
            }
        }
    }

    pub(super) fn recovered(&mut self, id: PoolId, coverage: &mut Coverage) {
        let pool = self.look_pool(id);
        assert!(!pool.is_closed(), "{id:?} was not tripped");
        let answered = self.ok_from.is_some_and(|key| self.worker_pools[usize::from(key.worker.0)] == id);
        let stable = self.stable.iter().any(|(pool, _)| *pool == id);
        assert!(answered || stable || pool.must_recover, "{id:?} has shown nothing that lets it come back");
        coverage.see(match (answered, stable) {
            (true, _) => "came back by an ok",
            (_, true) => "came back by being stable",
            _ => "came back by a restart",
        });
        self.pool(id).forget();
        for worker in self.workers_of(id) {
            let worker = self.worker(worker);
            if !answered && !stable {
                worker.row = 0;
            } else if worker.row > 0 && worker.present.is_none() && !worker.disabled {
                worker.must_back_off = Some(Wait::AsBefore);
            }
        }
    }

    /// A process is to be replaced: the reason is true.
    pub(super) fn recycle_due(&mut self, key: ProcessKey, reason: StopReason, coverage: &mut Coverage) {
        let now = self.now;
        let pool = self.worker_pools[usize::from(key.worker.0)];
        let recycle = self.pool_settings(pool).recycle;
        let worker = &self.workers[usize::from(key.worker.0)];
        assert_eq!(worker.present, Some(key), "{key} is not the one that serves");
        assert!(worker.due.is_none() && !worker.disabled, "{key} is due already, or out of service");
        let process = self.look(key).expect("it is known");
        let ready_at = process.ready_at.unwrap_or_else(|| panic!("{key} was never ready"));
        let true_reason = match reason {
            StopReason::RecycleRequests => recycle.requests.is_some_and(|most| process.served >= most.get()),
            StopReason::RecycleAge => {
                recycle.age.is_some_and(|age| now - ready_at + Duration::from_micros(1) >= age.mul_f64(0.9))
            }
            StopReason::RecycleIdle => {
                let idle = recycle.idle.is_some_and(|idle| now >= process.active_at + idle);
                idle && process.load() == 0 && process.served > 0
            }
            StopReason::RecycleMemory => process.memory_high,
            StopReason::RecycleAsked => process.asked_to_retire,
            StopReason::Operator => process.may_be_restarted,
            StopReason::Reload | StopReason::ScaleIn | StopReason::Drain | StopReason::Shutdown => false,
        };
        assert!(true_reason, "{key}: {reason:?} is not true: {process:?}");
        if reason == StopReason::Operator && ready_at == now {
            coverage.see("restarted when it was ready");
        }
        coverage.see("recycle due");
        self.worker(key.worker).due = Some(reason);
    }

    /// Everybody who is due is found, one of a pool has its turn, and the old one leaves when its work is done.
    pub(super) fn check_recycling(&self) {
        for (index, worker) in self.workers.iter().enumerate() {
            let pool = self.worker_pools[index];
            let Some(process) = worker.present.and_then(|key| self.look(key)) else { continue };
            if worker.due.is_none() && !worker.disabled && !self.draining {
                self.check_not_due(process, pool);
            }
        }
        for place in 0..self.pools.len() {
            let id = PoolId(u16::try_from(place).unwrap());
            self.check_turn(id);
        }
        for process in &self.processes {
            let done = !process.leaving.is_empty() && process.load() == 0 && process.is_ready();
            if done && process.first_sign.is_none() && process.works() && process.stopped.is_empty() {
                assert!(process.drained, "{} has finished and is not told to leave", process.key);
            }
        }
    }

    fn check_not_due(&self, process: &Process, pool: PoolId) {
        let (key, told, recycle) = (process.key, self.time_told, self.pool_settings(pool).recycle);
        let Some(ready_at) = process.ready_at.filter(|_| !process.is_ending()) else { return };
        assert!(!process.memory_high, "{key} uses too much memory and is not replaced");
        assert!(!process.asked_to_retire, "{key} has asked for it and is not replaced");
        assert!(!process.may_be_restarted || self.is_closing(pool), "{key} is not restarted");
        let served = recycle.requests.is_some_and(|most| process.served >= most.get());
        assert!(!served || process.is_cancelling(), "{key} has served and is not replaced");
        let old = recycle.age.is_some_and(|age| ready_at + age <= told);
        assert!(!old, "{key} is old and is not replaced");
        let idle = recycle.idle.is_some_and(|idle| process.active_at + idle <= told);
        assert!(!idle || process.load() > 0 || process.served == 0, "{key} is idle and is not replaced");
    }

    /// A pool gets one successor ready at a time, and gets it as soon as it may.
    fn check_turn(&self, id: PoolId) {
        let workers = self.workers_of(id);
        let successors =
            workers.iter().filter(|worker| self.workers[usize::from(worker.0)].successor.is_some()).count();
        assert!(successors <= 1, "{id:?} gets {successors} successors ready at once");
        if successors > 0 || !self.look_pool(id).is_closed() || self.is_closing(id) {
            return;
        }
        for worker in workers {
            let place = &self.workers[usize::from(worker.0)];
            let lives = self.processes.iter().filter(|other| other.key.worker == worker && !other.concluded);
            let waits = place.due.is_some() && place.backoff_until.is_none() && lives.count() == 1;
            assert!(!waits, "{worker:?}: its turn has come, and no successor is ordered");
        }
    }
}
