//! Parts of a reply, before the answer.
//!
//! Owns the ways to send them, and what a handler is told of one that was not written. Must never retry one.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use lifeboat_protocol::{Cbor, Encoding, Method};
use serde::Serialize;
use thiserror::Error;

use crate::Cancelled;
use crate::pen::{Pen, Unwritten};
use crate::{Context, outbox};

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
/// # drop(worker);
///
/// // The same for a handler that blocks, and what its caller is sent:
/// fn encode_blocking(request: Encode, parts: Parts<Encode>) -> Result<usize, HandlerError> {
///     for line in &request.lines {
///         parts.send_blocking(&line.to_uppercase())?;
///     }
///     Ok(request.lines.len())
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// let request = Encode { lines: vec!["ahoy".to_owned()] };
/// let ended = Attempt::<Encode>::of_blocking(encode_blocking).run_blocking(request)?;
/// assert_eq!(ended.parts, ["AHOY"]);
/// assert_eq!(ended.reply(), 1);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
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

impl Context {
    /// Sends a part of the reply, before the answer and in the order of the calls. What parts are, and whether the answer
    /// repeats them, is between handler and caller; a caller that does not stream gets none. Once a caller has been sent
    /// one, its request is not retried, unless it says that it may be. Counts as [`progress`](Self::progress) and as output.
    ///
    /// For asynchronous handlers: while the socket is full, because the broker reads more slowly than this handler
    /// writes, it waits without blocking the thread. Dropped before its first byte is written, nothing is sent; dropped
    /// later, the part is sent all the same.
    ///
    /// For what does not know the method, such as a function that several handlers share; the others have [`Parts`].
    ///
    /// ```
    /// use lifeboat_worker::PartialError;
    /// use lifeboat_worker::prelude::*;
    ///
    /// /// A part of every reply that streams notes.
    /// async fn note(context: &Context, text: &str) -> Result<(), PartialError> {
    ///     context.partial(&format!("{}: {text}", context.method())).await
    /// }
    ///
    /// method!(struct Build = "build": u32 => u32, partial = String);
    ///
    /// async fn build(target: u32, context: Context) -> Result<u32, HandlerError> {
    ///     note(&context, "compiling").await?;
    ///     note(&context, "linking").await?;
    ///     Ok(target)
    /// }
    /// # #[cfg(feature = "testing")]
    /// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
    /// use lifeboat_worker::testing::Attempt;
    ///
    /// let ended = Attempt::<Build>::of(build).run_blocking(1)?;
    /// assert_eq!(ended.parts, ["build: compiling", "build: linking"]);
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "testing")]
    /// # test().unwrap();
    /// ```
    /// # Errors
    ///
    /// [`PartialError`]: the request was cancelled or the broker is gone, the attempt has been answered already, or the
    /// part cannot be sent.
    pub async fn partial<T: Serialize + ?Sized>(&self, part: &T) -> Result<(), PartialError> {
        self.partial_as::<Cbor, _>(part).await
    }

    pub(crate) async fn partial_as<E: Encoding, T: Serialize + ?Sized>(
        &self,
        part: &T,
    ) -> Result<(), PartialError> {
        let part = outbox::partial::<E, _>(self.call().route, part, self.process().limit)?;
        Ok(self.pen()?.write_part_async(self.call(), part).await?)
    }

    /// [`partial`](Self::partial) for blocking handlers: blocks the thread while the socket is full. A cancel is noticed
    /// within a few milliseconds.
    ///
    /// ```
    /// use lifeboat_worker::{Context, PartialError};
    ///
    /// /// A part of every reply that streams warnings.
    /// fn warn(context: &Context, line: usize) -> Result<(), PartialError> {
    ///     context.partial_blocking(&("warning", line))
    /// }
    /// ```
    /// # Errors
    ///
    /// Those of [`partial`](Self::partial).
    pub fn partial_blocking<T: Serialize + ?Sized>(&self, part: &T) -> Result<(), PartialError> {
        self.partial_as_blocking::<Cbor, _>(part)
    }

    pub(crate) fn partial_as_blocking<E: Encoding, T: Serialize + ?Sized>(
        &self,
        part: &T,
    ) -> Result<(), PartialError> {
        let part = outbox::partial::<E, _>(self.call().route, part, self.process().limit)?;
        Ok(self.pen()?.write_part(self.call(), part)?)
    }

    /// [`partial`](Self::partial) of a part that is encoded already, as one CBOR item.
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    /// use lifeboat_worker::Bytes;
    /// # /// Stands for another server.
    /// # struct Upstream;
    /// # impl Upstream {
    /// #     async fn ask(_: Bytes) -> std::io::Result<Self> { Ok(Self) }
    /// #     async fn part(&mut self) -> std::io::Result<Option<Bytes>> { Ok(None) }
    /// #     async fn answer(self) -> std::io::Result<Bytes> { Ok(Bytes::from_static(&[7])) }
    /// # }
    ///
    /// /// Passes on what another server says, as it came.
    /// async fn pass_on(request: Bytes, context: Context) -> Result<Bytes, HandlerError> {
    ///     let mut upstream = Upstream::ask(request).await?;
    ///     while let Some(part) = upstream.part().await? {
    ///         context.partial_raw(part).await?;
    ///     }
    ///     Ok(upstream.answer().await?)
    /// }
    ///
    /// let worker = Worker::new().handle_raw("index", pass_on);
    /// # #[cfg(feature = "testing")]
    /// # fn test(worker: Worker) -> Result<(), lifeboat_worker::testing::AttemptError> {
    /// # method!(struct Index = "index": String => u8);
    /// # let ended = lifeboat_worker::testing::Attempt::<Index>::by(worker).run_blocking("a".to_owned())?;
    /// # assert_eq!(ended.reply(), 7);
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "testing")]
    /// # test(worker).unwrap();
    /// ```
    /// # Errors
    ///
    /// Those of [`partial`](Self::partial).
    pub async fn partial_raw(&self, part: Bytes) -> Result<(), PartialError> {
        let part = outbox::raw_partial(self.call().route, part, self.process().limit)?;
        Ok(self.pen()?.write_part_async(self.call(), part).await?)
    }

    /// [`partial_blocking`](Self::partial_blocking) of a part that is encoded already, as one CBOR item.
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    /// use lifeboat_worker::Bytes;
    ///
    /// /// Plays back what was recorded: a file per part, the last one is the answer.
    /// fn replay(_request: Bytes, context: Context) -> Result<Bytes, HandlerError> {
    ///     for file in ["1.cbor", "2.cbor"] {
    ///         context.partial_raw_blocking(std::fs::read(file)?.into())?;
    ///     }
    ///     Ok(std::fs::read("answer.cbor")?.into())
    /// }
    ///
    /// let worker = Worker::new().handle_raw_blocking("index", replay);
    /// # drop(worker);
    /// ```
    /// # Errors
    ///
    /// Those of [`partial`](Self::partial).
    pub fn partial_raw_blocking(&self, part: Bytes) -> Result<(), PartialError> {
        let part = outbox::raw_partial(self.call().route, part, self.process().limit)?;
        Ok(self.pen()?.write_part(self.call(), part)?)
    }

    fn pen(&self) -> Result<Arc<Pen>, PartialError> {
        self.process().pen.upgrade().ok_or(PartialError::Ended)
    }
}

/// Why a part of the reply was not sent. With `?` in a handler, a cancel is reported as such.
///
/// ```
/// use lifeboat_worker::PartialError;
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Preview = "preview": u32 => String, partial = Vec<u8>);
///
/// /// Sends a preview first; one that is too large is left out, and the answer comes all the same.
/// fn preview(side: u32, parts: Parts<Preview>) -> Result<String, HandlerError> {
///     match parts.send_blocking(&vec![0; (side * side) as usize]) {
///         Err(PartialError::TooLarge { len, limit }) => return Ok(format!("no preview: {len} of {limit} bytes")),
///         other => other?, // a cancel, most likely: it ends the handler
///     }
///     Ok("with a preview".to_owned())
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// let attempt = || Attempt::<Preview>::of_blocking(preview).max_body(1000);
/// assert_eq!(attempt().run_blocking(10)?.reply(), "with a preview");
/// assert!(attempt().run_blocking(100)?.reply().starts_with("no preview"));
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
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
