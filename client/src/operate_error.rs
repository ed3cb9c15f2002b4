//! The error of an operation.
//!
//! Owns what each member means for the caller. Must never say that nothing was done when nobody knows.

use std::time::Duration;

use lifeboat_protocol::{BodyError, EncodeError};
use thiserror::Error;

use crate::{ConnectError, LostReason};

/// Why an [operation](crate::Admin) was not done, or is not known to be.
///
/// ```
/// use lifeboat_client::OperateError;
///
/// /// What a tool says.
/// fn text(error: &OperateError) -> String {
///     match error {
///         OperateError::NotDone { message, .. } => message.clone(),
///         _ if error.may_have_executed() => format!("{error}: look before you order it again"),
///         _ => format!("{error}: nothing was done"),
///     }
/// }
///
/// let operation = "kill".to_owned();
/// let message = "no pool or worker is named `imags`".to_owned();
/// assert_eq!(text(&OperateError::NotDone { operation, message }), "no pool or worker is named `imags`");
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum OperateError {
    /// The broker said no: it does not know the operation, or nothing has the target's name.
    #[error("the broker did not do `{operation}`: {message}")]
    NotDone {
        /// The operation asked for.
        operation: String,
        /// Why, for people.
        message: String,
    },
    /// There was no answer in time.
    #[error("no answer to `{operation}` within {limit:?}; {}", done_text(*may_have_executed))]
    TimedOut {
        /// The operation asked for.
        operation: String,
        /// How long was waited.
        limit: Duration,
        /// Whether the broker may have received it.
        may_have_executed: bool,
    },
    /// The connection to the broker was lost before the answer.
    #[error("the connection to the broker was lost; {}", done_text(*may_have_executed))]
    Disconnected {
        /// The operation asked for.
        operation: String,
        /// Whether the broker may have received it.
        may_have_executed: bool,
        /// Why the connection was lost.
        #[source]
        source: LostReason,
    },
    /// It cannot be sent as it is, because the target's name is too long. Nothing was sent.
    #[error("`{operation}` cannot be sent")]
    Encode {
        /// The operation asked for.
        operation: String,
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// The broker answered, but the answer cannot be read.
    #[error("the answer to `{operation}` cannot be read")]
    Decode {
        /// The operation asked for.
        operation: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// There was no connection to the broker in time. Nothing was sent.
    #[error("no connection to the broker")]
    Connect(#[source] ConnectError),
}

impl OperateError {
    /// Whether the broker may have done it all the same. `false` is certain.
    #[must_use]
    pub fn may_have_executed(&self) -> bool {
        match self {
            Self::TimedOut { may_have_executed, .. } | Self::Disconnected { may_have_executed, .. } => {
                *may_have_executed
            }
            Self::Decode { .. } => true,
            Self::NotDone { .. } | Self::Encode { .. } | Self::Connect(_) => false,
        }
    }
}

fn done_text(may_have_executed: bool) -> &'static str {
    if may_have_executed { "it may have been done" } else { "it was not done" }
}
