//! A worker's life between its start and its end: hello, requests in order, farewell.
//!
//! Owns the slot's thread. Must never start a request before the answer to the one before it is written, and must
//! never start one after a drain, a SIGTERM or the loss of the broker was seen.
//!
//! # Why one thread does both the reading and the work
//!
//! A wake-up of another thread costs more than everything else in a short request. So the thread that runs handlers
//! also reads the socket, plainly and blocking: a request costs one read, one write and no hand-over. While a handler
//! runs, nobody reads, which does not matter for a millisecond and matters after that: a handler met at two ticks of
//! a timer is taken over by the [watcher](crate::watch), which reads in its stead until it ends. An asynchronous handler runs
//! on the same thread, inside a `current_thread` runtime; only where handlers left tasks behind does the waiting
//! for requests go through that runtime too, so that the tasks go on.
//!
//! Several slots would be several such threads, with one of them, or the watcher, reading for all.

use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use lifeboat_protocol::{FrameLimit, Hello, Refused, RefusedCode, Role, WorkerHello};

use crate::WorkerError;
use crate::adapter::Run;
use crate::call::Call;
use crate::context::Process;
use crate::inbox::{BrokerHello, Held, Inbox, Reading};
use crate::link::Link;
use crate::outbox::Outbox;
use crate::runtime::Runtime;
use crate::slot::Slot;
use crate::state::States;
use crate::watch::{Abandon, Watch};

const SOFTWARE: &str = concat!("lifeboat-worker/", env!("CARGO_PKG_VERSION"));

/// A worker whose declarations were checked.
pub(crate) struct Program {
    /// In the order of `handlers`.
    pub(crate) methods: Vec<String>,
    pub(crate) handlers: Vec<Box<dyn Run>>,
    pub(crate) states: States,
    pub(crate) max_body: Option<usize>,
}

/// Serves until drained.
///
/// # Errors
///
/// Why it stopped otherwise. The broker was told where it can still be told.
pub(crate) fn serve(
    program: Program,
    socket: UnixStream,
    signals: bool,
    abandon: Abandon,
) -> Result<(), WorkerError> {
    let setup = |what| move |source| WorkerError::Setup { what, source };
    crate::inherit::prepare(&socket).map_err(setup("the broker's socket"))?;
    crate::panics::install_hook();
    let needs_runtime = program.handlers.iter().any(|handler| handler.is_async());
    let runtime = needs_runtime.then(Runtime::new).transpose().map_err(setup("the tokio runtime"))?;
    let inbox = Inbox::new(program.methods.clone(), program.max_body);
    let link = Arc::new(Link::new(socket, inbox).map_err(setup("the watcher's timer"))?);
    let watch = Watch::start(&link, signals, abandon)?;

    let served = Server { link: &link, runtime }.run(program);
    drop(watch);
    if let Err(error) = &served {
        refuse(error, &link.socket);
    }
    served
}

struct Server<'a> {
    link: &'a Link,
    runtime: Option<Runtime>,
}

impl<'a> Server<'a> {
    fn run(mut self, program: Program) -> Result<(), WorkerError> {
        let mut inbox = self.link.lock();
        let Some(broker) = self.greet(&program, &mut inbox)? else {
            return Ok(());
        };
        let process = Process {
            pool: broker.assignment.pool,
            worker: broker.assignment.worker,
            incarnation: broker.assignment.incarnation,
            methods: program.methods,
            states: program.states,
        };
        let outbox = Outbox::new(FrameLimit::for_body(broker.max_body));
        let mut slot = Slot::new(program.handlers, Arc::new(process), outbox);
        loop {
            // Before the reason why nothing more comes: after either of these the end of the stream is no loss.
            if self.told_to_stop() || inbox.draining {
                return Ok(());
            }
            if let Some(error) = inbox.over.take() {
                return Err(error);
            }
            match inbox.held.pop_front() {
                Some(held) => {
                    inbox = self.take(&mut slot, held, inbox)?;
                    // What lies in the socket may be a cancel of a held request, or a drain. With none held, which
                    // is usual, the next read waits for a request anyway.
                    if !inbox.held.is_empty() && inbox.over.is_none() {
                        inbox.read(&self.link.socket, false);
                    }
                }
                None => self.read(&mut inbox)?,
            }
        }
    }

    fn told_to_stop(&self) -> bool {
        self.link.terminate.load(Ordering::SeqCst)
    }

    /// Reads the broker's hello and answers it: from here on the worker is ready. `None`: told to stop before.
    fn greet(&self, program: &Program, inbox: &mut Inbox) -> Result<Option<BrokerHello>, WorkerError> {
        let broker = loop {
            if let Some(broker) = &inbox.hello {
                break broker.clone();
            }
            if self.told_to_stop() {
                return Ok(None);
            }
            if let Some(error) = inbox.over.take() {
                return Err(error);
            }
            inbox.read(&self.link.socket, true);
        };
        let hello = Hello {
            pid: Some(std::process::id()),
            worker: Some(WorkerHello { methods: program.methods.clone(), slots: 1 }),
            ..Hello::new(Role::Worker, inbox.max_body(), SOFTWARE)
        };
        let mut outbox = Outbox::new(FrameLimit::for_body(broker.max_body));
        outbox.hello(&hello);
        outbox.flush(&self.link.socket)?;
        Ok(Some(broker))
    }

    /// Waits for the broker: through the runtime if tasks must go on meanwhile, else in one plain read.
    fn read(&mut self, inbox: &mut Inbox) -> Result<(), WorkerError> {
        let socket = &self.link.socket;
        match &mut self.runtime {
            Some(runtime) if runtime.has_tasks() => {
                runtime.read_when_ready(socket, || inbox.read(socket, false) == Reading::Something).map_err(
                    |source| WorkerError::Setup { what: "waiting for the socket in the runtime", source },
                )
            }
            Some(_) | None => {
                inbox.read(socket, true);
                Ok(())
            }
        }
    }

    /// Answers one request, unless told to stop before its handler began. The inbox is the watcher's while the
    /// handler runs.
    fn take(
        &self,
        slot: &mut Slot,
        held: Held,
        mut inbox: MutexGuard<'a, Inbox>,
    ) -> Result<MutexGuard<'a, Inbox>, WorkerError> {
        let socket = &self.link.socket;
        let method = match &held.method {
            Ok(_) if held.cancelled => return slot.skip(held.route, socket).map(|()| inbox),
            Err(name) => return slot.unknown(held.route, name, socket).map(|()| inbox),
            Ok(method) => *method,
        };
        let call = Arc::new(Call::new(held.route, method, held.ext, held.received));
        inbox.running = Some(Arc::clone(&call));
        drop(inbox);
        self.link.begin();
        // Again, now that the phase is told: a SIGTERM since the first look has nobody else to stop this request.
        let executed = if self.told_to_stop() {
            Ok(())
        } else {
            slot.execute(&call, held.body, self.runtime.as_ref(), socket)
        };
        self.link.end();
        let mut inbox = self.link.lock();
        inbox.running = None;
        executed.map(|()| inbox)
    }
}

/// Tells the broker why it is left, where that is the worker's decision.
fn refuse(error: &WorkerError, socket: &UnixStream) {
    let refused = match error {
        WorkerError::Protocol { code, message } => Refused::new(*code, message),
        WorkerError::UnsupportedVersion { .. } => {
            Refused::new(RefusedCode::UnsupportedVersion, error.to_string())
        }
        WorkerError::StartedByHand
        | WorkerError::BadDescriptor { .. }
        | WorkerError::AlreadyTaken
        | WorkerError::NoHandlers
        | WorkerError::DuplicateHandler { .. }
        | WorkerError::BadMethod { .. }
        | WorkerError::MissingState { .. }
        | WorkerError::DuplicateState { .. }
        | WorkerError::InsideRuntime
        | WorkerError::Setup { .. }
        | WorkerError::Refused { .. }
        | WorkerError::BrokerLost { .. }
        | WorkerError::SlotsFailed { .. } => return,
    };
    let mut outbox = Outbox::new(FrameLimit::for_body(lifeboat_protocol::DEFAULT_MAX_BODY));
    outbox.refused(&refused);
    // A broker that is gone needs no refusal.
    let _ = outbox.flush(socket);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use bytes::Bytes;
    use lifeboat_protocol::{Route, TimeLeft};

    use super::*;
    use crate::HandlerError;
    use crate::adapter::RawBlocking;

    #[test]
    fn a_sigterm_just_before_a_handler_begins_keeps_it_from_starting() {
        static STARTED: AtomicBool = AtomicBool::new(false);
        let handler = |body, _| {
            STARTED.store(true, Ordering::SeqCst);
            Ok::<Bytes, HandlerError>(body)
        };
        let (broker, socket) = UnixStream::pair().unwrap();
        let link = Link::new(socket, Inbox::new(vec!["raw".to_owned()], None)).unwrap();
        let server = Server { link: &link, runtime: None };
        let outbox = Outbox::new(FrameLimit::for_body(1_000));
        let mut slot = Slot::new(vec![Box::new(RawBlocking(handler))], Arc::default(), outbox);
        for (terminated, id) in [(true, 1), (false, 2)] {
            link.terminate.store(terminated, Ordering::SeqCst);
            let held = Held {
                route: Route { attempt: 1, ..Route::request(id, TimeLeft::NONE) },
                method: Ok(0),
                ext: None,
                body: Bytes::from_static(b"\x07"),
                received: Instant::now(),
                cancelled: false,
            };
            let inbox = server.take(&mut slot, held, link.lock()).unwrap();
            assert!(inbox.running.is_none());
            drop(inbox);
            assert!(!link.phase().is_running());
            assert_eq!(STARTED.load(Ordering::SeqCst), !terminated);
            let answered = rustix::io::ioctl_fionread(&broker).unwrap() > 0;
            assert_eq!(answered, !terminated);
        }
    }
}
