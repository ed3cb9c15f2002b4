//! A broker that does what a test tells it, on a real Unix socket in a temporary directory.
//!
//! Owns the other side of the wire, spoken with the protocol crate alone. Must never be clever: each test scripts it.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use lifeboat_client::{Client, method};
use lifeboat_protocol::{
    Accepted, AttemptBody, AttemptEndLabel, ConfidenceLabel, DEFAULT_MAX_BODY, ErrorBody, Ext, FrameLimit,
    Header, Hello, MessageType, Operate, POOL_FEATURE, Progress, ReasonBody, Refused, RefusedCode, Role,
    Route, Service, Split, TimeLeft, decode, decode_body, encode_body, put_answer, put_control, put_empty,
    put_partial, split_frame,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Nothing here takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn limit<T>(future: impl IntoFuture<Output = T>) -> T {
    let start = Instant::now();
    let output = tokio::time::timeout(LIMIT, future).await.expect("this took so long that it hangs");
    // At its end the timeout asks once more, and so would find what nobody was woken for.
    assert!(start.elapsed() < LIMIT, "nothing but this limit woke the test");
    output
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// A request with an answer of the same type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resize {
    pub(crate) width: u32,
}

method!("resize": Resize => u32, partial = lifeboat_client::Value);

fn check_id(last: &mut u64, id: u64) {
    assert!(id > *last, "ids rise on a connection: {id} after {last}");
    *last = id;
}

/// The route of what is told of an attempt.
pub(crate) fn told_of(id: u64, attempt: u16) -> Route {
    Route { attempt, ..Route::request(id, TimeLeft::NONE) }
}

pub(crate) struct Broker {
    pub(crate) dir: TempDir,
    listener: Option<UnixListener>,
}

impl Broker {
    /// A directory, nobody listening yet.
    pub(crate) fn absent() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        Self { dir, listener: None }
    }

    pub(crate) fn new() -> Self {
        let mut broker = Self::absent();
        broker.listen();
        broker
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("broker.sock")
    }

    pub(crate) fn listen(&mut self) {
        self.listener = Some(UnixListener::bind(self.path()).expect("bound"));
    }

    /// Stops listening; the socket's file stays, as after a SIGKILL.
    pub(crate) fn stop_listening(&mut self) {
        self.listener = None;
    }

    /// Takes a connection, and does nothing with it.
    pub(crate) async fn accept_silently(&self) -> Peer {
        let listener = self.listener.as_ref().expect("listening");
        let (stream, _) = limit(listener.accept()).await.expect("accepted");
        Peer { stream, buf: Vec::new(), last_id: 0 }
    }

    /// Takes a connection and says hello.
    pub(crate) async fn accept(&self) -> Peer {
        self.accept_with(|_| {}).await
    }

    /// Takes a connection and says a hello that the test changed.
    pub(crate) async fn accept_with(&self, change: impl FnOnce(&mut Hello)) -> Peer {
        let mut peer = self.accept_silently().await;
        let Got::Hello(hello) = peer.next().await else { panic!("a client says hello first") };
        assert_eq!((hello.role, hello.pid), (Role::Client, Some(std::process::id())));
        let mut hello = Hello::new(Role::Broker, DEFAULT_MAX_BODY, "fake-broker");
        hello.service = Some(Service::default());
        hello.features = vec![POOL_FEATURE.to_owned()];
        change(&mut hello);
        peer.control(MessageType::Hello, None, &hello).await;
        peer
    }

    /// A connected client and the broker's side of its connection.
    pub(crate) async fn client(&self) -> (Client, Peer) {
        let (client, peer) = tokio::join!(limit(Client::connect(self.path())), self.accept());
        (client.expect("connected"), peer)
    }

    /// The same, with room for so many open requests.
    pub(crate) async fn client_with_window(&self, max_in_flight: u32) -> (Client, Peer) {
        let accept =
            self.accept_with(|hello| hello.service = Some(Service { max_in_flight, ..Service::default() }));
        let (client, peer) = tokio::join!(limit(Client::connect(self.path())), accept);
        (client.expect("connected"), peer)
    }
}

/// What the client sent.
#[derive(Debug)]
pub(crate) enum Got {
    Hello(Hello),
    Request(Request),
    Cancel(u64),
    Operate(u64, Operate),
    Refused(Refused),
    Eof,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) route: Route,
    pub(crate) method: String,
    pub(crate) ext: Ext,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn width(&self) -> u32 {
        decode_body::<Resize>(&self.body).expect("a resize").width
    }
}

/// What the broker tells of a failed attempt.
pub(crate) fn attempt(number: u16) -> AttemptBody {
    let mut segfault = ReasonBody::new("signal", ConfidenceLabel::Proven);
    (segfault.signal, segfault.core_dumped) = (Some(11), Some(true));
    AttemptBody {
        number,
        worker: "images-0".into(),
        incarnation: 4,
        pid: Some(77),
        start_ms: 5,
        duration_ms: 20,
        end: AttemptEndLabel::Crashed,
        reason: Some(segfault),
        stderr_tail: Some("oh no".into()),
    }
}

pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    buf: Vec<u8>,
    last_id: u64,
}

impl Peer {
    /// The next message, or the end.
    pub(crate) async fn next(&mut self) -> Got {
        loop {
            if let Some(got) = self.take_frame() {
                return got;
            }
            self.buf.reserve(64 * 1024);
            match limit(self.stream.read_buf(&mut self.buf)).await {
                Ok(0) => {
                    assert!(self.buf.is_empty(), "half a frame before the end");
                    return Got::Eof;
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Got::Eof,
                Err(error) => panic!("cannot read: {error}"),
            }
        }
    }

    fn take_frame(&mut self) -> Option<Got> {
        let limit = FrameLimit::for_body(64 << 20);
        let Split::Frame { frame, rest } = split_frame(&self.buf, limit).expect("a good length") else {
            return None;
        };
        let message = decode(frame).expect("a good header");
        let got = match message.header {
            Header::Hello => Got::Hello(decode_body(message.body).expect("a good hello")),
            Header::Request { route, method, ext } => {
                check_id(&mut self.last_id, route.id);
                Got::Request(Request {
                    route,
                    method: method.to_owned(),
                    ext: ext.map(|ext| Ext::decode(ext).expect("a good extension map")).unwrap_or_default(),
                    body: message.body.to_vec(),
                })
            }
            Header::Cancel { route } => Got::Cancel(route.id),
            Header::Operate { route } => {
                check_id(&mut self.last_id, route.id);
                assert_eq!(route, Route::request(route.id, TimeLeft::NONE));
                Got::Operate(route.id, decode_body(message.body).expect("a good operation"))
            }
            Header::Refused => Got::Refused(decode_body(message.body).expect("a good refusal")),
            Header::Answer { .. }
            | Header::Failure { .. }
            | Header::Error { .. }
            | Header::Progress { .. }
            | Header::Partial { .. }
            | Header::Drain
            | Header::WorkersFailed
            | Header::Retire
            | Header::Heartbeat
            | Header::Panicked { .. }
            | Header::Cancelled { .. }
            | Header::AttemptFailed { .. }
            | Header::Operated { .. }
            | Header::Accepted { .. }
            | Header::Save { .. }
            | Header::History { .. } => panic!("a client never sends {:?}", message.header),
        };
        let taken = self.buf.len() - rest.len();
        self.buf.drain(..taken);
        Some(got)
    }

    /// The next message, which must be a request.
    pub(crate) async fn request(&mut self) -> Request {
        let got = self.next().await;
        let Got::Request(request) = got else { panic!("expected a request, got {got:?}") };
        request
    }

    /// The next message, which must be a cancel.
    pub(crate) async fn cancel(&mut self) -> u64 {
        let got = self.next().await;
        let Got::Cancel(id) = got else { panic!("expected a cancel, got {got:?}") };
        id
    }

    /// The next message, which must be an operation.
    pub(crate) async fn operation(&mut self) -> (u64, Operate) {
        let got = self.next().await;
        let Got::Operate(id, operate) = got else { panic!("expected an operation, got {got:?}") };
        (id, operate)
    }

    /// The end of the connection, with no message before it.
    pub(crate) async fn eof(&mut self) {
        let got = self.next().await;
        assert!(matches!(got, Got::Eof), "expected the end, got {got:?}");
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        limit(self.stream.write_all(bytes)).await.expect("written");
    }

    pub(crate) async fn answer(&mut self, route: Route, reply: &impl Serialize) {
        let mut out = Vec::new();
        put_answer(&mut out, route, &encode_body(reply).expect("encoded"));
        self.send(&out).await;
    }

    /// Answers a resize with its own width, after one attempt.
    pub(crate) async fn echo(&mut self, request: &Request) {
        self.answer(Route { attempt: 1, ..request.route }, &request.width()).await;
    }

    pub(crate) async fn accepted(&mut self, id: u64, request: u64, left: Duration) {
        let route = Route { time_left: TimeLeft::from_duration(left), ..told_of(id, 0) };
        self.control(MessageType::Accepted, Some(route), &Accepted { request }).await;
    }

    pub(crate) async fn progress(&mut self, id: u64, attempt: u16, text: &str) {
        let body = Progress { text: Some(text.to_owned()), ..Progress::default() };
        self.control(MessageType::Progress, Some(told_of(id, attempt)), &body).await;
    }

    pub(crate) async fn partial(&mut self, id: u64, attempt: u16, part: &impl Serialize) {
        let mut out = Vec::new();
        put_partial(&mut out, told_of(id, attempt), &encode_body(part).expect("encoded"));
        self.send(&out).await;
    }

    pub(crate) async fn attempt_failed(&mut self, id: u64, number: u16) {
        self.control(MessageType::AttemptFailed, Some(told_of(id, number)), &attempt(number)).await;
    }

    pub(crate) async fn operated(&mut self, id: u64, body: &impl Serialize) {
        self.control(MessageType::Operated, Some(told_of(id, 0)), body).await;
    }

    pub(crate) async fn error(&mut self, id: u64, attempts: u16, body: &ErrorBody) {
        self.control(MessageType::Error, Some(told_of(id, attempts)), body).await;
    }

    pub(crate) async fn control(&mut self, kind: MessageType, route: Option<Route>, body: &impl Serialize) {
        let mut out = Vec::new();
        put_control(&mut out, kind, route, body).expect("encoded");
        self.send(&out).await;
    }

    pub(crate) async fn drain(&mut self) {
        let mut out = Vec::new();
        put_empty(&mut out, MessageType::Drain, None);
        self.send(&out).await;
    }

    pub(crate) async fn refuse(&mut self, code: RefusedCode, message: &str) {
        self.control(MessageType::Refused, None, &Refused::new(code, message)).await;
    }
}
