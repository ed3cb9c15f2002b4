//! The table's side of what goes to the broker: which call is next, under which id, and what is taken back.
//!
//! Owns the window, and that ids rise on every connection in the order written. Must never write: it fills the outbox.

use std::sync::Arc;
use std::task::Waker;

use lifeboat_protocol::TimeLeft;
use tokio::time::Instant;

use super::{Ended, Kind, Phase, Spec, Table, Window};
use crate::times::TooShort;

/// Requests are encoded ahead of the socket up to about this many bytes; the rest waits unencoded, where a call that is
/// dropped costs nothing.
const HIGH_WATER: usize = 256 * 1024;

impl Table {
    /// Whether new requests may be sent. Operations may be on every connection.
    pub(super) fn accepts(&self) -> bool {
        self.window.is_some_and(|window| !window.draining)
    }

    /// Whether a new request has a place in the window.
    fn has_place(&self, window: Window) -> bool {
        !window.draining && self.in_flight < window.max_in_flight
    }

    /// Whether [`pump`](Self::pump) or a write of the outbox would do anything.
    pub(crate) fn has_work(&self) -> bool {
        let Some(window) = self.window else { return false };
        let queued = !self.outbox.is_empty() || !self.cancels.is_empty() || !self.operations.is_empty();
        queued || (self.has_place(window) && !self.waiting.is_empty())
    }

    /// Whether somebody waits for a connection.
    pub(crate) fn has_demand(&self) -> bool {
        !self.waiting.is_empty() || !self.operations.is_empty()
    }

    /// Whether the broker owes nothing and nothing is to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.operations_open == 0 && self.outbox.is_empty()
    }

    /// Whether nothing at all is under way: then a call may be written by its caller, which saves a wake-up. With more
    /// under way they are gathered by the driver instead, which saves writes.
    pub(crate) fn is_quiet(&self) -> bool {
        self.accepts() && self.is_idle() && !self.has_demand()
    }

    /// Moves what may be sent into the outbox, oldest first.
    pub(crate) fn pump(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        for id in std::mem::take(&mut self.cancels) {
            // Answered in the meantime: nothing to cancel.
            if self.calls.get(&id).is_some_and(|entry| entry.owed) {
                self.withdraw(id, false);
            }
        }
        let Some(window) = self.window else { return };
        while self.outbox.left() < HIGH_WATER {
            let Some(id) = self.next_to_send(window) else { break };
            if let Some(ended) = self.send(id, now, window) {
                self.end(id, ended, woken);
            }
        }
    }

    /// Takes the oldest call that may be sent out of its queue.
    fn next_to_send(&mut self, window: Window) -> Option<u64> {
        let has_place = self.has_place(window);
        match self.operations.first() {
            Some(operation)
                if !has_place || self.waiting.first().is_none_or(|request| operation < request) =>
            {
                self.operations.pop_first()
            }
            Some(_) | None if has_place => self.waiting.pop_first(),
            Some(_) | None => None,
        }
    }

    /// Takes a call out of its queue; false if it was in none.
    pub(super) fn stop_waiting(&mut self, id: u64) -> bool {
        self.waiting.remove(&id) || self.operations.remove(&id)
    }

    /// Puts one call into the outbox, unless it ends here.
    fn send(&mut self, id: u64, now: Instant, window: Window) -> Option<Ended> {
        let entry = self.calls.get_mut(&id)?;
        let Phase::Waiting(spec) = &mut entry.phase else {
            return None;
        };
        if entry.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Ended::TimedOut { unanswered: false });
        }
        let Some(spec) = spec.take() else {
            return Some(Ended::Connected);
        };
        // An operation's bound is its own, and was looked at when it was made.
        let limit = window.limit.max_body();
        if !entry.operation && spec.body.len() > limit {
            return Some(Ended::TooLarge { len: spec.body.len(), limit });
        }
        // An older broker passes the wish over, and would have it served by any pool.
        if let Some(pool) = spec.pool().filter(|_| !window.pools) {
            return Some(Ended::PoolIgnored { pool: pool.clone() });
        }
        if let Kind::Request { method, .. } = &spec.kind
            && let Some(timeout) = self.timeout
            && entry.deadline == Some(entry.registered + timeout)
            && let Some(answer_within) = self.times.first_call(method)
        {
            self.too_short.push(TooShort { method: method.clone(), answer_within });
        }
        if id <= self.last_wire {
            // An operation overtook it while it waited for the window.
            entry.wire = self.next_id;
            self.next_id += 1;
            self.renamed.insert(entry.wire, id);
        } else {
            entry.wire = id;
        }
        self.last_wire = entry.wire;
        entry.phase = Phase::Sent;
        entry.again = spec.is_repeatable().then(|| Arc::clone(&spec));
        entry.owed = true;
        if entry.operation {
            self.operations_open += 1;
        } else {
            self.useful = true;
            self.in_flight += 1;
        }
        let left = entry.deadline.map_or(TimeLeft::NONE, |deadline| TimeLeft::from_duration(deadline - now));
        self.outbox.put(id, entry.wire, left, spec);
        None
    }

    /// Takes a sent call out of the outbox, or queues a cancel for it.
    pub(super) fn withdraw(&mut self, id: u64, in_hand: bool) -> Option<Arc<Spec>> {
        if in_hand {
            self.cancels.push(id);
            return None;
        }
        let spec = self.outbox.remove(id);
        if spec.is_some() {
            self.settle_unsent(id);
            self.calls.remove(&id);
        } else {
            self.put_cancel(id);
        }
        spec
    }

    /// Has a written request cancelled. The broker does a written operation in any case.
    pub(super) fn put_cancel(&mut self, id: u64) {
        if let Some(entry) = self.calls.get(&id)
            && !entry.operation
        {
            self.outbox.put_cancel(entry.wire);
        }
    }

    /// A sent call is out of the outbox again: the broker was never given it.
    pub(super) fn settle_unsent(&mut self, id: u64) {
        if let Some(entry) = self.calls.get_mut(&id) {
            entry.owed = false;
            let (wire, operation) = (entry.wire, entry.operation);
            self.release(wire, operation);
        }
    }

    /// Gives back what a call took when it was sent: its place and its id.
    pub(super) fn release(&mut self, wire: u64, operation: bool) {
        if !self.renamed.is_empty() {
            self.renamed.remove(&wire);
        }
        if operation {
            self.operations_open -= 1;
        } else {
            self.in_flight -= 1;
        }
    }
}
