//! The error of a call, and truthful answers to what callers ask of it.
//!
//! Owns [`CallError`] and the table of what each member means for the caller. Must never guess in the caller's favour:
//! where nobody knows whether the request ran, it says that it may have.

mod text;

use std::time::Duration;

use ciborium::Value;
use lifeboat_protocol::{BodyError, RejectWhy, TimeoutWhich};
use thiserror::Error;

use self::text::{crash_text, executed_text, more_text, reject_text, timeout_text};
use crate::{AttemptReport, ConnectError, CrashReason, LostReason, RequestError};

/// How a call ended that did not end well.
///
/// | variant | [`may_have_executed`](Self::may_have_executed) | [`is_retryable`](Self::is_retryable) |
/// |---|---|---|
/// | `Failed` | yes | as the handler said |
/// | `WorkerCrashed` | yes | yes |
/// | `TimedOut` | as its field says | yes |
/// | `Cancelled` | as its field says | no |
/// | `Rejected` | as its field says; normally no | `queue_full`, `all_workers_busy`, `tripped`, `draining`: yes; others: no |
/// | `Closed` | as its field says | yes |
/// | `Disconnected` | as its field says | yes |
/// | `BacklogFull` | yes | no |
/// | `Encode` | no | no |
/// | `Decode` | yes | no |
/// | `Connect` | no | if the cause [passes by itself](ConnectError::is_transient) |
///
/// ```
/// use std::time::Duration;
///
/// use lifeboat_client::CallError;
///
/// /// What a program does about an error.
/// #[derive(Debug, PartialEq)]
/// enum Next {
///     Again(Duration),
///     GiveUp(String),
/// }
///
/// /// `once`: the call must not be done twice, such as one that ships an order.
/// fn next(error: &CallError, once: bool) -> Next {
///     if let Some(reason) = error.crash_reason() {
///         eprintln!("a worker died of {reason}, after {} attempts", error.attempts().len());
///     }
///     if error.is_retryable() && !(once && error.may_have_executed()) {
///         return Next::Again(error.retry_after().unwrap_or(Duration::from_secs(1)));
///     }
///     Next::GiveUp(error.to_string())
/// }
///
/// # use lifeboat_client::{LostReason, RejectWhy};
/// let full = CallError::Rejected {
///     method: "resize".into(),
///     why: RejectWhy::QueueFull,
///     retry_after: Some(Duration::from_millis(300)),
///     message: None,
///     report_id: None,
///     attempts: [].into(),
///     may_have_executed: false,
/// };
/// assert_eq!(next(&full, true), Next::Again(Duration::from_millis(300)));
///
/// let lost = CallError::Disconnected { may_have_executed: true, source: LostReason::Closed };
/// assert_eq!(next(&lost, false), Next::Again(Duration::from_secs(1)));
/// assert!(matches!(next(&lost, true), Next::GiveUp(text) if text.ends_with("may have been executed")));
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The handler said no; the worker is healthy.
    #[error("'{method}' failed: {message} ({code})")]
    Failed {
        /// The method called.
        method: String,
        /// The application's code, for programs.
        code: String,
        /// What happened, for people.
        message: String,
        /// Whether the handler thinks that another attempt may succeed.
        retryable: bool,
        /// When the handler says to try again, if it said it. The broker has waited for that long before each further
        /// attempt that it made; a wait past the deadline ends the request at once.
        retry_after: Option<Duration>,
        /// Whatever else the handler said; `Value::Null` if nothing.
        details: Box<Value>,
        /// All attempts, oldest first.
        attempts: Box<[AttemptReport]>,
    },
    /// The worker's process died while executing the request, or had to be killed as unfit, and the attempts are used
    /// up.
    #[error("{}", crash_text(reason, method, *attempt))]
    WorkerCrashed {
        /// Why the last attempt's process died.
        #[source]
        reason: CrashReason,
        /// The method called.
        method: String,
        /// The last attempt's number: how many were made.
        attempt: u16,
        /// How many the policy allows, the first included.
        max_attempts: u16,
        /// All attempts, oldest first.
        attempts: Box<[AttemptReport]>,
        /// The crash report's id, for `lifeboat report ID`.
        report_id: Option<String>,
    },
    /// A limit passed, and the work has ended.
    #[error("{}{}", timeout_text(method, *which, *limit, *unanswered), more_text(message.as_deref()))]
    TimedOut {
        /// The method called.
        method: String,
        /// Which limit.
        which: TimeoutWhich,
        /// The limit's length, if the broker said it.
        limit: Option<Duration>,
        /// What the broker says beside it, for people: why a request that ended waiting was never served.
        message: Option<String>,
        /// All attempts, oldest first.
        attempts: Box<[AttemptReport]>,
        /// The end of what the process of the last attempt had written to stdout, at most 16 KiB; empty if it wrote
        /// nothing. It may be of the process's earlier requests. What a [stream](crate#streams) has told is not repeated.
        output_so_far: Vec<u8>,
        /// True when the broker did not say how the request ended, and this client gave up a while after the deadline.
        /// Only then is it unknown whether the work has ended.
        unanswered: bool,
        /// Whether a handler may have begun: an attempt was made, a process had been given the request, or it is
        /// unknown.
        may_have_executed: bool,
    },
    /// The request was cancelled by somebody else than this call's owner, such as an operator.
    #[error("'{method}' was cancelled{}", more_text(message.as_deref()))]
    Cancelled {
        /// The method called.
        method: String,
        /// What the broker says beside it, for people.
        message: Option<String>,
        /// All attempts, oldest first.
        attempts: Box<[AttemptReport]>,
        /// Whether a handler may have begun: an attempt was made, or a process had been given the request.
        may_have_executed: bool,
    },
    /// The request was refused before it ran.
    #[error("{}", reject_text(method, *why, message.as_deref()))]
    Rejected {
        /// The method called.
        method: String,
        /// Why.
        why: RejectWhy,
        /// When to try again, if the broker knows.
        retry_after: Option<Duration>,
        /// Why and what to do, for people.
        message: Option<String>,
        /// `quarantined`: the id of the last report of its body's crashes, for `lifeboat report ID`.
        report_id: Option<String>,
        /// All attempts made before, oldest first; normally none.
        attempts: Box<[AttemptReport]>,
        /// Whether a handler may have begun: an attempt was made, or a process had been given the request.
        may_have_executed: bool,
    },
    /// The broker or the pool was shut down on purpose.
    #[error("'{method}' was ended by a planned shutdown{}", more_text(message.as_deref()))]
    Closed {
        /// The method called.
        method: String,
        /// What the broker says beside it, for people.
        message: Option<String>,
        /// All attempts, oldest first.
        attempts: Box<[AttemptReport]>,
        /// Whether a handler may have begun: an attempt was made, or a process had been given the request.
        may_have_executed: bool,
    },
    /// The connection to the broker was lost before the request's end was known.
    #[error("the connection to the broker was lost; the request {}", executed_text(*may_have_executed))]
    Disconnected {
        /// Whether the broker may have received the whole request.
        may_have_executed: bool,
        /// Why the connection was lost.
        #[source]
        source: LostReason,
    },
    /// A stream was not read in time: more was told than its
    /// [`stream_backlog`](crate::RequestBuilder::stream_backlog) holds. The request was cancelled.
    #[error(
        "the stream of '{method}' was read too slowly: {events} events of {bytes} bytes were unread, and no more are \
         kept (stream_backlog); the request was cancelled"
    )]
    BacklogFull {
        /// The method called.
        method: String,
        /// Events that were unread, progress not counted.
        events: usize,
        /// Bytes of their bodies.
        bytes: usize,
    },
    /// The request cannot be sent as it is. Nothing was sent.
    #[error("the request to '{method}' cannot be sent")]
    Encode {
        /// The method called.
        method: String,
        /// Why.
        #[source]
        source: RequestError,
    },
    /// The broker answered, or told of a failed attempt, but what it said is not of the expected type.
    #[error("the answer of '{method}' cannot be read")]
    Decode {
        /// The method called.
        method: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// There was no connection to the broker in time. Nothing was sent.
    #[error("no connection to the broker")]
    Connect(#[source] ConnectError),
}

impl CallError {
    /// All attempts known of, oldest first. Empty where the request never reached a worker, and where the client
    /// cannot know (`Disconnected`, `BacklogFull`, `Decode`).
    #[must_use]
    pub fn attempts(&self) -> &[AttemptReport] {
        match self {
            Self::Failed { attempts, .. }
            | Self::WorkerCrashed { attempts, .. }
            | Self::TimedOut { attempts, .. }
            | Self::Cancelled { attempts, .. }
            | Self::Rejected { attempts, .. }
            | Self::Closed { attempts, .. } => attempts,
            Self::Disconnected { .. }
            | Self::BacklogFull { .. }
            | Self::Encode { .. }
            | Self::Decode { .. }
            | Self::Connect(_) => &[],
        }
    }

    /// Whether a handler may have begun with the request. `false` is certain: the request can be sent again without
    /// any risk of doing it twice. See the table above.
    #[must_use]
    pub fn may_have_executed(&self) -> bool {
        match self {
            Self::Failed { .. }
            | Self::WorkerCrashed { .. }
            | Self::BacklogFull { .. }
            | Self::Decode { .. } => true,
            Self::TimedOut { may_have_executed, .. }
            | Self::Cancelled { may_have_executed, .. }
            | Self::Rejected { may_have_executed, .. }
            | Self::Closed { may_have_executed, .. }
            | Self::Disconnected { may_have_executed, .. } => *may_have_executed,
            Self::Encode { .. } | Self::Connect(_) => false,
        }
    }

    /// Whether the same request may succeed when it is sent again. It says nothing about whether that is safe: for
    /// a request that is not idempotent ask [`may_have_executed`](Self::may_have_executed) too. See the table above.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Failed { retryable, .. } => *retryable,
            Self::WorkerCrashed { .. }
            | Self::TimedOut { .. }
            | Self::Closed { .. }
            | Self::Disconnected { .. } => true,
            Self::Cancelled { .. } | Self::BacklogFull { .. } | Self::Encode { .. } | Self::Decode { .. } => {
                false
            }
            Self::Rejected { why, .. } => match why {
                RejectWhy::QueueFull
                | RejectWhy::AllWorkersBusy
                | RejectWhy::Tripped
                | RejectWhy::Draining => true,
                RejectWhy::UnknownMethod
                | RejectWhy::TooLarge
                | RejectWhy::NotAllowed
                | RejectWhy::Quarantined => false,
            },
            Self::Connect(error) => error.is_transient(),
        }
    }

    /// When to try again, if the handler (`Failed`) or the broker (`Rejected`) said it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Failed { retry_after, .. } | Self::Rejected { retry_after, .. } = self {
            *retry_after
        } else {
            None
        }
    }

    /// Why the worker crashed, if it did.
    #[must_use]
    pub fn crash_reason(&self) -> Option<&CrashReason> {
        match self {
            Self::WorkerCrashed { reason, .. } => Some(reason),
            Self::Failed { .. }
            | Self::TimedOut { .. }
            | Self::Cancelled { .. }
            | Self::Rejected { .. }
            | Self::Closed { .. }
            | Self::Disconnected { .. }
            | Self::BacklogFull { .. }
            | Self::Encode { .. }
            | Self::Decode { .. }
            | Self::Connect(_) => None,
        }
    }
}
