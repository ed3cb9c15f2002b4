//! A slot's line: what it executes and what waits behind it.
//!
//! Owns what is known of one slot beside its thread. Must never start anything: the slot's thread takes from it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lifeboat_protocol::{History, Route};

use crate::call::Call;

/// A request that waits for its slot.
pub(crate) struct Held {
    pub(crate) route: Route,
    /// The place of its method among the handlers, or the name of one that has none.
    pub(crate) method: Result<usize, String>,
    pub(crate) ext: Option<Bytes>,
    /// What came before a further attempt.
    pub(crate) history: Option<Box<History>>,
    pub(crate) body: Bytes,
    /// When it was read: its time left counts from here.
    pub(crate) received: Instant,
    /// Cancelled before it started.
    pub(crate) cancelled: bool,
}

#[derive(Default)]
pub(crate) struct Line {
    pub(crate) held: VecDeque<Held>,
    /// What the slot executes.
    pub(crate) running: Option<Arc<Call>>,
    /// A handler panicked: what comes for the slot is dropped.
    pub(crate) retired: bool,
    /// Its thread waits and must be woken for what another thread reads.
    pub(crate) waiting: bool,
}

impl Line {
    /// The broker cancelled an attempt.
    pub(crate) fn cancel(&mut self, route: Route) {
        let same = |other: &Route| (other.id, other.attempt) == (route.id, route.attempt);
        if let Some(call) = self.running.as_ref().filter(|call| same(&call.route)) {
            call.cancel();
        } else if let Some(held) = self.held.iter_mut().find(|held| same(&held.route)) {
            held.cancelled = true;
        }
        // Otherwise its answer and the cancel crossed.
    }

    /// The slot takes nothing more. What it held is the broker's again.
    pub(crate) fn retire(&mut self) {
        self.retired = true;
        self.held.clear();
    }
}
