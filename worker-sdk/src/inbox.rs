//! What the broker sent and the slots have not taken yet.
//!
//! Owns the slots' lines, the meaning of every message a worker may get, and the end of the stream. Must
//! never write to the socket or run a handler: it only notes what is to be done. It is filled by the threads of slots
//! that have nothing to run, and by the watcher's while all handlers run long; the lock around it says whose turn it is.

use std::os::fd::OwnedFd;
use std::time::Instant;

use bytes::Bytes;
use lifeboat_protocol::{
    Assignment, FrameError, FrameLimit, Header, Hello, History, MAX_SLOTS, RETIRE_FEATURE, Refused,
    RefusedCode, Role, Route, SAVE_FEATURE, VERSIONS, agree_version, decode, decode_body,
};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::WorkerError;
use crate::buffer::ReadBuffer;
use crate::crew::Bells;
use crate::line::{Held, Line};

pub(crate) struct Inbox {
    buffer: ReadBuffer,
    /// The largest body accepted; `None`: whatever the broker accepts.
    max_body: Option<usize>,
    /// The methods' names, in the order of their handlers.
    methods: Vec<String>,
    /// The most slots to serve.
    max_slots: u32,
    /// One per slot; none before the broker said how many.
    pub(crate) lines: Vec<Line>,
    /// What came before the attempt whose request is next.
    history: Option<(Route, Box<History>)>,
    /// Slots that wait and must be woken, once the lock is free.
    bells: Bells,
    pub(crate) hello: Option<BrokerHello>,
    /// The broker asked the process to finish and stop.
    pub(crate) draining: bool,
    /// Why nothing more will be read.
    pub(crate) over: Option<WorkerError>,
    /// Something could not be written, or waited for.
    broken: bool,
    /// Why slots were retired, oldest first.
    retired: Vec<String>,
}

/// What the worker needs of the broker's hello.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrokerHello {
    pub(crate) assignment: Assignment,
    /// The largest body the broker accepts, in bytes.
    pub(crate) max_body: usize,
    /// It keeps what attempts save.
    pub(crate) keeps_saves: bool,
    /// It understands `retire`.
    pub(crate) retires: bool,
}

impl Inbox {
    /// For handlers of these methods and at most so many slots.
    pub(crate) fn new(methods: Vec<String>, max_body: Option<usize>, max_slots: u32) -> Self {
        let limit = FrameLimit::for_body(max_body.unwrap_or(lifeboat_protocol::DEFAULT_MAX_BODY));
        Self {
            buffer: ReadBuffer::new(limit),
            max_body,
            methods,
            max_slots,
            lines: Vec::new(),
            history: None,
            bells: Bells::default(),
            hello: None,
            draining: false,
            over: None,
            broken: false,
            retired: Vec::new(),
        }
    }

    /// Reads once and sorts what came, if anything did.
    pub(crate) fn read(&mut self, socket: &OwnedFd) {
        loop {
            match self.buffer.read(socket, RecvFlags::DONTWAIT) {
                Ok(0) => {
                    let why = match self.buffer.cut_frame() {
                        None => "it closed the connection".to_owned(),
                        Some((have, need)) => {
                            format!("the connection ended after {have} of a frame's {need} bytes")
                        }
                    };
                    return self.end(WorkerError::BrokerLost { why });
                }
                Ok(_) => return self.sort(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    let why = format!("reading failed: {error}");
                    return self.end(WorkerError::BrokerLost { why });
                }
            }
        }
    }

    /// Notes why nothing more will be read; the first reason stays. What runs has a bounded time from here on.
    pub(crate) fn end(&mut self, why: WorkerError) {
        self.over.get_or_insert(why);
        for call in self.lines.iter().filter_map(|line| line.running.as_deref()) {
            call.lose_broker();
        }
        self.call_all();
    }

    /// A slot cannot go on, and so the process cannot.
    pub(crate) fn break_off(&mut self, why: WorkerError) {
        self.broken = true;
        self.end(why);
    }

    /// A slot's handler panicked.
    pub(crate) fn retire(&mut self, slot: usize, reason: String) {
        self.lines[slot].retire();
        let several = self.lines.len() > 1;
        self.retired.push(if several { format!("slot {slot}: {reason}") } else { reason });
    }

    /// Why, if no slot is left.
    pub(crate) fn all_retired(&self) -> Option<&[String]> {
        let none_left = !self.lines.is_empty() && self.lines.iter().all(|line| line.retired);
        none_left.then_some(&*self.retired)
    }

    /// Why serving ended, when it has; nothing where it was to end.
    pub(crate) fn ending(&mut self, terminated: bool) -> Result<(), WorkerError> {
        if let Some(reasons) = self.all_retired() {
            return Err(WorkerError::SlotsFailed { reasons: reasons.to_vec() });
        }
        // After a drain or a SIGTERM the end of the stream is no loss.
        let asked = (terminated || self.draining) && !self.broken;
        self.over.take().filter(|_| !asked).map_or(Ok(()), Err)
    }

    /// Whose bells are to be rung now.
    pub(crate) fn take_bells(&mut self) -> Bells {
        std::mem::take(&mut self.bells)
    }

    fn call_all(&mut self) {
        (0..self.lines.len()).for_each(|slot| self.call(slot));
    }

    /// Has a slot woken, if it waits.
    fn call(&mut self, slot: usize) {
        if std::mem::take(&mut self.lines[slot].waiting) {
            self.bells.insert(slot);
        }
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
            Header::Request { route, method, ext } => {
                let history = self.history_of(route);
                self.hold(Held {
                    route,
                    method: self.find(method),
                    ext: ext.map(|ext| frame.slice_ref(ext)),
                    history,
                    body: frame.slice_ref(message.body),
                    received,
                    cancelled: false,
                });
            }
            Header::History { route } => self.note_history(route, message.body),
            Header::Cancel { route } => {
                if let Some(line) = self.lines.get_mut(usize::from(route.flags.slot())) {
                    line.cancel(route);
                }
            }
            Header::Drain => {
                self.draining = true;
                self.call_all();
            }
            Header::Hello
            | Header::Answer { .. }
            | Header::Failure { .. }
            | Header::Error { .. }
            | Header::Progress { .. }
            | Header::Partial { .. }
            | Header::WorkersFailed
            | Header::Retire
            | Header::Heartbeat
            | Header::Panicked { .. }
            | Header::Cancelled { .. }
            | Header::AttemptFailed { .. }
            | Header::Accepted { .. }
            | Header::Operate { .. }
            | Header::Operated { .. }
            | Header::Save { .. } => self.refuse(
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
        let keeps_saves = hello.has_feature(SAVE_FEATURE);
        let retires = hello.has_feature(RETIRE_FEATURE);
        let assignment = hello.assignment.unwrap_or_default();
        if !(1..=MAX_SLOTS).contains(&assignment.slots) {
            let message =
                format!("the broker's hello asks for {} slots, not 1 to {MAX_SLOTS}", assignment.slots);
            return self.refuse(RefusedCode::Malformed, message);
        }
        self.lines.resize_with(assignment.slots.min(self.max_slots) as usize, Line::default);
        let max_body = usize::try_from(hello.max_body).unwrap_or(usize::MAX);
        self.buffer.set_limit(FrameLimit::for_body(*self.max_body.get_or_insert(max_body)));
        self.hello = Some(BrokerHello { assignment, max_body, keeps_saves, retires });
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

    fn note_history(&mut self, route: Route, body: &[u8]) {
        match decode_body(body) {
            Ok(history) => self.history = Some((route, Box::new(history))),
            Err(error) => self.refuse(RefusedCode::Malformed, format!("the history of a request: {error}")),
        }
    }

    /// What came before the attempt that a request is for. Never kept for another one.
    fn history_of(&mut self, route: Route) -> Option<Box<History>> {
        let (of, history) = self.history.take()?;
        ((of.id, of.attempt) == (route.id, route.attempt)).then_some(history)
    }

    /// A method's name, by its place.
    pub(crate) fn method(&self, place: usize) -> &str {
        self.methods.get(place).map_or("?", String::as_str)
    }

    fn find(&self, method: &str) -> Result<usize, String> {
        let place = self.methods.iter().position(|name| name == method);
        place.ok_or_else(|| method.to_owned())
    }

    fn hold(&mut self, held: Held) {
        let prefetch = self.hello.as_ref().map_or(1, |hello| hello.assignment.prefetch.max(1));
        let slot = usize::from(held.route.flags.slot());
        let served = self.lines.len();
        let Some(line) = self.lines.get_mut(slot) else {
            let message = format!("a request for slot {slot}; this worker serves {served}, numbered from 0");
            return self.refuse(RefusedCode::Unexpected, message);
        };
        if line.retired {
            // It crossed with the news of the panic: the broker puts it back.
            return;
        }
        // The running request is not counted: its answer may be written already, and its place filled.
        if line.held.len() >= usize::try_from(prefetch).unwrap_or(usize::MAX) {
            let message =
                format!("more requests than the {prefetch} that a slot of this worker was told to hold");
            return self.refuse(RefusedCode::Unexpected, message);
        }
        line.held.push_back(held);
        self.call(slot);
    }
}
