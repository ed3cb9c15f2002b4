//! What came of an attempt of a test.

use std::fmt;

use bytes::Bytes;
use lifeboat_protocol::{BodyError, EncodeError, Method, decode_body};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::ToldProgress;
use crate::{HandlerError, SaveError, WorkerError};

/// How an attempt ended.
///
/// ```
/// use lifeboat_worker::HandlerError;
/// use lifeboat_worker::testing::{Attempt, End};
///
/// lifeboat_worker::method!(struct Divide = "divide": (u32, u32) => u32);
///
/// fn divide((left, right): (u32, u32)) -> Result<u32, HandlerError> {
///     Ok(left / right)
/// }
///
/// let attempt = || Attempt::<Divide>::of_blocking(divide);
/// assert_eq!(attempt().run_blocking((6, 2))?.end, End::Answered(3));
/// let End::Panicked { message, location } = attempt().run_blocking((6, 0))?.end else { panic!("not by zero") };
/// assert_eq!(message, "attempt to divide by zero");
/// assert!(location.is_some());
/// # Ok::<_, lifeboat_worker::testing::AttemptError>(())
/// ```
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
///
/// ```
/// use lifeboat_worker::prelude::*;
/// use lifeboat_worker::testing::{Attempt, Said};
///
/// method!(struct Work = "work": () => (), partial = char);
///
/// async fn work((): (), context: Context, parts: Parts<Work>) -> Result<(), HandlerError> {
///     context.progress(Progress::of(1, 4));
///     parts.send(&'a').await?;
///     context.save(&1).await?;
///     Ok(())
/// }
///
/// let mut running = Attempt::<Work>::of(work).start(())?;
/// let mut order = Vec::new();
/// while let Some(said) = running.said_blocking()? {
///     order.push(match said {
///         Said::Progress(progress) => format!("progress {:?}", progress.fraction()),
///         Said::Part(part) => format!("part {part}"),
///         Said::Saved(saved) => format!("saved {}", saved.read::<u8>()),
///         _ => "something newer".to_owned(),
///     });
/// }
/// assert_eq!(order, ["progress Some(0.25)", "part a", "saved 1"]);
/// # Ok::<_, lifeboat_worker::testing::AttemptError>(())
/// ```
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
///
/// ```
/// use lifeboat_worker::prelude::*;
/// use lifeboat_worker::testing::{Attempt, Saved};
///
/// method!(struct Convert = "convert": usize => ());
///
/// fn convert(pages: usize, context: Context) -> Result<(), HandlerError> {
///     for page in 1..=pages {
///         context.save_blocking(&page)?;
///     }
///     Ok(())
/// }
///
/// let ended = Attempt::<Convert>::of_blocking(convert).run_blocking(3)?;
/// let pages: Vec<usize> = ended.saves.iter().map(Saved::read).collect();
/// assert_eq!(pages, [1, 2, 3]);
/// # Ok::<_, lifeboat_worker::testing::AttemptError>(())
/// ```
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
///
/// ```
/// use lifeboat_worker::prelude::*;
/// use lifeboat_worker::testing::Attempt;
///
/// method!(struct Scan = "scan": Vec<u8> => usize, partial = u8);
///
/// fn scan(pages: Vec<u8>, context: Context, parts: Parts<Scan>) -> Result<usize, HandlerError> {
///     for (done, page) in (1_usize..).zip(&pages) {
///         if *page == 0 {
///             context.recycle(); // the scanner's library does not recover from that
///             return Err(HandlerError::new("jammed", "page 0 is no page"));
///         }
///         parts.send_blocking(page)?;
///         context.save_blocking(&done)?;
///         context.progress(Progress::of(done as u64, pages.len() as u64));
///     }
///     Ok(pages.len())
/// }
///
/// let ended = Attempt::<Scan>::of_blocking(scan).run_blocking(vec![7, 8])?;
/// assert_eq!((ended.parts.len(), ended.progress.len()), (2, 2));
/// assert_eq!(ended.saved(), Some(2));
/// assert_eq!(ended.reply(), 2);
///
/// let ended = Attempt::<Scan>::of_blocking(scan).run_blocking(vec![7, 0])?;
/// assert!(ended.recycle_asked);
/// assert_eq!(ended.parts, [7]);
/// assert_eq!(ended.error().code(), "jammed");
/// # Ok::<_, lifeboat_worker::testing::AttemptError>(())
/// ```
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
///
/// ```
/// use lifeboat_worker::prelude::*;
/// use lifeboat_worker::WorkerError;
/// use lifeboat_worker::testing::{Attempt, AttemptError};
///
/// method!(struct Greet = "greet": () => String);
/// # fn greet((): (), greeting: State<String>) -> Result<String, HandlerError> { Ok(greeting.to_string()) }
///
/// // The state is forgotten. So it would be in production: the process does not start.
/// let error = Attempt::<Greet>::of_blocking(greet).run_blocking(()).unwrap_err();
/// assert!(matches!(error, AttemptError::Worker(WorkerError::MissingState { .. })), "{error}");
/// ```
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
