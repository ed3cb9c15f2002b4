//! The worker SDK of Lifeboat: write handlers, let a broker own the process.
//!
//! This crate owns everything between the socket that a worker process inherits and the handlers in it: hello,
//! requests in order, answers, failures, panics, cancels, draining and the exit code. Handlers never clean up
//! connections or processes. The crate must never open a socket of its own, write to stdout, or retry anything.
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
//! impl Method for Resize {
//!     const NAME: &'static str = "resize";
//!     type Request = Self;
//!     type Reply = Thumb;
//! }
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
//! handlers of undecoded bodies with [`Worker::handle_raw`]. After its request a handler may take a [`Context`] and
//! any number (up to three arguments) of [`State`]s.
//!
//! The program is started by the broker, through a pool's `command`. Started by hand it says so and exits.
//!
//! # What a handler may rely on
//!
//! * **One request at a time.** A handler has the process's only slot to itself, always on the same thread: the
//!   one that called [`Worker::run`], with the stack of a main thread. It may block and it may compute for long.
//! * **Answers are written before the next request starts**, so a crash of the next request cannot lose them.
//! * **An error is an answer.** [`HandlerError`] reaches the caller as `Failed`; the process is healthy. It is final
//!   unless it says [`retryable`](HandlerError::retryable).
//! * **A panic ends the process**, after its message and location were told: a state that a panic left half
//!   changed must not serve the next caller. The default panic output still goes to stderr.
//! * **Cancelling**: a cancelled asynchronous handler is dropped at its next await; a blocking one sees
//!   [`Context::is_cancelled`]. One that answers all the same has its answer sent. Noticed within 4 ms.
//! * **When the broker is gone**, `is_cancelled` turns true, the handler may go on for the pool's `stop_grace`, then
//!   the process exits.
//! * **A request that cannot be decoded** is answered with the failure code `bad_request`, a reply that cannot be
//!   sent with `bad_reply` or `reply_too_large`; neither is retryable.
//! * **Tasks** spawned with `tokio::spawn` go on while requests are waited for, though not while a *blocking* handler
//!   runs. Those alive when the process ends are dropped, and `spawn_blocking` is not waited for.
//! * **stdout and stderr** are the program's own; the broker keeps their tails. stdin is `/dev/null`.
//!
//! # How the process ends
//!
//! A drain by the broker and the first SIGTERM mean the same: the running request is finished and answered, those
//! not started are left to the broker, and the process exits with 0. A second SIGTERM has its default effect.
//!
//! | exit code | meaning |
//! |---:|---|
//! | 0 | drained: the broker, or a SIGTERM, asked the process to stop |
//! | 1 | `main` returned an error of its own, such as a model that could not be loaded |
//! | 64 | not started by a broker |
//! | 69 | the broker is gone: the socket ended or broke |
//! | 70 | no slot is left: its handler panicked |
//! | 71 | the operating system refused a thread, a timer or the runtime |
//! | 76 | the two sides do not understand each other: no common version, a malformed or oversized frame, refused |
//! | 78 | the handlers or states are declared wrongly |
//!
//! # What it costs
//!
//! A short request costs one read and one write and wakes no other thread: the thread that runs handlers reads the
//! socket itself. Requests, cancels and drains that arrive while a handler runs for milliseconds are read by a
//! second thread, which sleeps otherwise.

mod adapter;
mod buffer;
mod call;
mod context;
mod error;
mod exit;
mod handler;
mod inbox;
mod inherit;
mod link;
mod outbox;
mod panics;
mod runtime;
mod serve;
mod slot;
mod state;
mod sys;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

pub use bytes::Bytes;
pub use context::Context;
pub use error::{Cancelled, HandlerError};
pub use exit::{Exit, MainError, Result, WorkerError};
pub use handler::{Argument, BlockingHandler, Handler};
pub use lifeboat_protocol::{Method, RefusedCode};
pub use state::State;
pub use worker::{Handle, Worker};

/// What a worker's program usually needs: `use lifeboat_worker::prelude::*`.
pub mod prelude {
    pub use crate::{Context, Handle, HandlerError, Method, State, Worker};
}
