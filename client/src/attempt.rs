//! One attempt at a request, as an error reports it.
//!
//! Owns the shape shown to callers. Must never compute anything: the broker has measured and judged.

use std::time::Duration;

use lifeboat_protocol::{AttemptBody, AttemptEndLabel};

use crate::CrashReason;

/// One try at a request in one slot.
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
