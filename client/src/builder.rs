//! Settings of a client.
//!
//! Owns their defaults. Must never read a setting from anywhere but the caller and the socket's environment variables.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::client::socket_from_env;
use crate::driver::drive;
use crate::settings::{LONGEST, Settings};
use crate::shared::Shared;
use crate::{Client, ConnectError};

/// The shortest wait between two tries to connect, whatever was asked for.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(1);

/// The name that a broker's log shows for this library.
const SOFTWARE: &str = concat!("lifeboat-client/", env!("CARGO_PKG_VERSION"));
/// How long a client waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The first pause between tries to connect: a broker that restarts is back within a few of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
/// The longest pause between tries to connect.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Settings of a [`Client`], and the way to connect it.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lifeboat_client::ConnectError> {
/// use std::time::Duration;
///
/// use lifeboat_client::Client;
///
/// let boat = Client::builder()
///     .socket("/run/app/lifeboat.sock")
///     // What the broker's log calls this program.
///     .name("shop")
///     // Of every call that sets none.
///     .timeout(Duration::from_secs(20))
///     // How long to wait for a broker that restarts, and how often to look.
///     .connect_timeout(Duration::from_secs(5))
///     .reconnect_backoff(Duration::from_millis(5), Duration::from_millis(500))
///     // Nothing that this program asks for answers more.
///     .max_body(1024 * 1024)
///     .connect()
///     .await?;
///
/// // Or without waiting for the broker: the first call does.
/// let boat = Client::builder().name("shop").connect_lazily();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `connect`"]
pub struct ClientBuilder {
    socket: Option<PathBuf>,
    name: Option<String>,
    timeout: Option<Duration>,
    connect_timeout: Duration,
    backoff: (Duration, Duration),
    max_body: Option<usize>,
    max_in_flight: Option<usize>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            socket: None,
            name: None,
            timeout: None,
            connect_timeout: CONNECT_TIMEOUT,
            backoff: (BACKOFF_FIRST, BACKOFF_MAX),
            max_body: None,
            max_in_flight: None,
        }
    }

    /// The path of the broker's socket. Default: as [`Client::from_env`] says.
    pub fn socket(mut self, path: impl AsRef<Path>) -> Self {
        self.socket = Some(path.as_ref().to_owned());
        self
    }

    /// What the broker's log and `lifeboat top` call this client. Default: only the library's name and version.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The timeout of calls that set none: from the call's start to its end, everything included. A warning is logged
    /// when a method is first called for which the broker may take longer (see [`Client::answer_within`]). Default:
    /// none, the broker's configured `deadline` alone holds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long [`connect`](Self::connect) and calls wait for a connection while the broker is not there, busy or
    /// restarting. A call's own timeout holds beside it. Default: 30 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The pause between tries to connect: `first`, then doubled up to `max`, each shortened by chance by up to half.
    /// Default: 10 ms and 1 s.
    pub fn reconnect_backoff(mut self, first: Duration, max: Duration) -> Self {
        self.backoff = (first, max);
        self
    }

    /// The largest reply accepted, in bytes; a larger one is a protocol error that ends the connection. What the broker
    /// accepts as a request is its own `max_body`, and that is the default for replies too.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// How many requests this client has open with the broker at a time, those included that were dropped and whose end
    /// the broker has not told yet. More wait here, first come, first served, with their timeouts running; dropped
    /// while they wait they cost the broker nothing. Operations do not count. Never more than the broker allows a
    /// connection (`max_in_flight` of its configuration); 0 is taken as 1. Default: what the broker allows.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), lifeboat_client::ConnectError> {
    /// let boat = lifeboat_client::Client::builder().max_in_flight(8).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = Some(requests.max(1));
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no connection within `connect_timeout`, or the cause does not pass by waiting
    /// (no permission, another version, refused).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, or on one without I/O and time.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let client = self.connect_lazily();
        client.ready().await?;
        Ok(client)
    }

    /// A client that connects when it is first called. For programs that must start before their broker.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn connect_lazily(self) -> Client {
        let direct = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
        let shared = self.into_shared(direct);
        tokio::spawn(drive(Arc::clone(&shared)));
        Client::new(shared)
    }

    /// `direct`: see [`Settings`].
    pub(crate) fn into_shared(self, direct: bool) -> Arc<Shared> {
        let software = match &self.name {
            Some(name) => format!("{SOFTWARE} ({name})"),
            None => SOFTWARE.to_owned(),
        };
        Arc::new(Shared::new(Settings {
            path: self.socket.unwrap_or_else(socket_from_env),
            software,
            timeout: self.timeout,
            connect_timeout: self.connect_timeout.min(LONGEST),
            // Doubling nothing stays nothing: a broker that is away must not cost a core.
            backoff_first: self.backoff.0.clamp(SHORTEST_BACKOFF, LONGEST),
            backoff_max: self.backoff.1.min(LONGEST),
            max_body: self.max_body,
            max_in_flight: self.max_in_flight.unwrap_or(usize::MAX),
            direct,
        }))
    }
}
