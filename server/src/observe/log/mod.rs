//! What is written to the log: one line per death with everything needed, the steps of a worker's and a pool's life,
//! and what processes write. Nothing about single requests above TRACE, and no flood of the same.
//!
//! It owns the words and the levels. ERROR is kept for defects of the broker: no worker can cause one.

mod ends;
mod output;
mod repeats;
mod steps;

use std::sync::Arc;

use lifeboat_core::fact::{Fact, RequestEnded};
use lifeboat_core::ids::{AttemptNumber, MethodId, ProcessKey, RequestId};
use lifeboat_core::reason::AttemptEnd;
use lifeboat_core::time::Timestamp;
use tracing::field::display as shown;
use tracing::{info, trace, warn};

use self::repeats::{Hidden, Kind, Repeats, Scope};
use super::names::Names;

/// Writes facts to the log.
#[derive(Debug)]
pub(super) struct Log {
    names: Arc<Names>,
    repeats: Repeats,
}

impl Log {
    pub(super) fn new(names: Arc<Names>) -> Self {
        let repeats = Repeats::new(names.worker_count(), names.pool_count());
        Self { names, repeats }
    }

    /// Logs a fact if it is notable.
    #[inline]
    pub(super) fn write(&mut self, fact: &Fact, now: Timestamp) {
        match fact {
            Fact::FirstDispatched { .. } | Fact::WorkerStarting { .. } | Fact::Saved { .. } => {}
            Fact::AttemptEnded { end: AttemptEnd::Ok, .. } => {}
            Fact::RequestEnded(ended) => {
                if ended.past_deadline {
                    self.past_deadline(ended, now);
                }
            }
            Fact::AttemptEnded { .. }
            | Fact::Retried { .. }
            | Fact::LimitPassed { .. }
            | Fact::RequeuedFree { .. }
            | Fact::AnswerRefused { .. } => trace!(?fact, "request"),
            // Logged where it is known who ordered it.
            Fact::Operated { .. } => trace!(?fact, "operated"),
            Fact::WorkerReady { .. }
            | Fact::Signalled { .. }
            | Fact::WorkerCrashed(_)
            | Fact::WorkerStopped { .. }
            | Fact::WorkerBackingOff { .. }
            | Fact::SetApart { .. }
            | Fact::SlotRetired { .. }
            | Fact::SaveDropped { .. }
            | Fact::SlotKept { .. }
            | Fact::RecycleDue { .. }
            | Fact::PoolTripped { .. }
            | Fact::PoolProbed { .. }
            | Fact::PoolRecovered { .. }
            | Fact::DescendantsLeaked { .. }
            | Fact::UnkillableDied { .. }
            | Fact::WorkerUnhealthy { .. }
            | Fact::WorkerHealthy { .. }
            | Fact::WorkerDisabled { .. }
            | Fact::Quarantined(_)
            | Fact::QuarantineReleased(_)
            | Fact::DrainBegan => self.write_notable(fact, now),
        }
    }

    #[cold]
    fn write_notable(&mut self, fact: &Fact, now: Timestamp) {
        self.catch_up(now);
        match fact {
            Fact::WorkerCrashed(death) => self.crashed(death, now),
            Fact::WorkerStopped { process, reason, evidence, .. } => {
                self.stopped(*process, *reason, evidence, now);
            }
            Fact::SlotRetired { process, slot, left, message, location, .. } => {
                self.slot_retired(*process, (*slot, *left), message, location.as_deref(), now);
            }
            Fact::SaveDropped { pool, method, bytes, .. } => {
                self.save_dropped(*pool, *method, *bytes, now);
            }
            Fact::SlotKept { process, slot, message, location, .. } => {
                self.slot_kept(*process, *slot, message, location.as_deref(), now);
            }
            Fact::SetApart { process, apart, .. } => self.set_apart(*process, *apart),
            Fact::DescendantsLeaked { process, count, .. } => self.leaked(*process, *count, now),
            Fact::UnkillableDied { process, .. } => self.unkillable_died(*process),
            Fact::Signalled { process, intent, .. } => self.signalled(*process, intent),
            Fact::WorkerReady { process, pid, took, .. } => self.ready(*process, *pid, *took, now),
            Fact::WorkerBackingOff { worker, wait, unproductive, .. } => {
                self.backing_off(*worker, *wait, *unproductive, now);
            }
            Fact::RecycleDue { process, reason, .. } => self.recycle_due(*process, *reason, now),
            Fact::PoolTripped { pool, why, because, wait } => {
                self.tripped(*pool, *why, because, *wait, now);
            }
            Fact::PoolProbed { pool } => self.probed(*pool, now),
            Fact::PoolRecovered { pool } => self.recovered(*pool, now),
            Fact::WorkerUnhealthy { worker, failures, last_crash, .. } => {
                self.unhealthy(*worker, *failures, *last_crash, now);
            }
            Fact::WorkerHealthy { worker, .. } => self.healthy(*worker, now),
            Fact::WorkerDisabled { worker, .. } => self.disabled(*worker),
            Fact::Quarantined(body) => self.quarantined(body, now),
            Fact::QuarantineReleased(body) => self.released(body, now),
            Fact::DrainBegan => self.draining(),
            Fact::RequestEnded(_)
            | Fact::AttemptEnded { .. }
            | Fact::FirstDispatched { .. }
            | Fact::Retried { .. }
            | Fact::LimitPassed { .. }
            | Fact::RequeuedFree { .. }
            | Fact::AnswerRefused { .. }
            | Fact::Operated { .. }
            | Fact::Saved { .. }
            | Fact::WorkerStarting { .. } => {}
        }
    }

    /// Tells what was counted instead of logged and whose window is over.
    pub(super) fn catch_up(&mut self, now: Timestamp) {
        if self.repeats.are_untold() {
            for (scope, hidden) in self.repeats.take_over(now) {
                self.tell_hidden(scope, hidden);
            }
        }
    }

    fn draining(&mut self) {
        for (scope, hidden) in self.repeats.take_all() {
            self.tell_hidden(scope, hidden);
        }
        info!("draining: no new requests are taken");
    }

    fn tell_hidden(&self, scope: Scope, Hidden { kind, count: repeats }: Hidden) {
        let (worker, pool) = match scope {
            Scope::Worker(worker) => (Some(self.names.worker(worker)), None),
            Scope::Pool(pool) => (None, Some(self.names.pool(pool))),
            Scope::Broker => (None, None),
        };
        match kind {
            Some(Kind::Crash(reason, method)) => {
                let method = method.map(|method| self.names.method(method));
                warn!(worker, reason, method, repeats, "worker crashed again in the same way");
            }
            Some(Kind::SlotRetired) => warn!(worker, repeats, "slot retired again"),
            Some(Kind::SlotKept) => warn!(worker, repeats, "handler panicked again: slot kept"),
            Some(Kind::Leak) => warn!(worker, repeats, "descendants could not be killed again"),
            Some(Kind::RecycleDue(reason)) => {
                info!(worker, reason = reason.label(), repeats, "worker due for recycling again");
            }
            Some(Kind::Stopped(reason)) => {
                info!(worker, reason = reason.label(), repeats, "worker stopped again");
            }
            Some(Kind::Unhealthy) => warn!(worker, repeats, "worker unhealthy again"),
            Some(Kind::Healthy) => info!(worker, repeats, "worker healthy again and again"),
            Some(Kind::SaveDropped) => warn!(pool, repeats, "saves could not be kept again"),
            Some(Kind::Quarantined) => warn!(pool, repeats, "bodies quarantined again"),
            Some(Kind::Released) => info!(pool, repeats, "bodies released from quarantine again"),
            Some(Kind::Tripped) => warn!(pool, repeats, "pool tripped again"),
            Some(Kind::Recovered) => info!(pool, repeats, "pool served again and again"),
            Some(Kind::PastDeadline(outcome, method)) => {
                let method = method.map(|method| self.names.method(method));
                warn!(method, outcome, repeats, "request ended later than it may again");
            }
            None => warn!(worker, pool, repeats, "further events of other kinds, not told apart"),
        }
    }

    #[cold]
    fn past_deadline(&mut self, ended: &RequestEnded, now: Timestamp) {
        self.catch_up(now);
        let kind = Kind::PastDeadline(ended.outcome.label(), ended.method);
        if self.repeats.admit(Scope::Broker, kind, now) {
            warn!(
                method = ended.method.map(|method| self.names.method(method)),
                request = ended.request.map(shown),
                outcome = ended.outcome.label(),
                duration = ?ended.duration,
                "request ended later than its deadline and kill_timeout"
            );
        }
    }
}

/// An attempt that a process was executing.
type Executing = (RequestId, AttemptNumber, MethodId);

/// The worker's name and the number of its life.
fn life(names: &Names, process: ProcessKey) -> (&str, u32) {
    (names.worker(process.worker), process.incarnation.0)
}
