//! What a handler may know about its request and do besides answering.
//!
//! Owns the handler's view. Must never give it the socket, the slot or another request: cleaning up connections
//! and processes is not a handler's work.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lifeboat_protocol::{Assignment, Cbor, Encoding, FrameLimit};
use serde::Serialize;

use crate::call::Call;
use crate::error::Cancelled;
use crate::outbox;
use crate::partial::PartialError;
use crate::pen::Pen;
use crate::progress::Progress;
use crate::state::States;

/// What is the same for all requests of a process.
pub(crate) struct Process {
    pub(crate) assignment: Assignment,
    /// The names of all methods, in the order of their handlers.
    pub(crate) methods: Vec<String>,
    pub(crate) states: States,
    /// A context that outlives its request must not keep the socket open.
    pub(crate) pen: Weak<Pen>,
    /// What the broker accepts.
    pub(crate) limit: FrameLimit,
    /// The broker keeps what attempts save.
    pub(crate) keeps_saves: bool,
    /// Progress is told however often it is said, and waits for room: a test wants to see it all.
    pub(crate) tells_all_progress: bool,
    /// Whether it is to be replaced.
    pub(crate) retirement: Retirement,
}

/// The process's wish to be replaced.
#[derive(Debug)]
pub(crate) struct Retirement {
    /// The broker knows what it means.
    understood: bool,
    wished: AtomicBool,
}

impl Retirement {
    pub(crate) const fn new(understood: bool) -> Self {
        Self { understood, wished: AtomicBool::new(false) }
    }

    /// A handler wishes it. Whether to tell the broker now: once is enough.
    pub(crate) fn wish(&self) -> bool {
        let first = !self.wished.swap(true, Ordering::AcqRel);
        if first && !self.understood {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(
                io::stderr(),
                "lifeboat-worker: a handler wants this process replaced; the broker is too old to be asked"
            );
        }
        first && self.understood
    }
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

    pub(crate) const fn call(&self) -> &Arc<Call> {
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

    /// Which of the process's slots executes it, from 0. No two requests run in one slot at the same time, and a slot
    /// has a thread of its own.
    #[must_use]
    pub fn slot(&self) -> u8 {
        self.call.route.flags.slot()
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

    /// Tells the broker, and a caller that streams, that the work moves: the time until its `progress_timeout` starts
    /// again.
    ///
    /// Cheap enough for a tight loop: the first call is sent at once, then at most one per 100 ms and attempt; the others
    /// cost a look at the clock. Nothing is sent later by itself: of the calls that come too soon, none is. So **a limit
    /// of T needs a call at least every T less 100 ms**.
    ///
    /// Never blocks and never fails: a call that finds the socket full is dropped, and one 10 ms later tries again. After
    /// the handler returned it does nothing.
    pub fn progress(&self, progress: Progress<'_>) {
        if self.process.tells_all_progress {
            return self.tell(progress);
        }
        let now = Instant::now();
        if !self.call.progress.take(now) {
            return;
        }
        let frame = outbox::progress(self.call.route, progress);
        let written = self.process.pen.upgrade().map(|pen| pen.try_write(&frame, Some(&self.call)));
        // If the broker is gone, the handler is told in another way.
        if written == Some(Ok(false)) {
            self.call.progress.put_back(now);
        }
    }

    /// Tells progress in any case, blocking while the socket is full.
    fn tell(&self, progress: Progress<'_>) {
        if let Some(pen) = self.process.pen.upgrade().filter(|_| !self.call.has_ended()) {
            let mut frame = outbox::progress(self.call.route, progress);
            // If the broker is gone, the handler is told in another way.
            let _ = pen.write(&mut frame, &mut Bytes::new(), None);
        }
    }

    /// Has the process replaced after this request, as planned: for a handler that finds it unfit to go on, such as by a
    /// leak, a cache that has gone bad or a device that was reset. It has no bearing on what this request is answered; see
    /// [`HandlerError::and_recycle`](crate::HandlerError::and_recycle) for one that fails because of it.
    ///
    /// The broker is told just before the answer, whatever the answer is. It starts a successor, and gives this process
    /// further requests until that is ready, as it does with every process that it recycles; the process then finishes what
    /// it holds, is drained and counts as `recycle_asked`. A handler that must not be called again here panics, or ends the
    /// process, instead.
    ///
    /// Called after the handler returned it does nothing. With a broker that cannot replace a process when asked it is told
    /// once on stderr and does nothing else.
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Render(String);
    /// # method!("render": Render => Render);
    /// # fn draw(page: Render) -> Render { page }
    /// # fn leaked_mib() -> u64 { 1 }
    ///
    /// fn render(page: Render, context: Context) -> Result<Render, HandlerError> {
    ///     let image = draw(page);
    ///     if leaked_mib() > 500 {
    ///         context.recycle();
    ///     }
    ///     Ok(image)
    /// }
    ///
    /// let worker = Worker::new().handle_blocking::<Render>(render);
    /// # drop(worker);
    /// ```
    pub fn recycle(&self) {
        self.call.ask_for_recycling();
    }

    /// Sends a part of the reply, before the answer and in the order of the calls. What parts are, and whether the answer
    /// repeats them, is between handler and caller; a caller that does not stream gets none. Once a caller has been sent
    /// one, its request is not retried, unless it says that it may be. Counts as [`progress`](Self::progress) and as output.
    ///
    /// For asynchronous handlers: while the socket is full, because the broker reads more slowly than this handler
    /// writes, it waits without blocking the thread. Dropped before its first byte is written, nothing is sent; dropped
    /// later, the part is sent all the same.
    ///
    /// # Errors
    ///
    /// [`PartialError`]: the request was cancelled or the broker is gone, the attempt has been answered already, or the
    /// part cannot be sent.
    pub async fn partial<T: Serialize + ?Sized>(&self, part: &T) -> Result<(), PartialError> {
        self.partial_as::<Cbor, _>(part).await
    }

    pub(crate) async fn partial_as<E: Encoding, T: Serialize + ?Sized>(
        &self,
        part: &T,
    ) -> Result<(), PartialError> {
        let part = outbox::partial::<E, _>(self.call.route, part, self.process.limit)?;
        Ok(self.pen()?.write_part_async(&self.call, part).await?)
    }

    /// [`partial`](Self::partial) for blocking handlers: blocks the thread while the socket is full. A cancel is noticed
    /// within a few milliseconds.
    ///
    /// # Errors
    ///
    /// Those of [`partial`](Self::partial).
    pub fn partial_blocking<T: Serialize + ?Sized>(&self, part: &T) -> Result<(), PartialError> {
        self.partial_as_blocking::<Cbor, _>(part)
    }

    pub(crate) fn partial_as_blocking<E: Encoding, T: Serialize + ?Sized>(
        &self,
        part: &T,
    ) -> Result<(), PartialError> {
        let part = outbox::partial::<E, _>(self.call.route, part, self.process.limit)?;
        Ok(self.pen()?.write_part(&self.call, part)?)
    }

    /// [`partial`](Self::partial) of a part that is encoded already, as one CBOR item.
    ///
    /// # Errors
    ///
    /// Those of [`partial`](Self::partial).
    pub async fn partial_raw(&self, part: Bytes) -> Result<(), PartialError> {
        let part = outbox::raw_partial(self.call.route, part, self.process.limit)?;
        Ok(self.pen()?.write_part_async(&self.call, part).await?)
    }

    /// [`partial_blocking`](Self::partial_blocking) of a part that is encoded already, as one CBOR item.
    ///
    /// # Errors
    ///
    /// Those of [`partial`](Self::partial).
    pub fn partial_raw_blocking(&self, part: Bytes) -> Result<(), PartialError> {
        let part = outbox::raw_partial(self.call.route, part, self.process.limit)?;
        Ok(self.pen()?.write_part(&self.call, part)?)
    }

    fn pen(&self) -> Result<Arc<Pen>, PartialError> {
        self.process.pen.upgrade().ok_or(PartialError::Ended)
    }

    /// The pairs that the caller sent along, in order.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        &self.call.ext().metadata
    }

    /// The key under which the caller allows this request to be executed more than once, if it gave one. A caller that
    /// lost its connection repeats the request with the same key, as another request with an id of its own, whose
    /// attempts count from 1 again; the first may still be running in another process. A handler that must not do its work
    /// twice keeps the keys of what it did where all processes see them. The broker only hands the key on.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.call.ext().idempotency_key.as_deref()
    }

    /// Has a future work for this request on whatever task it is polled: requests that it makes with a client of
    /// `lifeboat-client` end when this one must, and belong to its trace. The handler itself needs no such thing; tasks that it
    /// spawns do.
    ///
    /// ```no_run
    /// use lifeboat_worker::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct Render(String);
    /// # method!("render": Render => Render);
    /// # async fn ask_for_fonts() {}
    ///
    /// async fn render(page: Render, context: Context) -> Result<Render, HandlerError> {
    ///     let fonts = tokio::spawn(context.within(ask_for_fonts()));
    ///     fonts.await?;
    ///     Ok(page)
    /// }
    /// ```
    pub fn within<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        lifeboat_protocol::within(Arc::<Call>::clone(&self.call), future)
    }

    /// As [`within`](Self::within), for a thread that a handler starts: it works for this request until the guard is dropped.
    ///
    /// ```no_run
    /// # fn example(context: lifeboat_worker::Context) {
    /// std::thread::spawn(move || {
    ///     let _working = context.enter();
    ///     // Requests that are made here end when the handler's own request must.
    /// });
    /// # }
    /// ```
    pub fn enter(&self) -> lifeboat_protocol::Entered {
        lifeboat_protocol::enter(Arc::<Call>::clone(&self.call))
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
        &self.process.assignment.pool
    }

    /// The worker's stable name, such as `images-0`.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.process.assignment.worker
    }

    /// Which life of the worker this process is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.process.assignment.incarnation
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("request_id", &self.request_id())
            .field("attempt", &self.attempt())
            .field("slot", &self.slot())
            .field("method", &self.method())
            .field("worker", &self.worker())
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
