//! What a worker is told of the attempts before its own.

use lifeboat_core::action::AttemptRecord;
use lifeboat_core::{Core, Past};
use lifeboat_protocol::{History, MAX_PREVIOUS_ATTEMPTS, PreviousAttempt, SavedItem};

use super::told::{end_label, millis, reason_of_cause};
use crate::link::payload::{AnswerForm, AnswerPayload};

/// The newest attempts, and what was saved.
pub(in crate::link) fn history<Q>(core: &Core<Q, AnswerPayload>, past: &Past<'_, AnswerPayload>) -> History {
    let from = past.attempts.len().saturating_sub(MAX_PREVIOUS_ATTEMPTS);
    let saved = past.saved.and_then(|item| match &item.0 {
        AnswerForm::Saved(item) => Some(SavedItem(item.to_vec())),
        AnswerForm::Frame(_) | AnswerForm::Failure(_) => None,
    });
    History {
        previous: past.attempts[from..].iter().map(|attempt| previous_attempt(core, attempt)).collect(),
        saved,
    }
}

fn previous_attempt<Q, A>(core: &Core<Q, A>, attempt: &AttemptRecord) -> PreviousAttempt {
    PreviousAttempt {
        number: attempt.number.0,
        worker: core.worker_name(attempt.process.worker).to_owned(),
        incarnation: u64::from(attempt.process.incarnation.0),
        end: end_label(attempt.end),
        reason: attempt.cause.as_ref().map(|cause| reason_of_cause(cause).label),
        duration_ms: millis(attempt.ended_at.since(attempt.started_at)),
    }
}
