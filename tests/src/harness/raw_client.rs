//! A client without the SDK: says what it is told to, right or wrong.

use std::io;
use std::path::Path;
use std::time::Duration;

use lifeboat_protocol::{
    DEFAULT_MAX_BODY, ErrorBody, Ext, Hello, MessageType, Method, Refused, Role, Route, TimeLeft, decode,
    decode_body, encode_body, put_control, put_empty, put_request,
};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(15);

/// A connection to the broker's socket.
#[derive(Debug)]
pub struct RawClient {
    stream: UnixStream,
}

/// A message from the broker.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its type.
    pub message_type: MessageType,
    /// Its route, if its type has one.
    pub route: Option<Route>,
    /// Its body, as CBOR.
    pub body: Vec<u8>,
}

impl Received {
    /// The body as a value.
    ///
    /// # Panics
    ///
    /// When it is of another type.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        decode_body(&self.body).expect("the broker sends bodies that can be read")
    }

    /// The body of a `refused`.
    ///
    /// # Panics
    ///
    /// When it is another message.
    #[must_use]
    pub fn refused(&self) -> Refused {
        assert_eq!(self.message_type, MessageType::Refused, "{self:?}");
        self.read()
    }

    /// The body of an `error`.
    ///
    /// # Panics
    ///
    /// When it is another message.
    #[must_use]
    pub fn error(&self) -> ErrorBody {
        assert_eq!(self.message_type, MessageType::Error, "{self:?}");
        self.read()
    }
}

impl RawClient {
    /// Connects and says nothing.
    ///
    /// # Panics
    ///
    /// When nobody listens.
    pub async fn connect(socket: impl AsRef<Path>) -> Self {
        Self { stream: UnixStream::connect(socket).await.expect("the broker listens") }
    }

    /// Connects, and says and hears hello.
    ///
    /// # Panics
    ///
    /// When the broker does not say hello.
    pub async fn greeted(socket: impl AsRef<Path>) -> Self {
        let mut client = Self::connect(socket).await;
        client.send(&hello(&Hello::new(Role::Client, DEFAULT_MAX_BODY, "raw"))).await;
        let answer = client.receive().await.expect("the broker answers a hello");
        assert_eq!(answer.message_type, MessageType::Hello);
        client
    }

    /// Writes bytes. A broker that closed meanwhile is no failure: what it said is what counts.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// Sends a request.
    pub async fn request<M: Method>(&mut self, id: u64, request: &M::Request) {
        self.send(&request_frame::<M>(id, request)).await;
    }

    /// Sends a cancel.
    pub async fn cancel(&mut self, id: u64) {
        let mut out = Vec::new();
        put_empty(&mut out, MessageType::Cancel, Some(Route::request(id, TimeLeft::NONE)));
        self.send(&out).await;
    }

    /// The next message; `None` when the broker closes.
    ///
    /// # Panics
    ///
    /// When nothing comes for 15 s, or it cannot be read.
    pub async fn receive(&mut self) -> Option<Received> {
        let frame = tokio::time::timeout(LIMIT, self.read_frame()).await.expect("the broker says something");
        let frame = frame.ok()?;
        let message = decode(&frame).expect("the broker sends frames that can be read");
        let message_type = message.header.message_type();
        let route =
            message_type.has_route().then(|| lifeboat_protocol::read_route(&frame).expect("it has a route"));
        Some(Received { message_type, route, body: message.body.to_vec() })
    }

    async fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; self.stream.read_u32().await? as usize];
        self.stream.read_exact(&mut frame).await?;
        Ok(frame)
    }
}

/// The frame of a hello.
///
/// # Panics
///
/// Never: a hello can be encoded.
#[must_use]
pub fn hello(hello: &Hello) -> Vec<u8> {
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Hello, None, hello).expect("a hello can be encoded");
    out
}

/// The frame of a request.
///
/// # Panics
///
/// When the request cannot be encoded.
#[must_use]
pub fn request_frame<M: Method>(id: u64, request: &M::Request) -> Vec<u8> {
    let body = encode_body(request).expect("requests of tests can be encoded");
    let mut out = Vec::new();
    put_request(&mut out, Route::request(id, TimeLeft::NONE), M::NAME, &Ext::default(), &body);
    out
}
