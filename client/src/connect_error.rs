//! Why there is no connection: errors of getting one, and of losing one.
//!
//! Owns these two enums and which of their members pass by themselves. Must never say anything about a request.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_protocol::{BodyError, FrameError, HeaderError, RefusedCode};
use thiserror::Error;

/// There is no connection to the broker, and there will be none in time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
///
/// use lifeboat_client::{Client, ConnectError};
///
/// let builder = Client::builder().socket("/nowhere/lifeboat.sock");
/// match builder.connect_timeout(Duration::from_millis(20)).connect().await {
///     Ok(boat) => println!("connected to {}", boat.socket().display()),
///     // Not there yet, busy or restarting. What the last try said is its source.
///     Err(error) if error.is_transient() => {
///         assert!(matches!(error, ConnectError::TimedOut { .. }));
///         eprintln!("later: {error}");
///     }
///     // No permission, another version: somebody has to do something.
///     Err(error) => panic!("{error}"),
/// }
/// # }
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The socket cannot be connected to. While the cause passes by itself (no such file, refused, backlog full) the
    /// client tries on; this is returned at once for causes that do not, such as a lack of permission.
    #[error("cannot connect to the broker at {}: {source}", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
    /// No connection within `connect_timeout`.
    #[error(
        "no connection to the broker at {} within {after:?}; is `lifeboat serve` running, and is the socket's path \
         right (LIFEBOAT_SOCKET)?", path.display()
    )]
    TimedOut {
        /// The socket's path.
        path: PathBuf,
        /// How long was tried.
        after: Duration,
        /// What the last try said, if one ended.
        #[source]
        last: Option<Box<Self>>,
    },
    /// The broker refused the connection.
    #[error("the broker refused the connection ({code}): {message}")]
    Refused {
        /// Why, for programs.
        code: RefusedCode,
        /// Why and what to do, for people.
        message: String,
    },
    /// Client and broker have no version of the wire in common.
    #[error(
        "the broker ({software}) speaks versions {theirs:?} of the protocol, this client {ours:?}; upgrade the older \
         side"
    )]
    Version {
        /// The versions that this client speaks.
        ours: Vec<u16>,
        /// The versions that the broker speaks.
        theirs: Vec<u16>,
        /// What the broker calls itself.
        software: String,
    },
    /// The peer closed the connection before it said hello. Tried again until `connect_timeout`.
    #[error("the broker closed the connection before its hello")]
    ClosedEarly,
    /// The peer connected, but did not say hello within `connect_timeout`.
    #[error("no hello from the broker within {after:?}; it may be overloaded or stopped")]
    NoHello {
        /// How long was waited.
        after: Duration,
    },
    /// What the peer says is not this protocol.
    #[error("what listens at {} does not speak Lifeboat's protocol", path.display())]
    Protocol {
        /// The socket's path.
        path: PathBuf,
        /// What was wrong.
        source: ProtocolError,
    },
    /// The thread of a blocking client, or its runtime, cannot be started.
    #[error("the client's thread cannot be started")]
    Thread(#[source] Arc<io::Error>),
    /// The runtime on which this client was connected has been shut down; connect again on a living one.
    #[error("the tokio runtime on which this client was connected has been shut down")]
    RuntimeStopped,
}

impl ConnectError {
    /// Whether trying again later may help: the broker is not there yet, busy, or restarting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Socket { source, .. } | Self::Thread(source) => passes(source),
            Self::TimedOut { .. } | Self::ClosedEarly | Self::NoHello { .. } => true,
            Self::Refused { code, .. } => *code == RefusedCode::TooManyConnections,
            Self::Version { .. } | Self::Protocol { .. } | Self::RuntimeStopped => false,
        }
    }
}

/// What connect says while a broker starts, restarts (no file, nobody listens) or has a full backlog, and while this
/// process is out of descriptors for a moment.
fn passes(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [
        Errno::NOENT,
        Errno::CONNREFUSED,
        Errno::AGAIN,
        Errno::INTR,
        Errno::CONNRESET,
        Errno::PIPE,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
    ];
    passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Why a connection that worked is gone.
///
/// ```
/// use lifeboat_client::{CallError, LostReason};
///
/// /// Whether the broker died under a call, and did not leave as planned.
/// fn died(error: &CallError) -> bool {
///     matches!(error, CallError::Disconnected { source: LostReason::Closed | LostReason::Io(_), .. })
/// }
///
/// let error = CallError::Disconnected { may_have_executed: true, source: LostReason::Closed };
/// assert!(died(&error));
/// ```
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum LostReason {
    /// The broker closed the connection, or died.
    #[error("the broker closed the connection")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection broke: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The broker refused to go on.
    #[error("the broker refused to go on ({code}): {message}")]
    Refused {
        /// Why, for programs.
        code: RefusedCode,
        /// Why and what to do, for people.
        message: String,
    },
    /// The broker sent what this client cannot read.
    #[error("the broker broke the protocol: {0}")]
    Protocol(#[source] ProtocolError),
    /// The broker shuts down and had nothing of this client left.
    #[error("the broker is shutting down")]
    Drained,
    /// The runtime on which this client was connected has been shut down.
    #[error("the tokio runtime on which this client was connected has been shut down")]
    RuntimeStopped,
}

impl From<io::Error> for LostReason {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

/// Bytes from the broker that are not this protocol.
///
/// ```
/// use lifeboat_client::{BodyError, ConnectError, ProtocolError};
///
/// // What is returned when something else listens at the socket's path.
/// let source = ProtocolError::Body(BodyError::Trailing { extra: 1 });
/// let error = ConnectError::Protocol { path: "/run/other.sock".into(), source };
/// assert_eq!(error.to_string(), "what listens at /run/other.sock does not speak Lifeboat's protocol");
/// assert!(!error.is_transient());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// No frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame without a header that can be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A control message whose body cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A message that has no meaning here.
    #[error("unexpected message `{0}`")]
    Unexpected(lifeboat_protocol::MessageType),
    /// The peer is not a broker.
    #[error("the peer is a {0:?}, not a broker")]
    Role(lifeboat_protocol::Role),
}
