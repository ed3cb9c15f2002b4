//! The verdict over a process's end: one pure function, in one place.
//!
//! It owns the translation of evidence into a reason and a confidence. It must never look at anything but the case:
//! no clock, no state, no history. The raw evidence stays beside the verdict wherever it goes.
//!
//! # The precedence
//!
//! The first row that fits wins. *Our signal* means: SIGKILL after we sent SIGKILL, SIGTERM after we sent SIGTERM.
//! That a signal was sent proves nothing by itself, because sending one to a zombie succeeds: only a wait status that
//! matches does. SIGKILL is not ours either if the process was seen to be on its way out before it was sent. *Left
//! because we asked it to* means: it exited after SIGTERM. A cancel frame asks an attempt to stop, and no process to leave.
//!
//! | | evidence | verdict |
//! |---|---|---|
//! | 1 | not ready yet; a planned stop, and an exit, our signal or no status | planned |
//! | 1 | not ready yet; killed for `start_timeout`, our signal | `start_failed`, timed out |
//! | 1 | not ready yet; killed for its memory, our signal | `start_failed`, over its limit |
//! | 1 | not ready yet; a person's kill, our signal | `operator` |
//! | 1 | not ready yet; bad bytes, or killed for its connection | `start_failed`, bad hello |
//! | 1 | not ready yet; SIGKILL, a counter rose | `start_failed`, out of memory: proven by its own counter, else inferred |
//! | 1 | not ready yet; anything else | `start_failed`, with the code or signal |
//! | 2 | a signal of its own: not SIGKILL, SIGTERM, SIGINT, SIGHUP | `signal`, `cpu_limit` (SIGXCPU), `file_size_limit` (SIGXFSZ), `sandbox_violation` (SIGSYS) |
//! | 3 | its slots had failed | `slots_exhausted` |
//! | 4 | our kill and our signal, or it left because we asked it to | the kill's reason |
//! | 4 | it sent bytes that cannot be accepted | `protocol_violation` |
//! | 4 | killed for its connection, our signal | `connection_closed`, `connection_error` |
//! | 5 | a planned stop, and an exit with any code, our signal, SIGTERM, SIGINT, SIGHUP or no status | planned |
//! | 6 | SIGKILL, own counter rose | `oom`, proven |
//! | 6 | SIGKILL, all its CPU time was used up | `cpu_limit`, inferred |
//! | 6 | SIGKILL, shared counter rose | `oom`, inferred |
//! | 6 | SIGKILL otherwise | `killed_from_outside`: proven where the counters were read, else inferred |
//! | 7 | SIGTERM, SIGINT, SIGHUP | `stopped_from_outside` |
//! | 8 | an exit | `exit` |
//! | 8 | no status | the broken connection if there is one, else `exit` with -1; unknown |
//!
//! A crash by a signal of its own (row 2) beats our own kill and a planned stop: the process came first. A worker that
//! leaves with a code other than 0 during a planned stop still left as planned; the code stays in the evidence.

use crate::evidence::{ConnectionEnd, Intent, IntentKind, OomEvidence, StopSignal, WaitStatus};
use crate::reason::{Confidence, CrashReason, KillReason, StartFailure, StopReason};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
const SIGSYS: i32 = 31;

/// Everything that a verdict may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// It had said that it was ready.
    pub ready: bool,
    /// What the broker had decided, and the strongest signal it had sent for it.
    pub intent: Option<Intent>,
    /// SIGTERM was sent to it, whatever was sent afterwards.
    pub asked_to_leave: bool,
    /// How its connection ended, if that was seen before it was judged.
    pub connection: Option<&'a ConnectionEnd>,
    /// Why its slots failed, if it said so or a handler had panicked.
    pub slots_failed: Option<&'a str>,
    /// What the kernel says of its end.
    pub wait: WaitStatus,
    /// It was on its way out already when SIGKILL was sent to it.
    pub exiting_before_kill: bool,
    /// What the out-of-memory counters say.
    pub oom: OomEvidence,
    /// It had used all the CPU time that the kernel allowed it.
    pub cpu_used_up: bool,
}

/// What a process's end was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why it ended.
    pub end: End,
    /// How sure that is.
    pub confidence: Confidence,
}

/// Why a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Outside the plan.
    Crash(CrashReason),
    /// As planned: never a crash.
    Planned(StopReason),
}

/// Judges a process's end. Total, deterministic, and never `Planned` without a planned stop's intent.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    if !case.ready {
        return before_ready(case);
    }
    own_signal(case)
        .or_else(|| slots_failed(case))
        .or_else(|| our_kill(case))
        .or_else(|| planned(case))
        .unwrap_or_else(|| unprovoked(case))
}

fn crash(reason: CrashReason, confidence: Confidence) -> Verdict {
    Verdict { end: End::Crash(reason), confidence }
}

/// Row 1.
fn before_ready(case: &Case<'_>) -> Verdict {
    let failed = |failure, confidence| crash(CrashReason::StartFailed(failure), confidence);
    let ours = case.is_our_signal();
    if let WaitStatus::Signaled { signal, core_dumped } = case.wait
        && is_own(signal)
    {
        return failed(StartFailure::Signal { signal, core_dumped }, Confidence::Proven);
    }
    if let Some(verdict) = planned(case) {
        return verdict;
    }
    match (case.intent.map(|intent| intent.what), case.connection) {
        (Some(IntentKind::Kill(KillReason::Operator)), _) if ours => {
            crash(CrashReason::Killed(KillReason::Operator), Confidence::Proven)
        }
        (Some(IntentKind::Kill(KillReason::MemoryLimit)), _) if ours => {
            failed(StartFailure::MemoryLimit, Confidence::Proven)
        }
        (Some(IntentKind::StartTimeout), _) if ours => failed(StartFailure::TimedOut, Confidence::Proven),
        (_, Some(ConnectionEnd::Violation(what))) => {
            failed(StartFailure::BadHello(what.clone()), Confidence::Proven)
        }
        (Some(IntentKind::Connection), _) if ours => {
            failed(StartFailure::BadHello(before_hello(case.connection)), Confidence::Proven)
        }
        (intent, connection) => match case.wait {
            WaitStatus::Exited { code } => failed(StartFailure::Exit { code }, Confidence::Proven),
            WaitStatus::Signaled { signal: SIGKILL, .. } if case.oom == OomEvidence::OwnCounterRose => {
                failed(StartFailure::OutOfMemory, Confidence::Proven)
            }
            WaitStatus::Signaled { signal: SIGKILL, .. } if case.oom == OomEvidence::SharedCounterRose => {
                failed(StartFailure::OutOfMemory, Confidence::Inferred)
            }
            WaitStatus::Signaled { signal, core_dumped } => {
                failed(StartFailure::Signal { signal, core_dumped }, Confidence::Proven)
            }
            WaitStatus::Unknown if intent == Some(IntentKind::StartTimeout) => {
                failed(StartFailure::TimedOut, Confidence::Inferred)
            }
            WaitStatus::Unknown => {
                failed(StartFailure::BadHello(before_hello(connection)), Confidence::Unknown)
            }
        },
    }
}

fn before_hello(connection: Option<&ConnectionEnd>) -> String {
    match connection {
        Some(ConnectionEnd::Closed) => "it closed its connection before it was ready".into(),
        Some(ConnectionEnd::ReadError { errno } | ConnectionEnd::WriteError { errno }) => {
            format!("its connection broke before it was ready (error {errno})")
        }
        Some(ConnectionEnd::Violation(what)) => what.clone(),
        None => "it ended before it was ready".into(),
    }
}

/// Row 2.
fn own_signal(case: &Case<'_>) -> Option<Verdict> {
    let WaitStatus::Signaled { signal, core_dumped } = case.wait else { return None };
    if !is_own(signal) {
        return None;
    }
    let reason = match signal {
        SIGXCPU => CrashReason::CpuLimit,
        SIGXFSZ => CrashReason::FileSizeLimit,
        SIGSYS => CrashReason::SandboxViolation,
        signal => CrashReason::Signal { signal, core_dumped },
    };
    Some(crash(reason, Confidence::Proven))
}

/// Row 3.
fn slots_failed(case: &Case<'_>) -> Option<Verdict> {
    let reasons = case.slots_failed?;
    Some(crash(CrashReason::SlotsExhausted(reasons.to_owned()), Confidence::Proven))
}

/// Row 4.
fn our_kill(case: &Case<'_>) -> Option<Verdict> {
    let intent = case.intent.map(|intent| intent.what);
    let caused = case.is_our_signal();
    // Without a status, our signal is the best explanation there is.
    let supposed = case.wait == WaitStatus::Unknown && case.sent().is_some();
    let confidence = if supposed { Confidence::Inferred } else { Confidence::Proven };
    match intent {
        Some(IntentKind::Kill(why)) if caused || supposed || case.left_because_asked() => {
            return Some(crash(CrashReason::Killed(why), confidence));
        }
        Some(IntentKind::Unresponsive) if caused || supposed => {
            return Some(crash(CrashReason::Unresponsive, confidence));
        }
        Some(_) | None => {}
    }
    if let Some(ConnectionEnd::Violation(what)) = case.connection {
        return Some(crash(CrashReason::ProtocolViolation(what.clone()), Confidence::Proven));
    }
    if intent == Some(IntentKind::Connection) && (caused || supposed) {
        return Some(crash(connection_reason(case.connection), confidence));
    }
    None
}

fn connection_reason(connection: Option<&ConnectionEnd>) -> CrashReason {
    match connection {
        Some(ConnectionEnd::ReadError { errno } | ConnectionEnd::WriteError { errno }) => {
            CrashReason::ConnectionError { errno: *errno }
        }
        Some(ConnectionEnd::Violation(what)) => CrashReason::ProtocolViolation(what.clone()),
        Some(ConnectionEnd::Closed) | None => CrashReason::ConnectionClosed,
    }
}

/// Row 5.
fn planned(case: &Case<'_>) -> Option<Verdict> {
    let IntentKind::Stop(why) = case.intent?.what else { return None };
    let confidence = match case.wait {
        WaitStatus::Exited { .. } => Confidence::Proven,
        WaitStatus::Signaled { signal, .. } if is_polite(signal) || case.is_our_signal() => {
            Confidence::Proven
        }
        WaitStatus::Signaled { .. } => return None,
        WaitStatus::Unknown => Confidence::Inferred,
    };
    Some(Verdict { end: End::Planned(why), confidence })
}

/// Rows 6 to 8.
fn unprovoked(case: &Case<'_>) -> Verdict {
    match case.wait {
        WaitStatus::Signaled { signal: SIGKILL, .. } => match case.oom {
            OomEvidence::OwnCounterRose => crash(CrashReason::Oom, Confidence::Proven),
            // The kernel warns by SIGXCPU first; SIGKILL is for those that do not heed it.
            _ if case.cpu_used_up => crash(CrashReason::CpuLimit, Confidence::Inferred),
            OomEvidence::SharedCounterRose => crash(CrashReason::Oom, Confidence::Inferred),
            OomEvidence::NotSeen => crash(CrashReason::KilledFromOutside, Confidence::Proven),
            OomEvidence::NotWatched => crash(CrashReason::KilledFromOutside, Confidence::Inferred),
        },
        WaitStatus::Signaled { signal, .. } => {
            crash(CrashReason::StoppedFromOutside { signal }, Confidence::Proven)
        }
        WaitStatus::Exited { code } => crash(CrashReason::Exit { code }, Confidence::Proven),
        WaitStatus::Unknown => {
            let reason = match case.connection {
                Some(end) => connection_reason(Some(end)),
                None => CrashReason::Exit { code: -1 },
            };
            crash(reason, Confidence::Unknown)
        }
    }
}

/// A signal that the process or its code raised: not one that is used to stop processes.
const fn is_own(signal: i32) -> bool {
    signal != SIGKILL && !is_polite(signal)
}

/// A signal that asks a process to leave.
const fn is_polite(signal: i32) -> bool {
    matches!(signal, SIGHUP | SIGINT | SIGTERM)
}

impl Case<'_> {
    fn sent(&self) -> Option<StopSignal> {
        self.intent.and_then(|intent| intent.signal_sent)
    }

    /// The status shows a signal that we sent.
    fn is_our_signal(&self) -> bool {
        match self.wait {
            WaitStatus::Signaled { signal: SIGKILL, .. } => {
                self.sent() == Some(StopSignal::Kill) && !self.exiting_before_kill
            }
            WaitStatus::Signaled { signal: SIGTERM, .. } => self.sent().is_some(),
            WaitStatus::Signaled { .. } | WaitStatus::Exited { .. } | WaitStatus::Unknown => false,
        }
    }

    /// It exited by itself after SIGTERM. The kills that go straight to SIGKILL ask nothing, and a cancel frame is answered:
    /// an exit beside them is the process's own.
    const fn left_because_asked(&self) -> bool {
        matches!(self.wait, WaitStatus::Exited { .. }) && self.asked_to_leave
    }
}
