//! What must be so after every entry point.

use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::ids::PoolId;
use lifeboat_core::reason::AttemptEnd;

use super::request::Place;
use super::{Admission, AnswerKind, Expected, Shadow};

/// What the shell's tick may add: it may be late twice, at the deadline and at the end of `kill_timeout`.
pub(super) const SLACK: Duration = Duration::from_millis(50);

impl Shadow {
    /// Everything that an entry point had to do is done.
    pub(crate) fn after(&mut self, core: &Core<u64, u64>) {
        self.note_asked();
        self.check_expected();
        for serial in std::mem::take(&mut self.must_end) {
            assert!(self.peek(serial).is_done(), "{serial}: cancelled is final");
        }
        for serial in std::mem::take(&mut self.limbo) {
            assert!(self.peek(serial).place != Place::Limbo, "{serial} hangs in the air");
        }
        assert!(self.must_tell_failed.is_empty(), "{:?} were not told", self.must_tell_failed);
        assert_eq!(self.must_tell_accepted, None, "it was not told that it is accepted");
        assert!(!self.operated, "an order was not told");
        self.check_quarantine(core);
        self.check_bounds();
        self.check_limits();
        self.check_waiting();
        self.check_apart();
        self.check_workers();
        self.check_health();
        self.check_recycling();
        self.check_pools();
        self.check_processes();
        self.end_entry();
        assert_eq!(core.is_draining(), self.draining);
        if self.draining {
            self.check_draining();
        }
    }

    fn check_expected(&mut self) {
        if let Some((serial, attempt)) = self.answered.take() {
            assert!(self.peek(serial).ended >= attempt, "{serial}: its attempt was answered and is not over");
        }
        match self.expected {
            Expected::Admission(serial, admission) => self.check_admission(serial, admission),
            Expected::Answer { serial, kind } => {
                let request = self.peek(serial);
                if kind == AnswerKind::Ok {
                    assert!(request.is_done(), "{serial}: a written answer is lost");
                }
            }
            Expected::Refusal => panic!("an old answer was not refused"),
            Expected::Save { serial, .. } => panic!("{serial}: nobody told what became of what it saved"),
            Expected::Forward { serial, what } => panic!("{serial}: its client was not told {what:?}"),
            Expected::Nothing => {}
        }
        self.expected = Expected::Nothing;
    }

    fn check_admission(&mut self, serial: u64, admission: Admission) {
        if admission == Admission::Waits && self.peek(serial).place == Place::Limbo {
            self.place(serial, Place::Waiting);
            return;
        }
        let place = self.peek(serial).place;
        let fits = match admission {
            Admission::Dispatched => matches!(place, Place::Held(_)),
            Admission::Refused(_) => matches!(place, Place::Done(_)),
            Admission::Waits => false,
        };
        assert!(fits, "{serial}: {admission:?} was due, not {place:?}");
    }

    /// What lasts for one entry point is over.
    fn end_entry(&mut self) {
        self.ok_from = None;
        for (pool, key) in std::mem::take(&mut self.stable) {
            // It may have been ended by something else that was due at the same time.
            let stands = self.look(key).is_some_and(|process| !process.is_ending());
            self.worker(key.worker).row_unsure |= !stands;
            let place = self.look_pool(pool);
            assert!(!stands || !place.is_half_open(), "{pool:?} should have come back, because of {key}");
        }
        for process in &mut self.processes {
            process.may_be_restarted &= process.is_starting();
            process.just_doomed = false;
            for slot in process.slots.iter_mut().filter(|slot| slot.retired) {
                slot.line.clear();
            }
            process.killed_by_hand &= !process.exited;
            let only_leaves = !process.leaving.is_empty() && process.first_sign.is_none();
            let leaves = process.is_ending() && !(only_leaves && process.is_cancelling());
            if leaves || process.signal_facts > 0 {
                process.stable_at = None;
            }
        }
        for pool in &mut self.pools {
            assert_eq!(pool.must_trip, None, "a pool should have tripped");
            assert!(!pool.must_recover || pool.changed, "a pool should have come back");
            pool.must_recover = false;
            pool.changed = false;
        }
    }

    /// A shutdown leaves open only what executes, or has stopped past a limit.
    fn check_draining(&self) {
        let executing = self.processes.iter().flat_map(|process| {
            process.stopped.iter().copied().chain(process.executing().map(|held| held.serial))
        });
        let executing: Vec<u64> = executing.collect();
        for serial in &self.open {
            let runs = executing.contains(serial);
            assert!(runs, "{serial} is not closed, though a shutdown has begun and it does not run");
        }
    }

    /// A worker has a process, or waits for its next one, or is not to have any.
    fn check_workers(&self) {
        for (index, worker) in self.workers.iter().enumerate() {
            let pool = self.worker_pools[index];
            let parked = worker.disabled || self.is_closing(pool) || !self.look_pool(pool).is_closed();
            let waits = worker.backoff_until.is_some();
            assert!(worker.present.is_some() || waits || parked, "worker {index} is forgotten");
            assert!(worker.must_back_off.is_none() || parked, "worker {index} does not back off");
            let wanted = worker.present.is_none() || worker.due.is_some();
            assert!(wanted || !waits, "worker {index} waits for nothing");
        }
    }

    fn check_pools(&self) {
        for (place, pool) in self.pools.iter().enumerate() {
            let id = PoolId(u16::try_from(place).unwrap());
            if pool.is_open() {
                for serial in pool.waiting.iter().chain(self.backoffs.iter().map(|(_, serial)| serial)) {
                    let request = self.peek(*serial);
                    let failed = request.last_end == Some(AttemptEnd::Failed);
                    assert!(request.pool != id || failed, "{serial} waits for a tripped pool");
                }
            }
            if let super::pool::Trip::Open(until) = pool.trip {
                assert!(until > self.time_told, "{id:?}: its chance does not come");
            }
            if pool.is_half_open() && !self.is_closing(id) {
                self.check_chance(id);
            }
        }
    }

    /// A pool that has its chance has somebody to take it with.
    fn check_chance(&self, id: PoolId) {
        let idle = self.workers_of(id).into_iter().any(|worker| {
            let worker = &self.workers[usize::from(worker.0)];
            worker.present.is_none() && !worker.disabled
        });
        let lives = self.processes.iter().any(|other| other.pool == id && !other.concluded);
        assert!(lives || !idle, "{id:?} has its chance and nobody to take it");
    }

    /// Nobody is left with the dead; nobody lives on after SIGKILL for longer than `kill_timeout`.
    fn check_processes(&self) {
        for process in &self.processes {
            assert!(process.ordered, "{}: the shell was not told to start it", process.key);
            assert_eq!(process.signals.len(), process.signal_facts, "{}: signals are told", process.key);
            for slot in process.slots.iter().filter(|slot| process.concluded || slot.retired) {
                for held in &slot.line {
                    let left = self.peek(held.serial).is_held_by(process.key);
                    assert!(!left, "{} is left with the dead of {}", held.serial, process.key);
                }
            }
            self.check_rungs(process);
            let kill_timeout = self.pool_settings(process.pool).kill_timeout;
            if let Some(at) = process.killed_at
                && !process.exited
                && !process.concluded
            {
                assert!(self.now <= at + kill_timeout + SLACK, "{} is not called unkillable", process.key);
            }
        }
    }

    /// The account is balanced: as many outcomes as requests, each told once.
    pub(crate) fn assert_empty(&self) {
        assert!(self.finished && self.announced);
        assert_eq!(self.open.len(), 0);
        assert_eq!(self.received, self.ended, "requests in, outcomes out");
        assert_eq!(self.ended, self.outcomes_told + self.outcomes_of_the_gone, "each told once");
        assert!(self.deadlines.is_empty() && self.backoffs.is_empty());
        for pool in &self.pools {
            assert_eq!(pool.depth, (0, 0));
        }
    }
}
