//! A client that blocks the calling thread, for programs without an asynchronous runtime of their own.
//!
//! Owns the one thread behind it, on which everything asynchronous runs. Must never be waited for on a thread of a
//! tokio runtime: that panics instead of standing still.
//!
//! ```no_run
//! use lifeboat_client::blocking::Client;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)]
//! # struct Resize { width: u32 }
//! # lifeboat_client::method!("resize": Resize => u32);
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let boat = Client::from_env()?;
//! let height = boat.call(Resize { width: 64 })?;
//! println!("{height} pixels high");
//! # Ok(())
//! # }
//! ```
//!
//! What calls mean, their errors, timeouts and options are those of the [asynchronous client](crate::Client). A call
//! ends only when its end is known: to bound the time give it a timeout ([`RequestBuilder::timeout`] or
//! [`ClientBuilder::timeout`]).
//!
//! **Not for asynchronous programs.** Every function here that waits panics when it is called on a thread that drives
//! tokio's tasks, before it has sent anything. `tokio::task::spawn_blocking` and ordinary threads are fine. Runtimes
//! other than tokio's are not noticed: on one of their threads it waits, and so do the tasks of that thread.

mod admin;
mod request;
mod thread;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::Method;
use tokio::runtime::{self, Handle};

pub use self::admin::Admin;
pub use self::request::{EventStream, RawEventStream, RawRequestBuilder, RequestBuilder};
use crate::{CallError, ClientBuilder, ConnectError, ConnectionEvents};

/// A connection to the broker that blocks. Clones are cheap, share it, and may be used from any number of threads at
/// the same time; each call or stream under way counts as a clone. When the last is dropped, the connection is closed
/// and the thread behind it ends.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Resize { width: u32 }
/// # lifeboat_client::method!("resize": Resize => u32);
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use lifeboat_client::blocking::Client;
/// use lifeboat_client::{decode_body, encode_body, method};
///
/// // Where the environment says; `Client::connect("/run/app/lifeboat.sock")` says it here.
/// let boat = Client::from_env()?;
/// println!("{} pixels high", boat.call(Resize { width: 64 })?);
///
/// // With options, and with what is known about the reply.
/// let reply = boat.request(Resize { width: 64 }).timeout(Duration::from_secs(5)).send()?;
/// println!("{} pixels high, after {} attempts", *reply, reply.attempts());
///
/// // By name, for a program that does not know the types.
/// let body = boat.call_raw("resize", encode_body(&("photo.png", 64))?)?;
/// println!("{} pixels high", decode_body::<u32>(&body)?);
/// let reply = boat.request_raw("resize", body).retry(2).send()?;
///
/// // A method whose request is not a type of its own.
/// method!(struct Length = "length": String => u64);
/// let length = boat.call_as::<Length>("as long as this".to_owned())?;
/// let length = boat.request_as::<Length>("or this".to_owned()).retry(2).send()?;
/// # Ok(())
/// # }
/// ```
///
/// A program that starts before its broker, and looks after the connection in a thread:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use lifeboat_client::blocking::Client;
///
/// let boat = Client::builder().connect_timeout(Duration::from_secs(5)).connect_lazily_blocking()?;
/// let mut events = boat.events();
/// std::thread::spawn(move || {
///     // Ends when the last clone of the client is gone.
///     while let Some(event) = events.next_blocking() {
///         println!("{event:?}");
///     }
/// });
/// boat.ready()?;
/// println!("connected to {}: {}, room: {}", boat.socket().display(), boat.is_connected(), boat.has_room());
/// println!("a picture takes {:?} at most", boat.answer_within("resize"));
/// // A number to watch beside the program's own.
/// println!("senseless answers: {}", boat.unexpected_answers());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    client: crate::Client,
    waiter: Waiter,
}

/// How threads wait for what the client's own thread does.
#[derive(Debug, Clone)]
struct Waiter(Handle);

impl Waiter {
    /// Blocks until the future is done. The future asks the driver alone, which runs on the client's thread.
    ///
    /// # Panics
    ///
    /// On a thread that drives tokio's tasks, before the future is polled: tokio knows them.
    #[track_caller]
    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

impl Client {
    /// Connects to the broker's socket at `path`, with default settings.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no connection within 30 s, or the cause does not pass by waiting.
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::builder().socket(path).connect_blocking()
    }

    /// Connects to the socket that the environment names, as [`Client::from_env`](crate::Client::from_env) does.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn from_env() -> Result<Self, ConnectError> {
        Self::builder().connect_blocking()
    }

    /// Settings before connecting; end with [`connect_blocking`](ClientBuilder::connect_blocking) or
    /// [`connect_lazily_blocking`](ClientBuilder::connect_lazily_blocking).
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Calls a method and waits for the reply. For options, or to know how many attempts it took, use
    /// [`request`](Self::request).
    ///
    /// # Errors
    ///
    /// Every [`CallError`].
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn call<M: Method<Request = M>>(&self, request: M) -> Result<M::Reply, CallError> {
        self.call_as::<M>(request)
    }

    /// [`call`](Self::call) for a method whose request is of another type than the one that names it.
    ///
    /// # Errors
    ///
    /// Every [`CallError`].
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn call_as<M: Method>(&self, request: M::Request) -> Result<M::Reply, CallError> {
        self.waiter.wait(self.client.call_as::<M>(request))
    }

    /// A call with options: `client.request(Resize { .. }).timeout(limit).send()?` returns a [`Reply`](crate::Reply).
    pub fn request<M: Method<Request = M>>(&self, request: M) -> RequestBuilder<M> {
        self.request_as::<M>(request)
    }

    /// [`request`](Self::request) for a method whose request is of another type than the one that names it.
    pub fn request_as<M: Method>(&self, request: M::Request) -> RequestBuilder<M> {
        RequestBuilder::new(self.client.request_as::<M>(request), self.waiter.clone())
    }

    /// Calls a method by name with a body that is CBOR already (exactly one item; nothing at all stands for null), and
    /// returns the reply's CBOR.
    ///
    /// # Errors
    ///
    /// Every [`CallError`] but `Decode` of the reply.
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn call_raw(
        &self,
        method: impl Into<Cow<'static, str>>,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, CallError> {
        self.waiter.wait(self.client.call_raw(method, body))
    }

    /// [`call_raw`](Self::call_raw) with options.
    pub fn request_raw(
        &self,
        method: impl Into<Cow<'static, str>>,
        body: impl Into<Bytes>,
    ) -> RawRequestBuilder {
        RawRequestBuilder::new(self.client.request_raw(method, body), self.waiter.clone())
    }

    /// What can be asked of the broker itself: its workers and open requests, its health, restart, drain and kill.
    ///
    /// ```no_run
    /// # fn example(boat: lifeboat_client::blocking::Client) -> Result<(), lifeboat_client::OperateError> {
    /// for worker in boat.admin().workers()?.workers {
    ///     println!("{} is {}", worker.worker, worker.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.client.admin(), self.waiter.clone())
    }

    /// Waits until there is a connection on which calls can be sent, making one if there is none.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is none within the client's `connect_timeout`, or the cause does not pass by
    /// waiting.
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn ready(&self) -> Result<(), ConnectError> {
        self.waiter.wait(self.client.ready())
    }

    /// Whether a call made now would be sent at once; see [`Client::has_room`](crate::Client::has_room). Never waits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.client.has_room()
    }

    /// Whether there is a connection to the broker now. Never waits.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// The longest that the broker may take to tell the outcome of a request for this method; see
    /// [`Client::answer_within`](crate::Client::answer_within). Never waits.
    #[must_use]
    pub fn answer_within(&self, method: &str) -> Option<Duration> {
        self.client.answer_within(method)
    }

    /// How often the broker told what it should not have; see
    /// [`Client::unexpected_answers`](crate::Client::unexpected_answers). Never waits.
    #[must_use]
    pub fn unexpected_answers(&self) -> u64 {
        self.client.unexpected_answers()
    }

    /// Tells of the connection from now on; read it with [`next_blocking`](ConnectionEvents::next_blocking).
    #[must_use]
    pub fn events(&self) -> ConnectionEvents {
        self.client.events()
    }

    /// The path of the broker's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.client.socket()
    }
}

impl ClientBuilder {
    /// Connects a client that blocks.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), lifeboat_client::ConnectError> {
    /// use std::time::Duration;
    ///
    /// use lifeboat_client::blocking::Client;
    ///
    /// let boat = Client::builder().timeout(Duration::from_secs(20)).connect_blocking()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no connection within `connect_timeout`, the cause does not pass by waiting, or
    /// the thread cannot be started.
    ///
    /// # Panics
    ///
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn connect_blocking(self) -> Result<Client, ConnectError> {
        let client = self.connect_lazily_blocking()?;
        client.ready()?;
        Ok(client)
    }

    /// A client that blocks, and connects when it is first called. For programs that must start before their broker.
    ///
    /// ```
    /// use lifeboat_client::blocking::Client;
    ///
    /// let boat = Client::builder().socket("/run/app/lifeboat.sock").connect_lazily_blocking()?;
    /// assert!(!boat.is_connected());
    /// # Ok::<(), lifeboat_client::ConnectError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError::Thread`] when its thread cannot be started.
    pub fn connect_lazily_blocking(self) -> Result<Client, ConnectError> {
        let failed = |error| ConnectError::Thread(Arc::new(error));
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let waiter = Waiter(runtime.handle().clone());
        // Callers are never on the driver's thread: it saves its wake-up that they write.
        let shared = self.into_shared(true);
        let client = crate::Client::new(Arc::clone(&shared));
        let thread = Builder::new().name("lifeboat-client".into());
        thread::start(thread, runtime, shared).map_err(failed)?;
        Ok(Client { client, waiter })
    }
}
