//! When a call is tried again.

use std::future::{Ready, ready};

use lifeboat_client::CallError;
use tower::retry::Policy;

/// Tries again what may succeed then, and certainly was not done.
#[derive(Clone)]
pub(crate) struct Again {
    pub(crate) left: u32,
}

impl<R: Clone, T> Policy<R, T, CallError> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut R, result: &mut Result<T, CallError>) -> Option<Ready<()>> {
        let error = result.as_ref().err()?;
        if self.left == 0 || !error.is_retryable() || error.may_have_executed() {
            return None;
        }
        self.left -= 1;
        // A program would wait here: for as long as `retry_after()` says, if it says.
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}
