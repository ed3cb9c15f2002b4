//! Bodies of the messages between broker and worker, of `accepted` and of `refused`.
//!
//! Owns their shapes. Must never carry a verdict on a death: a process cannot judge itself.

use std::time::Duration;

use ciborium::Value;
use serde::{Deserialize, Serialize};

/// The body of a failure message: the handler said no, the process is healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The application's code, for programs.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// Whether another attempt may succeed; false when missing.
    #[serde(default)]
    pub retryable: bool,
    /// How long to wait before another attempt, at least, in milliseconds; it counts only where `retryable` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Whatever else the handler says; null when missing.
    #[serde(default = "null", skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Failure {
    /// A failure that is not retryable and has neither a wait nor details.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after_ms: None,
            details: Value::Null,
        }
    }

    /// How long another attempt is to wait, at least: `None` where none is wanted.
    #[must_use]
    pub fn again(&self) -> Option<Duration> {
        self.retryable.then(|| Duration::from_millis(self.retry_after_ms.unwrap_or(0)))
    }
}

const fn null() -> Value {
    Value::Null
}

/// The body of a `workers_failed` message: no slot is left in the process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkersFailed {
    /// Why each slot was retired, oldest first.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// The body of a panicked message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panicked {
    /// The panic's message.
    pub message: String,
    /// Where, as `file:line:column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The slot goes on, as the broker's hello allows; it is retired when missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub kept: bool,
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The body of an accepted message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The broker's id of the request, as operations and the log show it.
    pub request: u64,
}

/// The body of a refused message: the sender closes the connection after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, for programs.
    pub code: RefusedCode,
    /// Why and what to do, for people.
    pub message: String,
}

impl Refused {
    /// A refusal.
    #[must_use]
    pub fn new(code: RefusedCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Why a connection was refused.
///
/// ```
/// # use lifeboat_protocol::RefusedCode;
/// /// Who can do something about it.
/// fn whose(code: RefusedCode) -> &'static str {
///     match code {
///         RefusedCode::NotAllowed => "the administrator: give this user the right",
///         RefusedCode::TooManyConnections => "nobody: it passes",
///         RefusedCode::UnsupportedVersion => "the operator: upgrade the older side",
///         _ => "the developer",
///     }
/// }
///
/// assert_eq!(whose(RefusedCode::NotAllowed), "the administrator: give this user the right");
/// // The label is what travels and what logs show; Display writes it too.
/// assert_eq!(RefusedCode::TooManyConnections.as_str(), "too_many_connections");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedCode {
    /// The two sides have no version in common.
    UnsupportedVersion,
    /// A message type that the agreed version does not have.
    UnknownMessage,
    /// A frame, header or body that cannot be read.
    Malformed,
    /// A frame longer than the receiver accepts.
    TooLarge,
    /// The peer may not do this: its user, or its role.
    NotAllowed,
    /// A known message at a moment, or in a direction, in which it has no meaning.
    Unexpected,
    /// The broker has as many connections as it allows.
    TooManyConnections,
    /// A request id that does not exceed the ones before it.
    DuplicateId,
    /// A code that this version does not know. A refusal may come before a version is agreed on, so an unknown
    /// code must stay readable.
    #[serde(other)]
    Other,
}

impl RefusedCode {
    /// Every code that this version sends, in the order of the documents; not [`Other`](Self::Other).
    pub const ALL: &[Self] = &[
        Self::UnsupportedVersion,
        Self::UnknownMessage,
        Self::Malformed,
        Self::TooLarge,
        Self::NotAllowed,
        Self::Unexpected,
        Self::TooManyConnections,
        Self::DuplicateId,
    ];

    /// The code as it travels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnknownMessage => "unknown_message",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::NotAllowed => "not_allowed",
            Self::Unexpected => "unexpected",
            Self::TooManyConnections => "too_many_connections",
            Self::DuplicateId => "duplicate_id",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for RefusedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
