//! The worker SDK of Lifeboat: write handlers, let a broker own the process.
//!
//! This crate owns everything between the socket that a worker process inherits and the handlers in it: hello, slots,
//! requests in order, progress, parts of replies, answers, failures, panics, cancels, heartbeats, draining and the exit
//! code. Handlers never clean up connections or processes. The crate must never open a socket of its own, write to stdout,
//! or retry anything.
//!
//! # A worker
//!
//! ```no_run
//! use lifeboat_worker::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Resize {
//!     width: u32,
//!     image: Vec<u8>,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Thumb(Vec<u8>);
//!
//! method!("resize": Resize => Thumb);
//!
//! struct Model { /* loaded once, shared by all requests */ }
//!
//! impl Model {
//!     fn load() -> std::io::Result<Self> {
//!         Ok(Self {})
//!     }
//!
//!     fn scale(&self, line: u8, _width: u32) -> u8 {
//!         line
//!     }
//! }
//!
//! fn resize(request: Resize, context: Context, model: State<Model>) -> Result<Thumb, HandlerError> {
//!     if request.width == 0 {
//!         return Err(HandlerError::new("bad_width", "the width must not be 0"));
//!     }
//!     let mut thumb = Vec::new();
//!     for line in request.image {
//!         context.check_cancel()?; // nobody waits any more: stop here
//!         thumb.push(model.scale(line, request.width));
//!     }
//!     Ok(Thumb(thumb))
//! }
//!
//! fn main() -> lifeboat_worker::Result {
//!     Worker::new().state(Model::load()?).handle_blocking::<Resize>(resize).run()
//! }
//! ```
//!
//! `main` is a plain function: the SDK brings its own runtime if a handler is asynchronous. Asynchronous handlers
//! are added with [`handle`](Handle::handle), blocking ones with [`handle_blocking`](Handle::handle_blocking), and
//! handlers of undecoded bodies with [`Worker::handle_raw`]. After its request a handler may take up to three arguments, in
//! any order: a [`Context`], [`State`]s, and [`Parts`] of its reply.
//!
//! The program is started by the broker, through a pool's `command`. Started by hand it says so and exits. To try it, let
//! `lifeboat dev` be a broker around it, with nothing to configure:
//!
//! ```text
//! $ export LIFEBOAT_SOCKET=/tmp/dev.sock                     # in both of two terminals
//! $ lifeboat dev target/debug/thumbnailer
//! $ lifeboat call resize '{"width": 64, "image": [1, 2, 3]}'
//! ```
//!
//! In production it is a pool of the broker's configuration, and what happens when a request takes too long or kills its
//! process is said there, not here:
//!
//! ```toml
//! [pools.images]
//! command = ["thumbnailer"]
//! workers = 4
//!
//! [pools.images.methods.resize]
//! attempt_timeout = "10s"
//! retry = { on = ["crash", "timeout"], max_attempts = 2 }
//! ```
//!
//! # Slots
//!
//! A slot executes one request at a time. The broker says how many a process has (`slots` of its pool, by default 1);
//! [`Worker::max_slots`] says how many a program can have at most. Each slot has a thread of its own, always the same:
//! the first slot the one that called [`Worker::run`], the others one with a stack of 8 MiB. What one slot does holds up
//! no other: not a handler that blocks or computes for long, and not one that waits because the broker does not read.
//!
//! Handlers are shared by all slots, and so are states: both must be `Send` and `Sync`, also where there is one slot. The
//! futures of asynchronous handlers need not be `Send`: each slot has a `current_thread` runtime of its own, and
//! `tokio::spawn` in a handler spawns there. Slots share the process, so they share its fate: a crash of one ends the
//! requests of all. One slot per process isolates best; several save memory where a model is large.
//!
//! # What a handler may rely on
//!
//! * **One request at a time.** A handler has its slot to itself, with the slot's thread. It may block and it may compute
//!   for long.
//! * **Answers are written before the slot's next request starts**, so a crash of the next request cannot lose them.
//! * **An error is an answer.** [`HandlerError`] reaches the caller as `Failed`; the process is healthy. It is final
//!   unless it says [`retryable`](HandlerError::retryable), or [`retry_after`](HandlerError::retry_after) to be left alone
//!   for a while first.
//! * **A process that is unfit to go on is replaced** where a handler says so: [`Context::recycle`],
//!   [`HandlerError::and_recycle`].
//! * **A panic retires its slot**, after its message and location were told: what a panic left half changed must not
//!   serve the next caller. The other slots go on; when none is left the process ends. The default panic output still goes
//!   to stderr. Where the pool says `on_panic = "keep"` the slot goes on instead: its thread, its states, its runtime and
//!   the tasks spawned there are as the panic left them. A program has no say in that, except by
//!   [`Context::recycle`] before it panics.
//! * **Cancelling**: a cancelled asynchronous handler is dropped at its next await; a blocking one sees
//!   [`Context::is_cancelled`]. One that answers all the same has its answer sent. Noticed within 4 ms.
//! * **When the broker is gone**, `is_cancelled` turns true, the handler may go on for the pool's `stop_grace`, then
//!   the process exits.
//! * **Long work says so**: [`Context::progress`] restarts the method's `progress_timeout`. It may be called in a tight
//!   loop and never blocks. Heartbeats are the SDK's own: a thread that runs no handler notes or sends them where the pool asks for
//!   them, whatever handlers do.
//! * **Parts of a reply** may be sent before the answer, with [`Parts`].
//!   They wait while the broker does not read.
//! * **What is saved outlives the process**: [`Context::save`] leaves a value of up to 1 MiB with the broker, and the
//!   request's next attempt, in whatever process, finds the latest with [`Context::last_saved`].
//! * **What it asks others is asked on behalf of its request**: a call made with `lifeboat-client` ends when this request
//!   must, belongs to its trace, and is cancelled when the handler's future is dropped. A *blocking* handler that waits for
//!   such a call notices no cancel: it ends with the call, or is ended with its process. Tasks and threads say whom they work for with
//!   [`Context::within`] and [`Context::enter`]. `Client::from_env` connects to the worker's own broker.
//! * **A request that cannot be decoded** is answered with the failure code `bad_request`, a reply that cannot be
//!   sent with `bad_reply` or `reply_too_large`; neither is retryable.
//! * **Tasks** spawned with `tokio::spawn` go on while requests are waited for, though not while a *blocking* handler
//!   runs. Those alive when the process ends are dropped, and `spawn_blocking` is not waited for.
//! * **stdout and stderr** are the program's own; the broker keeps their tails. stdin is `/dev/null`.
//!
//! A panic that ends the process, because it cannot unwind (in a `Drop` while unwinding, in an `extern "C"` function, in a
//! program built with `panic = "abort"`) or because its hook gives up, is told to the broker before the process aborts: the
//! attempt is `slot_panicked`, with message and place, and the process ended by SIGABRT as ever. That takes the handler of
//! SIGABRT that [`Worker::run`] sets; a program that sets its own instead, or a panic hook that does not call the one
//! before it, has the signal alone to show.
//!
//! # How the process ends
//!
//! A drain by the broker and the first SIGTERM mean the same: the requests that run are finished and answered, those
//! not started are left to the broker, and the process exits with 0. A second SIGTERM has its default effect.
//!
//! Handlers that do not end are cut: by the broker's SIGKILL, `stop_grace` after its SIGTERM, or by this SDK, `stop_grace`
//! after the loss of the broker. stderr is told which they are, by method, request, attempt and time: in the second case
//! as the process ends, in the first when three quarters of the time are over, since SIGKILL leaves no moment to speak.
//! [`Worker::run`] does not return then, so the [`Exit`] never has them.
//!
//! | exit code | meaning |
//! |---:|---|
//! | 0 | drained: the broker, or a SIGTERM, asked the process to stop |
//! | 1 | `main` returned an error of its own, such as a model that could not be loaded |
//! | 64 | not started by a broker |
//! | 69 | the broker is gone: the socket ended or broke |
//! | 70 | no slot is left: handlers panicked in all of them |
//! | 71 | the operating system refused a thread, a timer or the runtime |
//! | 76 | the two sides do not understand each other: no common version, a malformed or oversized frame, refused |
//! | 78 | the handlers or states are declared wrongly |
//!
//! # Tests
//!
//! With the feature `testing`, the module `testing` runs a handler in a test without a broker, and a broker with real
//! processes for tests that need one.
//!
//! ```
//! use lifeboat_worker::prelude::*;
//!
//! method!(struct Double = "double": u32 => u32);
//!
//! fn double(number: u32) -> Result<u32, HandlerError> {
//!     number.checked_mul(2).ok_or_else(|| HandlerError::new("too_large", "twice that is no u32"))
//! }
//!
//! # #[cfg(feature = "testing")]
//! # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
//! use lifeboat_worker::testing::Attempt;
//!
//! // In a test:
//! assert_eq!(Attempt::<Double>::of_blocking(double).run_blocking(21)?.reply(), 42);
//! let error = Attempt::<Double>::of_blocking(double).run_blocking(u32::MAX)?.error();
//! assert_eq!(error.code(), "too_large");
//! # Ok(())
//! # }
//! # #[cfg(feature = "testing")]
//! # test().unwrap();
//! ```
//!
//! # What it costs
//!
//! A short request costs one wait, one read and one write, and with one slot wakes no other thread: the threads that run
//! handlers read the socket themselves. With several slots a request wakes one more thread if it is for another slot than
//! the lowest-numbered idle one. Requests, cancels and drains that arrive while every slot runs a handler for
//! milliseconds are read by another thread, which sleeps otherwise; with heartbeats it wakes once per interval.

mod adapter;
mod alarm;
mod buffer;
mod call;
mod cancelled;
mod checkpoint;
mod context;
mod crew;
mod cut;
mod error;
mod exit;
mod handler;
mod heart;
mod inbox;
mod inherit;
mod last_words;
mod line;
mod link;
mod outbox;
mod pace;
mod panics;
mod partial;
mod pen;
mod process;
mod progress;
mod recorder;
mod runtime;
mod serve;
mod slot;
mod state;
mod stderr;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod thread;
mod watch;
mod worker;

pub use bytes::Bytes;
pub use cancelled::Cancelled;
pub use checkpoint::{LastSavedError, SaveError};
pub use context::Context;
pub use error::HandlerError;
pub use exit::{Exit, MainError, Result, WorkerError};
pub use handler::{Argument, BlockingHandler, Handler};
#[cfg(feature = "json")]
pub use lifeboat_protocol::Json;
pub use lifeboat_protocol::{
    Amount, AttemptEndLabel as AttemptEnd, BodyError, Cbor, EncodeError, Encoding, Entered, MAX_SAVED,
    Method, PreviousAttempt, RefusedCode, method,
};
pub use partial::{PartialError, Parts};
pub use progress::Progress;
pub use state::State;
pub use worker::{Handle, Worker};

/// What a worker's program usually needs: `use lifeboat_worker::prelude::*`.
pub mod prelude {
    pub use crate::{Context, Handle, HandlerError, Method, Parts, Progress, State, Worker, method};
}
