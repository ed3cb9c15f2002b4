//! The bounded waiting line of one pool.
//!
//! It owns which requests wait, in what order and how much memory they pin, and says when the line is full. It must
//! never choose a process. The clients take [turns](crate::turns) with their new requests; requests that come back
//! (re-queued, or due for their next attempt) go before all of them, in the order of acceptance: their client had its
//! turn.

use std::collections::BTreeSet;

use crate::ids::{ClientId, RequestId, WorkerId};
use crate::request::{RequestPhase, Requests};
use crate::returned::Returned;
use crate::settings::QueueSettings;
use crate::turns::Turns;

/// The waiting line of one pool.
#[derive(Debug)]
pub(crate) struct Queue {
    bounds: QueueSettings,
    /// Requests that were never dispatched.
    fresh: Turns,
    /// Requests that came back, but for suspects.
    returned: Returned,
    /// Suspects: each waits for a process that holds nothing else.
    suspects: Returned,
    /// Requests that wait for their next attempt.
    backing_off: BTreeSet<RequestId>,
    /// How many requests wait, backoff included.
    depth: usize,
    /// Memory that they pin.
    bytes: usize,
}

impl Queue {
    pub(crate) fn new(bounds: QueueSettings) -> Self {
        Self {
            bounds,
            fresh: Turns::default(),
            returned: Returned::default(),
            suspects: Returned::default(),
            backing_off: BTreeSet::new(),
            depth: 0,
            bytes: 0,
        }
    }

    /// Requests that wait, backoff included.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Memory that they pin.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a new request may wait. Requests that come back are never refused, but count.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.depth < self.bounds.max_requests && self.bytes.saturating_add(bytes) <= self.bounds.max_bytes
    }

    /// Whether no request waits for a process that it may share.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.fresh.live() == 0 && self.returned.is_empty()
    }

    pub(crate) fn push_fresh(&mut self, client: ClientId, id: RequestId, bytes: usize) {
        self.fresh.push(client, id);
        self.enter(bytes);
    }

    pub(crate) fn push_returned(&mut self, id: RequestId, avoid: Option<WorkerId>, bytes: usize) {
        self.returned.insert(id, avoid);
        self.enter(bytes);
    }

    pub(crate) fn push_suspect(&mut self, id: RequestId, avoid: Option<WorkerId>, bytes: usize) {
        self.suspects.insert(id, avoid);
        self.enter(bytes);
    }

    pub(crate) fn push_backoff(&mut self, id: RequestId, bytes: usize) {
        self.backing_off.insert(id);
        self.enter(bytes);
    }

    /// Requests that came back and may share a process.
    pub(crate) fn returned(&self) -> &Returned {
        &self.returned
    }

    /// Suspects.
    pub(crate) fn suspects(&self) -> &Returned {
        &self.suspects
    }

    /// The request whose client's turn it is, of those that were never dispatched.
    pub(crate) fn first_fresh<Q>(&mut self, requests: &Requests<Q>) -> Option<RequestId> {
        self.fresh.first(requests)
    }

    /// Takes out a request that is dispatched now. A new one must be what [`Queue::first_fresh`] gave.
    pub(crate) fn take<Q>(&mut self, requests: &Requests<Q>, id: RequestId) {
        let is_fresh = requests.get(id).is_some_and(|record| !record.dispatched);
        self.remove(requests, id);
        if is_fresh {
            self.fresh.pass();
        }
    }

    /// Takes a waiting request out, wherever it waits. The record's phase still says where that is.
    pub(crate) fn remove<Q>(&mut self, requests: &Requests<Q>, id: RequestId) {
        let record = requests.get(id).expect("the caller holds an open request");
        let bytes = record.bytes;
        match record.phase {
            RequestPhase::Backoff { .. } => {
                self.backing_off.remove(&id);
            }
            RequestPhase::Queued if record.suspect => self.suspects.remove(id, record.avoid),
            RequestPhase::Queued if record.dispatched => self.returned.remove(id, record.avoid),
            RequestPhase::Queued => self.fresh.forget(record.client, id),
            RequestPhase::Held { .. } | RequestPhase::Ended => return,
        }
        self.depth -= 1;
        self.bytes -= bytes;
    }

    /// Drops settled requests from the lines once they outnumber the waiting ones.
    pub(crate) fn tidy<Q>(&mut self, requests: &Requests<Q>) {
        self.fresh.tidy(requests);
    }

    /// Every waiting request, backoff included.
    pub(crate) fn everyone<Q>(&self, requests: &Requests<Q>) -> Vec<RequestId> {
        let came_back = self.returned.iter().chain(self.suspects.iter());
        let mut all: Vec<RequestId> = came_back.chain(self.backing_off.iter().copied()).collect();
        all.extend(self.fresh.everyone(requests));
        all.sort_unstable();
        all
    }

    /// The oldest waiting request, backoff included.
    pub(crate) fn oldest<Q>(&self, requests: &Requests<Q>) -> Option<RequestId> {
        let (returned, suspect) = (self.returned.oldest(), self.suspects.oldest());
        let fresh = self.fresh.oldest(requests);
        [returned, suspect, self.backing_off.first().copied(), fresh].into_iter().flatten().min()
    }

    /// How many places the lines of new requests have, and how many of them are taken by requests that wait: for the
    /// invariants.
    pub(crate) fn fresh_places(&self) -> (usize, usize) {
        (self.fresh.places(), self.fresh.live())
    }

    fn enter(&mut self, bytes: usize) {
        self.depth += 1;
        self.bytes += bytes;
    }
}
