//! Parts of a reply, before the answer.
//!
//! Owns the typed way to send them, and what a handler is told of one that was not written. Must never retry one.

use std::fmt;
use std::marker::PhantomData;

use lifeboat_protocol::Method;
use thiserror::Error;

use crate::Context;
use crate::error::Cancelled;
use crate::pen::Unwritten;

/// The parts of a reply of the method `M`, as an argument of its handler: sends them before the answer, in order.
///
/// What a part is, the method says: [`Method::Partial`]. [`Context::partial`] sends a part of any type, for those who
/// know what they do. Cheap to clone; after the handler returned it sends nothing more.
///
/// ```
/// use lifeboat_worker::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Encode { lines: Vec<String> }
/// method!("encode": Encode => usize, partial = String);
///
/// async fn encode(request: Encode, parts: Parts<Encode>) -> Result<usize, HandlerError> {
///     for line in &request.lines {
///         parts.send(&line.to_uppercase()).await?;
///     }
///     Ok(request.lines.len())
/// }
///
/// let worker = Worker::new().handle::<Encode>(encode);
/// ```
pub struct Parts<M> {
    context: Context,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> Parts<M> {
    pub(crate) const fn new(context: Context) -> Self {
        Self { context, method: PhantomData }
    }

    /// Sends a part, before the answer and in the order of the calls. A caller that does not stream gets none. Once a
    /// caller has been sent one, its request is not retried, unless it says that it may be. Counts as progress and as
    /// output.
    ///
    /// For asynchronous handlers: while the socket is full, because the broker reads more slowly than this handler
    /// writes, it waits without blocking the thread. Dropped before its first byte is written, nothing is sent; dropped
    /// later, the part is sent all the same.
    ///
    /// # Errors
    ///
    /// [`PartialError`]: the request was cancelled or the broker is gone, the attempt has been answered already, or the
    /// part cannot be sent.
    pub async fn send(&self, part: &M::Partial) -> Result<(), PartialError> {
        self.context.partial_as::<M::Encoding, _>(part).await
    }

    /// [`send`](Self::send) for blocking handlers: blocks the thread while the socket is full. A cancel is noticed
    /// within a few milliseconds.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn send_blocking(&self, part: &M::Partial) -> Result<(), PartialError> {
        self.context.partial_as_blocking::<M::Encoding, _>(part)
    }
}

impl<M> Clone for Parts<M> {
    fn clone(&self) -> Self {
        Self { context: self.context.clone(), method: PhantomData }
    }
}

impl<M> fmt::Debug for Parts<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parts").field(&self.context).finish()
    }
}

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
