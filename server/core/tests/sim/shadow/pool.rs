//! A pool, as far as can be seen: who waits, whose turn it is, whether it is tripped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lifeboat_core::fact::TripWhy;
use lifeboat_core::ids::ClientId;
use lifeboat_core::time::Timestamp;

/// Whether a pool takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trip {
    #[default]
    Closed,
    /// Refuses everything until then.
    Open(Timestamp),
    /// Has its chance since then.
    HalfOpen(Timestamp),
}

/// A client that has requests that were never dispatched.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Its requests, oldest first.
    pub(super) waiting: BTreeSet<u64>,
    /// How many turns the pool had seen when it began to wait without a break.
    pub(super) since: u64,
    /// Which of the pool's turns was its last one.
    pub(super) last: u64,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Who waits for a process; backoff is not in it.
    pub(super) waiting: BTreeSet<u64>,
    /// Those of them that were dispatched before.
    pub(super) returned: BTreeSet<u64>,
    /// When those that were not have waited for too long.
    pub(super) queue_ends: BTreeSet<(Timestamp, u64)>,
    /// How many wait and the memory they pin, backoff included.
    pub(super) depth: (usize, usize),
    pub(super) turns: BTreeMap<ClientId, Turn>,
    /// How many turns there were.
    pub(super) turn: u64,
    pub(super) drained: bool,
    pub(super) trip: Trip,
    /// It has tripped or come back in this entry point.
    pub(super) changed: bool,
    /// When unproductive incarnations ended, since it last came back.
    pub(super) unproductive: VecDeque<Timestamp>,
    pub(super) must_trip: Option<TripWhy>,
    /// It trips if a worker was not stable before it ended, and nobody knows.
    pub(super) may_wear_out: bool,
    pub(super) must_recover: bool,
    /// The request that was let in for the chance.
    pub(super) probe: Option<u64>,
}

impl Pool {
    pub(super) fn waits(&mut self, serial: u64, client: ClientId, fresh: bool, ends: Option<Timestamp>) {
        self.waiting.insert(serial);
        if !fresh {
            self.returned.insert(serial);
            return;
        }
        self.queue_ends.extend(ends.map(|at| (at, serial)));
        let turn = self.turns.entry(client).or_default();
        if turn.waiting.is_empty() {
            turn.since = self.turn;
        }
        turn.waiting.insert(serial);
    }

    pub(super) fn leaves(&mut self, serial: u64, client: ClientId, fresh: bool, ends: Option<Timestamp>) {
        self.waiting.remove(&serial);
        self.returned.remove(&serial);
        if fresh {
            if let Some(at) = ends {
                self.queue_ends.remove(&(at, serial));
            }
            if let Some(turn) = self.turns.get_mut(&client) {
                turn.waiting.remove(&serial);
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.trip, Trip::Open(_))
    }

    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.trip, Trip::HalfOpen(_))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.trip == Trip::Closed
    }

    pub(super) fn become_trip(&mut self, trip: Trip) {
        self.trip = trip;
        self.changed = true;
        self.probe = None;
        self.must_trip = None;
        self.must_recover = false;
    }

    /// Forgets what led to the trip.
    pub(super) fn forget(&mut self) {
        self.become_trip(Trip::Closed);
        self.unproductive.clear();
    }

    /// How many incarnations within the window were unproductive.
    pub(super) fn note_unproductive(&mut self, now: Timestamp, window: Duration) -> u32 {
        self.unproductive.push_back(now);
        let within = self.unproductive.iter().filter(|at| now - **at <= window);
        u32::try_from(within.count()).unwrap()
    }
}
