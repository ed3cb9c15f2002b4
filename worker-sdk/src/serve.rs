//! A worker's life between its start and its end: hello, slots, farewell.
//!
//! Owns the threads of the slots and the order of things: everything that can fail is made before the worker says that
//! it is ready, and the process has nothing to wait for once this returns. Must never take a request itself.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_protocol::{
    FrameLimit, HEARTBEAT_FEATURE, HISTORY_FEATURE, Hello, RECORDER_FEATURE, Refused, RefusedCode, Role,
    WorkerHello,
};

use crate::WorkerError;
use crate::adapter::Run;
use crate::inbox::{BrokerHello, Inbox};
use crate::link::{Link, Terms};
use crate::outbox::Outbox;
use crate::process::{Process, Retirement};
use crate::recorder::Recorder;
use crate::runtime::Runtime;
use crate::slot::Slot;
use crate::state::States;
use crate::thread::SlotThread;
use crate::watch::{Abandon, Watch};

const SOFTWARE: &str = concat!("lifeboat-worker/", env!("CARGO_PKG_VERSION"));

/// Stack of the threads of all slots but the first, in bytes: what a main thread usually has.
const STACK: usize = 8 * 1024 * 1024;

/// A worker whose declarations were checked.
pub(crate) struct Program {
    /// In the order of `handlers`.
    pub(crate) methods: Vec<String>,
    pub(crate) handlers: Vec<Box<dyn Run>>,
    pub(crate) states: States,
    pub(crate) max_body: Option<usize>,
    pub(crate) max_slots: u32,
    pub(crate) recorder: Recorder,
    /// For tests; see [`Process::tells_all_progress`].
    pub(crate) tells_all_progress: bool,
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
    crate::inherit::prepare(&socket).map_err(setup("the broker's socket"))?;
    crate::panics::install_hook();
    let inbox = Inbox::new(program.methods.clone(), program.max_body, program.max_slots);
    let link = Arc::new(Link::new(socket, inbox).map_err(setup("the descriptors of the watcher"))?);
    let watch = Watch::start(&link, signals, abandon)?;

    let served = match wait_for_hello(&link) {
        Ok(Some(broker)) => run(&link, program, broker),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    // It says nothing more, so that the farewell is the last of it.
    drop(watch);
    if let Err(error) = &served {
        take_leave(error, &link);
    }
    link.pen.put_down();
    served
}

fn setup(what: &'static str) -> impl Fn(std::io::Error) -> WorkerError {
    move |source| WorkerError::Setup { what, source }
}

/// Reads the broker's hello. `None`: told to stop before.
fn wait_for_hello(link: &Link) -> Result<Option<BrokerHello>, WorkerError> {
    let mut inbox = link.lock();
    loop {
        if let Some(broker) = &inbox.hello {
            return Ok(Some(broker.clone()));
        }
        if link.told_to_stop() {
            return Ok(None);
        }
        if let Some(error) = inbox.over.take() {
            return Err(error);
        }
        link.release(inbox);
        let woken = link.crew.wait(0);
        inbox = link.lock();
        if woken.socket {
            inbox.read(&link.socket);
        }
    }
}

/// Makes the slots, says that they are ready, and serves until all have ended. The first runs on this thread.
fn run(link: &Link, program: Program, broker: BrokerHello) -> Result<(), WorkerError> {
    let (slots, our_max_body) = {
        let inbox = link.lock();
        (inbox.lines.len(), inbox.max_body())
    };
    link.pace.serve(slots);
    if slots > 1 {
        link.crew.grow(slots).map_err(setup("the descriptors that slots wait for"))?;
    }
    let Program { methods, handlers, states, recorder, tells_all_progress, .. } = program;
    let limit = FrameLimit::for_body(broker.max_body);
    let hello = hello(&methods, slots, our_max_body, &broker, recorder);
    let terms = terms(&broker, recorder);
    let process = Arc::new(Process {
        assignment: broker.assignment,
        methods,
        states,
        pen: Arc::downgrade(&link.pen),
        limit,
        keeps_saves: broker.keeps_saves,
        recorder,
        tells_all_progress,
        retirement: Retirement::new(broker.retires),
    });
    let needs_runtime = handlers.iter().any(|handler| handler.is_async());
    let mut threads = Vec::new();
    for number in 0..slots {
        let runtime = needs_runtime.then(Runtime::new).transpose().map_err(setup("the tokio runtime"))?;
        let slot = Slot::new(&handlers, &process, &link.pen, runtime);
        threads.push(SlotThread::new(link, slot, number));
    }
    std::thread::scope(|scope| {
        let mut threads = threads.into_iter();
        let first = threads.next();
        for (number, thread) in (1..).zip(threads) {
            let builder = std::thread::Builder::new().name(format!("lifeboat-slot-{number}"));
            if let Err(error) = builder.stack_size(STACK).spawn_scoped(scope, || thread.run()) {
                return give_up(link, setup("the threads of the slots")(error));
            }
        }
        recorder.open(slots);
        let mut outbox = Outbox::new(limit);
        outbox.hello(&hello);
        if let Err(error) = outbox.flush(&link.pen, None) {
            return give_up(link, error);
        }
        agree(link, terms);
        if let Some(first) = first {
            first.run();
        }
    });
    link.lock().ending(link.told_to_stop())
}

/// Ends the slots that run already.
fn give_up(link: &Link, error: WorkerError) {
    let mut inbox = link.lock();
    inbox.break_off(error);
    link.release(inbox);
}

/// The hello that says: ready.
fn hello(
    methods: &[String],
    slots: usize,
    max_body: usize,
    broker: &BrokerHello,
    recorder: Recorder,
) -> Hello {
    let heartbeat = (broker.assignment.heartbeat_ms > 0).then_some(HEARTBEAT_FEATURE);
    let recorder = recorder.is_there().then_some(RECORDER_FEATURE);
    let features = heartbeat.into_iter().chain([HISTORY_FEATURE]).chain(recorder).map(str::to_owned);
    Hello {
        features: features.collect(),
        pid: Some(std::process::id()),
        worker: Some(WorkerHello { methods: methods.to_vec(), slots: slots as u32 }),
        ..Hello::new(Role::Worker, max_body, SOFTWARE)
    }
}

fn terms(broker: &BrokerHello, recorder: Recorder) -> Terms {
    let heartbeat = Some(broker.assignment.heartbeat_ms).filter(|millis| *millis > 0);
    Terms {
        heartbeat: heartbeat.map(Duration::from_millis),
        grace: Duration::from_millis(broker.assignment.stop_grace_ms),
        recorder,
    }
}

/// From here on the watcher keeps to the terms.
fn agree(link: &Link, terms: Terms) {
    let set = link.terms.set(terms);
    debug_assert!(set.is_ok(), "agreed once");
    if terms.heartbeat.is_some() {
        link.alarm.ring();
    }
}

/// Tells the broker why it is left, where that is the worker's decision.
fn take_leave(error: &WorkerError, link: &Link) {
    let mut outbox = Outbox::new(FrameLimit::for_body(lifeboat_protocol::DEFAULT_MAX_BODY));
    match error {
        WorkerError::Protocol { code, message } => outbox.refused(&Refused::new(*code, message)),
        WorkerError::UnsupportedVersion { .. } => {
            outbox.refused(&Refused::new(RefusedCode::UnsupportedVersion, error.to_string()));
        }
        WorkerError::SlotsFailed { reasons } => outbox.workers_failed(reasons),
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
        | WorkerError::BrokerLost { .. } => return,
    }
    // A broker that is gone needs no farewell.
    let _ = outbox.flush(&link.pen, None);
}
