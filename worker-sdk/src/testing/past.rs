//! What a test's attempt is told of the attempts before it.
//!
//! Owns the form in which a broker would tell it. Must never tell what no broker would.

use lifeboat_protocol::{
    AttemptEndLabel, History, MAX_PREVIOUS_ATTEMPTS, MAX_SAVED, PreviousAttempt, SavedItem,
};

use crate::SaveError;

/// The worker that the handler believes to be in.
pub(super) const WORKER: &str = "test-0";

/// Which life of it.
pub(super) const INCARNATION: u64 = 1;

/// What a broker would tell: of a first attempt nothing.
///
/// # Errors
///
/// Of what no attempt can have saved.
pub(super) fn history(
    mut previous: Vec<PreviousAttempt>,
    saved: Option<Result<Vec<u8>, SaveError>>,
    max_body: usize,
) -> Result<Option<History>, SaveError> {
    let (saved, limit) = (saved.transpose()?, max_body.min(MAX_SAVED));
    if let Some(len) = saved.as_ref().map(Vec::len).filter(|len| *len > limit) {
        return Err(SaveError::TooLarge { len, limit });
    }
    if saved.is_some() && previous.is_empty() {
        previous.push(PreviousAttempt {
            number: 1,
            worker: WORKER.to_owned(),
            incarnation: INCARNATION,
            end: AttemptEndLabel::Crashed,
            reason: Some("signal".to_owned()),
            duration_ms: 0,
        });
    }
    previous.drain(..previous.len().saturating_sub(MAX_PREVIOUS_ATTEMPTS));
    Ok((!previous.is_empty()).then(|| History { previous, saved: saved.map(SavedItem) }))
}
