//! Declaring a worker: its states and its handlers, and starting it.
//!
//! Owns the builder and the checks of what was declared. Must never serve with a declaration that would surprise:
//! a method twice, a state missing, nothing to do.

use std::fmt;
use std::future::Future;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use lifeboat_protocol::{MAX_SLOTS, Method, check_method};

use crate::adapter::{Async, Blocking, RawAsync, RawBlocking, Run};
use crate::exit::complain;
use crate::handler::{BlockingHandler, Handler};
use crate::recorder::Recorder;
use crate::serve::{Program, serve};
use crate::state::States;
use crate::watch::Abandon;
use crate::{Context, Exit, HandlerError, WorkerError};

/// A worker's program: declare states and handlers, then [`run`](Self::run).
///
/// ```no_run
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Print = "print": String => u32);
///
/// /// Something that is opened once and used by all requests.
/// struct Printer { /* ... */ }
/// # impl Printer {
/// #     fn open() -> std::io::Result<Self> { Ok(Self {}) }
/// #     fn print(&self, _: &str) -> std::io::Result<u32> { Ok(1) }
/// # }
///
/// fn print(text: String, printer: State<Printer>) -> Result<u32, HandlerError> {
///     Ok(printer.print(&text)?)
/// }
///
/// fn main() -> lifeboat_worker::Result {
///     Worker::new()               // first: it takes the broker's socket
///         .max_slots(1)           // the printer's library is used by one thread at a time
///         .max_body(1024 * 1024)  // nobody prints more
///         .state(Printer::open()?)
///         .handle_blocking::<Print>(print)
///         .run()
/// }
/// ```
#[must_use = "a worker does nothing before `run`"]
pub struct Worker {
    socket: Result<UnixStream, WorkerError>,
    recorder: Recorder,
    handlers: Vec<Declared>,
    states: States,
    max_body: Option<usize>,
    max_slots: u32,
}

/// One handler as declared.
struct Declared {
    method: String,
    handler: Box<dyn Run>,
}

impl Worker {
    /// A worker without handlers.
    ///
    /// Takes the inherited socket, which `LIFEBOAT_FD` names, and marks it close-on-exec, so that no process started
    /// while the states are built holds it: make it the first thing in `main`. The variable itself stays in the
    /// environment. A descriptor that is no such socket is left alone; [`run`](Self::run) tells that there is none.
    pub fn new() -> Self {
        let socket = crate::inherit::inherited_socket();
        let recorder = if socket.is_ok() { Recorder::inherited() } else { Recorder::NONE };
        Self { recorder, ..Self::with_socket(socket) }
    }

    /// A worker that is no process of a broker.
    #[cfg(feature = "testing")]
    pub(crate) fn unconnected() -> Self {
        Self::with_socket(Err(WorkerError::StartedByHand))
    }

    fn with_socket(socket: Result<UnixStream, WorkerError>) -> Self {
        Self {
            socket,
            recorder: Recorder::NONE,
            handlers: Vec::new(),
            states: States::default(),
            max_body: None,
            max_slots: MAX_SLOTS,
        }
    }

    /// Gives the handlers of all slots something to share, as [`State<S>`](crate::State): one value per type. It is
    /// built before the worker says that it is ready; an error there ends the process as a failed start, not as a crash.
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.add(state);
        self
    }

    /// The largest body accepted from the broker, in bytes. Default: whatever the broker accepts itself. The broker
    /// is refused, and the process ends, if it sends more.
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// The most slots that this program can serve, at least 1. Default: as many as the broker asks for, which are 256
    /// at most.
    ///
    /// Say 1 where handlers call something that only one thread of a process may use at a time. The broker refuses the
    /// process, as a failed start, if its pool is configured for more.
    pub const fn max_slots(mut self, slots: u32) -> Self {
        self.max_slots = if slots == 0 { 1 } else { slots };
        self
    }

    /// Adds an asynchronous handler that is given bodies as they came, each one CBOR item, and answers with one: for
    /// gateways that pass them on. A reply that is no CBOR item reaches the caller as it is.
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    /// use lifeboat_worker::Bytes;
    ///
    /// /// Answers every request with itself.
    /// async fn mirror(body: Bytes, context: Context) -> Result<Bytes, HandlerError> {
    ///     eprintln!("{} bytes for {}", body.len(), context.method());
    ///     Ok(body)
    /// }
    ///
    /// let worker = Worker::new().handle_raw("left", mirror).handle_raw("right", mirror);
    /// # #[cfg(feature = "testing")]
    /// # fn test(worker: Worker) -> Result<(), lifeboat_worker::testing::AttemptError> {
    /// use lifeboat_worker::testing::Attempt;
    ///
    /// method!(struct Right = "right": Vec<u8> => Vec<u8>);
    /// assert_eq!(Attempt::<Right>::by(worker).run_blocking(vec![1, 2])?.reply(), [1, 2]);
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "testing")]
    /// # test(worker).unwrap();
    /// ```
    pub fn handle_raw<F, Fut, E>(self, method: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Bytes, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Bytes, E>> + 'static,
        E: Into<HandlerError> + 'static,
    {
        self.declare(method.into(), RawAsync(handler))
    }

    /// Adds a blocking handler with bodies as in [`handle_raw`](Self::handle_raw).
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    /// use lifeboat_worker::Bytes;
    ///
    /// fn keep(body: Bytes, _: Context) -> Result<Bytes, HandlerError> {
    ///     std::fs::write("last-request.cbor", &body)?;
    ///     Ok(body)
    /// }
    ///
    /// let worker = Worker::new().handle_raw_blocking("keep", keep);
    /// # drop(worker);
    /// ```
    pub fn handle_raw_blocking<F, E>(self, method: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Bytes, Context) -> Result<Bytes, E> + Send + Sync + 'static,
        E: Into<HandlerError> + 'static,
    {
        self.declare(method.into(), RawBlocking(handler))
    }

    fn declare(mut self, method: String, handler: impl Run + 'static) -> Self {
        self.handlers.push(Declared { method, handler: Box::new(handler) });
        self
    }

    /// Serves until the broker, or a SIGTERM, asks the process to stop. Blocks; handlers of the first slot, usually the
    /// only one, run on this thread.
    ///
    /// Requests that are running are finished and answered then; those that were not started are left to the broker,
    /// which gives them to another worker. A second SIGTERM has its default effect.
    ///
    /// # Errors
    ///
    /// None: what went wrong is in the [`Exit`], which `main` returns for its exit code. The type lets `main` use
    /// `?` on whatever it does before.
    pub fn run(mut self) -> crate::Result {
        let socket = std::mem::replace(&mut self.socket, Err(WorkerError::AlreadyTaken));
        let recorder = self.recorder;
        let served = socket.and_then(|socket| {
            let program = Program { recorder, ..self.check()? };
            serve(program, socket, true, Box::new(abandon))
        });
        Ok(Exit::new(served))
    }

    /// Serves on a socket of your own until drained, for tests with a scripted broker and for embedding. Blocks.
    /// Signals are left alone.
    ///
    /// When the broker is gone and a handler does not end within the `stop_grace` that the broker named, the
    /// **process** ends with code 69, as under [`run`](Self::run).
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    ///
    /// use lifeboat_worker::prelude::*;
    /// use lifeboat_worker::WorkerError;
    ///
    /// method!(struct Echo = "echo": String => String);
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let worker = Worker::new().handle_blocking::<Echo>(|text: String| Ok::<_, HandlerError>(text));
    /// let broker = std::thread::spawn(move || {
    ///     // ... what your broker says, as `docs/protocol.md` has it; this one goes away at once ...
    ///     drop(theirs);
    /// });
    /// assert!(matches!(worker.serve(ours), Err(WorkerError::BrokerLost { .. })));
    /// # broker.join().unwrap();
    /// # Ok::<_, std::io::Error>(())
    /// ```
    /// # Errors
    ///
    /// Every [`WorkerError`] but those about the inherited socket.
    pub fn serve(self, socket: UnixStream) -> Result<(), WorkerError> {
        self.serve_with(socket, Box::new(abandon))
    }

    pub(crate) fn serve_with(self, socket: UnixStream, abandon: Abandon) -> Result<(), WorkerError> {
        serve(self.check()?, socket, false, abandon)
    }

    /// Serves for a test: all progress is told, and what does not stop is left running.
    #[cfg(feature = "testing")]
    pub(crate) fn serve_telling_all(self, socket: UnixStream) -> Result<(), WorkerError> {
        let program = Program { tells_all_progress: true, ..self.check()? };
        serve(program, socket, false, Box::new(|_| {}))
    }

    fn check(self) -> Result<Program, WorkerError> {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(WorkerError::InsideRuntime);
        }
        if self.handlers.is_empty() {
            return Err(WorkerError::NoHandlers);
        }
        if let Some(type_name) = self.states.duplicate() {
            return Err(WorkerError::DuplicateState { type_name });
        }
        let mut methods: Vec<String> = Vec::new();
        let mut handlers = Vec::new();
        for Declared { method, handler } in self.handlers {
            if let Err(error) = check_method(&method) {
                return Err(WorkerError::BadMethod { method, len: error.len });
            }
            if methods.contains(&method) {
                return Err(WorkerError::DuplicateHandler { method });
            }
            if let Some((_, type_name)) = handler.needs().into_iter().find(|(id, _)| !self.states.has(*id)) {
                return Err(WorkerError::MissingState { method, type_name });
            }
            methods.push(method);
            handlers.push(handler);
        }
        let Self { states, max_body, max_slots, .. } = self;
        Ok(Program {
            methods,
            handlers,
            states,
            max_body,
            max_slots,
            recorder: Recorder::NONE,
            tells_all_progress: false,
        })
    }
}

/// Ends the process beside a handler that did not stop.
fn abandon(error: &WorkerError) {
    complain(error);
    // Not `std::process::exit`: its clean-up would run beside that handler, and could wait for it.
    signal_hook::low_level::exit(error.exit_code().into());
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<&str> = self.handlers.iter().map(|declared| &*declared.method).collect();
        f.debug_struct("Worker").field("methods", &methods).finish_non_exhaustive()
    }
}

/// Adds typed handlers to a [`Worker`]: `.handle::<Resize>(resize)`. Import it along with the worker.
///
/// A trait only because `Args`, the form of the handler, is then inferred while the method is named.
///
/// ```
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Hash = "hash": Vec<u8> => u64);
/// method!(struct Fetch = "fetch": String => usize);
///
/// // Computes, or calls a library that blocks: a plain function.
/// fn hash(bytes: Vec<u8>) -> Result<u64, HandlerError> {
///     Ok(bytes.iter().fold(7, |hash, byte| hash * 31 + u64::from(*byte)))
/// }
///
/// // Waits for others: an asynchronous one.
/// async fn fetch(name: String) -> Result<usize, HandlerError> {
///     Ok(tokio::task::spawn_blocking(move || name.len()).await?)
/// }
///
/// let worker = || Worker::new().handle_blocking::<Hash>(hash).handle::<Fetch>(fetch);
/// # #[cfg(feature = "testing")]
/// # fn test(worker: impl Fn() -> Worker) -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// assert_eq!(Attempt::<Hash>::by(worker()).run_blocking(vec![1])?.reply(), 218);
/// assert_eq!(Attempt::<Fetch>::by(worker()).run_blocking("ahoy".to_owned())?.reply(), 4);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test(worker).unwrap();
/// ```
pub trait Handle<Args> {
    /// Adds an asynchronous handler of the method `M`; see [`Handler`] for its forms.
    #[must_use = "a worker does nothing before `run`"]
    fn handle<M: Method + 'static>(self, handler: impl Handler<M, Args>) -> Worker;

    /// Adds a blocking handler of the method `M`; see [`BlockingHandler`] for its forms.
    #[must_use = "a worker does nothing before `run`"]
    fn handle_blocking<M: Method + 'static>(self, handler: impl BlockingHandler<M, Args>) -> Worker;
}

impl<Args: 'static> Handle<Args> for Worker {
    fn handle<M: Method + 'static>(self, handler: impl Handler<M, Args>) -> Self {
        self.declare(M::NAME.to_owned(), Async::<_, M, Args>::new(handler))
    }

    fn handle_blocking<M: Method + 'static>(self, handler: impl BlockingHandler<M, Args>) -> Self {
        self.declare(M::NAME.to_owned(), Blocking::<_, M, Args>::new(handler))
    }
}
