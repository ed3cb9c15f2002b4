//! What an attempt leaves for the next one, and what it knows of those before it.
//!
//! Owns saving on the handler's side. Must never keep a value itself: what counts is what the broker has.

use std::sync::Arc;

use lifeboat_protocol::{PreviousAttempt, decode_body};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::Cancelled;
use crate::pen::{Part, Pen, Unwritten};
use crate::{Context, outbox};

impl Context {
    /// Saves a value for the request's next attempt, should there be one: it finds the latest with
    /// [`last_saved`](Self::last_saved), in whatever process it runs. **A save that has returned is not lost** when the
    /// process dies, and there is no next attempt that begins before it. At most [`MAX_SAVED`](crate::MAX_SAVED) bytes,
    /// encoded. The broker keeps it until the request has ended. Counts as [`progress`](Self::progress) and as output.
    ///
    /// Whether there is a next attempt, the method's `retry` says. What was done after the last save may be done again.
    ///
    /// The broker keeps only so much for all requests of a pool: what its `queue.max_bytes` allows, and the longest value
    /// for every slot. **Where there is no room, the request has no next attempt** until a later save fits; this call does
    /// not know of it and returns as always. The broker logs and counts it (`lifeboat_saves_dropped_total`). What a broker
    /// keeps is gone when the broker itself ends, as its requests are.
    ///
    /// For asynchronous handlers: while the socket is full it waits without blocking the thread. Dropped before its first
    /// byte is written, nothing is saved; dropped later, the value is saved all the same.
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Convert { pages: Vec<String> }
    /// method!("convert": Convert => usize);
    ///
    /// async fn convert(request: Convert, context: Context) -> Result<usize, HandlerError> {
    ///     // Of a page on which the last two attempts crashed nothing better is to be expected.
    ///     let crashed = context.previous_attempts().iter().rev().take_while(|one| one.reason.is_some()).count();
    ///     let begin: usize = context.last_saved()?.unwrap_or(0);
    ///     for page in begin + usize::from(crashed > 1)..request.pages.len() {
    ///         // Convert the page, then say that it is done.
    ///         context.save(&(page + 1)).await?;
    ///     }
    ///     Ok(request.pages.len())
    /// }
    ///
    /// let worker = Worker::new().handle::<Convert>(convert);
    /// ```
    ///
    /// # Errors
    ///
    /// [`SaveError`]: the request was cancelled or the broker is gone, the attempt has been answered already, or the value
    /// cannot be saved. What was saved before stays saved, unless this value was half written when the cancel came.
    pub async fn save<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SaveError> {
        let (pen, frame) = self.to_save(value)?;
        Ok(pen.write_part_async(self.call(), frame).await?)
    }

    /// [`save`](Self::save) for blocking handlers: blocks the thread while the socket is full. A cancel is noticed within a
    /// few milliseconds.
    ///
    /// # Errors
    ///
    /// Those of [`save`](Self::save).
    pub fn save_blocking<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), SaveError> {
        let (pen, frame) = self.to_save(value)?;
        Ok(pen.write_part(self.call(), frame)?)
    }

    fn to_save<T: Serialize + ?Sized>(&self, value: &T) -> Result<(Arc<Pen>, Part), SaveError> {
        if !self.process().keeps_saves {
            return Err(SaveError::Unsupported);
        }
        let frame = outbox::save(self.call().route, value, self.process().limit)?;
        let pen = self.process().pen.upgrade().ok_or(SaveError::Ended)?;
        Ok((pen, frame))
    }

    /// What the last of the attempts before this one that saved something has saved: the latest. `None` where none has.
    /// What this attempt saves does not change it.
    ///
    /// # Errors
    ///
    /// [`LastSavedError`]: what was saved is no `T`, as after an update of the program.
    pub fn last_saved<T: DeserializeOwned>(&self) -> Result<Option<T>, LastSavedError> {
        let saved = self.call().history.as_ref().and_then(|history| history.saved.as_ref());
        saved.map(|item| decode_body(&item.0)).transpose().map_err(|error| LastSavedError(error.to_string()))
    }

    /// The attempts at this request before this one, oldest first; of very many the newest 100.
    #[must_use]
    pub fn previous_attempts(&self) -> &[PreviousAttempt] {
        self.call().history.as_ref().map_or(&[], |history| &history.previous)
    }
}

/// Why a value was not saved. With `?` in a handler, a cancel is reported as such.
///
/// ```
/// use lifeboat_worker::SaveError;
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Train = "train": usize => bool);
///
/// /// A model is saved while it is small enough; work goes on without, and would begin anew.
/// fn train(weights: usize, context: Context) -> Result<bool, HandlerError> {
///     match context.save_blocking(&vec![0.5_f64; weights]) {
///         Ok(()) => Ok(true),
///         Err(SaveError::TooLarge { .. } | SaveError::Unsupported) => Ok(false),
///         Err(error) => Err(error.into()), // a cancel stays one
///     }
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::MAX_SAVED;
/// use lifeboat_worker::testing::Attempt;
///
/// assert!(Attempt::<Train>::of_blocking(train).run_blocking(100)?.reply());
/// assert!(!Attempt::<Train>::of_blocking(train).run_blocking(MAX_SAVED)?.reply());
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The attempt is to stop: its request was cancelled, a limit has passed, or the broker is gone.
    #[error("the value was not saved")]
    Cancelled(#[from] Cancelled),
    /// The handler has returned.
    #[error("this attempt has been answered already; save before the handler returns")]
    Ended,
    /// The value's own `Serialize` said no.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// The broker is older than checkpoints. The value is nowhere, and a next attempt would begin without it.
    #[error("this broker does not keep what attempts save; update it")]
    Unsupported,
    /// It is longer than the broker keeps.
    #[error("the value has {len} bytes, the broker keeps at most {limit}; save where to find it instead")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The most that is kept, in bytes.
        limit: usize,
    },
}

impl From<Unwritten> for SaveError {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Stopped => Self::Cancelled(Cancelled),
            Unwritten::Ended => Self::Ended,
        }
    }
}

/// What an attempt before has saved is of another type.
///
/// With `?` it fails the request. A handler whose work may be done again begins anew instead:
///
/// ```
/// use lifeboat_worker::LastSavedError;
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Count = "count": u64 => u64);
///
/// fn count(upto: u64, context: Context) -> Result<u64, HandlerError> {
///     let begin: u64 = context.last_saved().unwrap_or_else(|error: LastSavedError| {
///         eprintln!("{error}; beginning anew"); // a program before this one saved something else
///         None
///     }).unwrap_or(0);
///     Ok(upto - begin)
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// assert_eq!(Attempt::<Count>::of_blocking(count).saved(&4).run_blocking(10)?.reply(), 6);
/// assert_eq!(Attempt::<Count>::of_blocking(count).saved("page 4").run_blocking(10)?.reply(), 10);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("what an attempt before this one has saved cannot be read: {0}")]
pub struct LastSavedError(String);
