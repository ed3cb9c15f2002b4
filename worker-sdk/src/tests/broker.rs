//! The scripted broker.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lifeboat_protocol::{
    Assignment, Ext, FrameLimit, HEARTBEAT_FEATURE, Header, Hello, MessageType, Role, Route, RouteFlags,
    SAVE_FEATURE, TimeLeft, decode, decode_body, encode_body, put_control, put_empty, put_request,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::buffer::ReadBuffer;
use crate::{Worker, WorkerError};

/// How long anything that must happen may take.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// The largest body the broker accepts, in bytes.
pub(super) const MAX_BODY: usize = 16 << 20;

pub(super) struct Broker {
    pub(super) socket: UnixStream,
    /// The worker's end, to see what it has read.
    pub(super) theirs: UnixStream,
    buffer: ReadBuffer,
    ended: Receiver<Result<(), WorkerError>>,
    pub(super) abandoned: Receiver<u8>,
}

/// One message from the worker.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) kind: MessageType,
    pub(super) route: Option<Route>,
    pub(super) body: Bytes,
}

impl Got {
    fn new(frame: &Bytes) -> Self {
        let message = decode(frame).unwrap();
        let header: Header<'_> = message.header;
        Self { kind: header.message_type(), route: header.route(), body: frame.slice_ref(message.body) }
    }

    #[track_caller]
    pub(super) fn expect<T: DeserializeOwned>(&self, kind: MessageType, id: u64) -> T {
        assert_eq!((self.kind, self.route.map(|route| route.id)), (kind, Some(id)), "{self:?}");
        decode_body(&self.body).unwrap()
    }
}

pub(super) fn hello(assignment: Assignment) -> Hello {
    let features = vec![SAVE_FEATURE.to_owned()];
    Hello { assignment: Some(assignment), features, ..Hello::new(Role::Broker, MAX_BODY, "scripted/0") }
}

pub(super) fn route(id: u64) -> Route {
    Route { attempt: 1, ..Route::request(id, TimeLeft::from_millis(60_000)) }
}

/// The same in one of several slots.
pub(super) fn route_in(slot: u8, id: u64) -> Route {
    Route { flags: RouteFlags::NONE.with_slot(slot), ..route(id) }
}

/// The bytes of a request.
pub(super) fn request(id: u64, method: &str, body: &impl Serialize) -> Vec<u8> {
    request_in(0, id, method, body)
}

/// The same to one of several slots.
pub(super) fn request_in(slot: u8, id: u64, method: &str, body: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    put_request(&mut out, route_in(slot, id), method, &Ext::default(), &encode_body(body).unwrap());
    out
}

/// The bytes of a message without a body.
pub(super) fn empty(kind: MessageType, id: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    put_empty(&mut out, kind, id.map(route));
    out
}

pub(super) fn cancel(id: u64) -> Vec<u8> {
    empty(MessageType::Cancel, Some(id))
}

pub(super) fn cancel_in(slot: u8, id: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_empty(&mut out, MessageType::Cancel, Some(route_in(slot, id)));
    out
}

pub(super) fn drain() -> Vec<u8> {
    empty(MessageType::Drain, None)
}

impl Broker {
    /// Starts the worker on a thread of its own, greets it and reads its hello.
    pub(super) fn start(worker: impl FnOnce() -> Worker + Send + 'static) -> Self {
        Self::start_with(Assignment { prefetch: 3, ..Assignment::default() }, worker)
    }

    pub(super) fn start_with(
        assignment: Assignment,
        worker: impl FnOnce() -> Worker + Send + 'static,
    ) -> Self {
        let mut broker = Self::silent(worker);
        let (slots, heartbeat) = (assignment.slots, assignment.heartbeat_ms > 0);
        broker.greet(&hello(assignment));
        let got = broker.next();
        assert_eq!(got.kind, MessageType::Hello);
        let hello: Hello = decode_body(&got.body).unwrap();
        assert_eq!(hello.role, Role::Worker);
        assert_eq!(hello.has_feature(HEARTBEAT_FEATURE), heartbeat);
        assert_eq!(hello.worker.unwrap().slots, slots);
        broker
    }

    /// The same with several slots, each holding up to three requests.
    pub(super) fn with_slots(slots: u32, worker: impl FnOnce() -> Worker + Send + 'static) -> Self {
        Self::start_with(Assignment { slots, prefetch: 3, ..Assignment::default() }, worker)
    }

    /// Starts the worker and says nothing.
    pub(super) fn silent(worker: impl FnOnce() -> Worker + Send + 'static) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let (end, ended) = channel();
        let (abandon, abandoned) = channel();
        let worker_socket = theirs.try_clone().unwrap();
        std::thread::spawn(move || {
            let abandon = Box::new(move |error: &WorkerError| abandon.send(error.exit_code()).unwrap_or(()));
            // The test may have ended, by a failed assertion.
            let _ = end.send(worker().serve_with(worker_socket, abandon));
        });
        let buffer = ReadBuffer::new(FrameLimit::for_body(MAX_BODY));
        Self { socket, theirs, buffer, ended, abandoned }
    }

    pub(super) fn greet(&mut self, hello: &Hello) {
        let mut out = Vec::new();
        put_control(&mut out, MessageType::Hello, None, hello).unwrap();
        self.send(&out);
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next message, waited for.
    #[track_caller]
    pub(super) fn next(&mut self) -> Got {
        loop {
            if let Some(frame) = self.buffer.next_frame().unwrap() {
                return Got::new(&frame);
            }
            let read = self.buffer.read(&self.socket, RecvFlags::empty()).expect("a message in time");
            assert_ne!(read, 0, "the worker closed the connection");
        }
    }

    /// The next message, if it is there.
    #[track_caller]
    pub(super) fn next_now(&mut self) -> Option<Got> {
        loop {
            if let Some(frame) = self.buffer.next_frame().unwrap() {
                return Some(Got::new(&frame));
            }
            match self.buffer.read(&self.socket, RecvFlags::DONTWAIT) {
                Ok(0) | Err(Errno::AGAIN) => return None,
                read => assert!(read.is_ok(), "{read:?}"),
            }
        }
    }

    /// The worker's end, waited for. Everything it wrote must have been read.
    #[track_caller]
    pub(super) fn end(self) -> Result<(), WorkerError> {
        let result = self.result();
        let Self { socket, theirs, mut buffer, .. } = self;
        drop(theirs);
        assert_eq!(buffer.read(&socket, RecvFlags::empty()), Ok(0), "something was left unread");
        result
    }

    /// The worker's end, waited for.
    #[track_caller]
    pub(super) fn result(&self) -> Result<(), WorkerError> {
        match self.ended.recv_timeout(LIMIT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => panic!("the worker did not end"),
            Err(RecvTimeoutError::Disconnected) => panic!("the worker panicked"),
        }
    }

    /// Waits until the worker has so much unread in its socket that a huge frame is stuck in it.
    #[track_caller]
    pub(super) fn wait_full(&self) {
        wait_until(|| !self.has_room());
    }

    /// Whether the worker's side finds room in its socket.
    pub(super) fn has_room(&self) -> bool {
        let mut source = [PollFd::new(&self.theirs, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut source, Some(&now)).unwrap() > 0
    }

    /// Waits until the worker has read all that was sent.
    #[track_caller]
    pub(super) fn wait_read(&self) {
        wait_until(|| rustix::io::ioctl_fionread(&self.theirs).unwrap() == 0);
    }
}

#[track_caller]
pub(super) fn wait_until(mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < limit, "not in time");
        std::thread::yield_now();
    }
}
