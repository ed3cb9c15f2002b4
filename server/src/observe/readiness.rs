//! Whether the broker can serve requests, and if not, why.

use std::fmt::Write as _;

use lifeboat_core::view::{BrokerView, WorkerState};
use serde::Serialize;

use super::names::Names;

/// Whether requests can be served: the answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// No shutdown has begun and every pool has a ready worker. Being busy is not unready.
    pub ready: bool,
    /// Why not, one sentence each; empty when ready.
    pub reasons: Vec<String>,
}

impl Readiness {
    pub(super) fn new(view: &BrokerView, names: &Names) -> Self {
        let mut reasons = Vec::new();
        if view.draining {
            reasons.push("the broker is draining: it takes no new requests".to_owned());
        }
        for (pool, name) in names.pools() {
            let workers = view.workers.get(names.workers_of(pool)).unwrap_or_default();
            if !workers.iter().any(|worker| is_ready(worker.state)) {
                reasons.push(no_ready_worker(name, workers.iter().map(|worker| worker.state)));
            }
        }
        Self { ready: reasons.is_empty(), reasons }
    }
}

/// A worker in this state executes requests now or as soon as it is free.
pub(super) const fn is_ready(state: WorkerState) -> bool {
    match state {
        WorkerState::Ready | WorkerState::Busy | WorkerState::Degraded => true,
        WorkerState::Starting | WorkerState::Stopping | WorkerState::Backoff | WorkerState::Disabled => false,
    }
}

fn no_ready_worker(pool: &str, states: impl Iterator<Item = WorkerState>) -> String {
    let mut counts = [0_u32; WorkerState::ALL.len()];
    for state in states {
        counts[state as usize] += 1;
    }
    let mut reason = format!("pool {pool} has no ready worker");
    let mut separator = ": ";
    for (state, count) in WorkerState::ALL.iter().zip(counts) {
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(reason, "{separator}{count} {}", state.label());
            separator = ", ";
        }
    }
    reason
}
