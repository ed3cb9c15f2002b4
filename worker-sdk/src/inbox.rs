//! What the broker sent and the slot has not taken yet.
//!
//! Owns the order of requests, the meaning of every message a worker may get, and the end of the stream. Must
//! never write to the socket or run a handler: it only notes what is to be done. It is read by the slot's thread
//! while nothing runs, and by the watcher's while a handler runs long; the lock around it says whose turn it is.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use lifeboat_protocol::{
    Assignment, FrameError, FrameLimit, Header, Hello, Refused, RefusedCode, Role, Route, VERSIONS,
    agree_version, decode, decode_body,
};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::WorkerError;
use crate::buffer::ReadBuffer;
use crate::call::Call;

/// A request that waits for the slot.
pub(crate) struct Held {
    pub(crate) route: Route,
    /// The place of its method among the handlers, or the name of one that has none.
    pub(crate) method: Result<usize, String>,
    pub(crate) ext: Option<Bytes>,
    pub(crate) body: Bytes,
    /// When it was read: its time left counts from here.
    pub(crate) received: Instant,
    /// Cancelled before it started.
    pub(crate) cancelled: bool,
}

/// What one reading brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Bytes, or the end of the stream.
    Something,
    /// Nothing is there; only when asked not to wait.
    Nothing,
}

pub(crate) struct Inbox {
    buffer: ReadBuffer,
    /// The largest body accepted; `None`: whatever the broker accepts.
    max_body: Option<usize>,
    /// The methods' names, in the order of their handlers.
    methods: Vec<String>,
    pub(crate) held: VecDeque<Held>,
    /// What the slot executes.
    pub(crate) running: Option<Arc<Call>>,
    pub(crate) hello: Option<BrokerHello>,
    /// The broker asked the process to finish and stop.
    pub(crate) draining: bool,
    /// Why nothing more will be read.
    pub(crate) over: Option<WorkerError>,
}

/// What the worker needs of the broker's hello.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrokerHello {
    pub(crate) assignment: Assignment,
    /// The largest body the broker accepts, in bytes.
    pub(crate) max_body: usize,
}

impl Inbox {
    pub(crate) fn new(methods: Vec<String>, max_body: Option<usize>) -> Self {
        let limit = FrameLimit::for_body(max_body.unwrap_or(lifeboat_protocol::DEFAULT_MAX_BODY));
        Self {
            buffer: ReadBuffer::new(limit),
            max_body,
            methods,
            held: VecDeque::new(),
            running: None,
            hello: None,
            draining: false,
            over: None,
        }
    }

    /// Reads once and sorts what came. Waits for the first byte if told to.
    pub(crate) fn read(&mut self, socket: &UnixStream, wait: bool) -> Reading {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        loop {
            match self.buffer.read(socket, flags) {
                Ok(0) => {
                    let why = match self.buffer.cut_frame() {
                        None => "it closed the connection".to_owned(),
                        Some((have, need)) => {
                            format!("the connection ended after {have} of a frame's {need} bytes")
                        }
                    };
                    self.end(WorkerError::BrokerLost { why });
                    return Reading::Something;
                }
                Ok(_) => {
                    self.sort();
                    return Reading::Something;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !wait => return Reading::Nothing,
                Err(error) => {
                    self.end(WorkerError::BrokerLost { why: format!("reading failed: {error}") });
                    return Reading::Something;
                }
            }
        }
    }

    /// Notes why nothing more will be read; the first reason stays.
    pub(crate) fn end(&mut self, why: WorkerError) {
        self.over.get_or_insert(why);
    }

    fn sort(&mut self) {
        let received = Instant::now();
        while self.over.is_none() {
            match self.buffer.next_frame() {
                Ok(Some(frame)) => self.accept(&frame, received),
                Ok(None) => return,
                Err(error) => {
                    let code = match error {
                        FrameError::TooLarge { .. } => RefusedCode::TooLarge,
                        FrameError::Empty => RefusedCode::Malformed,
                    };
                    self.refuse(code, error.to_string());
                }
            }
        }
    }

    fn refuse(&mut self, code: RefusedCode, message: impl Into<String>) {
        self.end(WorkerError::Protocol { code, message: message.into() });
    }

    fn accept(&mut self, frame: &Bytes, received: Instant) {
        let message = match decode(frame) {
            Ok(message) => message,
            Err(error) => return self.refuse(error.refused_code(), error.to_string()),
        };
        let header = message.header;
        if self.hello.is_none() && !matches!(header, Header::Hello | Header::Refused) {
            let message = format!("a `{}` message before the broker's hello", header.message_type());
            return self.refuse(RefusedCode::Unexpected, message);
        }
        match header {
            Header::Hello if self.hello.is_none() => self.greet(message.body),
            Header::Refused => self.refused(message.body),
            Header::Request { route, method, ext } => self.hold(Held {
                route,
                method: self.find(method),
                ext: ext.map(|ext| frame.slice_ref(ext)),
                body: frame.slice_ref(message.body),
                received,
                cancelled: false,
            }),
            Header::Cancel { route } => self.cancel(route),
            Header::Drain => self.draining = true,
            Header::Hello
            | Header::Answer { .. }
            | Header::Failure { .. }
            | Header::Error { .. }
            | Header::Progress { .. }
            | Header::Partial { .. }
            | Header::WorkersFailed
            | Header::Heartbeat
            | Header::Panicked { .. }
            | Header::Cancelled { .. }
            | Header::AttemptFailed { .. }
            | Header::Operate { .. }
            | Header::Operated { .. } => self.refuse(
                RefusedCode::Unexpected,
                format!("a `{}` message has no meaning to a worker here", header.message_type()),
            ),
        }
    }

    fn greet(&mut self, body: &[u8]) {
        let hello: Hello = match decode_body(body) {
            Ok(hello) => hello,
            Err(error) => return self.refuse(RefusedCode::Malformed, format!("the broker's hello: {error}")),
        };
        if agree_version(VERSIONS, &hello.versions).is_none() {
            return self.end(WorkerError::UnsupportedVersion { theirs: hello.versions });
        }
        if hello.role != Role::Broker {
            return self.refuse(RefusedCode::NotAllowed, "a worker is served by a broker only");
        }
        let max_body = usize::try_from(hello.max_body).unwrap_or(usize::MAX);
        self.buffer.set_limit(FrameLimit::for_body(*self.max_body.get_or_insert(max_body)));
        let assignment = hello.assignment.unwrap_or_default();
        self.hello = Some(BrokerHello { assignment, max_body });
    }

    /// The largest body accepted, in bytes.
    pub(crate) fn max_body(&self) -> usize {
        self.max_body.unwrap_or(lifeboat_protocol::DEFAULT_MAX_BODY)
    }

    fn refused(&mut self, body: &[u8]) {
        match decode_body::<Refused>(body) {
            Ok(Refused { code, message }) => self.end(WorkerError::Refused { code, message }),
            Err(error) => self.refuse(RefusedCode::Malformed, format!("the broker's refusal: {error}")),
        }
    }

    fn find(&self, method: &str) -> Result<usize, String> {
        let place = self.methods.iter().position(|name| name == method);
        place.ok_or_else(|| method.to_owned())
    }

    fn hold(&mut self, held: Held) {
        // The running request is not counted: its answer may be written already, and its place filled.
        let prefetch = self.hello.as_ref().map_or(1, |hello| hello.assignment.prefetch.max(1));
        if self.held.len() >= usize::try_from(prefetch).unwrap_or(usize::MAX) {
            let message = format!("more requests than the {prefetch} that this worker was told to hold");
            return self.refuse(RefusedCode::Unexpected, message);
        }
        self.held.push_back(held);
    }

    fn cancel(&mut self, route: Route) {
        let same = |other: &Route| (other.id, other.attempt) == (route.id, route.attempt);
        if let Some(call) = self.running.as_ref().filter(|call| same(&call.route)) {
            call.cancel();
        } else if let Some(held) = self.held.iter_mut().find(|held| same(&held.route)) {
            held.cancelled = true;
        }
        // Otherwise its answer and the cancel crossed.
    }
}
