//! Ends: of attempts and of requests.
//!
//! It owns the promise that every accepted request reaches exactly one outcome: the only place where a record is
//! ended, and where a further attempt is granted. It must never touch a process.

use crate::action::{Action, AttemptCause, AttemptRecord, Outcome, Settlement};
use crate::core::Core;
use crate::fact::{Fact, RequestEnded, RetryCause};
use crate::ids::{AttemptNumber, ClientId, ClientTag, PoolId, RequestId};
use crate::reason::{AttemptEnd, OutcomeKind, RejectWhy, TimeoutWhich};
use crate::request::{NIL, RequestPhase};
use crate::retry::{self, Ask, Decision, Trigger};
use crate::suspects::Blame;
use crate::time::Timestamp;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

/// What the shell's coarse clock may add to a time before a promise counts as broken.
const CLOCK_SLACK: std::time::Duration = std::time::Duration::from_millis(50);

/// The outcome of a request whose last attempt ended, with what the retry policy is asked first.
pub(crate) struct Retriable<A> {
    pub(crate) trigger: Trigger,
    pub(crate) cause: RetryCause,
    pub(crate) blame: Blame,
    /// The outcome, should there be no further attempt.
    pub(crate) otherwise: Outcome<A>,
}

impl<Q, A> Core<Q, A> {
    /// Ends the present attempt of a held request: timers, facts, history. The request itself stays open.
    pub(crate) fn end_attempt(&mut self, id: RequestId, end: AttemptEnd, cause: Option<AttemptCause>) {
        self.disarm_attempt(id);
        let now = self.now;
        let record = self.requests.open_record(id);
        let RequestPhase::Held { process } = record.phase else {
            debug_assert!(false, "only a held request has an attempt");
            return;
        };
        let (pool, method, attempt) = (record.pool, record.method, record.attempt());
        let started_at = record.started_at;
        let duration = now - started_at;
        if end != AttemptEnd::Ok {
            let pid = self.find_process(process).and_then(|berth| self.process(berth).pid);
            let number = attempt;
            let record = self.requests.open_record(id);
            record.last_limit = record.limit;
            record.history.push(AttemptRecord {
                number,
                process,
                pid,
                started_at,
                ended_at: now,
                end,
                cause,
            });
        }
        self.pools[usize::from(pool.0)].note_attempt(duration);
        self.out.tell(Fact::AttemptEnded { pool, method, request: id, attempt, process, end, duration });
    }

    /// Grants another attempt or ends the request. A shutdown grants none, and then a crash is no crash; neither does a
    /// tripped pool, nor a request whose body is in quarantine, of which the client has seen a part, or something saved was
    /// not kept.
    pub(crate) fn retry_or_end(&mut self, id: RequestId, ask: Retriable<A>) {
        let Retriable { trigger, cause, blame, otherwise } = ask;
        let record = self.requests.open_record(id);
        let pool = record.pool;
        let is_final = record.told_part && !record.restartable || record.unkept;
        if self.is_closing(pool) {
            let outcome = if trigger == Trigger::Crash { Outcome::Closed } else { otherwise };
            self.end_request(id, outcome);
            return;
        }
        if is_final || self.tripped_for(pool).is_some() || self.is_quarantined(id) {
            self.end_request(id, otherwise);
            return;
        }
        let now = self.now;
        let fraction = self.rng.f64();
        let record = self.requests.open_record(id);
        let method = &self.settings.methods[usize::from(record.method.0)];
        let decision = retry::decide(&Ask {
            policy: &method.retry,
            on: record.retry_on,
            max_attempts: record.max_attempts,
            attempts: record.attempts,
            trigger,
            now,
            deadline: record.deadline,
            fraction,
        });
        match decision {
            Decision::Again { wait } => {
                let (pool, method, next) = (record.pool, record.method, record.next_attempt());
                if let RequestPhase::Held { process } = record.phase {
                    record.avoid = Some(process.worker);
                }
                record.limit = None;
                record.suspect = blame.makes_suspect(record.suspect);
                let suspect = record.suspect;
                self.tell_attempt_failed(id);
                let backoff = wait;
                self.out.tell(Fact::Retried { pool, method, request: id, next, cause, backoff, suspect });
                if wait.is_zero() {
                    self.put_back(id);
                } else {
                    self.back_off(id, now + wait);
                }
            }
            Decision::GiveUp(_) => self.end_request(id, otherwise),
        }
    }

    /// A streaming client learns that what it was told belongs to an attempt that failed.
    fn tell_attempt_failed(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        let (client, tag, accepted_at) = (record.client, record.tag, record.accepted_at);
        if let Some(attempt) = record.history.last().filter(|_| record.stream && record.client_slot != NIL) {
            let attempt = Box::new(attempt.clone());
            self.out.act(Action::TellAttemptFailed { client, tag, accepted_at, attempt });
        }
    }

    fn back_off(&mut self, id: RequestId, until: Timestamp) {
        let record = self.requests.open_record(id);
        record.phase = RequestPhase::Backoff { until };
        let owner = TimerOwner::Request(id, record.attempt());
        let queue = &mut self.pools[usize::from(record.pool.0)].queue;
        queue.push_backoff(id, record.bytes);
        self.timers.arm(Timer { at: until, kind: TimerKind::RetryBackoff, owner });
    }

    /// Ends a request with an answer.
    pub(crate) fn end_ok(&mut self, id: RequestId, answer: A) {
        let late = self.requests.open_record(id).limit.is_some();
        if let Some((client, tag, attempts)) = self.close_record(id, OutcomeKind::Ok, None, late, None) {
            self.out.act(Action::Reply { client, tag, attempts, late, answer });
        }
    }

    /// Ends a request without an answer.
    pub(crate) fn end_request(&mut self, id: RequestId, outcome: Outcome<A>) {
        let record = self.requests.open_record(id);
        let attempts = std::mem::take(&mut record.history);
        let (method, accepted_at, pool) = (Some(record.method), record.accepted_at, record.pool);
        let may_have_started = record.may_have_started;
        let unfit = attempts.is_empty()
            && matches!(
                outcome,
                Outcome::Rejected { why: RejectWhy::Tripped, .. }
                    | Outcome::TimedOut { which: TimeoutWhich::Queue | TimeoutWhich::Deadline, .. }
            );
        let because = if unfit { self.unfit_because(pool) } else { None };
        let rejected = if let Outcome::Rejected { why, .. } = &outcome { Some(*why) } else { None };
        let body = self.requests.open_record(id).body;
        let quarantined = self.quarantined(body.filter(|_| rejected == Some(RejectWhy::Quarantined)));
        let kind = match &outcome {
            Outcome::Failed { .. } => OutcomeKind::Failed,
            Outcome::Crashed { .. } => OutcomeKind::Crashed,
            Outcome::TimedOut { .. } => OutcomeKind::TimedOut,
            Outcome::Cancelled => OutcomeKind::Cancelled,
            Outcome::Rejected { .. } => OutcomeKind::Rejected,
            Outcome::Closed => OutcomeKind::Closed,
        };
        let last = attempts.last().and_then(|attempt| attempt.cause.as_ref());
        if let Some((client, tag, _)) = self.close_record(id, kind, rejected, false, last) {
            let settlement = Box::new(Settlement {
                method,
                accepted_at,
                outcome,
                attempts,
                may_have_started,
                because,
                quarantined,
            });
            self.out.act(Action::Settle { client, tag, settlement });
        }
    }

    /// Takes a request out of every list and tells its end. Gives the client to be told, if it is still there.
    fn close_record(
        &mut self,
        id: RequestId,
        outcome: OutcomeKind,
        rejected: Option<RejectWhy>,
        late: bool,
        last: Option<&AttemptCause>,
    ) -> Option<(ClientId, ClientTag, AttemptNumber)> {
        let queued = self.leave_queue(id);
        self.disarm_attempt(id);
        self.disarm_queue(id);
        self.disarm_avoidance(id);
        self.disarm_deadline(id);
        let record = self.requests.open_record(id);
        let connected = record.client_slot != NIL;
        if record.saved_bytes > 0 {
            self.forget_saved(id);
        }
        self.clients.unlink(&mut self.requests, id);
        self.requests.end(id);
        if let Some(pool) = queued {
            self.pools[usize::from(pool.0)].queue.tidy(&self.requests);
        }
        let record = self.requests.kept(id)?;
        let kill_timeout = self.settings.pool(record.pool).kill_timeout;
        self.out.tell(Fact::RequestEnded(RequestEnded {
            pool: Some(record.pool),
            method: Some(record.method),
            client: record.client,
            request: Some(id),
            outcome,
            rejected,
            duration: self.now - record.accepted_at,
            attempts: record.attempts,
            past_deadline: self.now > record.deadline + kill_timeout + CLOCK_SLACK,
            late,
            reason: last.map(AttemptCause::label),
            report: last.and_then(AttemptCause::report),
        }));
        connected.then(|| (record.client, record.tag, record.attempt()))
    }

    /// Takes a request out of its pool's queue, if it is there.
    fn leave_queue(&mut self, id: RequestId) -> Option<PoolId> {
        let record = self.requests.open_record(id);
        if let RequestPhase::Backoff { until } = record.phase {
            let owner = TimerOwner::Request(id, record.attempt());
            self.timers.cancel(Timer { at: until, kind: TimerKind::RetryBackoff, owner });
        }
        if matches!(record.phase, RequestPhase::Held { .. }) {
            return None;
        }
        let (pool, suspect) = (record.pool, record.suspect);
        self.pools[usize::from(pool.0)].queue.remove(&self.requests, id);
        if suspect {
            // A process may be set apart for it.
            self.mark_dirty(pool);
        }
        Some(pool)
    }
}
