//! From a death to its report. Formats and allocates: once per death, never per request.

use std::time::Duration;

use lifeboat_core::evidence::{
    ConnectionEnd, CpuLately, Intent, IntentKind, OomEvidence, ProcessSnapshot, Rungs, StopSignal,
    ThreadSnapshot, WaitStatus,
};
use lifeboat_core::fact::Death;
use lifeboat_core::reason::{CrashReason, StartFailure};
use lifeboat_core::recorder::{Recording, SlotRecording};
use lifeboat_core::signals;

use super::calls;
use super::doing::doing;
use super::report::{
    Climbed, Decided, Executed, Findings, Reason, RecordedSlot, Recorder, Report, Snapshot, Thread,
};
use super::signature::signature;
use crate::observe::describe::{describe, printable};
use crate::observe::names::Names;
use crate::observe::wall_clock::millis;
use crate::observe::{LimitsInForce, WallClock};

/// The report of a death, but for the worker's history and the number of others with its signature.
pub(super) fn build(
    death: &Death,
    names: &Names,
    clock: &WallClock,
    limits: Option<&LimitsInForce>,
) -> Report {
    let at = clock.unix_millis(death.judged_at);
    let methods: Vec<&str> = death.executing.iter().map(|(_, _, method)| names.method(*method)).collect();
    let pool = names.pool(death.pool);
    let mut signature = signature(pool, &death.reason, &methods, &death.evidence.stderr_tail);
    signature.first_at = at;
    Report {
        id: names.report(death.report),
        at,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pool: pool.to_owned(),
        worker: names.worker(death.process.worker).to_owned(),
        incarnation: death.process.incarnation.0,
        pid: death.pid,
        started_at: clock.unix_millis(death.started_at),
        first_sign_at: clock.unix_millis(death.first_sign_at),
        productive: death.productive,
        reason: reason(death),
        confidence: death.confidence.label().to_owned(),
        signature,
        executing: executing(death, names, clock),
        requeued: death.requeued,
        evidence: findings(death, clock, limits),
        snapshot: death.evidence.snapshot.as_deref().map(snapshot),
        recorder: death.evidence.recorder.as_ref().map(recorder),
        stdout: death.evidence.stdout_tail.clone(),
        stderr: death.evidence.stderr_tail.clone(),
        history: Vec::new(),
    }
}

fn reason(death: &Death) -> Reason {
    let (signal, code, core_dumped) = match &death.reason {
        CrashReason::Signal { signal, core_dumped }
        | CrashReason::StartFailed(StartFailure::Signal { signal, core_dumped }) => {
            (Some(*signal), None, *core_dumped)
        }
        CrashReason::StoppedFromOutside { signal } => (Some(*signal), None, false),
        CrashReason::Exit { code } | CrashReason::StartFailed(StartFailure::Exit { code }) => {
            (None, Some(*code), false)
        }
        CrashReason::SpawnFailed(_)
        | CrashReason::StartFailed(_)
        | CrashReason::Oom
        | CrashReason::CpuLimit
        | CrashReason::FileSizeLimit
        | CrashReason::SandboxViolation
        | CrashReason::KilledFromOutside
        | CrashReason::ConnectionClosed
        | CrashReason::ConnectionError { .. }
        | CrashReason::ProtocolViolation(_)
        | CrashReason::SlotsExhausted(_)
        | CrashReason::Unresponsive
        | CrashReason::SlotPanicked { .. }
        | CrashReason::Killed(_) => (None, None, false),
    };
    Reason {
        label: death.reason.label().to_owned(),
        detail: describe(&death.reason),
        signal,
        code,
        core_dumped,
        killed_by_broker: death.killed_by_broker.is_some(),
    }
}

fn executing(death: &Death, names: &Names, clock: &WallClock) -> Vec<Executed> {
    let since = death.executing_since.iter().copied().chain(std::iter::repeat(None));
    let told = death.executing.iter().zip(since).map(|((request, attempt, method), since)| Executed {
        request: request.to_string(),
        attempt: attempt.0,
        method: names.method(*method).to_owned(),
        since: since.map(|at| clock.unix_millis(at)),
    });
    told.collect()
}

fn findings(death: &Death, clock: &WallClock, limits: Option<&LimitsInForce>) -> Findings {
    let evidence = &death.evidence;
    Findings {
        wait: match evidence.wait {
            WaitStatus::Unknown => "unknown".to_owned(),
            WaitStatus::Exited { code } => format!("exit code {code}"),
            WaitStatus::Signaled { signal, core_dumped } => {
                let core = if core_dumped { ", core dumped" } else { "" };
                format!("signal {}{core}", signals::name(signal))
            }
        },
        max_rss: evidence.usage.max_rss_bytes,
        user_time: millis(evidence.usage.user_time),
        system_time: millis(evidence.usage.system_time),
        oom: match evidence.oom {
            OomEvidence::NotWatched => "not_watched",
            OomEvidence::NotSeen => "not_seen",
            OomEvidence::SharedCounterRose => "shared_counter_rose",
            OomEvidence::OwnCounterRose => "own_counter_rose",
        }
        .to_owned(),
        // What cannot be written as JSON is left out; limits can.
        limits: limits.and_then(|limits| serde_json::to_value(limits).ok()).unwrap_or_default(),
        connection: death.connection.as_ref().map(connection),
        intent: death.intent.as_ref().map(|intent| decided(intent, clock)),
        rungs: climbed(&death.rungs, clock),
        exiting_before_kill: evidence.exiting_before_kill,
        descendants_killed: evidence.descendants_killed,
        descendants_leaked: evidence.descendants_leaked,
        output_dropped: evidence.output_dropped,
    }
}

fn connection(end: &ConnectionEnd) -> String {
    let error = |errno: i32| std::io::Error::from_raw_os_error(errno);
    match end {
        ConnectionEnd::Closed => "closed".to_owned(),
        ConnectionEnd::ReadError { errno } => format!("reading failed: {}", error(*errno)),
        ConnectionEnd::WriteError { errno } => format!("writing failed: {}", error(*errno)),
        ConnectionEnd::Violation(what) => format!("violated the protocol: {}", printable(what)),
    }
}

fn decided(intent: &Intent, clock: &WallClock) -> Decided {
    let what = match intent.what {
        IntentKind::Stop(reason) => reason.label(),
        IntentKind::Kill(reason) => reason.label(),
        IntentKind::StartTimeout => "start_timeout",
        IntentKind::Connection => "connection",
        IntentKind::Unresponsive => "unresponsive",
        IntentKind::SlotsFailed => "slots_failed",
    };
    let signal = intent.signal_sent.map(|signal| match signal {
        StopSignal::Terminate => "SIGTERM".to_owned(),
        StopSignal::Kill => "SIGKILL".to_owned(),
    });
    Decided { what: what.to_owned(), at: clock.unix_millis(intent.at), signal }
}

fn climbed(rungs: &Rungs, clock: &WallClock) -> Climbed {
    let Rungs { asked_at, terminated_at, killed_at, exited_at } = rungs;
    let [asked_at, terminated_at, killed_at, exited_at] =
        [asked_at, terminated_at, killed_at, exited_at].map(|at| at.map(|at| clock.unix_millis(at)));
    Climbed { asked_at, terminated_at, killed_at, exited_at }
}

fn snapshot(seen: &ProcessSnapshot) -> Snapshot {
    let lately = |of: fn(CpuLately) -> Duration| seen.cpu_lately.map(|lately| millis(of(lately)));
    Snapshot {
        doing: doing(seen),
        cpu: millis(seen.cpu),
        cpu_lately: lately(|lately| lately.used),
        lately: lately(|lately| lately.within),
        took_us: u64::try_from(seen.took.as_micros()).unwrap_or(u64::MAX),
        left_out: seen.left_out,
        threads: seen.threads.iter().map(thread).collect(),
    }
}

fn thread(seen: &ThreadSnapshot) -> Thread {
    Thread {
        id: seen.id,
        name: seen.name.clone(),
        state: seen.state.label().to_owned(),
        cpu: millis(seen.cpu),
        voluntary_switches: seen.switches.map(|(voluntary, _)| voluntary),
        involuntary_switches: seen.switches.map(|(_, involuntary)| involuntary),
        function: seen.function.clone(),
        system_call: seen.system_call,
        system_call_name: seen.system_call.and_then(calls::name).map(str::to_owned),
    }
}

fn recorder(said: &Recording) -> Recorder {
    let slot = |slot: &SlotRecording| match slot {
        SlotRecording::Unreadable => {
            RecordedSlot { state: "unreadable".to_owned(), ..RecordedSlot::default() }
        }
        SlotRecording::Unused => RecordedSlot { state: "unused".to_owned(), ..RecordedSlot::default() },
        SlotRecording::Began(began) => RecordedSlot {
            state: if began.executing { "executing" } else { "ended" }.to_owned(),
            request: Some(began.request.to_string()),
            attempt: Some(began.attempt.0),
            ago: began.ago.map(millis),
            progress: Some(began.progress),
        },
    };
    Recorder { beats: said.beats, slots: said.slots.iter().map(slot).collect() }
}
