//! What is written to the log: one line per death with everything needed, and the steps of a worker's life. Nothing
//! about single requests above TRACE, and no flood of the same death.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::evidence::Intent;
use lifeboat_core::fact::{Death, Fact, RequestEnded};
use lifeboat_core::ids::{MethodId, ProcessKey, WorkerId};
use lifeboat_core::reason::AttemptEnd;
use lifeboat_core::time::Timestamp;
use tracing::field::{debug as debugged, display as shown};
use tracing::{debug, info, trace, warn};

use super::describe::{describe, last_line};
use super::names::Names;

/// So many identical deaths of one worker are logged in full within [`REPEAT_WINDOW`]; the others are counted.
const REPEATS_LOGGED: u32 = 5;

/// How long identical deaths are taken together. Starts with the first of them.
const REPEAT_WINDOW: Duration = Duration::from_secs(10);

/// Writes facts to the log.
#[derive(Debug)]
pub(super) struct Log {
    names: Arc<Names>,
    /// Per worker.
    repeats: Vec<Repeats>,
    /// How many workers have deaths that were counted and not yet told.
    untold: usize,
    late_requests: Repeats,
}

/// What makes two deaths of a worker identical: the label of the reason, and the method that was executing.
type DeathKind = (&'static str, Option<MethodId>);

/// Identical events that are taken together.
#[derive(Clone, Debug, Default)]
struct Repeats {
    kind: Option<DeathKind>,
    began: Timestamp,
    seen: u32,
    hidden: u32,
}

impl Repeats {
    fn is_over(&self, now: Timestamp) -> bool {
        now - self.began >= REPEAT_WINDOW
    }

    /// So many came within the present window that no more of them are logged.
    fn is_repeating(&self, now: Timestamp) -> bool {
        self.seen >= REPEATS_LOGGED && !self.is_over(now)
    }

    /// Whether this one is logged in full. What was hidden of another kind or an earlier window must have been told.
    fn admit(&mut self, kind: DeathKind, now: Timestamp) -> bool {
        if self.kind != Some(kind) || self.is_over(now) {
            *self = Self { kind: Some(kind), began: now, seen: 0, hidden: 0 };
        }
        self.seen += 1;
        let logged = self.seen <= REPEATS_LOGGED;
        self.hidden += u32::from(!logged);
        logged
    }
}

impl Log {
    pub(super) fn new(names: Arc<Names>) -> Self {
        let repeats = vec![Repeats::default(); names.worker_count()];
        Self { names, repeats, untold: 0, late_requests: Repeats::default() }
    }

    /// Logs a fact if it is notable.
    #[inline]
    pub(super) fn write(&mut self, fact: &Fact, now: Timestamp) {
        match fact {
            Fact::FirstDispatched { .. } | Fact::WorkerStarting { .. } => {}
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
            Fact::WorkerReady { .. }
            | Fact::Signalled { .. }
            | Fact::WorkerCrashed(_)
            | Fact::WorkerStopped { .. }
            | Fact::WorkerBackingOff { .. }
            | Fact::DescendantsLeaked { .. }
            | Fact::UnkillableDied { .. }
            | Fact::DrainBegan => self.write_notable(fact, now),
        }
    }

    /// Tells the deaths that were counted instead of logged and whose window is over.
    pub(super) fn catch_up(&mut self, now: Timestamp) {
        if self.untold == 0 {
            return;
        }
        for worker in (0..).map(WorkerId).take(self.repeats.len()) {
            if self.repeats[usize::from(worker.0)].is_over(now) {
                self.tell_hidden(worker);
            }
        }
    }

    #[cold]
    fn write_notable(&mut self, fact: &Fact, now: Timestamp) {
        self.catch_up(now);
        match fact {
            Fact::WorkerCrashed(death) => self.crashed(death, now),
            Fact::WorkerReady { process, pid, took, .. } => self.ready(*process, *pid, *took, now),
            Fact::WorkerStopped { process, reason, .. } => {
                let worker = self.names.worker(process.worker);
                info!(worker, incarnation = process.incarnation.0, reason = reason.label(), "worker stopped");
            }
            Fact::WorkerBackingOff { worker, wait, unproductive, .. } => {
                self.backing_off(*worker, *wait, *unproductive)
            }
            Fact::Signalled { process, intent, .. } => self.signalled(*process, intent),
            Fact::DescendantsLeaked { process, count, .. } => {
                let worker = self.names.worker(process.worker);
                warn!(worker, incarnation = process.incarnation.0, count, "descendants could not be killed");
            }
            Fact::UnkillableDied { process, .. } => {
                let worker = self.names.worker(process.worker);
                info!(worker, incarnation = process.incarnation.0, "unkillable process died after all");
            }
            Fact::DrainBegan => self.draining(),
            Fact::RequestEnded(_)
            | Fact::AttemptEnded { .. }
            | Fact::FirstDispatched { .. }
            | Fact::Retried { .. }
            | Fact::LimitPassed { .. }
            | Fact::RequeuedFree { .. }
            | Fact::AnswerRefused { .. }
            | Fact::WorkerStarting { .. } => {}
        }
    }

    fn crashed(&mut self, death: &Death, now: Timestamp) {
        let worker = death.process.worker;
        let executing = death.executing.as_ref();
        let kind = (death.reason.label(), executing.map(|(_, _, method)| *method));
        let Some(repeats) = self.repeats.get(usize::from(worker.0)) else {
            return;
        };
        if repeats.kind != Some(kind) || repeats.is_over(now) {
            self.tell_hidden(worker);
        }
        let repeats = &mut self.repeats[usize::from(worker.0)];
        if !repeats.admit(kind, now) {
            self.untold += usize::from(repeats.hidden == 1);
            return;
        }
        warn!(
            worker = self.names.worker(worker),
            incarnation = death.process.incarnation.0,
            pid = death.pid,
            reason = death.reason.label(),
            detail = Some(describe(&death.reason)).filter(|detail| !detail.is_empty()).map(shown),
            confidence = death.confidence.label(),
            method = executing.map(|(_, _, method)| self.names.method(*method)),
            request = executing.map(|(request, _, _)| shown(*request)),
            attempt = executing.map(|(_, attempt, _)| attempt.0),
            requeued = death.requeued,
            lived = ?(death.judged_at - death.started_at),
            productive = death.productive,
            stderr = last_line(&death.evidence.stderr_tail).map(shown),
            "worker crashed"
        );
    }

    /// A worker that crashes over and over also becomes ready over and over: its readiness is as quiet as its deaths.
    fn ready(&self, process: ProcessKey, pid: u32, took: Duration, now: Timestamp) {
        let worker = self.names.worker(process.worker);
        let incarnation = process.incarnation.0;
        let is_repeating =
            self.repeats.get(usize::from(process.worker.0)).is_some_and(|repeats| repeats.is_repeating(now));
        if is_repeating {
            debug!(worker, incarnation, pid, ?took, "worker ready");
        } else {
            info!(worker, incarnation, pid, ?took, "worker ready");
        }
    }

    fn backing_off(&self, worker: WorkerId, wait: Duration, unproductive: u32) {
        let worker = self.names.worker(worker);
        info!(worker, ?wait, unproductive, "worker waits before its next incarnation");
    }

    fn draining(&mut self) {
        for worker in (0..).map(WorkerId).take(self.repeats.len()) {
            self.tell_hidden(worker);
        }
        info!("draining: no new requests are taken");
    }

    fn signalled(&self, process: ProcessKey, intent: &Intent) {
        debug!(
            worker = self.names.worker(process.worker),
            incarnation = process.incarnation.0,
            intent = ?intent.what,
            signal = intent.signal_sent.map(debugged),
            "process signalled"
        );
    }

    fn tell_hidden(&mut self, worker: WorkerId) {
        let Some(repeats) = self.repeats.get_mut(usize::from(worker.0)) else {
            return;
        };
        let ended = std::mem::take(repeats);
        if let (Some((reason, method)), 1..) = (ended.kind, ended.hidden) {
            self.untold = self.untold.saturating_sub(1);
            let method = method.map(|method| self.names.method(method));
            warn!(
                worker = self.names.worker(worker),
                reason,
                method,
                repeats = ended.hidden,
                "worker crashed again in the same way"
            );
        }
    }

    #[cold]
    fn past_deadline(&mut self, ended: &RequestEnded, now: Timestamp) {
        if self.late_requests.admit((ended.outcome.label(), ended.method), now) {
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
