//! The verdict's precedence table, row by row and neighbour against neighbour, and what holds for every case.

mod before_ready;
mod every_case;
mod rows;
mod unprovoked;

use lifeboat_core::evidence::{ConnectionEnd, Intent, IntentKind, OomEvidence, StopSignal, WaitStatus};
use lifeboat_core::judge::{Case, End, Verdict, judge};
use lifeboat_core::reason::Confidence::Proven;
use lifeboat_core::reason::{Confidence, CrashReason, KillReason, StartFailure, StopReason};
use lifeboat_core::time::Timestamp;

const READY: Case<'static> = Case {
    ready: true,
    intent: None,
    asked_to_leave: false,
    connection: None,
    slots_failed: None,
    wait: WaitStatus::Unknown,
    exiting_before_kill: false,
    oom: OomEvidence::NotSeen,
    cpu_used_up: false,
};
const UNREADY: Case<'static> = Case { ready: false, ..READY };

const TERM: Option<StopSignal> = Some(StopSignal::Terminate);
const KILL: Option<StopSignal> = Some(StopSignal::Kill);
const SHUTDOWN: IntentKind = IntentKind::Stop(StopReason::Shutdown);
const DEADLINE: IntentKind = IntentKind::Kill(KillReason::Deadline);
const OPERATOR: IntentKind = IntentKind::Kill(KillReason::Operator);
const ATTEMPT: IntentKind = IntentKind::Kill(KillReason::AttemptTimeout);
const CLOSED: Option<&ConnectionEnd> = Some(&ConnectionEnd::Closed);
const BROKEN: Option<&ConnectionEnd> = Some(&ConnectionEnd::ReadError { errno: 104 });

const fn code(code: i32) -> WaitStatus {
    WaitStatus::Exited { code }
}

const fn sig(signal: i32) -> WaitStatus {
    WaitStatus::Signaled { signal, core_dumped: false }
}

#[expect(clippy::unnecessary_wraps, reason = "it is a field's value")]
const fn decided(what: IntentKind, signal_sent: Option<StopSignal>) -> Option<Intent> {
    Some(Intent { what, at: Timestamp::ZERO, signal_sent })
}

fn crash(reason: CrashReason, confidence: Confidence) -> Verdict {
    Verdict { end: End::Crash(reason), confidence }
}

fn start_failed(failure: StartFailure) -> Verdict {
    crash(CrashReason::StartFailed(failure), Proven)
}

fn planned(confidence: Confidence) -> Verdict {
    Verdict { end: End::Planned(StopReason::Shutdown), confidence }
}

fn own(signal: i32) -> CrashReason {
    CrashReason::Signal { signal, core_dumped: false }
}

#[track_caller]
fn check(rows: &[(&str, Case<'_>, Verdict)]) {
    for (story, case, expected) in rows {
        assert_eq!(&judge(case), expected, "{story}: {case:?}");
    }
}
