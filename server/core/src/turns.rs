//! The turns of a pool's clients.
//!
//! It owns the lines of requests that were never dispatched, one line per client, and the order in which the clients
//! take turns: whoever waits gets one request dispatched before anybody gets a second one. It must never look at how
//! many requests a client has: that decides nothing.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{ClientId, RequestId};
use crate::request::{RequestPhase, Requests};

/// Garbage that is never worth collecting.
pub(crate) const SMALL: usize = 32;

/// The requests of one client, oldest first; those that were settled meanwhile stay until they are met.
#[derive(Debug, Default)]
struct Line {
    ids: VecDeque<RequestId>,
    /// How many of them still wait.
    live: usize,
}

/// The lines of all clients that wait, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    lines: BTreeMap<ClientId, Line>,
    /// Clients in the order of their next turn; each that has a line is in it once.
    order: VecDeque<ClientId>,
    places: usize,
    live: usize,
}

impl Turns {
    /// How many requests wait.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// How many places the lines have: for the invariants.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// Puts a request at the end of its client's line.
    pub(crate) fn push(&mut self, client: ClientId, id: RequestId) {
        let line = self.lines.entry(client).or_insert_with(|| {
            self.order.push_back(client);
            Line::default()
        });
        line.ids.push_back(id);
        line.live += 1;
        self.places += 1;
        self.live += 1;
    }

    /// The request whose turn it is.
    pub(crate) fn first<Q>(&mut self, requests: &Requests<Q>) -> Option<RequestId> {
        loop {
            let client = *self.order.front()?;
            let line = self.lines.get_mut(&client)?;
            while let Some(id) = line.ids.front() {
                if waits(requests, *id) {
                    return Some(*id);
                }
                line.ids.pop_front();
                self.places -= 1;
            }
            self.order.pop_front();
            self.lines.remove(&client);
        }
    }

    /// The client whose turn it was got its request dispatched: the next one's turn has come.
    pub(crate) fn pass(&mut self) {
        if let Some(client) = self.order.pop_front() {
            self.order.push_back(client);
        }
    }

    /// A waiting request is no longer one. Its place is collected now or later.
    pub(crate) fn forget(&mut self, client: ClientId, id: RequestId) {
        let Some(line) = self.lines.get_mut(&client) else { return };
        line.live -= 1;
        self.live -= 1;
        if line.ids.front() == Some(&id) {
            line.ids.pop_front();
            self.places -= 1;
        }
    }

    /// Drops settled requests from the lines, and empty lines, once they outnumber the waiting requests.
    pub(crate) fn tidy<Q>(&mut self, requests: &Requests<Q>) {
        if self.places + self.lines.len() <= 2 * self.live + SMALL {
            return;
        }
        self.lines.retain(|_, line| line.live > 0);
        self.order.retain(|client| self.lines.contains_key(client));
        for line in self.lines.values_mut() {
            line.ids.retain(|id| waits(requests, *id));
        }
        self.places = self.live;
    }

    /// Every waiting request, in no order.
    pub(crate) fn everyone<Q>(&self, requests: &Requests<Q>) -> impl Iterator<Item = RequestId> {
        let ids = self.lines.values().flat_map(|line| &line.ids).copied();
        ids.filter(|id| waits(requests, *id))
    }

    /// The oldest waiting request.
    pub(crate) fn oldest<Q>(&self, requests: &Requests<Q>) -> Option<RequestId> {
        let fronts = self.lines.values().filter_map(|line| line.ids.iter().find(|id| waits(requests, **id)));
        fronts.min().copied()
    }
}

/// Whether a request in a line still waits there.
fn waits<Q>(requests: &Requests<Q>, id: RequestId) -> bool {
    requests.get(id).is_some_and(|record| record.phase == RequestPhase::Queued && !record.dispatched)
}
