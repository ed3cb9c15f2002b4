//! What a sweep has met. A simulator that meets nothing proves nothing.

use std::collections::BTreeMap;
use std::fmt;

use lifeboat_core::event::Operation;
use lifeboat_core::fact::Fact;
use lifeboat_core::reason::{
    AttemptEnd, CrashReason, OutcomeKind, RejectWhy, StartFailure, StopReason, TimeoutWhich,
};
use lifeboat_core::view::TimerKind;

/// Counters over all histories of a sweep.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) events: u64,
    reasons: BTreeMap<&'static str, u64>,
    outcomes: BTreeMap<&'static str, u64>,
    rejections: BTreeMap<&'static str, u64>,
    ends: BTreeMap<&'static str, u64>,
    timers: BTreeMap<TimerKind, u64>,
    limits: BTreeMap<&'static str, u64>,
    stops: BTreeMap<&'static str, u64>,
    /// Things worth meeting that have no enum of their own.
    seen: BTreeMap<&'static str, u64>,
}

const WORTH_MEETING: [&str; 107] = [
    "a body forgotten for room",
    "a crash is too long ago to count",
    "a lie about what it had told of",
    "a quarantine stands after an ok",
    "a slot kept after a panic",
    "a slot retired, its process goes on",
    "a successor failed",
    "a suspect avoids its last worker no more",
    "a suspect killed its process again",
    "a suspect runs beside a retired slot",
    "a suspect was cleared and goes on",
    "a suspect went to an empty one",
    "a suspect went to one set apart",
    "accepted told",
    "alone on a recorder's word",
    "another one was to blame",
    "another slot than the first",
    "answer refused",
    "answered while dying",
    "avoided worker used",
    "begun behind an answer that was not read",
    "came back by a restart",
    "came back by an ok",
    "came back by being stable",
    "cancelled while held behind",
    "clients took turns",
    "closed by the drain of its pool",
    "closed unread",
    "crashes forgotten for an ok",
    "drained pool restarted",
    "evidence overdue",
    "failed attempt told",
    "finished",
    "freed by a cancel",
    "freed for the others' sake",
    "freed, for nobody waits",
    "given back by a retired slot",
    "given back not begun",
    "given back unread",
    "its handler asked for a wait past its deadline",
    "late answer",
    "leak",
    "may have started",
    "no retry after a part",
    "no retry in a tripped pool",
    "no retry in quarantine",
    "no retry without what was saved",
    "not begun after its deadline",
    "one that holds several was set apart",
    "one that holds something was set apart",
    "opened again",
    "part told",
    "pool probed",
    "pool tripped",
    "prefetched dispatch",
    "progress told",
    "quarantined",
    "quarantined: given back",
    "quarantined: refused while it waited",
    "quarantined: refused",
    "recorder unreadable",
    "recycle due",
    "rejected when given back to a tripped pool",
    "released from quarantine",
    "requeued free",
    "restarted after a part",
    "restarted when it was ready",
    "retried",
    "retry refused by the client",
    "save dropped",
    "save refused",
    "saved by a further attempt",
    "saved",
    "several executed when it died",
    "several told to stop at once",
    "silence borne for the broker's own delay",
    "somebody else's SIGKILL came before ours",
    "spared too often",
    "start failed: bad hello",
    "start failed: exit",
    "start failed: signal",
    "start failed: timed out",
    "stopped unasked",
    "successor ordered",
    "suspected",
    "the last one in service stays",
    "the old one died before its successor was ready",
    "the old one goes on with what it held",
    "timed out while held behind",
    "told of attempts that saved nothing",
    "told what was saved",
    "tripped while some came back",
    "tripped: given back",
    "tripped: refused",
    "unhealthy with a successor on its way",
    "unhealthy worker out of service",
    "unkillable died",
    "unread after its deadline",
    "unread behind a later frame",
    "waited as its handler asked",
    "waits although a process has room, for another worker",
    "worker drained",
    "worker healthy again",
    "worker killed",
    "worker restarted",
    "worker unhealthy",
    "worn out",
];

/// Stop reasons that the core has; the others are the shell's to come.
const STOPS: [StopReason; 8] = [
    StopReason::RecycleRequests,
    StopReason::RecycleAge,
    StopReason::RecycleIdle,
    StopReason::RecycleMemory,
    StopReason::RecycleAsked,
    StopReason::Drain,
    StopReason::Operator,
    StopReason::Shutdown,
];

const REJECTIONS: [RejectWhy; 6] = [
    RejectWhy::QueueFull,
    RejectWhy::AllWorkersBusy,
    RejectWhy::Tripped,
    RejectWhy::UnknownMethod,
    RejectWhy::Quarantined,
    RejectWhy::Draining,
];

const TIMERS: [TimerKind; 18] = [
    TimerKind::QueueTimeout,
    TimerKind::AttemptTimeout,
    TimerKind::ProgressTimeout,
    TimerKind::OutputTimeout,
    TimerKind::Deadline,
    TimerKind::RetryBackoff,
    TimerKind::Avoidance,
    TimerKind::StartTimeout,
    TimerKind::Ladder,
    TimerKind::ExitGrace,
    TimerKind::KillTimeout,
    TimerKind::RestartBackoff,
    TimerKind::StableAfter,
    TimerKind::Heartbeat,
    TimerKind::RecycleAge,
    TimerKind::RecycleIdle,
    TimerKind::Probe,
    TimerKind::DrainTimeout,
];

impl Coverage {
    pub(crate) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub(crate) fn timer(&mut self, kind: TimerKind) {
        *self.timers.entry(kind).or_default() += 1;
    }

    pub(crate) fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::RequestEnded(ended) => {
                *self.outcomes.entry(ended.outcome.label()).or_default() += 1;
                if let Some(why) = ended.rejected {
                    *self.rejections.entry(why.label()).or_default() += 1;
                }
                if ended.late {
                    self.see("late answer");
                }
            }
            Fact::AttemptEnded { end, .. } => *self.ends.entry(end.label()).or_default() += 1,
            Fact::WorkerCrashed(death) => {
                self.reason(&death.reason);
                if let CrashReason::StartFailed(failure) = &death.reason {
                    self.see(match failure {
                        StartFailure::Exit { .. } => "start failed: exit",
                        StartFailure::Signal { .. } => "start failed: signal",
                        StartFailure::OutOfMemory => "start failed: out of memory",
                        StartFailure::MemoryLimit => "start failed: memory limit",
                        StartFailure::TimedOut => "start failed: timed out",
                        StartFailure::BadHello(_) => "start failed: bad hello",
                    });
                }
            }
            Fact::WorkerStopped { reason, .. } => *self.stops.entry(reason.label()).or_default() += 1,
            Fact::PoolTripped { .. } => self.see("pool tripped"),
            Fact::PoolProbed { .. } => self.see("pool probed"),
            Fact::Operated { operation, .. } => self.see(match operation {
                Operation::Restart => "worker restarted",
                Operation::Drain => "worker drained",
                Operation::Kill => "worker killed",
            }),
            Fact::Retried { .. } => self.see("retried"),
            Fact::RequeuedFree { .. } => self.see("requeued free"),
            Fact::AnswerRefused { .. } => self.see("answer refused"),
            Fact::DescendantsLeaked { .. } => self.see("leak"),
            Fact::UnkillableDied { .. } => self.see("unkillable died"),
            Fact::FirstDispatched { .. }
            | Fact::Saved { .. }
            | Fact::SaveDropped { .. }
            | Fact::LimitPassed { .. }
            | Fact::WorkerStarting { .. }
            | Fact::WorkerReady { .. }
            | Fact::Signalled { .. }
            | Fact::WorkerBackingOff { .. }
            | Fact::SlotRetired { .. }
            | Fact::SlotKept { .. }
            | Fact::RecycleDue { .. }
            | Fact::SetApart { .. }
            | Fact::PoolRecovered { .. }
            | Fact::WorkerUnhealthy { .. }
            | Fact::WorkerHealthy { .. }
            | Fact::WorkerDisabled { .. }
            | Fact::Quarantined(_)
            | Fact::QuarantineReleased(_)
            | Fact::DrainBegan => {}
        }
    }

    pub(crate) fn limit(&mut self, which: TimeoutWhich) {
        *self.limits.entry(which.label()).or_default() += 1;
    }

    pub(crate) fn reason(&mut self, reason: &CrashReason) {
        *self.reasons.entry(reason.label()).or_default() += 1;
    }

    /// Everything that can be met was met.
    pub(crate) fn assert_complete(&self) {
        let mut missing: Vec<String> = Vec::new();
        let mut want = |kind: &str, met: bool, what: &str| {
            if !met {
                missing.push(format!("{kind} {what}"));
            }
        };
        for label in CrashReason::LABELS {
            want("crash reason", self.reasons.contains_key(label), label);
        }
        for outcome in OutcomeKind::ALL {
            want("outcome", self.outcomes.contains_key(outcome.label()), outcome.label());
        }
        for end in AttemptEnd::ALL {
            want("attempt end", self.ends.contains_key(end.label()), end.label());
        }
        for why in REJECTIONS {
            want("rejection", self.rejections.contains_key(why.label()), why.label());
        }
        for which in TimeoutWhich::ALL {
            want("limit", self.limits.contains_key(which.label()), which.label());
        }
        for reason in STOPS {
            want("planned end", self.stops.contains_key(reason.label()), reason.label());
        }
        for kind in TIMERS {
            want("timer", self.timers.contains_key(&kind), &format!("{kind:?}"));
        }
        for what in WORTH_MEETING {
            want("case", self.seen.contains_key(what), what);
        }
        assert!(missing.is_empty(), "the sweep never met: {missing:#?}");
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} events", self.events)?;
        writeln!(f, "reasons  {:?}", self.reasons)?;
        writeln!(f, "outcomes {:?} rejections {:?}", self.outcomes, self.rejections)?;
        writeln!(f, "ends     {:?}", self.ends)?;
        writeln!(f, "limits   {:?} planned ends {:?}", self.limits, self.stops)?;
        writeln!(f, "timers   {:?}", self.timers)?;
        write!(f, "cases    {:?}", self.seen)
    }
}
