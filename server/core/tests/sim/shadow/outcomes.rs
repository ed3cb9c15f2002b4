//! What clients are told: one outcome each, and on the way what those that stream asked for.

use std::time::Duration;

use lifeboat_core::action::{AttemptRecord, Outcome, Settlement};
use lifeboat_core::ids::{AttemptNumber, ClientId};
use lifeboat_core::reason::{OutcomeKind, RejectWhy, TimeoutWhich};

use super::pool::Trip;
use super::request::Place;
use super::{Expected, Shadow, Told};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn told(&mut self, client: ClientId, serial: u64, outcome: OutcomeKind) {
        self.outcomes_told += 1;
        let request = self.request(serial);
        assert_eq!(request.client, client, "{serial}: the outcome goes to its own client");
        assert!(request.connected, "{serial}: nobody is there to be told");
        assert!(!request.told, "{serial}: one outcome");
        assert_eq!(request.place, Place::Done(outcome), "{serial}: all hear the same");
        request.told = true;
    }

    pub(super) fn settled(
        &mut self,
        client: ClientId,
        serial: u64,
        settlement: &Settlement<u64>,
        coverage: &mut Coverage,
    ) {
        let kind = match &settlement.outcome {
            Outcome::Failed { .. } => OutcomeKind::Failed,
            Outcome::Crashed { .. } => OutcomeKind::Crashed,
            Outcome::TimedOut { .. } => OutcomeKind::TimedOut,
            Outcome::Cancelled => OutcomeKind::Cancelled,
            Outcome::Rejected { .. } => OutcomeKind::Rejected,
            Outcome::Closed => OutcomeKind::Closed,
        };
        self.told(client, serial, kind);
        let request = self.peek(serial);
        assert_eq!(settlement.method, request.method);
        assert_eq!(settlement.accepted_at, request.accepted_at);
        assert_eq!(settlement.may_have_started, request.may_have_started, "{serial}: may it have started?");
        self.check_records(serial, &settlement.attempts);
        match &settlement.outcome {
            Outcome::Crashed { max_attempts } => assert_eq!(*max_attempts, request.max_attempts),
            Outcome::TimedOut { which, limit } => {
                let blind = settlement.attempts.last().is_some_and(|last| last.cause.is_none());
                self.check_timed_out(serial, *which, *limit, blind);
                coverage.limit(*which);
            }
            Outcome::Rejected { why, retry_after } => {
                let quarantined = self.quarantine_of(serial).filter(|_| *why == RejectWhy::Quarantined);
                assert_eq!(settlement.quarantined, quarantined, "{serial}: told of its body");
                if let Some(row) = quarantined {
                    assert_eq!(*retry_after, Some(row.until - self.now), "{serial}: when to come back");
                    if !request.dispatched {
                        coverage.see("quarantined: refused");
                    }
                }
                if *why == RejectWhy::Tripped {
                    coverage.see(if request.dispatched { "tripped: given back" } else { "tripped: refused" });
                    assert!(settlement.because.is_some(), "{serial}: the reason is told with the refusal");
                    if let Trip::Open(until) = self.look_pool(request.pool).trip {
                        assert_eq!(*retry_after, Some(until - self.now), "{serial}: when to come back");
                    }
                }
            }
            Outcome::Failed { .. } | Outcome::Cancelled | Outcome::Closed => {}
        }
        if let Some(death) = &settlement.because {
            assert_eq!(death.pool, self.peek(serial).pool, "{serial}: its own pool is unfit");
            assert!(settlement.attempts.is_empty() && !death.productive, "{serial}: {:?}", death.reason);
        }
    }

    /// Every attempt is in the record, with its number, its time and its end.
    fn check_records(&self, serial: u64, attempts: &[AttemptRecord]) {
        let request = self.peek(serial);
        let numbers: Vec<u16> = attempts.iter().map(|record| record.number.0).collect();
        let all: Vec<u16> = (1..=request.attempts).collect();
        assert_eq!(numbers, all, "{serial}: every attempt is in the record");
        for record in attempts {
            assert!(record.started_at <= record.ended_at && record.ended_at <= self.now);
        }
        if let Some(last) = attempts.last() {
            assert_eq!(Some(last.end), request.last_end, "{serial}: how its last attempt ended");
        }
    }

    /// The limit that is named is the one that passed, with its length. `blind` is an outcome that could not wait for
    /// the evidence: only the deadline wants that.
    fn check_timed_out(&self, serial: u64, which: TimeoutWhich, limit: Duration, blind: bool) {
        let request = self.peek(serial);
        let length = match which {
            TimeoutWhich::Queue => request.queue_limit,
            TimeoutWhich::Attempt => request.attempt_limit,
            TimeoutWhich::Progress => request.progress_limit,
            TimeoutWhich::Output => request.output_limit,
            TimeoutWhich::Deadline => Some(request.deadline - request.accepted_at),
        };
        assert_eq!(length, Some(limit), "{serial}: the length of its limit ({which:?})");
        let passed = request.limit.or(request.last_limit);
        let overdue = which == TimeoutWhich::Deadline && blind && self.now >= request.deadline;
        assert!(passed == Some(which) || overdue, "{serial}: {passed:?} passed, not {which:?}");
        if which == TimeoutWhich::Queue {
            assert_eq!(request.attempts, 0, "{serial}: it ran");
        }
    }

    /// A client that streams is told that its request was accepted, before anything happens to it.
    pub(super) fn told_of_acceptance(
        &mut self,
        client: ClientId,
        serial: u64,
        time_left: Duration,
        coverage: &mut Coverage,
    ) {
        assert_eq!(self.must_tell_accepted.take(), Some(serial), "accepted now, of a client that streams");
        let request = self.peek(serial);
        assert!(request.client == client && request.place == Place::Limbo, "{serial}: the first news of it");
        assert_eq!(time_left, request.deadline - self.now, "{serial}: until its deadline");
        coverage.see("accepted told");
    }

    /// A client that streams is told what its handler said, at once and unchanged.
    pub(super) fn forwarded(
        &mut self,
        client: ClientId,
        serial: u64,
        attempt: AttemptNumber,
        what: Told,
        coverage: &mut Coverage,
    ) {
        assert_eq!(self.expected, Expected::Forward { serial, what }, "{serial}: nobody said so");
        let request = self.peek(serial);
        assert!(request.listens() && request.client == client, "{serial}: its own client wants to hear");
        assert_eq!(request.attempts, attempt.0, "{serial}: it is the executing attempt");
        assert!(!request.told, "{serial}: nothing comes after its outcome");
        self.expected = Expected::Nothing;
        coverage.see(if matches!(what, Told::Part(_)) { "part told" } else { "progress told" });
    }

    /// A client that streams is told of an attempt that failed, before the next one.
    pub(super) fn told_of_failure(
        &mut self,
        client: ClientId,
        serial: u64,
        attempt: &AttemptRecord,
        coverage: &mut Coverage,
    ) {
        let wanted = self.must_tell_failed.iter().position(|other| *other == serial);
        self.must_tell_failed.swap_remove(wanted.unwrap_or_else(|| panic!("{serial}: no retry was granted")));
        let request = self.peek(serial);
        assert!(request.listens() && request.client == client && !request.told, "{serial}: it wants to hear");
        assert_eq!(Some(attempt.end), request.last_end, "{serial}: how its attempt ended");
        coverage.see(if request.told_part { "restarted after a part" } else { "failed attempt told" });
    }
}
