//! What happens when a time limit of a request passes.
//!
//! It owns the consequences of each timer of a request. It must never settle a request whose process still lives:
//! what runs is ended first, and the outcome is told at its death.

use crate::action::Outcome;
use crate::core::Core;
use crate::evidence::IntentKind;
use crate::fact::Fact;
use crate::ids::{AttemptNumber, RequestId};
use crate::phase::{Phase, Rung};
use crate::reason::{KillReason, TimeoutWhich};
use crate::request::RequestPhase;
use crate::slot::Settled;
use crate::time::Timestamp;
use crate::timers::{Timer, TimerOwner};
use crate::view::{OUTPUT_LAG, TimerKind};

impl<Q, A> Core<Q, A> {
    /// Routes a timer that is due to its owner.
    pub(crate) fn timer_fired(&mut self, timer: Timer) {
        match timer.owner {
            TimerOwner::Request(id, attempt) => self.request_timer_fired(id, attempt, timer.kind),
            TimerOwner::Process(key) => self.process_timer_fired(key, timer.kind, timer.at),
            TimerOwner::Worker(worker) => self.restart_due(usize::from(worker.0)),
            TimerOwner::Pool(pool) => self.probe_due(pool),
            TimerOwner::Broker => self.drain_timeout_passed(),
        }
    }

    fn request_timer_fired(&mut self, id: RequestId, attempt: AttemptNumber, kind: TimerKind) {
        match kind {
            TimerKind::Deadline => self.deadline_passed(id),
            TimerKind::QueueTimeout => self.queue_timeout_passed(id),
            TimerKind::AttemptTimeout => self.attempt_timeout_passed(id, attempt),
            TimerKind::ProgressTimeout => self.look_at_progress(id, attempt),
            TimerKind::OutputTimeout => self.look_at_output(id, attempt),
            TimerKind::RetryBackoff => self.backoff_over(id),
            TimerKind::Avoidance => self.avoidance_over(id),
            TimerKind::StartTimeout
            | TimerKind::Ladder
            | TimerKind::ExitGrace
            | TimerKind::KillTimeout
            | TimerKind::RestartBackoff
            | TimerKind::StableAfter
            | TimerKind::Heartbeat
            | TimerKind::RecycleAge
            | TimerKind::RecycleIdle
            | TimerKind::Probe
            | TimerKind::DrainTimeout => debug_assert!(false, "{kind:?} is no timer of a request"),
        }
    }

    /// The wait before a further attempt is over.
    fn backoff_over(&mut self, id: RequestId) {
        let pool = self.requests.open_record(id).pool;
        self.pools[usize::from(pool.0)].queue.remove(&self.requests, id);
        self.put_back(id);
    }

    /// It was not dispatched in time.
    fn queue_timeout_passed(&mut self, id: RequestId) {
        self.requests.open_record(id).armed.queue = false;
        self.tell_limit(id, TimeoutWhich::Queue);
        let outcome = self.timed_out(id, TimeoutWhich::Queue);
        self.end_request(id, outcome);
    }

    /// Whether its deadline has passed, also if nobody has looked at the clock for it yet.
    pub(crate) fn is_overdue(&mut self, id: RequestId) -> bool {
        let now = self.now;
        self.requests.open_record(id).deadline <= now
    }

    /// Ends a request that waits and whose deadline has passed: a process that it were given to would be killed for it.
    pub(crate) fn end_overdue(&mut self, id: RequestId) {
        self.tell_limit(id, TimeoutWhich::Deadline);
        let outcome = self.timed_out(id, TimeoutWhich::Deadline);
        self.end_request(id, outcome);
    }

    /// A request that does not run ends at once. What runs is killed, and its outcome waits for the death.
    fn deadline_passed(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        record.armed.deadline = false;
        let RequestPhase::Held { process } = record.phase else {
            self.end_overdue(id);
            return;
        };
        self.tell_limit(id, TimeoutWhich::Deadline);
        let berth =
            self.find_process(process).expect("a held request's process is in one of its worker's berths");
        let life = self.process(berth);
        let runs = life.executing().chain(&life.awaiting_death).any(|held| held.request == id);
        if !runs {
            self.abandon(id, Settled::Deadline);
            return;
        }
        match life.phase {
            // It died by itself before; only the shell's search for the evidence is bounded.
            Phase::Collecting => self.bound_collecting(berth),
            Phase::Ending(Rung::Killed) => {
                self.requests.open_record(id).limit = Some(TimeoutWhich::Deadline);
            }
            Phase::Spawning
            | Phase::Starting
            | Phase::Serving
            | Phase::Cancelling
            | Phase::Ending(
                Rung::Unborn
                | Rung::Retiring
                | Rung::Draining
                | Rung::Asked
                | Rung::Leaving
                | Rung::ConnectionLost
                | Rung::Terminated,
            ) => {
                self.requests.open_record(id).limit = Some(TimeoutWhich::Deadline);
                self.kill(berth, IntentKind::Kill(KillReason::Deadline));
            }
        }
    }

    fn attempt_timeout_passed(&mut self, id: RequestId, attempt: AttemptNumber) {
        let record = self.requests.open_record(id);
        record.armed.attempt = false;
        debug_assert_eq!(record.attempt(), attempt, "timers of earlier attempts are cancelled");
        self.attempt_limit_passed(id, TimeoutWhich::Attempt, KillReason::AttemptTimeout);
    }

    /// There may have been progress since the timer was started.
    fn look_at_progress(&mut self, id: RequestId, attempt: AttemptNumber) {
        let now = self.now;
        let record = self.requests.open_record(id);
        record.armed.progress = None;
        let due = record.progress_at + record.limits.progress.unwrap_or_default();
        if due > now {
            record.armed.progress = Some(due);
            let owner = TimerOwner::Request(id, attempt);
            self.timers.arm(Timer { at: due, kind: TimerKind::ProgressTimeout, owner });
            return;
        }
        self.attempt_limit_passed(id, TimeoutWhich::Progress, KillReason::ProgressStall);
    }

    /// Its process may have written something since the timer was started.
    fn look_at_output(&mut self, id: RequestId, attempt: AttemptNumber) {
        let now = self.now;
        let record = self.requests.open_record(id);
        record.armed.output = None;
        let limit = record.limits.output.unwrap_or_default();
        let (started_at, phase) = (record.started_at, record.phase);
        let due = started_at.max(self.last_output(phase)) + limit + OUTPUT_LAG;
        if due > now {
            self.requests.open_record(id).armed.output = Some(due);
            let owner = TimerOwner::Request(id, attempt);
            self.timers.arm(Timer { at: due, kind: TimerKind::OutputTimeout, owner });
            return;
        }
        self.attempt_limit_passed(id, TimeoutWhich::Output, KillReason::OutputStall);
    }

    fn last_output(&mut self, phase: RequestPhase) -> Timestamp {
        let RequestPhase::Held { process } = phase else { return Timestamp::ZERO };
        self.find_process(process).map_or(Timestamp::ZERO, |berth| self.process(berth).output_at)
    }

    /// The ladder begins: cancel frame first. An attempt that was told to stop already, or a process that is dying
    /// anyway, needs none.
    fn attempt_limit_passed(&mut self, id: RequestId, which: TimeoutWhich, why: KillReason) {
        let record = self.requests.open_record(id);
        let attempt = record.attempt();
        let RequestPhase::Held { process } = record.phase else {
            debug_assert!(false, "only a held request has a limit on its attempt");
            return;
        };
        let berth =
            self.find_process(process).expect("a held request's process is in one of its worker's berths");
        let life = self.process(berth);
        let Some(slot) = life.slot_of(id) else {
            debug_assert!(life.awaiting_death.iter().any(|held| held.request == id), "it is held");
            return;
        };
        if !life.phase.executes() || life.slot(slot).cancel.is_some() {
            return;
        }
        self.requests.open_record(id).limit = Some(which);
        self.tell_limit(id, which);
        self.send_cancel(berth, slot, id, attempt);
        self.begin_cancelling(berth, slot, why, None);
    }

    fn tell_limit(&mut self, id: RequestId, which: TimeoutWhich) {
        let record = self.requests.open_record(id);
        let (pool, method) = (record.pool, record.method);
        self.out.tell(Fact::LimitPassed { pool, method, request: id, which });
    }

    /// The outcome of a request that ran past a limit, with the limit's length.
    pub(crate) fn timed_out(&mut self, id: RequestId, which: TimeoutWhich) -> Outcome<A> {
        let record = self.requests.open_record(id);
        let limits = record.limits;
        let limit = match which {
            TimeoutWhich::Queue => limits.queue.length,
            TimeoutWhich::Attempt => limits.attempt.length,
            TimeoutWhich::Progress => limits.progress,
            TimeoutWhich::Output => limits.output,
            TimeoutWhich::Deadline => Some(record.deadline - record.accepted_at),
        };
        Outcome::TimedOut { which, limit: limit.unwrap_or_default() }
    }
}
