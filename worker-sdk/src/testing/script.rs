//! The broker's side of one attempt: says hello, sends one request, hears what comes.
//!
//! It owns the two threads of an attempt: one serves as a worker does, the other plays the broker. Must never look into a
//! handler: all it knows came over the socket.

use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lifeboat_protocol::{
    Assignment, Ext, Failure, FrameLimit, Header, Hello, History, MessageType, Panicked, RETIRE_FEATURE,
    Role, Route, SAVE_FEATURE, TimeLeft, decode, decode_body, put_control, put_empty, put_request,
};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::ToldProgress;
use crate::buffer::ReadBuffer;
use crate::{HandlerError, Worker, WorkerError};

/// The only request.
const REQUEST: u64 = 1;

/// What is asked of the worker.
pub(super) struct Order {
    pub(super) method: &'static str,
    pub(super) number: u16,
    pub(super) deadline: Duration,
    pub(super) max_body: usize,
    pub(super) ext: Ext,
    /// What came before it.
    pub(super) history: Option<History>,
    pub(super) assignment: Assignment,
}

/// What was heard.
pub(super) enum Told {
    Progress(ToldProgress),
    Part(Bytes),
    Saved(Bytes),
    /// It wants its process to be replaced.
    RecycleAsked,
    Last(Last),
}

/// What was heard last.
pub(super) enum Last {
    Answered(Bytes),
    Failed(HandlerError),
    Cancelled,
    Panicked(Panicked),
    TimedOut,
    /// It did not serve.
    Gone(WorkerError),
    /// It cannot be understood.
    Garbled(String),
}

/// The way to the worker. Dropped, the request is cancelled; nobody minds if it has ended.
pub(super) struct Wire {
    line: Arc<Mutex<Line>>,
    route: Route,
}

/// What is sent, by whoever sends it.
struct Line {
    socket: UnixStream,
    /// The hello and the request are.
    has_begun: bool,
    /// A cancel has been asked for.
    is_cancelled: bool,
}

impl Wire {
    pub(super) fn cancel(&self) {
        let mut line = lock(&self.line);
        line.is_cancelled = true;
        // One that comes too early is sent after the request.
        if line.has_begun {
            line.send(|out| put_empty(out, MessageType::Cancel, Some(self.route)));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// A worker that is gone hears nothing: that is told by what it said before.
    fn send(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        put(&mut out);
        drop(self.socket.write_all(&out));
    }
}

/// Starts the worker and gives it the request.
///
/// # Errors
///
/// Those of making sockets and threads.
pub(super) fn start(
    worker: Worker,
    order: Order,
    body: Vec<u8>,
) -> io::Result<(Wire, UnboundedReceiver<Told>)> {
    let (ours, theirs) = UnixStream::pair()?;
    let line = Line { socket: ours.try_clone()?, has_begun: false, is_cancelled: false };
    let line = Arc::new(Mutex::new(line));
    let time_left = TimeLeft::from_duration(order.deadline);
    let route = Route { attempt: order.number, ..Route::request(REQUEST, time_left) };
    let (tell, told) = unbounded_channel();
    let serving = thread::Builder::new()
        .name("lifeboat-test-worker".to_owned())
        .spawn(move || worker.serve_telling_all(theirs))?;
    let script = Script {
        line: Arc::clone(&line),
        buffer: ReadBuffer::new(FrameLimit::for_body(order.max_body)),
        ours,
        // One that lies beyond what a clock can say is none.
        deadline: Instant::now().checked_add(order.deadline),
        tell,
    };
    thread::Builder::new()
        .name("lifeboat-test-broker".to_owned())
        .spawn(move || script.play(&order, route, &body, serving))?;
    Ok((Wire { line, route }, told))
}

struct Script {
    ours: UnixStream,
    line: Arc<Mutex<Line>>,
    buffer: ReadBuffer,
    deadline: Option<Instant>,
    tell: UnboundedSender<Told>,
}

impl Script {
    fn play(
        mut self,
        order: &Order,
        route: Route,
        body: &[u8],
        serving: JoinHandle<Result<(), WorkerError>>,
    ) {
        self.begin(order, route, body);
        let last = loop {
            match self.next() {
                Next::Frame(frame) => match self.heard(&frame) {
                    Ok(None) => {}
                    Ok(Some(last)) => break last,
                    Err(what) => break Last::Garbled(what),
                },
                Next::Late => {
                    lock(&self.line).send(|out| put_empty(out, MessageType::Cancel, Some(route)));
                    drop(self.ours.shutdown(Shutdown::Both));
                    // Its thread ends when its handler does; nobody can end it before.
                    self.say(Told::Last(Last::TimedOut));
                    return;
                }
                Next::Over(what) => break Last::Garbled(what),
            }
        };
        // It leaves in order, so that whatever a test looks at next is as a process leaves it.
        lock(&self.line).send(|out| put_empty(out, MessageType::Drain, None));
        let served = serving.join();
        self.say(Told::Last(match (last, served) {
            (Last::Garbled(_), Ok(Err(error))) => Last::Gone(error),
            (last, _) => last,
        }));
    }

    /// Says hello and sends the request, and what came before it.
    fn begin(&self, order: &Order, route: Route, body: &[u8]) {
        let software = concat!("lifeboat-worker-testing/", env!("CARGO_PKG_VERSION"));
        let hello = Hello {
            features: vec![SAVE_FEATURE.to_owned(), RETIRE_FEATURE.to_owned()],
            assignment: Some(order.assignment.clone()),
            ..Hello::new(Role::Broker, order.max_body, software)
        };
        let mut line = lock(&self.line);
        line.send(|out| {
            // Both can be encoded: texts and numbers, and what was saved within its bounds.
            drop(put_control(out, MessageType::Hello, None, &hello));
            if let Some(history) = &order.history {
                drop(put_control(out, MessageType::History, Some(route), history));
            }
            put_request(out, route, order.method, &order.ext, body);
        });
        line.has_begun = true;
        if line.is_cancelled {
            line.send(|out| put_empty(out, MessageType::Cancel, Some(route)));
        }
    }

    fn say(&self, told: Told) {
        // Whoever dropped the other end has seen enough.
        drop(self.tell.send(told));
    }

    /// One message; what ends the attempt is given back.
    fn heard(&self, frame: &Bytes) -> Result<Option<Last>, String> {
        let message = decode(frame).map_err(|error| error.to_string())?;
        let header: Header<'_> = message.header;
        let body = frame.slice_ref(message.body);
        let last = match header.message_type() {
            MessageType::Progress => {
                self.say(Told::Progress(read(&body)?));
                return Ok(None);
            }
            MessageType::Partial => {
                self.say(Told::Part(body));
                return Ok(None);
            }
            MessageType::Save => {
                self.say(Told::Saved(body));
                return Ok(None);
            }
            MessageType::Retire => {
                self.say(Told::RecycleAsked);
                return Ok(None);
            }
            MessageType::Answer => Last::Answered(body),
            MessageType::Failure => Last::Failed(HandlerError::from_failure(read::<Failure>(&body)?)),
            MessageType::Cancelled => Last::Cancelled,
            MessageType::Panicked => Last::Panicked(read(&body)?),
            MessageType::Hello | MessageType::Heartbeat => return Ok(None),
            // The worker leaves, and its thread says why.
            MessageType::Refused | MessageType::WorkersFailed => return Ok(None),
            MessageType::Request
            | MessageType::Error
            | MessageType::Cancel
            | MessageType::Drain
            | MessageType::AttemptFailed
            | MessageType::Operate
            | MessageType::Operated
            | MessageType::History
            | MessageType::Accepted => {
                return Err(format!("a worker does not send {:?}", header.message_type()));
            }
        };
        Ok(Some(last))
    }

    fn next(&mut self) -> Next {
        loop {
            match self.buffer.next_frame() {
                Ok(Some(frame)) => return Next::Frame(frame),
                Ok(None) => {}
                Err(error) => return Next::Over(error.to_string()),
            }
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let is_late = left.is_some_and(|left| left.is_zero());
            if is_late {
                // What is written already counts, as it does with a broker. From here on nothing can be written.
                drop(self.ours.shutdown(Shutdown::Read));
            }
            if let Err(error) = self.ours.set_read_timeout(left.filter(|_| !is_late)) {
                return Next::Over(error.to_string());
            }
            match self.buffer.read(&self.ours, RecvFlags::empty()) {
                Ok(0) if is_late => return Next::Late,
                Ok(0) => return Next::Over("the worker closed its connection".to_owned()),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Next::Over(error.to_string()),
            }
        }
    }
}

/// What comes next from the worker.
enum Next {
    Frame(Bytes),
    /// The deadline.
    Late,
    /// Nothing can come any more.
    Over(String),
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    decode_body(body).map_err(|error| error.to_string())
}
