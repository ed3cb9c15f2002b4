//! The client: a cheap handle on a connection that is made, kept and remade in the background.
//!
//! Owns what a program sees of it. Must never block.

use std::borrow::Cow;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::Method;

use crate::call::{Call, RawCall};
use crate::exchange::Exchange;
use crate::shared::Shared;
use crate::{Admin, ClientBuilder, ConnectError, ConnectionEvents, RawRequestBuilder, RequestBuilder};

/// Where the broker listens when neither `LIFEBOAT_SOCKET` nor `XDG_RUNTIME_DIR` is set.
const SYSTEM_SOCKET: &str = "/run/lifeboat/lifeboat.sock";

/// A connection to the broker. Clones are cheap and share it; each call under way counts as a clone. When the last is
/// dropped, the connection is closed.
///
/// The connection lives on the tokio runtime on which the client was made (it needs `enable_all`, or I/O and time).
/// When it is lost it is made again as soon as somebody calls; see the [crate's documentation](crate) for what happens
/// to calls meanwhile.
///
/// Calling:
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Resize { width: u32 }
/// # lifeboat_client::method!("resize": Resize => u32);
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use lifeboat_client::{Client, decode_body, encode_body};
///
/// // Where the environment says; `Client::connect("/run/app/lifeboat.sock")` says it here.
/// let boat = Client::from_env().await?;
///
/// let height = boat.call(Resize { width: 64 }).await?;
/// println!("{height} pixels high");
///
/// // With options, and with what is known about the reply.
/// let reply = boat.request(Resize { width: 64 }).timeout(Duration::from_secs(5)).await?;
/// println!("{} pixels high, after {} attempts", *reply, reply.attempts());
///
/// // Clones share the connection: one for each task.
/// let tasks: Vec<_> = [64, 128, 256]
///     .map(|width| (width, boat.clone()))
///     .map(|(width, boat)| tokio::spawn(async move { boat.call(Resize { width }).await }))
///     .into();
/// for task in tasks {
///     println!("{} pixels high", task.await??);
/// }
///
/// // By name, for a program that does not know the types.
/// let body = boat.call_raw("resize", encode_body(&("photo.png", 64))?).await?;
/// println!("{} pixels high", decode_body::<u32>(&body)?);
/// let reply = boat.request_raw("resize", body).retry(2).await?;
/// # Ok(())
/// # }
/// ```
///
/// A program that starts before its broker, and looks after the connection:
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use lifeboat_client::Client;
///
/// let boat = Client::builder().connect_timeout(Duration::from_secs(5)).connect_lazily();
/// assert!(!boat.is_connected());
/// if let Err(error) = boat.ready().await {
///     eprintln!("nobody answers at {}: {error}", boat.socket().display());
/// }
///
/// // A server that would rather say no than let its own clients wait.
/// if !boat.has_room() {
///     eprintln!("too much to do, come back later");
/// }
///
/// let health = boat.admin().health().await?;
/// println!("the broker is ready: {}", health.ready);
/// // A number to watch beside the program's own.
/// println!("senseless answers: {}", boat.unexpected_answers());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Shared by the clones of a client and its calls.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Client {
    /// Connects to the broker's socket at `path`, with default settings.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is no connection within 30 s, or the cause does not pass by waiting.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::builder().socket(path).connect().await
    }

    /// Connects to the socket that the environment names: `LIFEBOAT_SOCKET`, else
    /// `$XDG_RUNTIME_DIR/lifeboat/lifeboat.sock`, else `/run/lifeboat/lifeboat.sock`.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn from_env() -> Result<Self, ConnectError> {
        Self::builder().connect().await
    }

    /// Settings before connecting.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Calls a method: `client.call(Resize { width: 64 }).await?`. Sends nothing before it is first polled; dropping it
    /// cancels the call. For options, or to know how many attempts it took, use [`request`](Self::request).
    ///
    /// Errors of the future: every [`CallError`](crate::CallError).
    pub fn call<M: Method<Request = M>>(&self, request: M) -> Call<M> {
        self.call_as::<M>(request)
    }

    /// [`call`](Self::call) for a method whose request is of another type than the one that names it.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # async fn example(boat: lifeboat_client::Client) -> Result<(), lifeboat_client::CallError> {
    /// use lifeboat_client::method;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// pub struct Image(Vec<u8>);
    ///
    /// method!(pub struct Left = "turn-left": Image => Image);
    /// method!(pub struct Right = "turn-right": Image => Image);
    ///
    /// let left = boat.call_as::<Left>(Image(vec![1, 2, 3])).await?;
    /// // With options.
    /// let back = boat.request_as::<Right>(left).retry(2).await?.into_inner();
    /// # Ok(())
    /// # }
    /// ```
    pub fn call_as<M: Method>(&self, request: M::Request) -> Call<M> {
        Call::new(self.request_as::<M>(request).into_exchange())
    }

    /// Calls a method with options: `client.request(Resize { .. }).timeout(limit).await?` returns a
    /// [`Reply`](crate::Reply).
    pub fn request<M: Method<Request = M>>(&self, request: M) -> RequestBuilder<M> {
        self.request_as::<M>(request)
    }

    /// [`request`](Self::request) for a method whose request is of another type than the one that names it;
    /// [`call_as`](Self::call_as) shows both.
    ///
    /// ```no_run
    /// # async fn example(boat: lifeboat_client::Client) -> Result<(), lifeboat_client::CallError> {
    /// use lifeboat_client::method;
    ///
    /// method!(pub struct Length = "length": String => u64);
    ///
    /// let length = boat.request_as::<Length>("as long as this".to_owned()).metadata("via", "docs").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_as<M: Method>(&self, request: M::Request) -> RequestBuilder<M> {
        RequestBuilder::new(self, &request)
    }

    /// Calls a method by name with a body that is CBOR already (exactly one item; nothing at all stands for null), and
    /// returns the reply's CBOR. For gateways and tools that do not know the types.
    ///
    /// Errors of the future: every [`CallError`](crate::CallError) but `Decode` of the reply.
    pub fn call_raw(&self, method: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> RawCall {
        RawCall::new(self.request_raw(method, body).into_exchange())
    }

    /// [`call_raw`](Self::call_raw) with options.
    pub fn request_raw(
        &self,
        method: impl Into<Cow<'static, str>>,
        body: impl Into<Bytes>,
    ) -> RawRequestBuilder {
        RawRequestBuilder::new(self, method.into(), body.into())
    }

    /// What can be asked of the broker itself: its workers and open requests, its health, restart, drain and kill.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.handle))
    }

    /// Waits until there is a connection on which calls can be sent, making one if there is none.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when there is none within the client's `connect_timeout`, or the cause does not pass by
    /// waiting.
    pub async fn ready(&self) -> Result<(), ConnectError> {
        Exchange::connection(Arc::clone(&self.handle)).await
    }

    /// Whether a call made now would be sent at once, as far as the [window](ClientBuilder::max_in_flight) goes: fewer
    /// calls are open and waiting than it has places. Without a connection the last one's window counts. Another call
    /// may take the place meanwhile; then this one waits in its turn.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.handle.shared.has_room()
    }

    /// Whether there is a connection to the broker now, be it one that [drains](crate::ConnectionEvent::Draining).
    /// Without one a call makes one: it is nothing to ask before a call.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.handle.shared.lock().table.window.is_some()
    }

    /// The longest that the broker may take to tell the outcome of a request for this method: its configured
    /// `deadline`, waiting and retries included, and the death of its process (`kill_timeout`). A request's own timeout
    /// shortens it. `None` before the first connection, for a method that the broker does not serve, and where it does
    /// not tell (one with thousands of methods tells of the first ones alone). It is what the last broker told when the
    /// connection was made.
    ///
    /// ```no_run
    /// # async fn example(boat: lifeboat_client::Client) -> Result<(), lifeboat_client::ConnectError> {
    /// boat.ready().await?;
    /// println!("a picture takes {:?} at most", boat.answer_within("resize"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn answer_within(&self, method: &str) -> Option<Duration> {
        self.handle.shared.answer_within(method)
    }

    /// Tells of the connection from now on: made, draining, lost. Ask [`is_connected`](Self::is_connected) after this
    /// call to know what holds at the start; then nothing falls between the two.
    ///
    /// ```no_run
    /// # async fn example(boat: lifeboat_client::Client) {
    /// use lifeboat_client::ConnectionEvent;
    ///
    /// let mut events = boat.events();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         ConnectionEvent::Connected { software } => println!("connected to {software}"),
    ///         ConnectionEvent::Lost { why } => println!("lost: {why}"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self) -> ConnectionEvents {
        self.handle.shared.events()
    }

    /// The path of the broker's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.handle.shared.settings.path
    }

    /// How often the broker told what it should not have: the outcome of a request that was not open (ended before, or
    /// never sent), an event of such a request, of one that is not streamed or of an attempt that was over, an answer
    /// to no operation. It is dropped. Anything but 0 is a defect of the broker.
    #[must_use]
    pub fn unexpected_answers(&self) -> u64 {
        self.handle.shared.lock().table.unexpected
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { handle: Arc::new(Handle { shared }) }
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }
}

/// The socket that the environment names.
pub(crate) fn socket_from_env() -> PathBuf {
    choose_socket(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn choose_socket(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    variable("LIFEBOAT_SOCKET")
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|dir| dir.join("lifeboat/lifeboat.sock")))
        .unwrap_or_else(|| PathBuf::from(SYSTEM_SOCKET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_socket() {
        let path = |set: &[(&str, &str)]| {
            choose_socket(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
            })
        };
        let (socket, runtime) = (("LIFEBOAT_SOCKET", "/a/b.sock"), ("XDG_RUNTIME_DIR", "/run/user/7"));
        assert_eq!(path(&[socket, runtime]), Path::new("/a/b.sock"));
        assert_eq!(path(&[runtime]), Path::new("/run/user/7/lifeboat/lifeboat.sock"));
        assert_eq!(path(&[]), Path::new(SYSTEM_SOCKET));
    }
}
