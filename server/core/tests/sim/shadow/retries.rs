//! Who is tried again: what policy and client both want, and nothing else.

use std::time::Duration;

use lifeboat_core::ids::AttemptNumber;
use lifeboat_core::reason::{AttemptEnd, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, RetryPolicy};

use super::request::Place;
use super::{AnswerKind, Expected, Shadow};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn retried(
        &mut self,
        serial: u64,
        next: AttemptNumber,
        backoff: Duration,
        suspect: bool,
        coverage: &mut Coverage,
    ) {
        let now = self.now;
        let request = self.peek(serial);
        assert!(!self.is_closing(request.pool), "{serial}: no retry in a pool that is drained");
        assert!(!self.look_pool(request.pool).is_open(), "{serial}: no retry in a tripped pool");
        assert_eq!(request.place, Place::Limbo, "{serial}: a retry follows an attempt's end");
        assert!(!request.cancelled, "{serial}: no retry once cancelled");
        assert!(!request.told_part || request.restartable, "{serial}: no retry after a part was told");
        assert!(!request.unkept, "{serial}: no retry without what was saved");
        assert!(!self.in_quarantine(serial), "{serial}: no retry of what is in quarantine");
        assert_eq!(next.0, request.attempts + 1);
        assert!(next.0 <= request.max_attempts, "{serial}: attempts are used up");
        assert!(now + backoff < request.deadline, "{serial}: the deadline is over before the next attempt");
        let wait = self.grant(serial).unwrap_or_else(|| panic!("{serial}: a retry that nobody asked for"));
        let Wait { least, most } = wait;
        assert!(least <= backoff, "{serial}: waits for {backoff:?}, its handler asked for {least:?}");
        assert!(backoff <= most, "{serial}: waits for {backoff:?}, at most {most:?}");
        if !least.is_zero() {
            coverage.see("waited as its handler asked");
        }
        if self.peek(serial).listens() {
            self.must_tell_failed.push(serial);
        }
        self.request(serial).limit = None;
        self.suspected(serial, suspect, coverage);
        // A wait of less than the clock can tell is over at once.
        let until = now + backoff;
        let over = backoff.is_zero() || self.telling_time && until <= now;
        let place = if over { Place::Waiting } else { Place::Backoff(until) };
        self.place(serial, place);
    }

    /// The wait before a further attempt, if policy and client want one for the way the last one ended.
    fn grant(&self, serial: u64) -> Option<Wait> {
        self.granted(serial, self.peek(serial).retry_on)
    }

    fn granted(&self, serial: u64, wish: Option<RetryOn>) -> Option<Wait> {
        let request = self.peek(serial);
        let wished = |end: fn(&RetryOn) -> bool| wish.as_ref().is_none_or(end);
        let method = self.settings.method(request.method?);
        let RetryPolicy::Retry { on, backoff, .. } = &method.retry else { return None };
        let mut least = Duration::ZERO;
        let asked = match request.last_end? {
            AttemptEnd::Crashed => on.crash && wished(|on| on.crash),
            AttemptEnd::TimedOut => match request.limit? {
                TimeoutWhich::Attempt => on.timeout && wished(|on| on.timeout),
                TimeoutWhich::Progress | TimeoutWhich::Output => on.stall && wished(|on| on.stall),
                TimeoutWhich::Queue | TimeoutWhich::Deadline => false,
            },
            AttemptEnd::Failed => {
                let Expected::Answer { serial: of, kind: AnswerKind::Failed { again } } = self.expected
                else {
                    return None;
                };
                least = again.unwrap_or_default();
                on.failed && wished(|on| on.failed) && of == serial && again.is_some()
            }
            AttemptEnd::Ok | AttemptEnd::Cancelled | AttemptEnd::Closed => false,
        };
        let wait = match request.attempts {
            1 => backoff.first,
            2 => backoff.then,
            n => (2..n).fold(backoff.then, |wait, _| wait.mul_f64(backoff.factor)),
        };
        let most = wait.min(backoff.max).max(least);
        (asked && request.attempts < request.max_attempts).then_some(Wait { least, most })
    }

    /// A request that the policy grants another attempt must get it.
    pub(super) fn refuse_denied_retry(&self, serial: u64, outcome: OutcomeKind, coverage: &mut Coverage) {
        let by_attempt =
            matches!(outcome, OutcomeKind::Crashed | OutcomeKind::Failed | OutcomeKind::TimedOut);
        let request = self.peek(serial);
        let ended = request.place == Place::Limbo && by_attempt && !request.cancelled;
        if !ended || self.is_closing(request.pool) {
            return;
        }
        let Some(wait) = self.grant(serial) else {
            if self.granted(serial, None).is_some() {
                coverage.see("retry refused by the client");
            }
            return;
        };
        if request.told_part && !request.restartable {
            coverage.see("no retry after a part");
        } else if request.unkept {
            coverage.see("no retry without what was saved");
        } else if self.in_quarantine(serial) {
            coverage.see("no retry in quarantine");
        } else if self.look_pool(request.pool).is_open() {
            coverage.see("no retry in a tripped pool");
        } else {
            assert!(self.now + wait.most >= request.deadline, "{serial}: was denied the retry it asked for");
            if !wait.least.is_zero() {
                coverage.see("its handler asked for a wait past its deadline");
            }
        }
    }
}

/// The bounds of the wait before an attempt.
#[derive(Clone, Copy)]
struct Wait {
    /// What the handler asked for.
    least: Duration,
    /// That, or what the policy allows if it is longer.
    most: Duration,
}
