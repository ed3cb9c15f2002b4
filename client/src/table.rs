//! The table of calls: what each one waits for, and what ends it.
//!
//! Owns every call from its registration to its end, the order in which calls are sent, the window of calls that one
//! connection may have open, and the answer to "may it have run?". Everything here is short and synchronous and happens
//! under one lock. Must never encode or decode a user's type, do I/O, or wake a waker itself: wakers to wake are handed
//! out.

mod entry;
mod limits;
mod link;

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::task::Waker;
use std::time::Duration;

use lifeboat_protocol::{FrameLimit, TimeLeft};
use tokio::time::Instant;

pub(crate) use self::entry::{Ended, Spec, Window};
use self::entry::{Entry, IdHasher, Phase};
use crate::outbox::Outbox;

/// Requests are encoded ahead of the socket up to about this many bytes; the rest waits unencoded, where a call that is
/// dropped costs nothing.
const HIGH_WATER: usize = 256 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    calls: HashMap<u64, Entry, BuildHasherDefault<IdHasher>>,
    /// Calls not given to a connection. A request keeps its id when it is sent again, and the lowest goes first: so ids
    /// rise on every connection in the order written, as the protocol demands.
    waiting: BTreeSet<u64>,
    /// Calls abandoned while the outbox was away being written.
    cancels: Vec<u64>,
    pub(crate) outbox: Outbox,
    /// None: there is no connection.
    pub(crate) window: Option<Window>,
    next_id: u64,
    in_flight: usize,
    connect_timeout: Duration,
    /// Whether the connection was given a request. If not, its end does not restart the wait for a connection: a broker
    /// that lets everybody in only to say that it drains must not keep calls waiting for ever.
    useful: bool,
    /// Since when there is no useful connection.
    down_since: Instant,
    /// When [`scan`](Self::scan) must look next, at the latest.
    pub(crate) next_scan: Option<Instant>,
    /// Outcomes of requests that were not open.
    pub(crate) unexpected: u64,
}

impl Table {
    pub(crate) fn new(now: Instant, connect_timeout: Duration) -> Self {
        Self {
            calls: HashMap::default(),
            waiting: BTreeSet::new(),
            cancels: Vec::new(),
            outbox: Outbox::default(),
            window: None,
            next_id: 1,
            in_flight: 0,
            connect_timeout,
            useful: false,
            down_since: now,
            next_scan: None,
            unexpected: 0,
        }
    }

    /// Registers a call and returns its id.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        spec: Option<Box<Spec>>,
        deadline: Option<Instant>,
        waker: &Waker,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry {
            phase: Phase::Waiting(spec),
            waker: Some(waker.clone()),
            registered: now,
            deadline,
            owed: false,
        };
        self.watch(&entry, now);
        self.calls.insert(id, entry);
        self.waiting.insert(id);
        id
    }

    /// Whether the call has ended; if not, `waker` is woken when it does.
    pub(crate) fn poll(&mut self, id: u64, waker: &Waker) -> Option<Box<Ended>> {
        let entry = self.calls.get_mut(&id)?;
        match &entry.phase {
            Phase::Ended(_) => self.take(id),
            Phase::Waiting(_) | Phase::Sent | Phase::Abandoned => {
                if !entry.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
                    entry.waker = Some(waker.clone());
                }
                None
            }
        }
    }

    fn take(&mut self, id: u64) -> Option<Box<Ended>> {
        let entry = self.calls.get_mut(&id)?;
        let phase = std::mem::replace(&mut entry.phase, Phase::Abandoned);
        entry.waker = None;
        if !entry.owed {
            self.calls.remove(&id);
        }
        match phase {
            Phase::Ended(ended) => Some(ended),
            Phase::Waiting(_) | Phase::Sent | Phase::Abandoned => None,
        }
    }

    /// Nobody waits for the call any more: takes it back if it is not written, else has it cancelled. `in_hand` says
    /// that the outbox is away being written. Returns what is to be dropped outside the lock.
    pub(crate) fn abandon(&mut self, id: u64, in_hand: bool) -> Option<Box<Spec>> {
        let entry = self.calls.get_mut(&id)?;
        // The receiver goes first, the cancel after it: were it the other way round, an answer that crosses the cancel
        // could be stored for nobody and stay for ever.
        entry.waker = None;
        match std::mem::replace(&mut entry.phase, Phase::Abandoned) {
            Phase::Waiting(spec) => {
                self.waiting.remove(&id);
                self.calls.remove(&id);
                spec
            }
            Phase::Sent => self.withdraw(id, in_hand),
            Phase::Ended(_) | Phase::Abandoned => {
                if !entry.owed {
                    self.calls.remove(&id);
                }
                None
            }
        }
    }

    /// Takes a sent request out of the outbox, or queues a cancel for it.
    fn withdraw(&mut self, id: u64, in_hand: bool) -> Option<Box<Spec>> {
        if in_hand {
            self.cancels.push(id);
            return None;
        }
        let spec = self.outbox.remove(id);
        if spec.is_some() {
            self.calls.remove(&id);
            self.in_flight -= 1;
        } else {
            self.outbox.put_cancel(id);
        }
        spec
    }

    /// Whether new requests may be sent.
    fn accepts(&self) -> bool {
        self.window.is_some_and(|window| !window.draining)
    }

    /// Whether [`pump`](Self::pump) or a write of the outbox would do anything.
    pub(crate) fn has_work(&self) -> bool {
        let Some(window) = self.window else { return false };
        let room = !window.draining && self.in_flight < window.max_in_flight;
        !self.outbox.is_empty() || !self.cancels.is_empty() || (room && !self.waiting.is_empty())
    }

    /// Whether somebody waits for a connection.
    pub(crate) fn has_demand(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the broker owes nothing and nothing is to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.outbox.is_empty()
    }

    /// Whether nothing at all is under way: then a call may be written by its caller, which saves a wake-up. With more
    /// under way they are gathered by the driver instead, which saves writes.
    pub(crate) fn is_quiet(&self) -> bool {
        self.accepts() && self.is_idle() && self.waiting.is_empty()
    }

    /// Moves what may be sent into the outbox, oldest first.
    pub(crate) fn pump(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        for id in std::mem::take(&mut self.cancels) {
            // Answered in the meantime: nothing to cancel.
            if self.calls.get(&id).is_some_and(|entry| entry.owed) {
                self.withdraw(id, false);
            }
        }
        let Some(window) = self.window.filter(|window| !window.draining) else {
            return;
        };
        while self.in_flight < window.max_in_flight && self.outbox.left() < HIGH_WATER {
            let Some(id) = self.waiting.pop_first() else { break };
            if let Some(ended) = self.send(id, now, window.limit) {
                self.end(id, ended, woken);
            }
        }
    }

    /// Puts one call into the outbox, unless it ends here.
    fn send(&mut self, id: u64, now: Instant, limit: FrameLimit) -> Option<Ended> {
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
        if spec.body.len() > limit.max_body() {
            let (len, limit) = (spec.body.len(), limit.max_body());
            return Some(Ended::TooLarge { len, limit });
        }
        entry.phase = Phase::Sent;
        entry.owed = true;
        self.useful = true;
        self.in_flight += 1;
        let left = entry.deadline.map(|deadline| deadline - now);
        self.outbox.put_request(id, left.map_or(TimeLeft::NONE, TimeLeft::from_duration), spec);
        None
    }

    /// The broker ended a request.
    pub(crate) fn complete(&mut self, id: u64, ended: Ended, woken: &mut Vec<Waker>) {
        let Some(entry) = self.calls.get_mut(&id).filter(|entry| entry.owed) else {
            tracing::debug!(id, "the broker ended a request that is not open");
            self.unexpected += 1;
            return;
        };
        entry.owed = false;
        self.in_flight -= 1;
        match entry.phase {
            Phase::Sent => self.end(id, ended, woken),
            Phase::Abandoned => drop(self.calls.remove(&id)),
            // Given up here after the deadline, but not picked up yet.
            Phase::Ended(_) | Phase::Waiting(_) => {}
        }
    }

    fn end(&mut self, id: u64, ended: Ended, woken: &mut Vec<Waker>) {
        if let Some(entry) = self.calls.get_mut(&id) {
            entry.phase = Phase::Ended(Box::new(ended));
            woken.extend(entry.waker.take());
        }
    }
}
