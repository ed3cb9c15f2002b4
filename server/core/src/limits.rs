//! What happens when a time limit of a request passes.
//!
//! It owns the consequences of each timer of a request. It must never settle a request whose process still lives:
//! what runs is ended first, and the outcome is told at its death.

use crate::action::Outcome;
use crate::core::Core;
use crate::evidence::IntentKind;
use crate::fact::Fact;
use crate::ids::{AttemptNumber, RequestId};
use crate::process::{Phase, Rung, Settled};
use crate::reason::{KillReason, TimeoutWhich};
use crate::request::RequestPhase;
use crate::settings::MethodSettings;
use crate::timers::{ClassId, Timer, TimerOwner, Timers};
use crate::view::TimerKind;

/// The timeout classes of a method's limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MethodClasses {
    pub(crate) deadline: ClassId,
    pub(crate) attempt: Option<ClassId>,
}

impl MethodClasses {
    pub(crate) fn new(timers: &mut Timers, method: &MethodSettings) -> Self {
        Self {
            deadline: timers.class(TimerKind::Deadline, method.deadline),
            attempt: method.attempt_timeout.map(|limit| timers.class(TimerKind::AttemptTimeout, limit)),
        }
    }
}

impl<Q, A> Core<Q, A> {
    /// Routes a timer that is due to its owner.
    pub(crate) fn timer_fired(&mut self, timer: Timer) {
        match timer.owner {
            TimerOwner::Request(id, attempt) => self.request_timer_fired(id, attempt, timer.kind),
            TimerOwner::Process(key) => self.process_timer_fired(key, timer.kind),
            TimerOwner::Worker(worker) => self.restart_due(usize::from(worker.0)),
            TimerOwner::Broker => self.drain_timeout_passed(),
        }
    }

    fn request_timer_fired(&mut self, id: RequestId, attempt: AttemptNumber, kind: TimerKind) {
        match kind {
            TimerKind::Deadline => self.deadline_passed(id),
            TimerKind::AttemptTimeout => self.attempt_timeout_passed(id, attempt),
            TimerKind::RetryBackoff => self.backoff_over(id),
            TimerKind::StartTimeout
            | TimerKind::Ladder
            | TimerKind::ExitGrace
            | TimerKind::KillTimeout
            | TimerKind::RestartBackoff
            | TimerKind::StableAfter
            | TimerKind::DrainTimeout => debug_assert!(false, "{kind:?} is no timer of a request"),
        }
    }

    /// The wait before a further attempt is over.
    fn backoff_over(&mut self, id: RequestId) {
        let pool = self.requests.open_record(id).pool;
        self.pools[usize::from(pool.0)].queue.remove(&self.requests, id);
        self.put_back(id);
    }

    /// A request that does not run ends at once. What runs is killed, and its outcome waits for the death.
    fn deadline_passed(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        record.deadline_armed = false;
        let phase = record.phase;
        self.tell_limit(id, TimeoutWhich::Deadline);
        let RequestPhase::Held { process } = phase else {
            let outcome = self.timed_out(id, TimeoutWhich::Deadline);
            self.end_request(id, outcome);
            return;
        };
        let index = self.find_process(process).expect("a held request's process is its worker's present one");
        let life = self.process(index);
        let runs = life.front().is_some_and(|held| held.request == id)
            || life.awaiting_death.iter().any(|held| held.request == id);
        if !runs {
            self.abandon(id, Settled::Deadline);
            return;
        }
        match life.phase {
            // It died by itself before; only the shell's search for the evidence is bounded.
            Phase::Collecting => self.bound_collecting(index),
            Phase::Ending(Rung::Killed) => {
                self.requests.open_record(id).limit = Some(TimeoutWhich::Deadline);
            }
            Phase::Spawning
            | Phase::Starting
            | Phase::Serving
            | Phase::Cancelling
            | Phase::Ending(
                Rung::Unborn
                | Rung::Draining
                | Rung::Asked
                | Rung::Leaving
                | Rung::ConnectionLost
                | Rung::Terminated,
            ) => {
                self.requests.open_record(id).limit = Some(TimeoutWhich::Deadline);
                self.kill(index, IntentKind::Kill(KillReason::Deadline));
            }
        }
    }

    /// The ladder begins: cancel frame first. A process that is dying anyway needs none.
    fn attempt_timeout_passed(&mut self, id: RequestId, attempt: AttemptNumber) {
        let record = self.requests.open_record(id);
        record.attempt_armed = false;
        debug_assert_eq!(record.attempt(), attempt, "timers of earlier attempts are cancelled");
        let RequestPhase::Held { process } = record.phase else {
            debug_assert!(false, "only a held request has an attempt timer");
            return;
        };
        let index = self.find_process(process).expect("a held request's process is its worker's present one");
        let phase = self.process(index).phase;
        if !matches!(phase, Phase::Serving | Phase::Ending(Rung::Draining)) {
            return;
        }
        self.requests.open_record(id).limit = Some(TimeoutWhich::Attempt);
        self.tell_limit(id, TimeoutWhich::Attempt);
        self.send_cancel(index, id, attempt);
        self.begin_cancelling(index, KillReason::AttemptTimeout, None);
    }

    fn tell_limit(&mut self, id: RequestId, which: TimeoutWhich) {
        let record = self.requests.open_record(id);
        let (pool, method) = (record.pool, record.method);
        self.out.tell(Fact::LimitPassed { pool, method, request: id, which });
    }

    /// The outcome of a request that ran past a limit, with the limit's length.
    pub(crate) fn timed_out(&mut self, id: RequestId, which: TimeoutWhich) -> Outcome<A> {
        let record = self.requests.open_record(id);
        let limit = match which {
            TimeoutWhich::Attempt => record.attempt_limit.unwrap_or_default(),
            TimeoutWhich::Deadline | TimeoutWhich::Queue | TimeoutWhich::Progress | TimeoutWhich::Output => {
                record.deadline - record.accepted_at
            }
        };
        Outcome::TimedOut { which, limit }
    }
}
