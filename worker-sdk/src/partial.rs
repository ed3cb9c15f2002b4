//! Parts of a reply, before the answer.
//!
//! Owns what a handler is told of one that was not written. Must never retry one.

use thiserror::Error;

use crate::error::Cancelled;
use crate::pen::Unwritten;

/// Why a part of the reply was not sent. With `?` in a handler, a cancel is reported as such.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PartialError {
    /// The request was cancelled, or its broker is gone. Nobody waits for the rest.
    #[error("the part was not sent")]
    Cancelled(#[from] Cancelled),
    /// The handler has returned.
    #[error("this attempt has been answered already; send every part before the handler returns")]
    Ended,
    /// The part's own `Serialize` said no.
    #[error("the part cannot be encoded: {0}")]
    Encode(String),
    /// It is longer than the broker accepts.
    #[error("the part has {len} bytes, the broker accepts {limit}; send smaller parts or raise `max_body`")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The broker's `max_body`, in bytes.
        limit: usize,
    },
    /// It has no bytes, where one CBOR item was expected.
    #[error("the part is empty; it must be one CBOR item")]
    Empty,
}

impl From<Unwritten> for PartialError {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Stopped => Self::Cancelled(Cancelled),
            Unwritten::Ended => Self::Ended,
        }
    }
}
