//! What a handler may know about its request and do besides answering.
//!
//! Owns the handler's view. Must never give it the socket, the slot or another request: cleaning up connections
//! and processes is not a handler's work.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::call::Call;
use crate::outbox;
use crate::process::Process;
use crate::progress::Progress;

/// One attempt at one request, from the handler's side. Cheap to clone; may be moved to other threads and outlive
/// the handler, and then only tells the past.
///
/// What it knows:
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Index = "index": Vec<String> => usize);
///
/// /// Indexes as many documents as there is time for.
/// fn index(documents: Vec<String>, context: Context) -> Result<usize, HandlerError> {
///     // In your own logs this finds the line that the broker wrote about the same attempt.
///     eprintln!(
///         "{} for request {}, attempt {}: {}/{}, incarnation {}, slot {}, trace {:?} {:?}",
///         context.method(), context.request_id(), context.attempt(),
///         context.pool(), context.worker(), context.incarnation(), context.slot(),
///         context.traceparent(), context.tracestate(),
///     );
///     // What the caller sent along, beside its request.
///     if !context.metadata().iter().any(|(name, _)| name == "tenant") {
///         return Err(HandlerError::new("no_tenant", "say whose documents these are"));
///     }
///     if context.remaining().is_some_and(|left| left < Duration::from_millis(200)) {
///         return Err(HandlerError::new("too_late", "there is no time left to begin"));
///     }
///     // The process is killed at the deadline: better answer before it with what there is.
///     let enough = context.deadline().and_then(|deadline| deadline.checked_sub(Duration::from_millis(100)));
///     let mut indexed = 0;
///     for _document in &documents {
///         context.check_cancel()?; // nobody waits any more
///         if enough.is_some_and(|enough| Instant::now() > enough) {
///             break;
///         }
///         indexed += 1;
///         context.progress(Progress::of(indexed, documents.len() as u64));
///     }
///     Ok(indexed as usize)
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// let documents = || vec!["a".to_owned(), "b".to_owned()];
/// let attempt = Attempt::<Index>::of_blocking(index).metadata("tenant", "acme");
/// let ended = attempt.run_blocking(documents())?;
/// assert_eq!(ended.progress.len(), 2);
/// assert_eq!(ended.reply(), 2);
///
/// let hasty = Attempt::<Index>::of_blocking(index).metadata("tenant", "acme").deadline(Duration::from_millis(150));
/// assert_eq!(hasty.run_blocking(documents())?.error().code(), "too_late");
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
/// ```
///
/// What can be done with it beside answering: to say that the work moves, and to leave something for the next attempt, which
/// goes on where this one died. Asynchronous handlers do the same with [`save`](Self::save).
///
/// ```
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Convert = "convert": Vec<String> => usize);
///
/// /// Converts the pages that are left; says how many these were.
/// fn convert(pages: Vec<String>, context: Context) -> Result<usize, HandlerError> {
///     let begin: usize = context.last_saved()?.unwrap_or(0);
///     if let Some(last) = context.previous_attempts().last() {
///         eprintln!("{} {} after {:?}; going on at page {begin}", last.worker, last.end, last.duration());
///     }
///     for (page, text) in pages.iter().enumerate().skip(begin) {
///         // ... convert the text ...
///         context.save_blocking(&(page + 1))?; // not lost, whatever happens to this process
///         context.progress(Progress::of(page as u64 + 1, pages.len() as u64).text(text));
///     }
///     Ok(pages.len().saturating_sub(begin))
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// let pages = || ["one", "two", "three"].map(String::from).to_vec();
/// let first = Attempt::<Convert>::of_blocking(convert).run_blocking(pages())?;
/// assert_eq!(first.saved(), Some(3));
/// let second = Attempt::<Convert>::of_blocking(convert).saved(&2).run_blocking(pages())?;
/// assert_eq!(second.reply(), 1);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
/// ```
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
        if !self.call.has_ended() {
            self.process.recorder.progress(self.call.route);
        }
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

    /// The pairs that the caller sent along, in order.
    #[must_use]
    pub fn metadata(&self) -> &[(String, String)] {
        &self.call.ext().metadata
    }

    /// The key under which the caller allows this request to be executed more than once, if it gave one. A caller that
    /// lost its connection repeats the request with the same key, as another request with an id of its own, whose
    /// attempts count from 1 again; the first may still be running in another process. A handler that must not do its work
    /// twice keeps the keys of what it did where all processes see them. The broker only hands the key on.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::Mutex;
    ///
    /// use lifeboat_worker::prelude::*;
    ///
    /// method!(struct Pay = "pay": u64 => u64);
    ///
    /// /// Receipts by key. Really a table of a database: what is here dies with the process.
    /// #[derive(Default)]
    /// struct Receipts(Mutex<HashMap<String, u64>>);
    ///
    /// fn pay(amount: u64, context: Context, receipts: State<Receipts>) -> Result<u64, HandlerError> {
    ///     let key = context.idempotency_key().ok_or_else(|| HandlerError::new("no_key", "give a key to pay once"))?;
    ///     let mut receipts = receipts.0.lock().map_err(|_| "a payment panicked")?;
    ///     let next = receipts.len() as u64 + 1;
    ///     Ok(*receipts.entry(key.to_owned()).or_insert_with(|| {
    ///         // ... pay the amount ...
    ///         next
    ///     }))
    /// }
    /// # #[cfg(feature = "testing")]
    /// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
    /// # use lifeboat_worker::testing::Attempt;
    /// # let before = Receipts(Mutex::new(HashMap::from([("a".to_owned(), 1)])));
    /// # let again = Attempt::<Pay>::of_blocking(pay).state(before).idempotency_key("a").run_blocking(9)?;
    /// # assert_eq!(again.reply(), 1);
    /// # let without = Attempt::<Pay>::of_blocking(pay).state(Receipts::default()).run_blocking(9)?;
    /// # assert_eq!(without.error().code(), "no_key");
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "testing")]
    /// # test().unwrap();
    /// ```
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
