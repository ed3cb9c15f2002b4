//! The table's side of connections that come and go.
//!
//! Owns which calls survive the end of a connection. Must never send again what may have been executed, unless its
//! caller gave it an idempotency key.

use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::{Ended, Phase, Table, Window};
use crate::outbox::Unsent;
use crate::settings::LONGEST;
use crate::times::{Times, TooShort};
use crate::{ConnectError, LostReason};

/// How often a request that was half written when its connection broke, or written and has an idempotency key, is sent
/// again before it is given up: such a request may be what breaks the connection.
const MAX_RESENT: u8 = 3;

impl Table {
    /// A connection is there.
    pub(crate) fn connected(&mut self, window: Window) {
        self.window = Some(window);
        self.places = window.max_in_flight;
        self.useful = false;
        self.last_wire = 0;
    }

    /// The broker told of its methods; calls that set no timeout have this one.
    pub(crate) fn told(&mut self, times: Times, timeout: Option<Duration>) {
        self.timeout = timeout.map(|timeout| timeout.min(LONGEST));
        self.times = times.watched(timeout, &mut self.times);
    }

    /// Methods to be warned of since this was last asked.
    pub(crate) fn take_too_short(&mut self) -> Vec<TooShort> {
        std::mem::take(&mut self.too_short)
    }

    /// The broker takes no new requests: those not begun to be written wait for its successor. Operations it does.
    pub(crate) fn drain(&mut self, now: Instant) {
        let Some(window) = &mut self.window else { return };
        window.draining = true;
        if self.useful {
            self.down_since = now;
        }
        for unsent in self.outbox.take_unstarted_requests() {
            self.settle_unsent(unsent.id);
            self.wait_again(unsent);
        }
        self.scan_by(Some(now));
    }

    /// The connection is gone: what was written has an unknown end, what was not waits for the next connection.
    pub(crate) fn disconnected(&mut self, now: Instant, lost: &LostReason, woken: &mut Vec<Waker>) {
        self.window = None;
        self.cancels.clear();
        self.renamed.clear();
        (self.in_flight, self.operations_open) = (0, 0);
        if self.useful {
            self.down_since = now;
        }
        let refused = matches!(lost, LostReason::Refused { .. });
        for unsent in self.outbox.take_unsent() {
            let entry = self.calls.get_mut(&unsent.id).filter(|_| unsent.partial);
            let given_up = entry.is_some_and(|entry| {
                // The one being written may be why: sending it again and again would help nobody.
                let given_up = refused || entry.resent >= MAX_RESENT;
                entry.owed &= !given_up;
                entry.resent += u8::from(!given_up);
                given_up
            });
            if given_up {
                self.end_if_sent(
                    unsent.id,
                    Ended::Disconnected { may_have_executed: false, lost: lost.clone() },
                    woken,
                );
                continue;
            }
            self.wait_again(unsent);
        }
        let owed: Vec<u64> = self.calls.iter().filter(|(_, entry)| entry.owed).map(|(id, _)| *id).collect();
        for id in owed {
            let entry = self.calls.get_mut(&id).expect("listed from the same table just now");
            entry.owed = false;
            if self.repeat(id, lost) {
                continue;
            }
            self.end_if_sent(id, Ended::Disconnected { may_have_executed: true, lost: lost.clone() }, woken);
        }
        self.scan_by(Some(now));
    }

    /// Has a call that was lost with its connection wait for the next one, if its caller allows that; false if not.
    fn repeat(&mut self, id: u64, lost: &LostReason) -> bool {
        match lost {
            LostReason::Closed | LostReason::Io(_) | LostReason::Drained => {}
            // One of the requests, or its answer, may be why.
            LostReason::Refused { .. } | LostReason::Protocol(_) | LostReason::RuntimeStopped => {
                return false;
            }
        }
        let Some(entry) = self.calls.get_mut(&id) else { return false };
        let was_read = entry.backlog.as_ref().is_some_and(|backlog| backlog.was_read());
        if !matches!(entry.phase, Phase::Sent) || was_read {
            return false;
        }
        if entry.resent >= MAX_RESENT {
            return false;
        }
        let Some(spec) = entry.again.take() else { return false };
        entry.resent += 1;
        if let Some(backlog) = &mut entry.backlog {
            backlog.start_again();
        }
        entry.phase = Phase::Waiting(Some(spec));
        entry.lost_before = Some(lost.clone());
        self.waiting.insert(id);
        true
    }

    fn end_if_sent(&mut self, id: u64, ended: Ended, woken: &mut Vec<Waker>) {
        match self.calls.get(&id).map(|entry| &entry.phase) {
            Some(Phase::Sent) => self.end(id, ended, woken),
            Some(Phase::Abandoned) => drop(self.calls.remove(&id)),
            Some(Phase::Waiting(_) | Phase::Ended(_)) | None => {}
        }
    }

    /// A call that was sent but not written waits for the next connection.
    fn wait_again(&mut self, unsent: Unsent) {
        let Some(entry) = self.calls.get_mut(&unsent.id) else {
            return;
        };
        entry.owed = false;
        match entry.phase {
            Phase::Sent => {
                entry.phase = Phase::Waiting(Some(unsent.spec));
                let queue = if entry.operation { &mut self.operations } else { &mut self.waiting };
                queue.insert(unsent.id);
            }
            Phase::Abandoned => drop(self.calls.remove(&unsent.id)),
            Phase::Waiting(_) | Phase::Ended(_) => {}
        }
    }

    /// Ends every call that waits for a connection, because none will come; those sent have ended before.
    pub(crate) fn fail_waiting(&mut self, error: &ConnectError, woken: &mut Vec<Waker>) {
        while let Some(id) = self.waiting.pop_first().or_else(|| self.operations.pop_first()) {
            self.end(id, Ended::Connect(error.clone()), woken);
        }
    }
}
