//! From the broker's error message to the caller's error.
//!
//! Owns this translation. Must never fail: what the broker left out is left out for the caller too.

use std::time::Duration;

use lifeboat_protocol::{
    ErrorBody, Failure, OutcomeLabel, RejectWhy, Route, RouteFlags, TimeoutWhich, decode_body,
};

use crate::{AttemptReport, CallError, CrashReason};

/// The error that an error message's body tells of. `method` is what the caller asked for: the broker knows a method
/// that only a catch-all pool serves by another name.
pub(crate) fn read_error(route: Route, body: &[u8], method: &str) -> CallError {
    match decode_body::<ErrorBody>(body) {
        Ok(body) => translate(route, body, method.to_owned()),
        Err(source) => CallError::Decode { method: method.to_owned(), source },
    }
}

fn translate(route: Route, body: ErrorBody, method: String) -> CallError {
    let attempts: Box<[AttemptReport]> = body.attempts.into_iter().map(AttemptReport::from).collect();
    // A list of attempts may be cut at a bound; the route's number is not.
    let may_have_executed =
        route.flags.contains(RouteFlags::MAY_HAVE_STARTED) || route.attempt > 0 || !attempts.is_empty();
    match body.outcome {
        OutcomeLabel::Failed => {
            let failure = body.failure.unwrap_or_else(|| {
                Failure::new("unspecified", body.message.as_deref().unwrap_or("no message given"))
            });
            failed(method, failure, attempts)
        }
        OutcomeLabel::Crashed => {
            let listed = attempts.last().map_or(0, |attempt| attempt.number);
            let attempt = route.attempt.max(listed).max(1);
            CallError::WorkerCrashed {
                reason: body.reason.map_or_else(CrashReason::unknown, CrashReason::from),
                method,
                attempt,
                max_attempts: body.max_attempts.unwrap_or(attempt),
                attempts,
                report_id: body.report_id,
            }
        }
        OutcomeLabel::TimedOut => CallError::TimedOut {
            method,
            which: body.which.unwrap_or(TimeoutWhich::Deadline),
            limit: body.limit_ms.map(Duration::from_millis),
            message: body.message,
            attempts,
            output_so_far: body.output_so_far.unwrap_or_default().into_bytes(),
            unanswered: false,
            may_have_executed,
        },
        OutcomeLabel::Cancelled => {
            CallError::Cancelled { method, message: body.message, attempts, may_have_executed }
        }
        OutcomeLabel::Rejected => CallError::Rejected {
            method,
            why: body.why.unwrap_or(RejectWhy::NotAllowed),
            retry_after: body.retry_after_ms.map(Duration::from_millis),
            message: body.message,
            report_id: body.report_id,
            attempts,
            may_have_executed,
        },
        OutcomeLabel::Closed => {
            CallError::Closed { method, message: body.message, attempts, may_have_executed }
        }
    }
}

fn failed(method: String, failure: Failure, attempts: Box<[AttemptReport]>) -> CallError {
    let retry_after = failure.retry_after_ms.filter(|_| failure.retryable).map(Duration::from_millis);
    CallError::Failed {
        method,
        code: failure.code,
        message: failure.message,
        retryable: failure.retryable,
        retry_after,
        details: Box::new(failure.details),
        attempts,
    }
}
