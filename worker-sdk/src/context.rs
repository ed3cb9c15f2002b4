//! What a handler may know about its request and do besides answering.
//!
//! Owns the handler's view. Must never give it the socket, the slot or another request: cleaning up connections
//! and processes is not a handler's work.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::error::Cancelled;
use crate::state::States;

/// What is the same for all requests of a process.
#[derive(Default)]
pub(crate) struct Process {
    pub(crate) pool: String,
    pub(crate) worker: String,
    pub(crate) incarnation: u64,
    /// The names of all methods, in the order of their handlers.
    pub(crate) methods: Vec<String>,
    pub(crate) states: States,
}

/// One attempt at one request, from the handler's side. Cheap to clone; may be moved to other threads and outlive
/// the handler, and then only tells the past.
#[derive(Clone)]
pub struct Context {
    call: Arc<Call>,
    process: Arc<Process>,
}

impl Context {
    pub(crate) const fn new(call: Arc<Call>, process: Arc<Process>) -> Self {
        Self { call, process }
    }

    pub(crate) fn call(&self) -> &Call {
        &self.call
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The broker's id of the request: the same for all its attempts, and what reports and logs call it.
    #[must_use]
    pub fn request_id(&self) -> u64 {
        self.call.route.id
    }

    /// Which attempt this is, from 1. Above 1 the request may have been executed before, wholly or in part.
    #[must_use]
    pub fn attempt(&self) -> u16 {
        self.call.route.attempt
    }

    /// The method asked for.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.process.methods[self.call.method]
    }

    /// When the attempt must have ended; the process is killed then, or soon after. `None`: no limit was sent.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.call.deadline
    }

    /// The time left until [`deadline`](Self::deadline), zero once it passed. `None`: no limit was sent.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the handler should stop: its request was cancelled, or the broker is gone.
    ///
    /// Noticed within a few milliseconds. An asynchronous handler is dropped at its next await after a cancel
    /// anyway; after the loss of the broker it may go on for the pool's `stop_grace`, then the process exits.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.should_stop()
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled). Dropping the future stops the waiting and nothing else.
    pub async fn cancelled(&self) {
        self.call.stopping().await;
    }

    /// For loops that never await: `context.check_cancel()?` ends the handler when it should stop, and the request
    /// is reported as cancelled. Costs one atomic load.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] when the handler should stop.
    pub fn check_cancel(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// The pairs that the caller sent along, in order.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        &self.call.ext().metadata
    }

    /// The caller's W3C trace context (`traceparent`), if it sent one.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.call.ext().traceparent.as_deref()
    }

    /// The caller's W3C trace state (`tracestate`), if it sent one.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.call.ext().tracestate.as_deref()
    }

    /// The pool's name.
    #[must_use]
    pub fn pool(&self) -> &str {
        &self.process.pool
    }

    /// The worker's stable name, such as `images-0`.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.process.worker
    }

    /// Which life of the worker this process is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.process.incarnation
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("request_id", &self.request_id())
            .field("attempt", &self.attempt())
            .field("method", &self.method())
            .field("worker", &self.worker())
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
