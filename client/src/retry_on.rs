//! What a caller allows to be retried.
//!
//! Owns its words. Must never say what the broker makes of them.

/// What is retried; see [`RequestBuilder::retry_on`](crate::RequestBuilder::retry_on).
///
/// ```
/// use lifeboat_client::RetryOn;
///
/// /// Reads a setting such as `crash, stall`.
/// fn read(setting: &str) -> Option<Vec<RetryOn>> {
///     let all = [RetryOn::Crash, RetryOn::Stall, RetryOn::Timeout, RetryOn::Failed];
///     let named = |word: &str| all.into_iter().find(|on| on.as_str() == word);
///     setting.split(',').map(|word| named(word.trim())).collect()
/// }
///
/// assert_eq!(read("crash, stall"), Some(vec![RetryOn::Crash, RetryOn::Stall]));
/// assert_eq!(read("bad weather"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryOn {
    /// The worker's process died.
    Crash,
    /// No progress, or no output, for longer than its limit.
    Stall,
    /// The attempt's time ran out.
    Timeout,
    /// The handler returned an error that it called retryable.
    Failed,
}

impl RetryOn {
    /// The word in configuration and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Stall => "stall",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}
