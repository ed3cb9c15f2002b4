//! How a worker's process ends.
//!
//! Owns every error that ends it and the exit codes (the crate's documentation has them as a table; numbers from
//! 64 are those of `sysexits.h`). Must never end the process itself.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::{ExitCode, Termination};

use lifeboat_protocol::RefusedCode;
use thiserror::Error;

use crate::stderr;

/// Why a worker stopped serving, or never began.
///
/// ```
/// use lifeboat_worker::prelude::*;
/// use lifeboat_worker::WorkerError;
///
/// method!(struct Echo = "echo": String => String);
/// # fn echo(text: String) -> Result<String, HandlerError> { Ok(text) }
///
/// # fn main() -> Result<(), lifeboat_worker::MainError> {
/// let ended = Worker::new().handle_blocking::<Echo>(echo).run()?.into_result();
/// // This program was started by hand: no broker gave it a socket.
/// let error = ended.unwrap_err();
/// assert!(matches!(error, WorkerError::StartedByHand));
/// assert_eq!(error.exit_code(), 64);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The program was not started by a broker.
    #[error(
        "this program is a Lifeboat worker; start it through a pool's `command` in the broker's configuration \
         (`lifeboat serve --config FILE`), not by hand"
    )]
    StartedByHand,
    /// The environment names a descriptor that is not the broker's socket.
    #[error(
        "LIFEBOAT_FD={fd} {why}; leave this variable to the broker, which hands its workers a Unix socket"
    )]
    BadDescriptor {
        /// What the variable says.
        fd: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The process has the socket in use already.
    #[error("this process already took its socket; build one `Worker` per process and run it once")]
    AlreadyTaken,
    /// The worker has no handler.
    #[error("this worker has no handlers; add one with `.handle::<Method>(function)`")]
    NoHandlers,
    /// Two handlers for one method.
    #[error("two handlers for the method `{method}`; register each method once")]
    DuplicateHandler {
        /// The method.
        method: String,
    },
    /// A method's name cannot travel.
    #[error(
        "the method name `{method}` has {len} bytes; it must have 1 to {}",
        lifeboat_protocol::MAX_METHOD
    )]
    BadMethod {
        /// The name.
        method: String,
        /// Its length, in bytes.
        len: usize,
    },
    /// A handler wants a state that was not given.
    #[error("the handler of `{method}` takes `State<{type_name}>`; give the worker one with `.state(..)`")]
    MissingState {
        /// The handler's method.
        method: String,
        /// The state's type.
        type_name: &'static str,
    },
    /// Two states of one type.
    #[error("two states of the type `{type_name}`; wrap one of them in a type of its own")]
    DuplicateState {
        /// The type.
        type_name: &'static str,
    },
    /// `run` was called inside an asynchronous runtime.
    #[error(
        "`Worker::run` was called inside a tokio runtime; call it from a plain `fn main`, it brings its own"
    )]
    InsideRuntime,
    /// The operating system refused something needed to serve.
    #[error("cannot set up {what}")]
    Setup {
        /// What was refused.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The broker speaks no version of the wire that this SDK speaks.
    #[error(
        "the broker speaks the wire versions {theirs:?}, this worker {:?}; update the older of the two",
        lifeboat_protocol::VERSIONS
    )]
    UnsupportedVersion {
        /// The broker's versions.
        theirs: Vec<u16>,
    },
    /// The broker sent something that this SDK refuses; it was told so.
    #[error("refused what the broker sent ({code}): {message}")]
    Protocol {
        /// The code sent to the broker.
        code: RefusedCode,
        /// What was wrong.
        message: String,
    },
    /// The broker refused this worker.
    #[error("the broker refused this worker ({code}): {message}")]
    Refused {
        /// The broker's code.
        code: RefusedCode,
        /// The broker's message.
        message: String,
    },
    /// The broker went away.
    #[error("the broker is gone: {why}")]
    BrokerLost {
        /// What was seen: the stream's end or the system's error.
        why: String,
    },
    /// No slot is left.
    #[error("no slot is left in this worker: {}", reasons.join("; "))]
    SlotsFailed {
        /// Why each slot was retired, oldest first.
        reasons: Vec<String>,
    },
}

impl WorkerError {
    /// The exit code of a process that ends with this error; see the table in the crate's documentation.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::StartedByHand | Self::BadDescriptor { .. } => 64,
            Self::BrokerLost { .. } => 69,
            Self::SlotsFailed { .. } => 70,
            Self::Setup { .. } => 71,
            Self::UnsupportedVersion { .. } | Self::Protocol { .. } | Self::Refused { .. } => 76,
            Self::AlreadyTaken
            | Self::NoHandlers
            | Self::DuplicateHandler { .. }
            | Self::BadMethod { .. }
            | Self::MissingState { .. }
            | Self::DuplicateState { .. }
            | Self::InsideRuntime => 78,
        }
    }
}

/// How a worker's life ended: what [`Worker::run`](crate::Worker::run) gives to `main`, which returns it. Dropping
/// it would make a failed worker look like a drained one.
///
/// ```no_run
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Echo = "echo": String => String);
/// # fn close_the_books(_: u8) {}
///
/// fn main() -> lifeboat_worker::Result {
///     let exit = Worker::new().handle_blocking::<Echo>(|text: String| Ok::<_, HandlerError>(text)).run()?;
///     // What is left to do in this process. `into_result` gives a plain result instead.
///     if let Some(error) = exit.error() {
///         eprintln!("this process served no longer: {error}");
///     }
///     close_the_books(exit.code());
///     Ok(exit)
/// }
/// ```
#[derive(Debug)]
#[must_use = "return it from `main`: it carries the exit code"]
pub struct Exit(Result<(), WorkerError>);

impl Exit {
    pub(crate) const fn new(result: Result<(), WorkerError>) -> Self {
        Self(result)
    }

    /// Why it ended; `None` when it was drained.
    #[must_use]
    pub const fn error(&self) -> Option<&WorkerError> {
        match &self.0 {
            Ok(()) => None,
            Err(error) => Some(error),
        }
    }

    /// The exit code; see the table in the crate's documentation.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self.error() {
            None => 0,
            Some(error) => error.exit_code(),
        }
    }

    /// The same as a plain result, for a `main` that goes on.
    ///
    /// # Errors
    ///
    /// The [`WorkerError`] that ended it.
    pub fn into_result(self) -> Result<(), WorkerError> {
        self.0
    }
}

impl Termination for Exit {
    /// Tells stderr why, unless drained, and gives the exit code.
    fn report(self) -> ExitCode {
        if let Some(error) = self.error() {
            complain(error);
        }
        ExitCode::from(self.code())
    }
}

/// Any error of a worker's `main` before it serves; the process ends with code 1. Every error type converts into
/// it, so `?` works.
///
/// ```
/// use lifeboat_worker::MainError;
///
/// fn load(threads: &str) -> Result<usize, MainError> {
///     if threads.is_empty() {
///         return Err("say how many threads".into());
///     }
///     Ok(threads.parse()?)
/// }
///
/// assert_eq!(load("").unwrap_err().to_string(), "say how many threads");
/// assert_eq!(load("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct MainError(Box<dyn Error + Send + Sync>);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for MainError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for MainError {
    /// The texts of the error and its sources: this is what a returned error prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(f, &*self.0)
    }
}

impl fmt::Display for MainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(f, &*self.0)
    }
}

/// What a worker's `main` returns.
///
/// ```no_run
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Answer = "answer": String => String);
/// # fn answer(question: String, _: State<String>) -> Result<String, HandlerError> { Ok(question) }
///
/// fn main() -> lifeboat_worker::Result {
///     let model = std::fs::read_to_string("model.txt")?; // an error ends the process with code 1
///     Worker::new().state(model).handle_blocking::<Answer>(answer).run()
/// }
/// ```
///
/// Functions that `main` calls may return it too, with a type of their own:
///
/// ```
/// fn threads() -> lifeboat_worker::Result<usize> {
///     Ok(std::env::var("THREADS").as_deref().unwrap_or("4").parse()?)
/// }
/// ```
pub type Result<T = Exit, E = MainError> = std::result::Result<T, E>;

/// Writes an error to stderr, where the broker keeps it for its report.
pub(crate) fn complain(error: &WorkerError) {
    struct Chain<'a>(&'a WorkerError);
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_chain(f, self.0)
        }
    }
    // A closed stderr leaves nobody to tell.
    let _ = stderr::tell(&format!("lifeboat-worker: {}\n", Chain(error)));
}

fn write_chain(f: &mut fmt::Formatter<'_>, error: &dyn Error) -> fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}
