//! What a sweep has met. A simulator that meets nothing proves nothing.

use std::collections::BTreeMap;
use std::fmt;

use lifeboat_core::fact::Fact;
use lifeboat_core::reason::{AttemptEnd, CrashReason, OutcomeKind, RejectWhy, StartFailure};
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
    /// Things worth meeting that have no enum of their own.
    seen: BTreeMap<&'static str, u64>,
}

/// What only later abilities of the core can reach.
const UNREACHABLE: [&str; 4] = ["unresponsive", "progress_stall", "output_stall", "operator"];

const WORTH_MEETING: [&str; 23] = [
    "answer refused",
    "evidence overdue",
    "finished",
    "late answer",
    "leak",
    "planned stop",
    "requeued free",
    "retried",
    "start failed: bad hello",
    "start failed: exit",
    "start failed: signal",
    "start failed: timed out",
    "unkillable died",
    "prefetched dispatch",
    "avoided worker used",
    "answered while dying",
    "cancelled while held behind",
    "timed out while held behind",
    "given back unread",
    "closed unread",
    "unread after its limit",
    "unread behind a later frame",
    "retry refused by the client",
];

const TIMERS: [TimerKind; 10] = [
    TimerKind::AttemptTimeout,
    TimerKind::Deadline,
    TimerKind::RetryBackoff,
    TimerKind::StartTimeout,
    TimerKind::Ladder,
    TimerKind::ExitGrace,
    TimerKind::KillTimeout,
    TimerKind::RestartBackoff,
    TimerKind::StableAfter,
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
                        StartFailure::TimedOut => "start failed: timed out",
                        StartFailure::BadHello(_) => "start failed: bad hello",
                    });
                }
            }
            Fact::WorkerStopped { .. } => self.see("planned stop"),
            Fact::Retried { .. } => self.see("retried"),
            Fact::RequeuedFree { .. } => self.see("requeued free"),
            Fact::AnswerRefused { .. } => self.see("answer refused"),
            Fact::DescendantsLeaked { .. } => self.see("leak"),
            Fact::UnkillableDied { .. } => self.see("unkillable died"),
            Fact::FirstDispatched { .. }
            | Fact::LimitPassed { .. }
            | Fact::WorkerStarting { .. }
            | Fact::WorkerReady { .. }
            | Fact::Signalled { .. }
            | Fact::WorkerBackingOff { .. }
            | Fact::DrainBegan => {}
        }
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
        for label in CrashReason::LABELS.into_iter().filter(|label| !UNREACHABLE.contains(label)) {
            want("crash reason", self.reasons.contains_key(label), label);
        }
        for outcome in OutcomeKind::ALL {
            want("outcome", self.outcomes.contains_key(outcome.label()), outcome.label());
        }
        for end in AttemptEnd::ALL {
            want("attempt end", self.ends.contains_key(end.label()), end.label());
        }
        for why in [RejectWhy::QueueFull, RejectWhy::UnknownMethod, RejectWhy::Draining] {
            want("rejection", self.rejections.contains_key(why.label()), why.label());
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
        writeln!(f, "timers   {:?}", self.timers)?;
        write!(f, "cases    {:?}", self.seen)
    }
}
