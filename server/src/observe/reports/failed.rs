//! The last requests that did not end `ok`.
//!
//! It owns how many are remembered: those that were refused have a share of their own, so that a flood of refusals hides no
//! crash. Taking note of one costs no allocation: a flood may be hot.

use std::collections::VecDeque;

use lifeboat_core::fact::RequestEnded;
use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::time::Timestamp;

use crate::observe::names::Names;
use crate::observe::wall_clock::millis;

/// So many that were accepted are remembered ...
const MOST_ACCEPTED: usize = 192;

/// ... and so many that were refused: 256 in all.
const MOST_REFUSED: usize = 64;

/// One request that did not end `ok`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRequest {
    /// The broker's id; `None` where it was refused before it got one.
    pub request: Option<u64>,
    /// The pool; `None` where none serves the method.
    pub pool: Option<String>,
    /// The method; `None` where the configuration does not name it.
    pub method: Option<String>,
    /// The label of its outcome.
    pub outcome: &'static str,
    /// Why it was refused.
    pub why: Option<&'static str>,
    /// How many attempts were made.
    pub attempts: u16,
    /// From acceptance to outcome, in milliseconds.
    pub duration_ms: u64,
    /// How long ago that was, in milliseconds.
    pub ago_ms: u64,
    /// The label of what ended its last attempt, where that crashed or was killed.
    pub reason: Option<&'static str>,
    /// The name of the report of that death.
    pub report: Option<String>,
}

#[derive(Debug)]
pub(super) struct Failed {
    accepted: VecDeque<(Timestamp, RequestEnded)>,
    refused: VecDeque<(Timestamp, RequestEnded)>,
}

impl Failed {
    pub(super) fn new() -> Self {
        let ring = VecDeque::with_capacity;
        Self { accepted: ring(MOST_ACCEPTED), refused: ring(MOST_REFUSED) }
    }

    /// Takes note of an end that is not `ok`.
    pub(super) fn note(&mut self, ended: &RequestEnded, now: Timestamp) {
        let (ring, most) = if ended.outcome == OutcomeKind::Rejected {
            (&mut self.refused, MOST_REFUSED)
        } else {
            (&mut self.accepted, MOST_ACCEPTED)
        };
        if ring.len() == most {
            ring.pop_front();
        }
        ring.push_back((now, *ended));
    }

    /// The newest first.
    pub(super) fn rows(&self, now: Timestamp, names: &Names) -> Vec<FailedRequest> {
        let mut all: Vec<_> = self.accepted.iter().chain(&self.refused).collect();
        all.sort_by_key(|(at, _)| *at);
        let row = |(at, ended): &(Timestamp, RequestEnded)| FailedRequest {
            request: ended.request.map(|id| id.0),
            pool: ended.pool.map(|id| names.pool(id).to_owned()),
            method: ended.method.map(|id| names.method(id).to_owned()),
            outcome: ended.outcome.label(),
            why: ended.rejected.map(lifeboat_core::reason::RejectWhy::label),
            attempts: ended.attempts,
            duration_ms: millis(ended.duration),
            ago_ms: millis(now.since(*at)),
            reason: ended.reason,
            report: ended.report.map(|id| names.report(id)),
        };
        all.into_iter().rev().map(row).collect()
    }
}
