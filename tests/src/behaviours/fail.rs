//! Says no.

use lifeboat_worker::HandlerError;

pub(super) fn error(retryable: bool) -> HandlerError {
    let error = HandlerError::new("asked_to_fail", "this handler was asked to say no").details([4, 2]);
    if retryable { error.retryable() } else { error }
}
