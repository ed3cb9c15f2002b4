//! Wire to core and back: the one place that knows both.
//!
//! Pure functions over frames, events and settlements. It must never touch a socket or decide an outcome.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::action::{AttemptCause, AttemptRecord, Outcome, Settlement};
use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::fact::Death;
use lifeboat_core::ids::{AttemptNumber, MethodId, ProcessKey, RequestId};
use lifeboat_core::reason::{AttemptEnd, Confidence, CrashReason, RejectWhy, StartFailure, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, Settings};
use lifeboat_core::time::Timestamp;
use lifeboat_protocol as wire;
use lifeboat_protocol::{
    AttemptBody, AttemptEndLabel, BodyError, ConfidenceLabel, ErrorBody, Ext, ExtError, Header, Message,
    OutcomeLabel, Panicked, ReasonBody, Route, WorkersFailed, decode_body,
};
use thiserror::Error;

use super::intake::Inbound;
use super::payload::{AnswerForm, AnswerPayload, RequestPayload};

/// The name under which a pool that accepts any method has its policy and its metrics.
pub(super) const OTHER_METHOD: &str = "_other";

/// The last words told with one error, over all its attempts: half of what a frame may have beside its body.
const MAX_LAST_WORDS: usize = wire::FRAME_OVERHEAD / 2;

/// A message that a worker may not send, or not like this. Its text is the reason told with the process's end.
#[derive(Debug, Error)]
pub(super) enum WorkerMessageError {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] wire::HeaderError),
    /// The body cannot be read.
    #[error("the body of a {what} message cannot be read: {source}")]
    Body { what: wire::MessageType, source: BodyError },
    /// The message is for the other direction.
    #[error("a worker may not send a {0} message")]
    Direction(wire::MessageType),
    /// It refused the broker.
    #[error("the worker refused the broker: {0}")]
    Refused(String),
}

/// Which method of the configuration a name means.
pub(super) struct MethodTable {
    by_name: HashMap<Box<str>, MethodId>,
    any: Option<MethodId>,
}

impl MethodTable {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut table = Self { by_name: HashMap::new(), any: None };
        for (index, method) in (0..).zip(&settings.methods) {
            if method.name == OTHER_METHOD {
                table.any = Some(MethodId(index));
            } else {
                table.by_name.insert(method.name.as_str().into(), MethodId(index));
            }
        }
        table
    }

    pub(super) fn find(&self, name: &str) -> Option<MethodId> {
        self.by_name.get(name).copied().or(self.any)
    }
}

/// The limits that a client asks for with a request.
pub(super) fn client_limits(route: Route, ext: Option<&[u8]>) -> Result<ClientLimits, ExtError> {
    let timeout = route.time_left.as_duration();
    let Some(ext) = ext else {
        return Ok(ClientLimits { timeout, ..ClientLimits::default() });
    };
    let ext = Ext::decode(ext)?;
    let retry = ext.retry.unwrap_or_default();
    Ok(ClientLimits {
        timeout,
        attempt_timeout: ext.limits.attempt_timeout_ms.map(Duration::from_millis),
        max_attempts: retry.max_attempts.and_then(NonZeroU16::new),
        retry_on: (!retry.on.is_empty()).then(|| retry_on(&retry.on)),
    })
}

/// The ends that a client wants to be retried. One that this broker does not know is never met, so never retried.
fn retry_on(wishes: &[String]) -> RetryOn {
    let has = |end: &str| wishes.iter().any(|wish| wish == end);
    RetryOn { crash: has("crash"), stall: has("stall"), timeout: has("timeout"), failed: has("failed") }
}

/// What a worker's message tells the core.
pub(super) fn worker_event(
    process: ProcessKey,
    message: &Message<'_>,
    inbound: &Inbound,
) -> Result<Event<RequestPayload, AnswerPayload>, WorkerMessageError> {
    let answered = |route: Route, answer| Event::Answered {
        process,
        request: RequestId(route.id),
        attempt: AttemptNumber(route.attempt),
        answer,
    };
    match message.header {
        Header::Answer { route } => {
            Ok(answered(route, Answer::Ok(AnswerPayload(AnswerForm::Frame(inbound.clone())))))
        }
        Header::Failure { route } => {
            let failure: wire::Failure = worker_body(message)?;
            let retryable = failure.retryable;
            let answer = AnswerPayload(AnswerForm::Failure(Box::new(failure)));
            Ok(answered(route, Answer::Failed { answer, retryable }))
        }
        Header::Panicked { route } => {
            let Panicked { message, location } = worker_body(message)?;
            Ok(answered(route, Answer::Panicked { message, location }))
        }
        Header::Cancelled { route } => Ok(answered(route, Answer::Cancelled)),
        Header::WorkersFailed => {
            let failed: WorkersFailed = worker_body(message)?;
            Ok(Event::WorkersFailed { process, reasons: failed.reasons.join("; ") })
        }
        Header::Refused => {
            let refused: wire::Refused = worker_body(message)?;
            Err(WorkerMessageError::Refused(format!("{}: {}", refused.code.as_str(), refused.message)))
        }
        Header::Hello
        | Header::Request { .. }
        | Header::Error { .. }
        | Header::Cancel { .. }
        | Header::Progress { .. }
        | Header::Partial { .. }
        | Header::Drain
        | Header::Heartbeat
        | Header::AttemptFailed { .. }
        | Header::Operate { .. }
        | Header::Operated { .. } => Err(WorkerMessageError::Direction(message.header.message_type())),
    }
}

fn worker_body<T: serde::de::DeserializeOwned>(message: &Message<'_>) -> Result<T, WorkerMessageError> {
    decode_body(message.body)
        .map_err(|source| WorkerMessageError::Body { what: message.header.message_type(), source })
}

/// What a client is told of a request that was not answered.
pub(super) fn error_body<Q, A: Into<Option<Box<wire::Failure>>>>(
    core: &Core<Q, A>,
    settlement: Settlement<A>,
) -> ErrorBody {
    let method = settlement.method.map_or("", |id| core.settings().method(id).name.as_str());
    let last_cause = settlement.attempts.last().and_then(|attempt| attempt.cause.as_ref());
    let reason = last_cause.map(reason_of_cause);
    let report = last_cause.and_then(|cause| report_id(core, cause));
    let told = settlement.attempts.iter().map(|attempt| attempt_body(core, settlement.accepted_at, attempt));
    let mut attempts: Vec<AttemptBody> = told.collect();
    bound_last_words(&mut attempts);
    let mut body = ErrorBody { attempts, ..ErrorBody::new(outcome_label(&settlement.outcome), method) };
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
        }
        Outcome::Rejected { why, retry_after } => {
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
            AnswerForm::Frame(_) => None,
        }
    }
}

/// A report's id: the worker and which of its lives ended.
fn report_id<Q, A>(core: &Core<Q, A>, cause: &AttemptCause) -> Option<String> {
    match cause {
        AttemptCause::Death(death) => {
            Some(format!("{}-{}", core.worker_name(death.process.worker), death.process.incarnation.0))
        }
        AttemptCause::Slot(_) => None,
    }
}

/// Last words are told of the newest attempts first, until the bound is reached: an error frame must fit the limit of
/// whoever asked.
fn bound_last_words(attempts: &mut [AttemptBody]) {
    let mut left = MAX_LAST_WORDS;
    for attempt in attempts.iter_mut().rev() {
        let len = attempt.stderr_tail.as_ref().map_or(0, String::len);
        match left.checked_sub(len) {
            Some(rest) => left = rest,
            None => attempt.stderr_tail = None,
        }
    }
}

fn attempt_body<Q, A>(core: &Core<Q, A>, accepted_at: Timestamp, attempt: &AttemptRecord) -> AttemptBody {
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

fn reason_of_cause(cause: &AttemptCause) -> ReasonBody {
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
        StartFailure::TimedOut => body.message = Some("not ready within start_timeout".to_owned()),
        StartFailure::BadHello(text) => body.message = Some(text.clone()),
    }
}

fn millis(length: Duration) -> u64 {
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

const fn end_label(end: AttemptEnd) -> AttemptEndLabel {
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

#[cfg(test)]
mod tests {
    use lifeboat_core::settings::RetryOn;
    use lifeboat_protocol::{Ext, RetryExt, Route, RouteFlags, TimeLeft};

    use super::client_limits;

    fn wish(on: &[&str]) -> Option<RetryOn> {
        let on = on.iter().map(|word| (*word).to_owned()).collect();
        let ext = Ext { retry: Some(RetryExt { max_attempts: Some(2), on }), ..Ext::default() };
        let mut bytes = Vec::new();
        ext.encode_into(&mut bytes);
        let route = Route { id: 1, attempt: 0, flags: RouteFlags::NONE, time_left: TimeLeft::NONE };
        client_limits(route, Some(&bytes)).unwrap().retry_on
    }

    #[test]
    fn a_client_names_what_it_wants_to_be_retried() {
        assert_eq!(wish(&[]), None, "no wish");
        let on = RetryOn { crash: true, failed: true, ..RetryOn::NOTHING };
        assert_eq!(wish(&["failed", "crash", "eclipse"]), Some(on));
        let all = RetryOn { crash: true, stall: true, timeout: true, failed: true };
        assert_eq!(wish(&["crash", "stall", "timeout", "failed"]), Some(all));
        assert_eq!(wish(&["eclipse"]), Some(RetryOn::NOTHING), "unknown words alone want no retry");
    }
}
