//! How a call ended that did not end well.
//!
//! It owns the one shape in which programs read it as JSON, and the lines that people read. Its keys stay; every one is
//! always there, and null where it says nothing.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use lifeboat_client::{AttemptReport, CallError, CrashReason};
use lifeboat_protocol::OutcomeLabel;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::json;

/// The error as programs read it.
#[derive(Debug, Default, Serialize)]
struct ErrorJson<'a> {
    /// How the request ended, if the broker or this client knows.
    outcome: Option<OutcomeLabel>,
    /// What ended the call otherwise.
    client_error: Option<&'static str>,
    message: String,
    may_have_executed: bool,
    is_retryable: bool,
    /// `failed`: what the handler said.
    failure: Option<Json>,
    /// `crashed`: why.
    reason: Option<Json>,
    max_attempts: Option<u16>,
    report_id: Option<&'a str>,
    /// `timed_out`: which limit.
    which: Option<&'static str>,
    limit_ms: Option<u64>,
    /// `timed_out`: the end of what the process had written to stdout, lossily as text.
    output_so_far: Option<String>,
    /// `timed_out`: the broker did not say how it ended.
    unanswered: Option<bool>,
    /// `rejected`: why.
    why: Option<&'static str>,
    /// `rejected` and `failed`: when to try again, if anybody said it.
    retry_after_ms: Option<u64>,
    attempts: Vec<Json>,
}

/// An error as JSON, for programs.
pub(super) fn error_json(error: &CallError) -> Result<Json, serde_json::Error> {
    let (outcome, client_error) = labels(error);
    let mut shown = ErrorJson {
        outcome,
        client_error,
        message: with_sources(error),
        may_have_executed: error.may_have_executed(),
        is_retryable: error.is_retryable(),
        reason: error.crash_reason().map(reason_json),
        retry_after_ms: error.retry_after().map(millis),
        attempts: error.attempts().iter().map(attempt_json).collect(),
        ..ErrorJson::default()
    };
    if let CallError::Failed { code, message, retryable, details, .. } = error {
        let details = json::from_cbor((**details).clone());
        shown.failure =
            Some(json!({ "code": code, "message": message, "retryable": retryable, "details": details }));
    }
    if let CallError::WorkerCrashed { max_attempts, report_id, .. } = error {
        (shown.max_attempts, shown.report_id) = (Some(*max_attempts), report_id.as_deref());
    }
    if let CallError::TimedOut { which, limit, unanswered, output_so_far, .. } = error {
        (shown.which, shown.limit_ms) = (Some(which.as_str()), limit.map(millis));
        shown.unanswered = Some(*unanswered);
        shown.output_so_far = Some(String::from_utf8_lossy(output_so_far).into_owned());
    }
    if let CallError::Rejected { why, report_id, .. } = error {
        (shown.why, shown.report_id) = (Some(why.as_str()), report_id.as_deref());
    }
    serde_json::to_value(shown)
}

/// The outcome, or what ended the call without one.
fn labels(error: &CallError) -> (Option<OutcomeLabel>, Option<&'static str>) {
    match error {
        CallError::Failed { .. } => (Some(OutcomeLabel::Failed), None),
        CallError::WorkerCrashed { .. } => (Some(OutcomeLabel::Crashed), None),
        CallError::TimedOut { .. } => (Some(OutcomeLabel::TimedOut), None),
        CallError::Cancelled { .. } => (Some(OutcomeLabel::Cancelled), None),
        CallError::Rejected { .. } => (Some(OutcomeLabel::Rejected), None),
        CallError::Closed { .. } => (Some(OutcomeLabel::Closed), None),
        CallError::Disconnected { .. } => (None, Some("disconnected")),
        CallError::BacklogFull { .. } => (None, Some("backlog_full")),
        CallError::Encode { .. } => (None, Some("encode")),
        CallError::Decode { .. } => (None, Some("decode")),
        CallError::Connect(_) => (None, Some("connect")),
        // A kind of error that this program does not know yet.
        _ => (None, Some("other")),
    }
}

/// An attempt as JSON, for programs.
pub(super) fn attempt_json(attempt: &AttemptReport) -> Json {
    json!({
        "number": attempt.number,
        "worker": attempt.worker,
        "incarnation": attempt.incarnation,
        "pid": attempt.pid,
        "start_ms": millis(attempt.start),
        "duration_ms": millis(attempt.duration),
        "end": attempt.end.as_str(),
        "reason": attempt.reason.as_ref().map(reason_json),
        "stderr_tail": attempt.stderr_tail,
    })
}

fn reason_json(reason: &CrashReason) -> Json {
    json!({
        "label": reason.label(),
        "confidence": reason.confidence().as_str(),
        "text": reason.to_string(),
        "code": reason.exit_code(),
        "signal": reason.signal(),
        "core_dumped": reason.core_dumped(),
        "message": reason.message(),
        "location": reason.location(),
    })
}

/// An error for people: what is behind it, when to try again, and the attempts that were made.
pub(super) fn told(error: &CallError) -> String {
    let mut text = with_sources(error);
    // Writing to a text cannot fail.
    if let Some(after) = error.retry_after() {
        let _ = write!(text, "; try again in {after:?}");
    }
    for AttemptReport { number, worker, pid, duration, end, reason, .. } in error.attempts() {
        let _ = write!(text, "\n  attempt {number}: {worker}");
        let _ = pid.map_or(Ok(()), |pid| write!(text, " (process {pid})"));
        let _ = write!(text, ", {end} after {duration:?}");
        let _ = reason.as_ref().map_or(Ok(()), |reason| write!(text, ": {reason}"));
    }
    text
}

fn with_sources(error: &CallError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            // Writing to a text cannot fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use lifeboat_client::{RejectWhy, TimeoutWhich};
    use lifeboat_protocol::{AttemptBody, AttemptEndLabel, ConfidenceLabel, ReasonBody};

    use super::*;

    const KEYS: [&str; 16] = [
        "attempts",
        "client_error",
        "failure",
        "is_retryable",
        "limit_ms",
        "max_attempts",
        "may_have_executed",
        "message",
        "outcome",
        "output_so_far",
        "reason",
        "report_id",
        "retry_after_ms",
        "unanswered",
        "which",
        "why",
    ];

    fn segfault() -> ReasonBody {
        ReasonBody {
            signal: Some(11),
            core_dumped: Some(true),
            ..ReasonBody::new("signal", ConfidenceLabel::Proven)
        }
    }

    fn attempt() -> AttemptReport {
        AttemptReport::from(AttemptBody {
            number: 1,
            worker: "images-0".into(),
            incarnation: 4,
            pid: Some(77),
            start_ms: 5,
            duration_ms: 20,
            end: AttemptEndLabel::Crashed,
            reason: Some(segfault()),
            stderr_tail: Some("oh no".into()),
        })
    }

    fn crashed() -> CallError {
        CallError::WorkerCrashed {
            reason: segfault().into(),
            method: "resize".into(),
            attempt: 1,
            max_attempts: 2,
            attempts: [attempt()].into(),
            report_id: Some("images-0-4".into()),
        }
    }

    fn rejected() -> CallError {
        CallError::Rejected {
            method: "resize".into(),
            why: RejectWhy::QueueFull,
            retry_after: Some(Duration::from_millis(250)),
            message: None,
            report_id: None,
            attempts: [].into(),
            may_have_executed: false,
        }
    }

    #[test]
    fn every_key_is_always_there() {
        for error in [crashed(), rejected()] {
            let shown = error_json(&error).unwrap();
            let keys: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, KEYS);
        }
    }

    #[test]
    fn a_crash_tells_programs_its_attempts() {
        let shown = error_json(&crashed()).unwrap();
        assert_eq!((&shown["outcome"], &shown["client_error"]), (&json!("crashed"), &Json::Null));
        assert_eq!((&shown["max_attempts"], &shown["report_id"]), (&json!(2), &json!("images-0-4")));
        let reason = json!({
            "label": "signal", "confidence": "proven", "text": "signal SIGSEGV, core dumped", "code": null,
            "signal": 11, "core_dumped": true, "message": null, "location": null,
        });
        assert_eq!(shown["reason"], reason);
        let attempt = json!({
            "number": 1, "worker": "images-0", "incarnation": 4, "pid": 77, "start_ms": 5, "duration_ms": 20,
            "end": "crashed", "reason": reason, "stderr_tail": "oh no",
        });
        assert_eq!(shown["attempts"], json!([attempt]));
    }

    #[test]
    fn limits_and_refusals_are_told_in_words() {
        let error = CallError::TimedOut {
            method: "resize".into(),
            which: TimeoutWhich::Attempt,
            limit: Some(Duration::from_secs(2)),
            message: None,
            attempts: [attempt()].into(),
            output_so_far: Vec::new(),
            unanswered: false,
            may_have_executed: true,
        };
        let shown = error_json(&error).unwrap();
        assert_eq!((&shown["outcome"], &shown["which"]), (&json!("timed_out"), &json!("attempt")));
        assert_eq!((&shown["limit_ms"], &shown["unanswered"]), (&json!(2000), &json!(false)));
        let shown = error_json(&rejected()).unwrap();
        assert_eq!((&shown["outcome"], &shown["why"]), (&json!("rejected"), &json!("queue_full")));
        assert_eq!((&shown["retry_after_ms"], &shown["unanswered"]), (&json!(250), &Json::Null));
    }

    #[test]
    fn a_handlers_no_is_told_whole() {
        let error = CallError::Failed {
            method: "resize".into(),
            code: "too_wide".into(),
            message: "no more than 4096".into(),
            retryable: true,
            retry_after: Some(Duration::from_millis(1_500)),
            details: Box::new(ciborium::Value::from(4096)),
            attempts: [].into(),
        };
        let failure =
            json!({ "code": "too_wide", "message": "no more than 4096", "retryable": true, "details": 4096 });
        let shown = error_json(&error).unwrap();
        assert_eq!((&shown["failure"], &shown["retry_after_ms"]), (&failure, &json!(1_500)));
        assert_eq!(told(&error), "'resize' failed: no more than 4096 (too_wide); try again in 1.5s");
    }

    #[test]
    fn people_read_the_attempts_and_when_to_try_again() {
        assert_eq!(
            told(&crashed()),
            "Worker crashed (signal SIGSEGV, core dumped) while processing 'resize'\n  \
             attempt 1: images-0 (process 77), crashed after 20ms: signal SIGSEGV, core dumped"
        );
        assert_eq!(told(&rejected()), "'resize' was rejected (queue_full); try again in 250ms");
    }
}
