//! What a handler says when it says no.
//!
//! Owns [`HandlerError`] and how other errors become one. Must never end the process: a handler's error leaves it
//! healthy.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use lifeboat_protocol::{Failure, Value};
use serde::Serialize;

use crate::Cancelled;

/// The longest message that travels, in bytes; what is longer is cut.
const MAX_MESSAGE: usize = 16 * 1024;

/// The code of errors that were converted and name none.
const DEFAULT_CODE: &str = "error";

/// A handler's "no". The caller gets it as `Failed { code, message, retryable, details }`; the process is healthy
/// and takes the next request.
///
/// It is **final by default**: an identical attempt is expected to fail again. Say
/// [`retryable`](Self::retryable) where another attempt may do better; the broker then retries if the method's
/// `retry.on` has `failed`.
///
/// Every error type converts into it (`?` works), with the code `error` and the texts of its whole source chain;
/// so do `String`, `&str` and boxed errors.
///
/// ```
/// use lifeboat_worker::HandlerError;
///
/// fn parse(text: &str) -> Result<u32, HandlerError> {
///     if text.is_empty() {
///         return Err(HandlerError::new("empty", "give a number").details([1, 2]));
///     }
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(parse("").unwrap_err().code(), "empty");
/// let converted = parse("x").unwrap_err();
/// assert_eq!((converted.code(), converted.message()), ("error", "invalid digit found in string"));
/// assert!(!converted.is_retryable());
///
/// // What may pass says so, and how long it takes at least, if it knows.
/// let busy = HandlerError::new("busy", "the printer is warming up").retryable();
/// assert!(busy.is_retryable());
/// assert_eq!(busy.least_wait(), None);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerError {
    code: String,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
    details: Value,
    cancelled: bool,
    recycle: bool,
}

impl HandlerError {
    /// An error with a code for programs and a message for people. Final, without details.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after: None,
            details: Value::Null,
            cancelled: false,
            recycle: false,
        }
    }

    /// Says that another attempt may succeed.
    #[must_use]
    pub const fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Says that another attempt may succeed, and not to begin one sooner than this: a limit upstream, a lock that is
    /// held. Implies [`retryable`](Self::retryable).
    ///
    /// The broker waits that long before its next attempt, or as long as its own backoff if that is longer. It makes
    /// none that could begin only after the request's deadline: the failure is then final at once, and the caller's
    /// `Failed` has this `retry_after`. Whole milliseconds travel, rounded up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lifeboat_worker::HandlerError;
    ///
    /// fn ask_upstream() -> Result<(), HandlerError> {
    ///     Err(HandlerError::new("rate_limited", "upstream wants a pause").retry_after(Duration::from_secs(2)))
    /// }
    ///
    /// let error = ask_upstream().unwrap_err();
    /// assert!(error.is_retryable());
    /// assert_eq!(error.least_wait(), Some(Duration::from_secs(2)));
    /// ```
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retryable = true;
        self.retry_after = Some(wait);
        self
    }

    /// Has the process replaced after this request, as [`Context::recycle`](crate::Context::recycle) does. The failure is
    /// as final or retryable as it was: a retry runs on another worker where there is one.
    ///
    /// ```
    /// use lifeboat_worker::HandlerError;
    ///
    /// fn check(device_lost: bool) -> Result<(), HandlerError> {
    ///     if device_lost {
    ///         return Err(HandlerError::new("device_lost", "the device was reset").retryable().and_recycle());
    ///     }
    ///     Ok(())
    /// }
    ///
    /// assert!(check(true).unwrap_err().is_retryable());
    /// ```
    #[must_use]
    pub const fn and_recycle(mut self) -> Self {
        self.recycle = true;
        self
    }

    /// Adds whatever else the caller should know. A value that cannot be encoded is replaced by a text saying so.
    #[must_use]
    pub fn details(mut self, details: impl Serialize) -> Self {
        self.details = Value::serialized(&details).unwrap_or_else(|error| {
            Value::Text(format!("the error's details could not be encoded: {error}"))
        });
        self
    }

    /// What such a message said.
    #[cfg(feature = "testing")]
    pub(crate) fn from_failure(failure: Failure) -> Self {
        let Failure { code, message, retryable, details, retry_after_ms } = failure;
        let retry_after = retry_after_ms.map(Duration::from_millis);
        Self { code, message, retryable, retry_after, details, cancelled: false, recycle: false }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether another attempt may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// How long the next attempt is to wait, at least, if [`retry_after`](Self::retry_after) was said.
    #[must_use]
    pub const fn least_wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether it says that the handler stopped because of a cancel.
    pub(crate) const fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Whether the process is to be replaced for it.
    pub(crate) const fn wants_recycling(&self) -> bool {
        self.recycle
    }

    /// The message to the broker.
    pub(crate) fn into_failure(self) -> Failure {
        let Self { code, message, retryable, retry_after, details, .. } = self;
        let retry_after_ms = retry_after.map(whole_millis);
        Failure { code: cut(code), message: cut(message), retryable, retry_after_ms, details }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut message = error.to_string();
        let mut cancelled = error.is::<Cancelled>();
        let mut source = error.source();
        while let Some(error) = source {
            cancelled |= error.is::<Cancelled>();
            let text = error.to_string();
            // Many errors already end with the text of their source.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = error.source();
        }
        let code = if cancelled { "cancelled" } else { DEFAULT_CODE };
        Self { cancelled, ..Self::new(code, message) }
    }
}

/// In milliseconds, rounded up: a wait is never shorter than what was asked for.
fn whole_millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Cuts a text that is too long to travel, at a character's boundary.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" [cut]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] Cancelled);

    #[test]
    fn conversion_keeps_the_source_chain_and_finds_a_cancel() {
        let plain = HandlerError::from("text");
        assert_eq!((plain.code(), plain.message(), plain.is_retryable()), ("error", "text", false));
        let chained = HandlerError::from(Outer(Inner(Cancelled)));
        assert_eq!(chained.message(), "outer: inner: the request was cancelled");
        assert!(chained.is_cancelled());
        assert!(!plain.is_cancelled());
    }

    #[test]
    fn a_wait_implies_another_attempt_and_is_rounded_up() {
        let waits = [(Duration::ZERO, 0), (Duration::from_nanos(1), 1), (Duration::MAX, u64::MAX)];
        for (wait, millis) in waits {
            let failure = HandlerError::new("busy", "later").retry_after(wait).into_failure();
            assert_eq!((failure.retryable, failure.retry_after_ms), (true, Some(millis)));
        }
        let failure = HandlerError::new("busy", "later").retryable().into_failure();
        assert_eq!((failure.retryable, failure.retry_after_ms), (true, None));
    }

    /// Like the errors that wrap any other one: not an `Error` itself, so that the conversion could not find its sources.
    struct Wrapped(Box<dyn Error + Send + Sync>);

    impl From<Wrapped> for Box<dyn Error + Send + Sync> {
        fn from(Wrapped(error): Wrapped) -> Self {
            error
        }
    }

    #[test]
    fn errors_that_wrap_any_other_convert_with_their_sources() {
        fn failing() -> Result<(), HandlerError> {
            Err(Wrapped(Box::new(Outer(Inner(Cancelled)))))?
        }
        let error = failing().unwrap_err();
        assert_eq!((error.code(), error.message()), ("cancelled", "outer: inner: the request was cancelled"));
        let own = HandlerError::new("mine", "kept").retryable();
        let through = |error: HandlerError| -> Result<(), HandlerError> { Err(error)? };
        assert_eq!(through(own.clone()), Err(own), "an error of the handler's own stays what it is");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let failure = HandlerError::new("long", "ä".repeat(MAX_MESSAGE)).retryable().into_failure();
        assert!(failure.message.len() < MAX_MESSAGE + 10);
        assert!(failure.message.ends_with("ä [cut]"));
        assert!(failure.retryable);
    }
}
