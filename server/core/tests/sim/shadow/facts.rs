//! What the core tells observers, checked against what it was told.

use lifeboat_core::Core;
use lifeboat_core::fact::{Fact, RequestEnded};
use lifeboat_core::ids::RequestId;
use lifeboat_core::reason::{AttemptEnd, OutcomeKind, RejectWhy, TimeoutWhich};
use lifeboat_core::settings::OnPanic;

use super::request::Place;
use super::{Admission, AnswerKind, Expected, Shadow};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(crate) fn fact(&mut self, fact: &Fact, core: &Core<u64, u64>, coverage: &mut Coverage) {
        match fact {
            Fact::RequestEnded(ended) => self.request_ended(ended, core, coverage),
            Fact::AttemptEnded { request, attempt, process, end, duration, .. } => {
                let serial = self.serial(core, *request);
                self.attempt_ended(serial, *attempt, *process, *end, *duration, coverage);
            }
            Fact::FirstDispatched { .. } => {}
            Fact::Retried { request, next, backoff, suspect, .. } => {
                self.retried(self.serial(core, *request), *next, *backoff, *suspect, coverage);
            }
            Fact::SetApart { process, apart, .. } => self.set_apart(*process, *apart, coverage),
            Fact::LimitPassed { request, which, .. } => {
                self.limit_passed(self.serial(core, *request), *which);
            }
            Fact::RequeuedFree { request, .. } => self.given_back(self.serial(core, *request), coverage),
            Fact::AnswerRefused { .. } => {
                assert_eq!(self.expected, Expected::Refusal, "an answer is refused that is not an old one");
                self.expected = Expected::Nothing;
            }
            Fact::Saved { request, .. } => self.save_told(self.serial(core, *request), true, coverage),
            Fact::SaveDropped { request, .. } => {
                self.save_told(self.serial(core, *request), false, coverage);
            }
            Fact::WorkerStarting { process, .. } => self.starting(*process, coverage),
            Fact::WorkerReady { process, .. } => {
                assert!(self.known(*process).is_ready(), "{process} is not ready");
            }
            Fact::Signalled { process, intent, .. } => self.signalled(*process, intent, coverage),
            Fact::WorkerCrashed(death) => self.crashed(death, coverage),
            Fact::WorkerStopped { process, reason, .. } => self.stopped(*process, *reason, coverage),
            Fact::SlotRetired { process, slot, left, .. } => {
                let process = self.known(*process);
                assert!(process.slot(*slot).retired, "no handler panicked there");
                let others = process.slots.iter().filter(|slot| !slot.retired).count();
                assert_eq!(usize::from(*left), others, "{}: slots that are left", process.key);
            }
            Fact::SlotKept { pool, process, slot, .. } => {
                assert_eq!(self.pool_settings(*pool).on_panic, OnPanic::Keep, "nobody allowed to keep it");
                assert!(!self.known(*process).slot(*slot).retired, "a retired slot is not kept");
                coverage.see("a slot kept after a panic");
            }
            Fact::RecycleDue { process, reason, .. } => self.recycle_due(*process, *reason, coverage),
            Fact::PoolTripped { pool, why, wait, because } => {
                self.tripped(*pool, *why, *wait, because, coverage);
            }
            Fact::PoolProbed { pool } => self.probed(*pool),
            Fact::PoolRecovered { pool } => self.recovered(*pool, coverage),
            Fact::Operated { .. } => {
                assert!(self.operated, "nobody ordered that");
                self.operated = false;
            }
            Fact::WorkerBackingOff { worker, wait, unproductive, .. } => {
                self.backing_off(*worker, *wait, *unproductive);
            }
            Fact::WorkerUnhealthy { worker, failures, .. } => self.unhealthy(*worker, *failures, coverage),
            Fact::WorkerHealthy { worker, .. } => self.healthy(*worker, coverage),
            Fact::WorkerDisabled { worker, .. } => self.disabled(*worker, coverage),
            Fact::DescendantsLeaked { .. } => {}
            Fact::UnkillableDied { process, .. } => {
                let process = self.known(*process);
                assert!(process.unkillable && process.evidence, "only what was called unkillable dies late");
            }
            Fact::Quarantined(told) => self.quarantined(told, coverage),
            Fact::QuarantineReleased(told) => self.released(told, coverage),
            Fact::DrainBegan => assert!(self.draining, "nobody asked for a shutdown"),
        }
    }

    fn serial(&self, core: &Core<u64, u64>, id: RequestId) -> u64 {
        let known = self.by_id.get(&id).copied();
        known.or_else(|| core.payload(id).copied()).unwrap_or_else(|| panic!("{id} is not known"))
    }

    /// What has not started goes back free of charge: from the dead, and from a slot whose handler panicked.
    fn given_back(&mut self, serial: u64, coverage: &mut Coverage) {
        let Place::Held(key) = self.peek(serial).place else { panic!("{serial} was not held") };
        assert!(!self.in_quarantine(serial), "{serial}: its body gets no process");
        let process = self.known(key);
        let slot = process.slots.iter().find(|slot| slot.line.iter().any(|held| held.serial == serial));
        let slot = slot.expect("it was in a line");
        let held = slot.line.iter().find(|held| held.serial == serial).expect("it was in this line");
        assert!(process.concluded || slot.retired, "{serial}: only the dead and retired slots give back");
        assert!(!held.started, "{serial}: what has started is not given back free of charge");
        if !process.concluded {
            coverage.see("given back by a retired slot");
            // It may go to another slot of the same process at once.
            for slot in process.slots.iter_mut().filter(|slot| slot.retired) {
                slot.line.retain(|held| held.serial != serial);
            }
        } else if process.never_read == Some(serial) {
            coverage.see("given back unread");
        } else if process.cleared.contains(&serial) {
            coverage.see("given back not begun");
        }
        self.place(serial, Place::Waiting);
    }

    fn request_ended(&mut self, ended: &RequestEnded, core: &Core<u64, u64>, coverage: &mut Coverage) {
        let now = self.now;
        assert!(!ended.past_deadline, "a promise is broken");
        let serial = match (ended.request, self.expected) {
            (Some(id), _) => self.serial(core, id),
            (None, Expected::Admission(serial, Admission::Refused(why))) => {
                assert_eq!(ended.rejected, Some(why), "{serial}: refused for another reason");
                serial
            }
            (None, _) => panic!("a request is refused that should not be: {:?}", self.expected),
        };
        let request = self.peek(serial);
        assert!(!request.is_done(), "{serial} has an outcome already");
        assert_eq!(ended.attempts, request.attempts, "{serial}: attempts are counted");
        assert_eq!(ended.duration, now - request.accepted_at);
        assert_eq!(ended.outcome == OutcomeKind::Rejected, ended.rejected.is_some());
        if let Place::Held(_) = request.place {
            self.ends_behind(serial, ended.outcome, coverage);
        }
        self.check_end(serial, ended, coverage);
        if self.peek(serial).cancelled {
            assert_eq!(ended.outcome, OutcomeKind::Cancelled, "{serial}: a cancel is final");
        }
        self.refuse_denied_retry(serial, ended.outcome, coverage);
        self.place(serial, Place::Done(ended.outcome));
        self.ended += 1;
        self.open.remove(&serial);
        let kill_timeout =
            ended.pool.map_or_else(Default::default, |pool| self.pool_settings(pool).kill_timeout);
        let deadline = self.peek(serial).deadline;
        self.bounds.remove(&(deadline + kill_timeout + super::rules::SLACK, serial));
        self.deadlines.remove(&(deadline, serial));
        if !self.peek(serial).connected {
            self.outcomes_of_the_gone += 1;
        }
    }

    /// A request that a process holds ends without an attempt of it having just ended: it had not started.
    fn ends_behind(&mut self, serial: u64, outcome: OutcomeKind, coverage: &mut Coverage) {
        let Place::Held(key) = self.peek(serial).place else { return };
        let request = self.peek(serial);
        let (pool, started) = (request.pool, request.attempts > request.ended);
        assert!(!started, "{serial}: its attempt ends before it does");
        let unserved = self.look_pool(pool).is_open() || self.in_quarantine(serial);
        let closing = self.is_closing(pool);
        let process = self.known(key);
        let unread = process.never_read == Some(serial);
        let slot = process.slots.iter().find(|slot| slot.line.iter().any(|held| held.serial == serial));
        let over = process.concluded || slot.is_some_and(|slot| slot.retired);
        let dead = process.exited;
        assert!(!over || closing || unserved, "{serial}: it would have been given back");
        match outcome {
            OutcomeKind::Closed if unread => coverage.see("closed unread"),
            OutcomeKind::TimedOut => coverage.see("timed out while held behind"),
            OutcomeKind::Rejected if self.look_pool(pool).is_open() => {
                coverage.see("rejected when given back to a tripped pool");
            }
            OutcomeKind::Ok
            | OutcomeKind::Failed
            | OutcomeKind::Crashed
            | OutcomeKind::Cancelled
            | OutcomeKind::Rejected
            | OutcomeKind::Closed => {}
        }
        // Once its process is known to be dead it is sure that it has not begun it.
        if !over && !dead {
            coverage.see("may have started");
            self.request(serial).may_have_started = true;
        }
    }

    fn check_end(&self, serial: u64, ended: &RequestEnded, coverage: &mut Coverage) {
        let request = self.peek(serial);
        match ended.outcome {
            OutcomeKind::Ok => {
                assert_eq!(self.expected, Expected::Answer { serial, kind: AnswerKind::Ok });
                assert_eq!(ended.late, request.limit.is_some(), "{serial}: late");
                assert_eq!((ended.reason, ended.report), (None, None), "{serial}: nothing ended it");
            }
            OutcomeKind::Failed => assert_eq!(request.last_end, Some(AttemptEnd::Failed)),
            OutcomeKind::Crashed => {
                assert_eq!(request.last_end, Some(AttemptEnd::Crashed));
                assert!(ended.reason.is_some(), "{serial}: what ended it is told");
                assert!(!self.is_closing(request.pool), "{serial}: expected is not unexpected");
                if request.place != Place::Limbo && self.in_quarantine(serial) {
                    coverage.see("quarantined: ended between attempts");
                }
            }
            OutcomeKind::TimedOut => {
                // What waits for a tripped pool, or is given back to it, ends as its last attempt did.
                let waited = request.place != Place::Limbo && request.attempts == request.ended;
                let tripped = waited && request.last_end == Some(AttemptEnd::TimedOut);
                let quarantined = self.in_quarantine(serial);
                let tripped = tripped && (self.look_pool(request.pool).is_open() || quarantined);
                assert!(request.limit.is_some() || tripped, "{serial}: no limit passed");
                let queue = request.limit == Some(TimeoutWhich::Queue);
                assert!(!queue || !request.dispatched, "{serial}: it had been dispatched");
            }
            OutcomeKind::Cancelled => assert!(request.cancelled, "{serial}: nobody cancelled it"),
            OutcomeKind::Closed => assert!(self.is_closing(request.pool), "{serial}: nobody shuts down"),
            OutcomeKind::Rejected if ended.request.is_none() => {}
            OutcomeKind::Rejected if ended.rejected == Some(RejectWhy::Quarantined) => {
                self.check_refused(serial, coverage);
            }
            OutcomeKind::Rejected => {
                assert_eq!(ended.rejected, Some(RejectWhy::Tripped), "{serial} was accepted");
                assert!(self.look_pool(request.pool).is_open(), "{serial}: its pool is not tripped");
                assert_eq!(request.ended, 0, "{serial}: it ran");
            }
        }
    }
}
