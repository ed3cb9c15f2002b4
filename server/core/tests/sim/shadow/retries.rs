//! Who is tried again: what policy and client both want, and nothing else.

use std::time::Duration;

use lifeboat_core::ids::AttemptNumber;
use lifeboat_core::reason::{AttemptEnd, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, RetryPolicy};

use super::request::Place;
use super::{AnswerKind, Expected, Shadow};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn retried(&mut self, serial: u64, next: AttemptNumber, backoff: Duration) {
        let now = self.now;
        let request = self.peek(serial);
        assert!(!self.is_closing(request.pool), "{serial}: no retry in a pool that is drained");
        assert!(!self.look_pool(request.pool).is_open(), "{serial}: no retry in a tripped pool");
        assert_eq!(request.place, Place::Limbo, "{serial}: a retry follows an attempt's end");
        assert!(!request.cancelled, "{serial}: no retry once cancelled");
        assert!(!request.told_part || request.restartable, "{serial}: no retry after a part was told");
        assert!(!request.unkept, "{serial}: no retry without what was saved");
        assert_eq!(next.0, request.attempts + 1);
        assert!(next.0 <= request.max_attempts, "{serial}: attempts are used up");
        assert!(now + backoff < request.deadline, "{serial}: the deadline is over before the next attempt");
        let ceiling = self.grant(serial).unwrap_or_else(|| panic!("{serial}: a retry that nobody asked for"));
        assert!(backoff <= ceiling, "{serial}: waits for {backoff:?}, at most {ceiling:?}");
        if self.peek(serial).listens() {
            self.must_tell_failed.push(serial);
        }
        self.request(serial).limit = None;
        // A wait of less than the clock can tell is over at once.
        let until = now + backoff;
        let over = backoff.is_zero() || self.telling_time && until <= now;
        let place = if over { Place::Waiting } else { Place::Backoff(until) };
        self.place(serial, place);
    }

    /// The longest wait before a further attempt, if policy and client want one for the way the last one ended.
    fn grant(&self, serial: u64) -> Option<Duration> {
        self.granted(serial, self.peek(serial).retry_on)
    }

    fn granted(&self, serial: u64, wish: Option<RetryOn>) -> Option<Duration> {
        let request = self.peek(serial);
        let wished = |end: fn(&RetryOn) -> bool| wish.as_ref().is_none_or(end);
        let method = self.settings.method(request.method?);
        let RetryPolicy::Retry { on, backoff, .. } = &method.retry else { return None };
        let asked = match request.last_end? {
            AttemptEnd::Crashed => on.crash && wished(|on| on.crash),
            AttemptEnd::TimedOut => match request.limit? {
                TimeoutWhich::Attempt => on.timeout && wished(|on| on.timeout),
                TimeoutWhich::Progress | TimeoutWhich::Output => on.stall && wished(|on| on.stall),
                TimeoutWhich::Queue | TimeoutWhich::Deadline => false,
            },
            AttemptEnd::Failed => {
                let kind = AnswerKind::Failed { retryable: true };
                on.failed && wished(|on| on.failed) && self.expected == Expected::Answer { serial, kind }
            }
            AttemptEnd::Ok | AttemptEnd::Cancelled | AttemptEnd::Closed => false,
        };
        let wait = match request.attempts {
            1 => backoff.first,
            2 => backoff.then,
            n => (2..n).fold(backoff.then, |wait, _| wait.mul_f64(backoff.factor)),
        };
        (asked && request.attempts < request.max_attempts).then_some(wait.min(backoff.max))
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
        } else if self.look_pool(request.pool).is_open() {
            coverage.see("no retry in a tripped pool");
        } else {
            assert!(self.now + wait >= request.deadline, "{serial}: was denied the retry it asked for");
        }
    }
}
