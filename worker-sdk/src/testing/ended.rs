//! What came of an attempt of a test.

use std::fmt;

use bytes::Bytes;
use lifeboat_protocol::{BodyError, EncodeError, Method, decode_body};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::ToldProgress;
use crate::{HandlerError, SaveError, WorkerError};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum End<T> {
    /// The handler answered.
    Answered(T),
    /// The handler said no; so does the SDK of a request that cannot be decoded, and of a reply that cannot be sent.
    Failed(HandlerError),
    /// It was cancelled, and the handler stopped.
    Cancelled,
    /// The handler panicked.
    Panicked {
        /// The panic's message.
        message: String,
        /// Source file, line and column, where known.
        location: Option<String>,
    },
    /// The deadline passed. A broker would have killed the process; here the handler is told to stop, as by a cancel.
    TimedOut,
}

impl<T> End<T> {
    fn in_words(&self) -> String {
        match self {
            Self::Answered(_) => "it answered".to_owned(),
            Self::Failed(error) => format!("it failed: {error}"),
            Self::Cancelled => "it was cancelled".to_owned(),
            Self::Panicked { message, location: None } => format!("it panicked: {message}"),
            Self::Panicked { message, location: Some(location) } => {
                format!("it panicked at {location}: {message}")
            }
            Self::TimedOut => "its deadline passed".to_owned(),
        }
    }
}

/// What a handler said before its attempt ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Said<P> {
    /// Progress.
    Progress(ToldProgress),
    /// A part of the reply.
    Part(P),
    /// What the next attempt would begin with.
    Saved(Saved),
}

/// A value that a handler [saved](crate::Context::save), as it came over the socket.
#[derive(Clone, PartialEq, Eq)]
pub struct Saved(Bytes);

impl Saved {
    pub(super) const fn new(item: Bytes) -> Self {
        Self(item)
    }

    /// The value, as the next attempt would read it.
    ///
    /// # Panics
    ///
    /// When it is no `T`.
    #[track_caller]
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        decode_body(&self.0)
            .unwrap_or_else(|error| panic!("what the handler saved is of another type: {error}"))
    }
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Saved({} bytes)", self.0.len())
    }
}

/// An attempt that has ended, with all that was said before.
#[non_exhaustive]
pub struct Ended<M: Method> {
    /// How it ended.
    pub end: End<M::Reply>,
    /// The progress that the handler told, in order.
    pub progress: Vec<ToldProgress>,
    /// The parts of its reply that it sent, in order.
    pub parts: Vec<M::Partial>,
    /// What it saved, in order. Only the last is there for a next attempt: see [`saved`](Self::saved).
    pub saves: Vec<Saved>,
    /// Whether it asked for its process to be [replaced](crate::Context::recycle). Nothing is replaced here.
    pub recycle_asked: bool,
}

impl<M: Method> Ended<M> {
    /// The reply.
    ///
    /// # Panics
    ///
    /// When there is none; the message says how the attempt ended.
    #[track_caller]
    #[must_use]
    pub fn reply(self) -> M::Reply {
        let told = self.end.in_words();
        let End::Answered(reply) = self.end else {
            panic!("the handler of `{}` gave no reply: {told}", M::NAME);
        };
        reply
    }

    /// The handler's error.
    ///
    /// # Panics
    ///
    /// When it did not fail; the message says how the attempt ended.
    #[track_caller]
    #[must_use]
    pub fn error(self) -> HandlerError {
        let told = self.end.in_words();
        let End::Failed(error) = self.end else {
            panic!("the handler of `{}` did not fail: {told}", M::NAME);
        };
        error
    }

    /// What this attempt saved last: what the next one would begin with. `None` where it saved nothing.
    ///
    /// # Panics
    ///
    /// When it is no `T`.
    #[track_caller]
    #[must_use]
    pub fn saved<T: DeserializeOwned>(&self) -> Option<T> {
        self.saves.last().map(Saved::read)
    }
}

impl<M: Method> fmt::Debug for Ended<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("end", &self.end.in_words())
            .field("progress", &self.progress)
            .field("parts", &self.parts.len())
            .field("saves", &self.saves)
            .field("recycle_asked", &self.recycle_asked)
            .finish()
    }
}

/// Why an attempt could not be made, or not be understood: a mistake in the test or in the method's types.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The worker does not serve as it is declared; a state is missing, for example.
    #[error("the worker does not serve: {0}")]
    Worker(#[source] WorkerError),
    /// The request's own `Serialize` said no.
    #[error("the request cannot be encoded: {0}")]
    Request(#[source] EncodeError),
    /// What the attempts before are to have saved cannot be saved.
    #[error("what was saved before: {0}")]
    Saved(#[source] SaveError),
    /// What came back is not of the method's type.
    #[error("the method's {what} cannot be decoded: {source}")]
    Decode {
        /// Reply, or partial.
        what: &'static str,
        /// Why not.
        source: BodyError,
    },
    /// The system refused a socket or a thread, or the worker went away without a word.
    #[error("the attempt could not be made: {0}")]
    System(String),
}
