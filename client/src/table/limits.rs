//! The table's limits in time.
//!
//! Owns when a call ends here without a word from the broker. Must never say that a request was not executed when a
//! byte of it was written.

use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::{Ended, Entry, Phase, Table};
use crate::ConnectError;

/// Limits are looked at no more often than this: a scan looks at every call.
const SCAN_INTERVAL: Duration = Duration::from_millis(5);

/// A limit of a call that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// Its deadline.
    Deadline,
    /// Its deadline, and the time in which the broker had to say how it ended.
    Slack,
    /// The time in which there had to be a connection.
    Connect,
}

impl Table {
    /// Until when a waiting call waits for a connection.
    fn connect_due(&self, entry: &Entry) -> Instant {
        entry.registered.max(self.down_since) + self.connect_timeout
    }

    /// When a call's next limit passes, and which limit has.
    fn next_limit(&self, entry: &Entry, now: Instant) -> (Option<Instant>, Option<Passed>) {
        let waiting = match entry.phase {
            Phase::Waiting(_) => true,
            Phase::Sent => false,
            Phase::Abandoned | Phase::Ended(_) => return (None, None),
        };
        // The broker does not watch an operation's deadline, so it has nothing to say of it.
        let slack = self.window.filter(|_| !entry.operation).map_or(Duration::ZERO, |window| window.slack);
        match entry.deadline {
            Some(deadline) if deadline + slack <= now => return (None, Some(Passed::Slack)),
            Some(deadline) if deadline <= now => {
                return (Some(deadline + slack), Some(Passed::Deadline));
            }
            Some(_) | None => {}
        }
        let connected = if entry.operation { self.window.is_some() } else { self.accepts() };
        if !waiting || connected {
            return (entry.deadline, None);
        }
        let connect_due = self.connect_due(entry);
        if connect_due <= now {
            return (None, Some(Passed::Connect));
        }
        (Some(entry.deadline.map_or(connect_due, |deadline| deadline.min(connect_due))), None)
    }

    /// Makes sure that a new call's limits are looked at in time.
    pub(super) fn watch(&mut self, entry: &Entry, now: Instant) {
        let (next, _) = self.next_limit(entry, now);
        self.scan_by(next.or(entry.deadline));
    }

    /// Looks at the limits at `when` at the latest.
    pub(super) fn scan_by(&mut self, when: Option<Instant>) {
        self.next_scan = match (self.next_scan, when) {
            (Some(next), Some(when)) => Some(next.min(when)),
            (next, when) => next.or(when),
        };
    }

    /// Ends calls whose limits passed, and finds out when to look again. Looks at every call, but with limits of about
    /// the same length that is only once per such length. `no_connection` makes the error of a call that waited for a
    /// connection in vain. The outbox must not be in the driver's hands.
    pub(crate) fn scan(
        &mut self,
        now: Instant,
        no_connection: impl Fn() -> ConnectError,
        woken: &mut Vec<Waker>,
    ) {
        let mut passed = Vec::new();
        let mut soonest: Option<Instant> = None;
        for (id, entry) in &self.calls {
            let (next, limit) = self.next_limit(entry, now);
            if let Some(limit) = limit {
                passed.push((*id, limit));
                continue;
            }
            soonest = match (soonest, next) {
                (Some(soonest), Some(next)) => Some(soonest.min(next)),
                (soonest, next) => soonest.or(next),
            };
        }
        let not_before = now + SCAN_INTERVAL;
        self.next_scan = soonest.map(|soonest| soonest.max(not_before));
        for (id, limit) in passed {
            match limit {
                Passed::Deadline | Passed::Slack => self.expire(id, limit, woken),
                Passed::Connect => {
                    self.stop_waiting(id);
                    // With a connection, calls wait only because it is draining.
                    let draining = self.window.is_some();
                    let ended = if draining { Ended::Draining } else { Ended::Connect(no_connection()) };
                    self.end(id, ended, woken);
                }
            }
            // One that was written goes on beyond its deadline; the others have ended.
            let next = self.calls.get(&id).and_then(|entry| self.next_limit(entry, now).0);
            self.scan_by(next.map(|next| next.max(not_before)));
        }
    }

    /// Ends one call whose deadline passed, unless it is the broker's turn to say so.
    fn expire(&mut self, id: u64, limit: Passed, woken: &mut Vec<Waker>) {
        let never_written = Ended::TimedOut { unanswered: false };
        if self.stop_waiting(id) {
            self.end(id, never_written, woken);
        } else if self.outbox.remove(id).is_some() {
            self.settle_unsent(id);
            self.end(id, never_written, woken);
        } else if limit == Passed::Slack {
            self.put_cancel(id);
            self.end(id, Ended::TimedOut { unanswered: true }, woken);
        }
    }
}
