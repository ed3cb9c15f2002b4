//! The table of calls: what each one waits for, and what ends it.
//!
//! Owns every call, a request or an operation, from its registration to its end, the order in which calls are sent, the
//! window of requests that one connection may have open, what is told of them meanwhile, and the answer to "may it have
//! run?". Everything here is short and synchronous and happens under one lock. Must never encode or decode a user's
//! type, do I/O, or wake a waker itself: wakers to wake are handed out.

mod backlog;
mod entry;
mod limits;
mod link;
mod room;
mod sending;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use self::backlog::Pushed;
pub(crate) use self::backlog::{Backlog, Room, Told, What};
pub(crate) use self::entry::{Ended, Kind, Remains, Spec, Step, Window};
use self::entry::{Entry, IdHasher, Phase};
pub(crate) use self::room::Ticket;
use crate::outbox::Outbox;
use crate::times::{Times, TooShort};

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    calls: HashMap<u64, Entry, BuildHasherDefault<IdHasher>>,
    /// Requests not given to a connection. A request keeps its id when it is sent again, and the lowest goes first: so
    /// ids rise on every connection in the order written, as the protocol demands.
    waiting: BTreeSet<u64>,
    /// Operations not given to a connection. They need no place in the window, and so may overtake requests.
    operations: BTreeSet<u64>,
    /// Calls abandoned while the outbox was away being written.
    cancels: Vec<u64>,
    pub(crate) outbox: Outbox,
    /// None: there is no connection.
    pub(crate) window: Option<Window>,
    next_id: u64,
    /// The last id written on this connection. A request with a lower one was overtaken, and gets another for the wire.
    last_wire: u64,
    /// From those others to the calls' own. Nearly always empty.
    renamed: HashMap<u64, u64, BuildHasherDefault<IdHasher>>,
    /// Requests that the broker has yet to end.
    in_flight: usize,
    /// Operations that the broker has yet to answer.
    operations_open: usize,
    connect_timeout: Duration,
    /// Whether the connection was given a request. If not, its end does not restart the wait for a connection: a broker
    /// that lets everybody in only to say that it drains must not keep calls waiting for ever.
    useful: bool,
    /// Since when there is no useful connection.
    down_since: Instant,
    /// The places of the last connection's window; of the client's own while there was none.
    places: usize,
    /// Those who wait for a place in the window before they make a call.
    room_wanted: BTreeMap<Ticket, Waker>,
    #[cfg(feature = "tower")]
    next_ticket: u64,
    /// What the last broker told of its methods.
    pub(crate) times: Times,
    /// The client's own timeout, which calls have that set none.
    timeout: Option<Duration>,
    /// Methods whose first calls were sent with it, though it is too short for them; to be warned of.
    too_short: Vec<TooShort>,
    /// When [`scan`](Self::scan) must look next, at the latest.
    pub(crate) next_scan: Option<Instant>,
    /// Outcomes and events that nobody waits for by right: see [`Client::unexpected_answers`](crate::Client).
    pub(crate) unexpected: u64,
}

impl Table {
    /// `places` is how many requests the client would have open at a time, whatever the broker says.
    pub(crate) fn new(now: Instant, connect_timeout: Duration, places: usize) -> Self {
        Self {
            calls: HashMap::default(),
            waiting: BTreeSet::new(),
            operations: BTreeSet::new(),
            cancels: Vec::new(),
            outbox: Outbox::default(),
            window: None,
            next_id: 1,
            last_wire: 0,
            renamed: HashMap::default(),
            in_flight: 0,
            operations_open: 0,
            connect_timeout,
            useful: false,
            down_since: now,
            places,
            room_wanted: BTreeMap::new(),
            #[cfg(feature = "tower")]
            next_ticket: 0,
            times: Times::default(),
            timeout: None,
            too_short: Vec::new(),
            next_scan: None,
            unexpected: 0,
        }
    }

    /// Registers a call and returns its id. With a backlog it is a stream, whose reader asks with
    /// [`poll_step`](Self::poll_step).
    pub(crate) fn register(
        &mut self,
        now: Instant,
        spec: Option<Arc<Spec>>,
        backlog: Option<Box<Backlog>>,
        deadline: Option<Instant>,
        waker: &Waker,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let operation = spec.as_ref().is_some_and(|spec| spec.is_operation());
        let entry = Entry {
            phase: Phase::Waiting(spec),
            waker: Some(waker.clone()),
            registered: now,
            deadline,
            operation,
            wire: id,
            backlog,
            owed: false,
            let_go: false,
            resent: 0,
            again: None,
            lost_before: None,
        };
        self.watch(&entry, now);
        self.calls.insert(id, entry);
        if operation {
            self.operations.insert(id)
        } else {
            self.waiting.insert(id)
        };
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

    /// What was told of a streamed request and not read yet, then its end; if there is nothing, `waker` is woken when
    /// there is.
    pub(crate) fn poll_step(&mut self, id: u64, waker: &Waker) -> Option<Step> {
        let backlog = self.calls.get_mut(&id).and_then(|entry| entry.backlog.as_mut());
        match backlog.and_then(|backlog| backlog.pop()) {
            Some(told) => Some(Step::Told(told)),
            None => self.poll(id, waker).map(Step::Ended),
        }
    }

    fn take(&mut self, id: u64) -> Option<Box<Ended>> {
        let entry = self.calls.get_mut(&id)?;
        let phase = std::mem::replace(&mut entry.phase, Phase::Abandoned);
        (entry.waker, entry.backlog) = (None, None);
        if !entry.owed {
            self.calls.remove(&id);
        }
        match phase {
            Phase::Ended(ended) => Some(ended),
            Phase::Waiting(_) | Phase::Sent | Phase::Abandoned => None,
        }
    }

    /// Nobody waits for the call any more: takes it back if it is not written, else has it cancelled. `in_hand` says
    /// that the outbox is away being written.
    pub(crate) fn abandon(&mut self, id: u64, in_hand: bool) -> Remains {
        let Some(entry) = self.calls.get_mut(&id) else { return (None, None) };
        // The receiver goes first, the cancel after it: were it the other way round, an answer that crosses the cancel
        // could be stored for nobody and stay for ever.
        entry.waker = None;
        let backlog = entry.backlog.take();
        // It is not to be repeated any more: what it holds is not kept until the broker ends it.
        let again = entry.again.take();
        let spec = match std::mem::replace(&mut entry.phase, Phase::Abandoned) {
            Phase::Waiting(spec) => {
                self.stop_waiting(id);
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
        };
        (spec.or(again), backlog)
    }

    /// Nobody waits for the call any more, but it goes on: it is sent if it was not, and only its end is thrown away.
    pub(crate) fn let_go(&mut self, id: u64) -> Remains {
        let Some(entry) = self.calls.get_mut(&id) else { return (None, None) };
        (entry.waker, entry.let_go) = (None, true);
        let backlog = entry.backlog.take();
        if matches!(entry.phase, Phase::Ended(_)) {
            self.take(id);
        }
        (None, backlog)
    }

    /// The call that the broker means by `wire`, if it owes anything for it.
    fn open_call(&mut self, wire: u64) -> Option<(u64, &mut Entry)> {
        let id = if self.renamed.is_empty() { wire } else { *self.renamed.get(&wire).unwrap_or(&wire) };
        let entry = self.calls.get_mut(&id).filter(|entry| entry.owed && entry.wire == wire)?;
        Some((id, entry))
    }

    /// The broker ended a request or answered an operation.
    pub(crate) fn complete(&mut self, wire: u64, ended: Ended, woken: &mut Vec<Waker>) {
        let operated = matches!(ended, Ended::Operated(_));
        let open = self.open_call(wire).filter(|(_, entry)| entry.operation == operated);
        let Some((id, entry)) = open else {
            return self.unexpected(wire, "an outcome");
        };
        entry.owed = false;
        match entry.phase {
            Phase::Sent => self.end(id, ended, woken),
            Phase::Abandoned => drop(self.calls.remove(&id)),
            // Given up here, but not picked up yet.
            Phase::Ended(_) | Phase::Waiting(_) => {}
        }
        self.release(wire, operated);
    }

    /// The broker told of a request that runs. The outbox must not be in the driver's hands.
    pub(crate) fn tell(&mut self, wire: u64, told: Told, woken: &mut Vec<Waker>) {
        let Some((id, entry)) = self.open_call(wire) else {
            return self.unexpected(wire, "an event");
        };
        match entry.phase {
            Phase::Sent => {}
            // Given up here; it crossed the cancel.
            Phase::Abandoned | Phase::Ended(_) | Phase::Waiting(_) => return,
        }
        if entry.let_go {
            return;
        }
        let Some(backlog) = &mut entry.backlog else {
            return self.unexpected(wire, "an event of a request that is not streamed");
        };
        match backlog.push(told) {
            Pushed::Kept => woken.extend(entry.waker.take()),
            Pushed::Stale => self.unexpected(wire, "an event of an attempt that is over"),
            Pushed::Full => {
                let unread = backlog.unread();
                self.put_cancel(id);
                self.end(id, Ended::BacklogFull(unread), woken);
            }
        }
    }

    fn unexpected(&mut self, wire: u64, what: &'static str) {
        tracing::debug!(id = wire, what, "the broker told what nobody waits for");
        self.unexpected += 1;
    }

    /// Its end is there to be picked up.
    fn end(&mut self, id: u64, ended: Ended, woken: &mut Vec<Waker>) {
        let Some(entry) = self.calls.get_mut(&id) else { return };
        let ended = match entry.lost_before.take() {
            Some(lost) => ended.after(lost),
            None => ended,
        };
        entry.again = None;
        entry.phase = Phase::Ended(Box::new(ended));
        woken.extend(entry.waker.take());
        if entry.let_go {
            self.take(id);
        }
    }
}
