//! What the demo's clients count: the one shape that travels from each client process to the demo.

use std::collections::BTreeMap;

use lifeboat_client::CallError;
use serde::{Deserialize, Serialize};

/// One client's count, or the sum of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Requests sent.
    pub(super) sent: u64,
    /// Requests by outcome, as the caller saw it; `disconnected` and `broken` beside the broker's own.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Attempts made, as told with the outcomes.
    pub(super) attempts: u64,
    /// Attempts beyond the first.
    pub(super) retries: u64,
    /// Answers that carry another request's nonce.
    pub(super) mismatched: u64,
    /// Answers and errors for requests that had already ended.
    pub(super) answered_twice: u64,
    /// The slowest request, in milliseconds.
    pub(super) slowest_ms: u64,
}

impl Tally {
    /// Requests that have an outcome.
    pub(super) fn ended(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Requests of one outcome.
    pub(super) fn outcome(&self, label: &str) -> u64 {
        self.outcomes.get(label).copied().unwrap_or(0)
    }

    /// Counts an outcome with its attempts.
    pub(super) fn count(&mut self, label: &str, attempts: u64) {
        *self.outcomes.entry(label.to_owned()).or_default() += 1;
        self.attempts += attempts;
        self.retries += attempts.saturating_sub(1);
    }

    /// Adds another tally.
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        for (label, count) in &other.outcomes {
            *self.outcomes.entry(label.clone()).or_default() += count;
        }
        self.attempts += other.attempts;
        self.retries += other.retries;
        self.mismatched += other.mismatched;
        self.answered_twice += other.answered_twice;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
    }
}

/// The outcome's label, for a call that was not answered.
pub(super) const fn label(error: &CallError) -> &'static str {
    match error {
        CallError::Failed { .. } => "failed",
        CallError::WorkerCrashed { .. } => "crashed",
        CallError::TimedOut { .. } => "timed_out",
        CallError::Cancelled { .. } => "cancelled",
        CallError::Rejected { .. } => "rejected",
        CallError::Closed { .. } => "closed",
        CallError::Disconnected { .. } => "disconnected",
        CallError::Encode { .. } | CallError::Decode { .. } | CallError::Connect(_) | _ => "broken",
    }
}

/// What a client process prints, one JSON object a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClientLine {
    /// Everything counted so far.
    pub(super) tally: Tally,
    /// The client is done.
    pub(super) last: bool,
}
