//! What became of a file.
//!
//! Owns the words for it. Must never soften what the broker said: outcome and reason come through as they are.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use lifeboat_client::CallError;

/// One file's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The file, relative to the directory that was walked.
    pub file: PathBuf,
    /// What became of it.
    pub label: Label,
    /// Why, for people; begins with the broker's or the handler's word for it. Empty for `ok`.
    pub reason: String,
    /// How many attempts were made; 0 for a file that reached no worker.
    pub attempts: usize,
}

/// What became of a file: the request's outcome, or what kept it from being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// It has a thumbnail.
    Ok,
    /// The handler refused it; the worker is healthy.
    Failed,
    /// The worker died of it.
    Crashed,
    /// A limit passed.
    TimedOut,
    /// Somebody else cancelled it.
    Cancelled,
    /// The broker did not accept it.
    Rejected,
    /// The broker or the pool was shut down.
    Closed,
    /// The connection was lost, or the answer cannot be read.
    Disconnected,
    /// It was not sent: it cannot be read, or the broker was gone already.
    NotSent,
    /// Its thumbnail could not be written.
    NotSaved,
}

impl Label {
    /// The word for it, as in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Closed => "closed",
            Self::Disconnected => "disconnected",
            Self::NotSent => "not_sent",
            Self::NotSaved => "not_saved",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl End {
    /// A file with a thumbnail.
    pub(super) const fn ok(file: PathBuf, attempts: usize) -> Self {
        Self { file, label: Label::Ok, reason: String::new(), attempts }
    }

    /// A file that was not sent.
    pub(super) fn not_sent(file: PathBuf, reason: impl Into<String>) -> Self {
        Self { file, label: Label::NotSent, reason: reason.into(), attempts: 0 }
    }

    /// A file whose call ended with an error.
    pub(super) fn from_error(file: PathBuf, error: &CallError) -> Self {
        let mut attempts = error.attempts().len();
        let (label, reason) = match error {
            CallError::Failed { code, message, .. } => (Label::Failed, format!("{code}: {message}")),
            CallError::WorkerCrashed { reason, attempt, .. } => {
                // The list may be cut, the number is not.
                attempts = usize::from(*attempt);
                (Label::Crashed, format!("{}: {reason}", reason.label()))
            }
            CallError::TimedOut { which, limit, .. } => {
                let limit = limit.map(|limit| format!(" of {limit:?}")).unwrap_or_default();
                (Label::TimedOut, format!("{which}: the limit{limit} has passed"))
            }
            CallError::Cancelled { .. } => (Label::Cancelled, "by an operator, or its pool".to_owned()),
            CallError::Rejected { why, message, .. } => {
                let message = message.as_deref().unwrap_or("the broker did not say more");
                (Label::Rejected, format!("{why}: {message}"))
            }
            CallError::Closed { .. } => (Label::Closed, "the broker or the pool was shut down".to_owned()),
            CallError::Disconnected { .. } | CallError::Decode { .. } => (Label::Disconnected, chain(error)),
            CallError::Encode { .. } => (Label::NotSent, chain(error)),
            CallError::Connect(error) => (Label::NotSent, error.to_string()),
            // Of a stream, and errors of a later client library.
            CallError::BacklogFull { .. } | _ => (Label::Disconnected, chain(error)),
        };
        Self { file, label, reason, attempts }
    }
}

/// An error with all its sources, on one line, none of them twice.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some errors end with the text of their source already.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
