//! The words of a call's error.
//!
//! Owns the texts that say more than one thing. Must never say more than the error knows.

use std::time::Duration;

use lifeboat_protocol::{RejectWhy, TimeoutWhich};

use crate::CrashReason;

/// The three texts are part of the contract with callers; change none of them.
pub(super) fn crash_text(reason: &CrashReason, method: &str, attempt: u16) -> String {
    if attempt > 1 {
        format!("Worker crashed after {attempt} attempts while processing '{method}'")
    } else if reason.explains() {
        format!("Worker crashed ({reason}) while processing '{method}'")
    } else {
        format!("Worker crashed unexpectedly while processing '{method}'")
    }
}

pub(super) fn timeout_text(
    method: &str,
    which: TimeoutWhich,
    limit: Option<Duration>,
    unanswered: bool,
) -> String {
    let limit = limit.map(|limit| format!(" of {limit:?}")).unwrap_or_default();
    let end = if unanswered { "; the broker did not say how it ended" } else { "" };
    match which {
        TimeoutWhich::Deadline => format!("'{method}' timed out: deadline{limit}{end}"),
        TimeoutWhich::Queue | TimeoutWhich::Attempt | TimeoutWhich::Progress | TimeoutWhich::Output => {
            format!("'{method}' timed out: {which}_timeout{limit}{end}")
        }
    }
}

pub(super) fn reject_text(method: &str, why: RejectWhy, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("'{method}' was rejected ({why}): {message}"),
        None if why == RejectWhy::UnknownMethod => {
            format!(
                "'{method}' was rejected ({why}): the configuration gives it to no pool, or to another than asked for"
            )
        }
        None => format!("'{method}' was rejected ({why})"),
    }
}

/// What stands behind a text if the broker said more.
pub(super) fn more_text(message: Option<&str>) -> String {
    message.map(|message| format!("; {message}")).unwrap_or_default()
}

pub(super) fn executed_text(may_have_executed: bool) -> &'static str {
    if may_have_executed { "may have been executed" } else { "was not executed" }
}
