//! What clients are told: how a request ended without an answer, and how an attempt did that is followed by another.

use std::fmt::Write as _;
use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::action::{AttemptCause, AttemptRecord, Outcome, Settlement};
use lifeboat_core::fact::Death;
use lifeboat_core::reason::{AttemptEnd, Confidence, CrashReason, RejectWhy, StartFailure, TimeoutWhich};
use lifeboat_core::signals;
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::QuarantineView;
use lifeboat_protocol as wire;
use lifeboat_protocol::{AttemptBody, AttemptEndLabel, ConfidenceLabel, ErrorBody, OutcomeLabel, ReasonBody};

use crate::link::payload::{AnswerForm, AnswerPayload};
use crate::link::words::bound;

/// The last words of a process that made its pool unfit, told with a refusal: the end of them, in bytes.
const MAX_UNFIT_WORDS: usize = 512;

/// What a client is told of a request that was not answered.
pub(in crate::link) fn error_body<Q, A: Into<Option<Box<wire::Failure>>>>(
    core: &Core<Q, A>,
    settlement: Settlement<A>,
) -> ErrorBody {
    let method = settlement.method.map_or("", |id| core.settings().method(id).name.as_str());
    let last_cause = settlement.attempts.last().and_then(|attempt| attempt.cause.as_ref());
    let reason = last_cause.map(reason_of_cause);
    let report = last_cause.and_then(|cause| report_id(core, cause));
    let timed_out = matches!(settlement.outcome, Outcome::TimedOut { .. });
    let mut output = last_cause.filter(|_| timed_out).and_then(output_so_far);
    let told = settlement.attempts.iter().map(|attempt| attempt_body(core, settlement.accepted_at, attempt));
    let mut attempts: Vec<AttemptBody> = told.collect();
    bound(&mut attempts, &mut output);
    let mut body = ErrorBody { attempts, ..ErrorBody::new(outcome_label(&settlement.outcome), method) };
    body.message = settlement.because.map(|death| reason_text(core, &death));
    match settlement.outcome {
        Outcome::Failed { answer } => body.failure = answer.into().map(|failure| *failure),
        Outcome::Crashed { max_attempts } => {
            body.reason = reason;
            body.max_attempts = Some(max_attempts);
            body.report_id = report;
        }
        Outcome::TimedOut { which, limit } => {
            body.which = Some(timeout_label(which));
            body.limit_ms = Some(millis(limit));
            body.output_so_far = output;
        }
        Outcome::Rejected { why, retry_after } => {
            if let Some(quarantined) = settlement.quarantined {
                body.report_id = quarantined.report.map(|report| report.name(&core.settings().start));
                body.message = Some(quarantine_text(&quarantined));
            }
            body.why = Some(reject_label(why));
            body.retry_after_ms = retry_after.map(millis);
        }
        Outcome::Cancelled | Outcome::Closed => {}
    }
    body
}

impl From<AnswerPayload> for Option<Box<wire::Failure>> {
    fn from(answer: AnswerPayload) -> Self {
        match answer.0 {
            AnswerForm::Failure(failure) => Some(failure),
            AnswerForm::Frame(_) | AnswerForm::Saved(_) => None,
        }
    }
}

/// A report's name.
fn report_id<Q, A>(core: &Core<Q, A>, cause: &AttemptCause) -> Option<String> {
    match cause {
        AttemptCause::Death(death) => Some(death.report.name(&core.settings().start)),
        AttemptCause::Slot(_) => None,
    }
}

/// What the process of an attempt had written to stdout.
fn output_so_far(cause: &AttemptCause) -> Option<String> {
    match cause {
        AttemptCause::Death(death) => {
            Some(death.evidence.stdout_tail.clone()).filter(|tail| !tail.is_empty())
        }
        AttemptCause::Slot(_) => None,
    }
}

/// An attempt, with its start relative to the acceptance of its request.
pub(in crate::link) fn attempt_body<Q, A>(
    core: &Core<Q, A>,
    accepted_at: Timestamp,
    attempt: &AttemptRecord,
) -> AttemptBody {
    let stderr_tail = match &attempt.cause {
        Some(AttemptCause::Death(death)) if !death.evidence.stderr_tail.is_empty() => {
            Some(death.evidence.stderr_tail.clone())
        }
        Some(AttemptCause::Death(_) | AttemptCause::Slot(_)) | None => None,
    };
    AttemptBody {
        number: attempt.number.0,
        worker: core.worker_name(attempt.process.worker).to_owned(),
        incarnation: u64::from(attempt.process.incarnation.0),
        pid: attempt.pid,
        start_ms: millis(attempt.started_at.since(accepted_at)),
        duration_ms: millis(attempt.ended_at.since(attempt.started_at)),
        end: end_label(attempt.end),
        reason: attempt.cause.as_ref().map(reason_of_cause),
        stderr_tail,
    }
}

/// Why a pool does not serve: the death of one of its processes, in words.
pub(super) fn reason_text<Q, A>(core: &Core<Q, A>, death: &Death) -> String {
    let ReasonBody { label, code, signal, message, .. } = death_reason(death);
    let mut text = format!("worker {} ended: {label}", core.worker_name(death.process.worker));
    // Writing to a text cannot fail.
    let _ = match (code, signal.and_then(|signal| i32::try_from(signal).ok()), message) {
        (Some(code), _, _) => write!(text, " (exit code {code})"),
        (None, Some(signal), _) => write!(text, " ({})", signals::name(signal)),
        (None, None, Some(message)) => write!(text, " ({message})"),
        (None, None, None) => Ok(()),
    };
    let words = death.evidence.stderr_tail.trim_end();
    let from = words.ceil_char_boundary(words.len().saturating_sub(MAX_UNFIT_WORDS));
    if !words.is_empty() {
        let _ = write!(text, "; its last words: {}", &words[from..]);
    }
    text
}

/// Why a body is refused, and what to do, in words.
fn quarantine_text(quarantined: &QuarantineView) -> String {
    let QuarantineView { crashes, digest, .. } = quarantined;
    format!("its body crashed {crashes} times; `lifeboat quarantine --release {digest}` lets it run again")
}

pub(super) fn reason_of_cause(cause: &AttemptCause) -> ReasonBody {
    match cause {
        AttemptCause::Death(death) => death_reason(death),
        AttemptCause::Slot(reason) => reason_body(reason, Confidence::Proven),
    }
}

fn death_reason(death: &Death) -> ReasonBody {
    reason_body(&death.reason, death.confidence)
}

fn reason_body(reason: &CrashReason, confidence: Confidence) -> ReasonBody {
    let mut body = ReasonBody::new(reason.label(), confidence_label(confidence));
    match reason {
        CrashReason::Exit { code } => body.code = Some(*code),
        CrashReason::Signal { signal, core_dumped } => {
            body.signal = u32::try_from(*signal).ok();
            body.core_dumped = Some(*core_dumped);
        }
        CrashReason::StoppedFromOutside { signal } => body.signal = u32::try_from(*signal).ok(),
        CrashReason::ConnectionError { errno } => {
            body.message = Some(std::io::Error::from_raw_os_error(*errno).to_string());
        }
        CrashReason::StartFailed(failure) => start_failure(failure, &mut body),
        CrashReason::SpawnFailed(text)
        | CrashReason::ProtocolViolation(text)
        | CrashReason::SlotsExhausted(text) => body.message = Some(text.clone()),
        CrashReason::SlotPanicked { message, location } => {
            body.message = Some(message.clone());
            body.location.clone_from(location);
        }
        CrashReason::Oom
        | CrashReason::CpuLimit
        | CrashReason::FileSizeLimit
        | CrashReason::SandboxViolation
        | CrashReason::KilledFromOutside
        | CrashReason::ConnectionClosed
        | CrashReason::Unresponsive
        | CrashReason::Killed(_) => {}
    }
    body
}

fn start_failure(failure: &StartFailure, body: &mut ReasonBody) {
    match failure {
        StartFailure::Exit { code } => body.code = Some(*code),
        StartFailure::Signal { signal, core_dumped } => {
            body.signal = u32::try_from(*signal).ok();
            body.core_dumped = Some(*core_dumped);
        }
        StartFailure::OutOfMemory
        | StartFailure::MemoryLimit
        | StartFailure::TimedOut
        | StartFailure::BadHello(_) => body.message = failure.words().map(str::to_owned),
    }
}

pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

const fn outcome_label<A>(outcome: &Outcome<A>) -> OutcomeLabel {
    match outcome {
        Outcome::Failed { .. } => OutcomeLabel::Failed,
        Outcome::Crashed { .. } => OutcomeLabel::Crashed,
        Outcome::TimedOut { .. } => OutcomeLabel::TimedOut,
        Outcome::Cancelled => OutcomeLabel::Cancelled,
        Outcome::Rejected { .. } => OutcomeLabel::Rejected,
        Outcome::Closed => OutcomeLabel::Closed,
    }
}

const fn timeout_label(which: TimeoutWhich) -> wire::TimeoutWhich {
    match which {
        TimeoutWhich::Queue => wire::TimeoutWhich::Queue,
        TimeoutWhich::Attempt => wire::TimeoutWhich::Attempt,
        TimeoutWhich::Progress => wire::TimeoutWhich::Progress,
        TimeoutWhich::Output => wire::TimeoutWhich::Output,
        TimeoutWhich::Deadline => wire::TimeoutWhich::Deadline,
    }
}

const fn reject_label(why: RejectWhy) -> wire::RejectWhy {
    match why {
        RejectWhy::QueueFull => wire::RejectWhy::QueueFull,
        RejectWhy::AllWorkersBusy => wire::RejectWhy::AllWorkersBusy,
        RejectWhy::Tripped => wire::RejectWhy::Tripped,
        RejectWhy::UnknownMethod => wire::RejectWhy::UnknownMethod,
        RejectWhy::TooLarge => wire::RejectWhy::TooLarge,
        RejectWhy::NotAllowed => wire::RejectWhy::NotAllowed,
        RejectWhy::Quarantined => wire::RejectWhy::Quarantined,
        RejectWhy::Draining => wire::RejectWhy::Draining,
    }
}

pub(super) const fn end_label(end: AttemptEnd) -> AttemptEndLabel {
    match end {
        AttemptEnd::Ok => AttemptEndLabel::Ok,
        AttemptEnd::Failed => AttemptEndLabel::Failed,
        AttemptEnd::Crashed => AttemptEndLabel::Crashed,
        AttemptEnd::TimedOut => AttemptEndLabel::TimedOut,
        AttemptEnd::Cancelled => AttemptEndLabel::Cancelled,
        AttemptEnd::Closed => AttemptEndLabel::Closed,
    }
}

const fn confidence_label(confidence: Confidence) -> ConfidenceLabel {
    match confidence {
        Confidence::Proven => ConfidenceLabel::Proven,
        Confidence::Inferred => ConfidenceLabel::Inferred,
        Confidence::Unknown => ConfidenceLabel::Unknown,
    }
}
