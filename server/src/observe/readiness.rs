//! Whether the broker can serve requests, and if not, why.

use std::fmt::Write as _;

use lifeboat_core::fact::Death;
use lifeboat_core::ids::PoolId;
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::{BrokerView, PoolState, PoolView, WorkerState, WorkerView};
use serde::Serialize;

use super::describe::{describe, last_line};
use super::names::Names;

/// Whether requests can be served: the answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// No shutdown has begun and every pool serves: it has a ready worker, is not tripped and was not drained. Being busy
    /// is not unready.
    pub ready: bool,
    /// Why not, one sentence each; empty when ready.
    pub reasons: Vec<String>,
}

/// When each pool that is tripped is tried again, in configuration order.
pub(super) type NextTries = [Option<Timestamp>];

impl Readiness {
    pub(super) fn new(view: &BrokerView, names: &Names, next_tries: &NextTries) -> Self {
        let mut reasons = Vec::new();
        if view.draining {
            reasons.push("the broker is draining: it takes no new requests".to_owned());
        }
        for (pool, _) in names.pools().filter(|(pool, _)| !serves(*pool, view, names)) {
            reasons.push(why_not(pool, view, names, next_tries));
        }
        Self { ready: reasons.is_empty(), reasons }
    }
}

/// The pool takes requests and has a worker that is ready.
pub(super) fn serves(pool: PoolId, view: &BrokerView, names: &Names) -> bool {
    let is_open = pool_view(pool, view).is_none_or(|pool| pool.state == PoolState::Serving);
    is_open && workers(pool, view, names).iter().any(|worker| worker.state.is_ready())
}

fn pool_view(pool: PoolId, view: &BrokerView) -> Option<&PoolView> {
    view.pools.iter().find(|known| known.pool == pool)
}

fn workers<'view>(pool: PoolId, view: &'view BrokerView, names: &Names) -> &'view [WorkerView] {
    view.workers.get(names.workers_of(pool)).unwrap_or_default()
}

/// Why a pool does not serve, in one sentence.
fn why_not(pool: PoolId, view: &BrokerView, names: &Names, next_tries: &NextTries) -> String {
    let name = names.pool(pool);
    let known = pool_view(pool, view);
    let because = known.and_then(|known| known.because.as_deref());
    let last = because.map(|death| last_death(death, names)).unwrap_or_default();
    match known.map_or(PoolState::Serving, |known| known.state) {
        PoolState::Serving => {
            let states = workers(pool, view, names).iter().map(|worker| worker.state);
            format!("pool {name} has no ready worker{}{last}", counted(states))
        }
        PoolState::Tripped => {
            let at = next_tries.get(usize::from(pool.0)).copied().flatten();
            let when =
                at.map(|at| format!("; it is tried again in {:.1} s", at.since(view.at).as_secs_f64()));
            let when = when.unwrap_or_default();
            format!("pool {name} is tripped: its processes die before they serve{last}{when}")
        }
        PoolState::Probing => {
            format!("pool {name} is tripped: it is being tried with one process, one request at a time{last}")
        }
        PoolState::Draining => format!("pool {name} is being drained by a person: what runs is finished"),
        PoolState::Drained => format!("pool {name} was drained by a person; a restart lets it serve again"),
    }
}

/// How many workers are in which state.
fn counted(states: impl Iterator<Item = WorkerState>) -> String {
    let mut counts = [0_u32; WorkerState::ALL.len()];
    for state in states {
        counts[state as usize] += 1;
    }
    let mut text = String::new();
    for (state, count) in WorkerState::ALL.iter().zip(counts).filter(|(_, count)| *count > 0) {
        let separator = if text.is_empty() { ": " } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{count} {}", state.label());
    }
    text
}

/// The last death that counted, as the end of a sentence.
fn last_death(death: &Death, names: &Names) -> String {
    let mut text =
        format!("; the last to die was {}: {}", names.worker(death.process.worker), death.reason.label());
    let detail = describe(&death.reason);
    if !detail.is_empty() {
        let _ = write!(text, " ({detail})");
    }
    if let Some(words) = last_line(&death.evidence.stderr_tail) {
        let _ = write!(text, ", last words \"{words}\"");
    }
    text
}
