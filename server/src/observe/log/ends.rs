//! How processes and slots end: the lines that a person reads first when something is wrong.

use std::fmt::Write as _;

use lifeboat_core::evidence::{Evidence, Intent, Rungs};
use lifeboat_core::fact::Death;
use lifeboat_core::ids::{ProcessKey, SlotId};
use lifeboat_core::reason::{CrashReason, KillReason, StopReason};
use lifeboat_core::time::Timestamp;
use tracing::field::{debug as debugged, display as shown};
use tracing::{debug, info, warn};

use super::repeats::{Kind, Scope};
use super::{Executing, Log, Names, life};
use crate::observe::describe::{describe, last_line, printable};
use crate::observe::reports::doing;

/// So many of the requests that a process was executing are named; the others are counted.
const NAMED: usize = 3;

impl Log {
    pub(super) fn crashed(&mut self, death: &Death, now: Timestamp) {
        let first = death.executing.first().map(|(_, _, method)| *method);
        let scope = Scope::Worker(death.process.worker);
        if !self.repeats.admit(scope, Kind::Crash(death.reason.label(), first), now) {
            return;
        }
        let (worker, incarnation) = life(&self.names, death.process);
        let alone = if let [alone] = &death.executing[..] { Some(alone) } else { None };
        let several = Some(&death.executing).filter(|executing| executing.len() > 1);
        warn!(
            worker,
            incarnation,
            pid = death.pid,
            reason = death.reason.label(),
            detail = Some(describe(&death.reason)).filter(|detail| !detail.is_empty()).map(shown),
            confidence = death.confidence.label(),
            method = alone.map(|(_, _, method)| self.names.method(*method)),
            request = alone.map(|(request, _, _)| shown(*request)),
            attempt = alone.map(|(_, attempt, _)| attempt.0),
            executing = several.map(Vec::len),
            requests = several.map(|executing| named(executing, &self.names)),
            requeued = death.requeued,
            report = self.names.report(death.report),
            lived = ?(death.judged_at - death.started_at),
            productive = death.productive,
            ladder = ladder(death),
            doing = death.evidence.snapshot.as_deref().map(doing).filter(|doing| !doing.is_empty()),
            output_dropped = not_zero(death.evidence.output_dropped),
            stderr = last_line(&death.evidence.stderr_tail).map(shown),
            "worker crashed"
        );
    }

    /// A planned end.
    pub(super) fn stopped(
        &mut self,
        process: ProcessKey,
        reason: StopReason,
        evidence: &Evidence,
        now: Timestamp,
    ) {
        if self.repeats.admit(Scope::Worker(process.worker), Kind::Stopped(reason), now) {
            let (worker, incarnation) = life(&self.names, process);
            let output_dropped = not_zero(evidence.output_dropped);
            info!(worker, incarnation, reason = reason.label(), output_dropped, "worker stopped");
        }
    }

    pub(super) fn slot_retired(
        &mut self,
        process: ProcessKey,
        (slot, left): (SlotId, u16),
        panic: &str,
        location: Option<&str>,
        now: Timestamp,
    ) {
        if self.repeats.admit(Scope::Worker(process.worker), Kind::SlotRetired, now) {
            let (worker, incarnation) = life(&self.names, process);
            let (panic, location) = (shown(printable(panic)), location.map(printable).map(shown));
            warn!(
                worker,
                incarnation,
                slot = slot.0,
                left,
                location,
                panic,
                "handler panicked: slot retired"
            );
        }
    }

    pub(super) fn slot_kept(
        &mut self,
        process: ProcessKey,
        slot: SlotId,
        panic: &str,
        location: Option<&str>,
        now: Timestamp,
    ) {
        if self.repeats.admit(Scope::Worker(process.worker), Kind::SlotKept, now) {
            let (worker, incarnation) = life(&self.names, process);
            let (panic, location) = (shown(printable(panic)), location.map(printable).map(shown));
            warn!(worker, incarnation, slot = slot.0, location, panic, "handler panicked: slot kept");
        }
    }

    pub(super) fn leaked(&mut self, process: ProcessKey, count: u32, now: Timestamp) {
        if self.repeats.admit(Scope::Worker(process.worker), Kind::Leak, now) {
            let (worker, incarnation) = life(&self.names, process);
            warn!(worker, incarnation, count, "descendants could not be killed");
        }
    }

    pub(super) fn unkillable_died(&self, process: ProcessKey) {
        let (worker, incarnation) = life(&self.names, process);
        info!(worker, incarnation, "unkillable process died after all");
    }

    pub(super) fn signalled(&self, process: ProcessKey, intent: &Intent) {
        let (worker, incarnation) = life(&self.names, process);
        let signal = intent.signal_sent.map(debugged);
        debug!(worker, incarnation, intent = ?intent.what, signal, "process signalled");
    }
}

const fn not_zero(count: u64) -> Option<u64> {
    if count > 0 { Some(count) } else { None }
}

/// The first [`NAMED`] of them, and how many there are besides.
fn named(executing: &[Executing], names: &Names) -> String {
    let mut text = String::new();
    for (request, attempt, method) in executing.iter().take(NAMED) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{request} attempt {} of {}", attempt.0, names.method(*method));
    }
    if let Some(more @ 1..) = executing.len().checked_sub(NAMED) {
        let _ = write!(text, ", {more} more");
    }
    text
}

/// The rungs that a death went down, each with the time since the first; `None` where the broker climbed none.
fn ladder(death: &Death) -> Option<String> {
    let Rungs { asked_at, terminated_at, killed_at, exited_at } = death.rungs;
    asked_at.or(terminated_at).or(killed_at)?;
    let is_dead = death.reason != CrashReason::Killed(KillReason::Unkillable);
    let rungs = [
        ("asked", asked_at),
        ("terminated", terminated_at),
        ("killed", killed_at),
        ("exited", exited_at),
        ("verified", is_dead.then_some(death.judged_at)),
    ];
    let first = rungs.iter().filter_map(|(_, at)| *at).min()?;
    let told = rungs.iter().filter_map(|(rung, at)| {
        let millis = (*at)?.since(first).as_secs_f64() * 1e3;
        Some(format!("{rung} +{millis:.0} ms"))
    });
    Some(told.collect::<Vec<_>>().join(", "))
}
