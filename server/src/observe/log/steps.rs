//! The steps of a worker's and a pool's life that are no end.

use std::time::Duration;

use lifeboat_core::fact::{Death, TripWhy};
use lifeboat_core::ids::{MethodId, PoolId, ProcessKey, WorkerId};
use lifeboat_core::reason::StopReason;
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::QuarantineView;
use tracing::field::display as shown;
use tracing::{debug, info, warn};

use super::repeats::{Kind, Scope};
use super::{Log, life};
use crate::observe::describe::{describe, last_line};

impl Log {
    /// A worker that ends over and over also becomes ready over and over: its readiness is as quiet as its ends.
    pub(super) fn ready(&self, process: ProcessKey, pid: u32, took: Duration, now: Timestamp) {
        let (worker, incarnation) = life(&self.names, process);
        if self.repeats.is_repeating(Scope::Worker(process.worker), now) {
            debug!(worker, incarnation, pid, ?took, "worker ready");
        } else {
            info!(worker, incarnation, pid, ?took, "worker ready");
        }
    }

    pub(super) fn backing_off(&self, worker: WorkerId, wait: Duration, unproductive: u32, now: Timestamp) {
        let name = self.names.worker(worker);
        if self.repeats.is_repeating(Scope::Worker(worker), now) {
            debug!(worker = name, ?wait, unproductive, "worker waits before its next incarnation");
        } else {
            info!(worker = name, ?wait, unproductive, "worker waits before its next incarnation");
        }
    }

    pub(super) fn recycle_due(&mut self, process: ProcessKey, reason: StopReason, now: Timestamp) {
        if self.repeats.admit(Scope::Worker(process.worker), Kind::RecycleDue(reason), now) {
            let (worker, incarnation) = life(&self.names, process);
            info!(worker, incarnation, reason = reason.label(), "worker due for recycling");
        }
    }

    pub(super) fn unhealthy(
        &mut self,
        worker: WorkerId,
        failures: u32,
        last_crash: Option<&'static str>,
        now: Timestamp,
    ) {
        if self.repeats.admit(Scope::Worker(worker), Kind::Unhealthy, now) {
            warn!(worker = self.names.worker(worker), failures, last_crash, "worker unhealthy");
        }
    }

    pub(super) fn healthy(&mut self, worker: WorkerId, now: Timestamp) {
        if self.repeats.admit(Scope::Worker(worker), Kind::Healthy, now) {
            info!(worker = self.names.worker(worker), "worker healthy again");
        }
    }

    /// Bounded by itself: only a person brings the worker back.
    pub(super) fn disabled(&self, worker: WorkerId) {
        let worker = self.names.worker(worker);
        warn!(worker, "unhealthy worker taken out of service; `lifeboat restart {worker}` brings it back");
    }

    /// It is given nothing but requests that may be to blame for a death, one at a time.
    pub(super) fn set_apart(&self, process: ProcessKey, apart: bool) {
        let (worker, incarnation) = life(&self.names, process);
        let what = if apart { "worker set apart for suspects" } else { "worker serves everybody again" };
        debug!(worker, incarnation, "{what}");
    }

    /// Attempts are not retried while what they saved is not kept.
    pub(super) fn save_dropped(&mut self, pool: PoolId, method: MethodId, bytes: usize, now: Timestamp) {
        if self.repeats.admit(Scope::Pool(pool), Kind::SaveDropped, now) {
            warn!(
                pool = self.names.pool(pool),
                method = self.names.method(method),
                bytes,
                "a save was not kept: the pool's requests have saved all that queue.max_bytes allows; no retry"
            );
        }
    }

    /// A client that may send anything could fill the log with these: like all that repeats they are taken together.
    pub(super) fn quarantined(&mut self, body: &QuarantineView, now: Timestamp) {
        if self.repeats.admit(Scope::Pool(body.pool), Kind::Quarantined, now) {
            warn!(
                pool = self.names.pool(body.pool),
                method = self.names.method(body.method),
                digest = %body.digest,
                crashes = body.crashes,
                report = body.report.map(|report| self.names.report(report)),
                expires_in = ?(body.until - body.last_crash),
                "body quarantined: requests with it are refused"
            );
        }
    }

    pub(super) fn released(&mut self, body: &QuarantineView, now: Timestamp) {
        if self.repeats.admit(Scope::Pool(body.pool), Kind::Released, now) {
            let (pool, method) = (self.names.pool(body.pool), self.names.method(body.method));
            info!(pool, method, digest = %body.digest, crashes = body.crashes, "body released from quarantine");
        }
    }

    pub(super) fn tripped(
        &mut self,
        pool: PoolId,
        why: TripWhy,
        because: &Death,
        wait: Duration,
        now: Timestamp,
    ) {
        if self.repeats.admit(Scope::Pool(pool), Kind::Tripped, now) {
            warn!(
                pool = self.names.pool(pool),
                %why,
                worker = self.names.worker(because.process.worker),
                reason = because.reason.label(),
                detail = Some(describe(&because.reason)).filter(|detail| !detail.is_empty()).map(shown),
                next_try_in = ?wait,
                stderr = last_line(&because.evidence.stderr_tail).map(shown),
                "pool tripped: it refuses requests until a process serves again"
            );
        }
    }

    pub(super) fn probed(&self, pool: PoolId, now: Timestamp) {
        let name = self.names.pool(pool);
        if self.repeats.is_repeating(Scope::Pool(pool), now) {
            debug!(pool = name, "tripped pool is tried again");
        } else {
            info!(pool = name, "tripped pool is tried again");
        }
    }

    pub(super) fn recovered(&mut self, pool: PoolId, now: Timestamp) {
        if self.repeats.admit(Scope::Pool(pool), Kind::Recovered, now) {
            info!(pool = self.names.pool(pool), "pool serves again");
        }
    }
}
