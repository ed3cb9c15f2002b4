//! One attempt at a request, as an error reports it.
//!
//! Owns the shape shown to callers. Must never compute anything: the broker has measured and judged.

use std::time::Duration;

use lifeboat_protocol::{AttemptBody, AttemptEndLabel};

use crate::CrashReason;

/// One try at a request in one slot.
///
/// ```
/// use lifeboat_client::{AttemptReport, CallError};
///
/// /// What became of each attempt at a call, for a log.
/// fn lines(error: &CallError) -> Vec<String> {
///     error.attempts().iter().map(line).collect()
/// }
///
/// fn line(attempt: &AttemptReport) -> String {
///     let mut line = format!("attempt {} on {}: {}", attempt.number, attempt.worker, attempt.end);
///     if let Some(reason) = &attempt.reason {
///         line += &format!(" ({reason})");
///     }
///     line + &format!(" after {:?}", attempt.duration)
/// }
///
/// # use lifeboat_protocol::{AttemptBody, AttemptEndLabel, ConfidenceLabel, ReasonBody};
/// # let attempt = AttemptReport::from(AttemptBody {
/// #     number: 2,
/// #     worker: "images-0".into(),
/// #     incarnation: 7,
/// #     pid: Some(4711),
/// #     start_ms: 120,
/// #     duration_ms: 35,
/// #     end: AttemptEndLabel::Crashed,
/// #     reason: Some(ReasonBody { signal: Some(11), ..ReasonBody::new("signal", ConfidenceLabel::Proven) }),
/// #     stderr_tail: None,
/// # });
/// assert_eq!(line(&attempt), "attempt 2 on images-0: crashed (signal SIGSEGV) after 35ms");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptReport {
    /// Which try, from 1.
    pub number: u16,
    /// The worker's stable name, such as `images-0`.
    pub worker: String,
    /// The worker's incarnation: which of its processes.
    pub incarnation: u64,
    /// The process's id, if it was known.
    pub pid: Option<u32>,
    /// When it began, counted from the request's acceptance.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub end: AttemptEndLabel,
    /// Why the process died, if it did.
    pub reason: Option<CrashReason>,
    /// The last that the process wrote to its stderr, cut at the broker's bound.
    pub stderr_tail: Option<String>,
}

impl From<AttemptBody> for AttemptReport {
    fn from(body: AttemptBody) -> Self {
        Self {
            number: body.number,
            worker: body.worker,
            incarnation: body.incarnation,
            pid: body.pid,
            start: Duration::from_millis(body.start_ms),
            duration: Duration::from_millis(body.duration_ms),
            end: body.end,
            reason: body.reason.map(CrashReason::from),
            stderr_tail: body.stderr_tail,
        }
    }
}
