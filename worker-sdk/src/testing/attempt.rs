//! One attempt at one request of a test, and what may be chosen for it.
//!
//! It owns the choices and the view of an attempt that goes on. Must never run a handler itself: `script` speaks with the
//! SDK that does.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use lifeboat_protocol::{
    Assignment, BodyError, DEFAULT_MAX_BODY, Encoding, Ext, Method, PreviousAttempt, encode_body,
};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;

use super::past::{INCARNATION, WORKER, history};
use super::script::{Last, Order, Told, Wire, start};
use super::{AttemptError, End, Ended, Said, Saved, ToldProgress};
use crate::handler::{BlockingHandler, Handler};
use crate::{Handle as _, SaveError, Worker};

/// As the broker's `deadline`, unless it is configured otherwise.
const DEADLINE: Duration = Duration::from_secs(300);

/// One attempt at a request of the method `M`, by a handler without a broker. See [the module](super) for an example.
#[must_use = "nothing happens before `run` or `start`"]
pub struct Attempt<M> {
    worker: Worker,
    order: Order,
    /// What is chosen for [`Order::number`].
    number: Option<u16>,
    previous: Vec<PreviousAttempt>,
    /// What they have saved, encoded.
    saved: Option<Result<Vec<u8>, SaveError>>,
    method: PhantomData<fn() -> M>,
}

impl<M: Method + 'static> Attempt<M> {
    /// An attempt by an asynchronous handler.
    pub fn of<Args: 'static>(handler: impl Handler<M, Args>) -> Self {
        Self::by(Worker::unconnected().handle::<M>(handler))
    }

    /// An attempt by a blocking handler.
    pub fn of_blocking<Args: 'static>(handler: impl BlockingHandler<M, Args>) -> Self {
        Self::by(Worker::unconnected().handle_blocking::<M>(handler))
    }

    /// An attempt by a whole worker, as `main` declares it. Without a handler for the method the attempt fails, with the
    /// code `unknown_method`.
    pub fn by(worker: Worker) -> Self {
        let assignment = Assignment {
            pool: "test".to_owned(),
            worker: WORKER.to_owned(),
            incarnation: INCARNATION,
            ..Assignment::default()
        };
        let order = Order {
            method: M::NAME,
            number: 1,
            deadline: DEADLINE,
            max_body: DEFAULT_MAX_BODY,
            ext: Ext::default(),
            history: None,
            assignment,
        };
        Self { worker, order, number: None, previous: Vec::new(), saved: None, method: PhantomData }
    }

    /// Gives the handler something to share, as [`Worker::state`] does.
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.worker = self.worker.state(state);
        self
    }

    /// Which attempt it is, from 1, as [`Context::attempt`](crate::Context::attempt) tells it. Default 1, or one more
    /// than the last [`previous`](Self::previous).
    pub const fn number(mut self, number: u16) -> Self {
        self.number = Some(number);
        self
    }

    /// The attempts before this one, oldest first, as [`Context::previous_attempts`](crate::Context::previous_attempts)
    /// tells them: of many the newest 100. Default none.
    pub fn previous(mut self, previous: impl IntoIterator<Item = PreviousAttempt>) -> Self {
        self.previous = previous.into_iter().collect();
        self
    }

    /// What they have saved, as [`Context::last_saved`](crate::Context::last_saved) finds it. Somebody must have saved it:
    /// without [`previous`](Self::previous) ones there is one, which crashed with the reason `signal`.
    pub fn saved<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.saved = Some(encode_body(value).map_err(|error| SaveError::Encode(error.to_string())));
        self
    }

    /// When it must have ended, from its start; at most 49 days. Default 5 min, as a broker's.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.order.deadline = deadline;
        self
    }

    /// The largest reply and part that are accepted, in bytes. Default 16 MiB, as a broker's.
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.order.max_body = bytes;
        self
    }

    /// Sends a pair along, after those before; see [`Context::metadata`](crate::Context::metadata).
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.order.ext.metadata.push((name.into(), value.into()));
        self
    }

    /// Gives the request an [idempotency key](crate::Context::idempotency_key).
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.order.ext.idempotency_key = Some(key.into());
        self
    }

    /// Sends a [trace context](crate::Context::traceparent) along.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.order.ext.traceparent = Some(traceparent.into());
        self
    }

    /// Makes the attempt, and waits for its end.
    ///
    /// # Errors
    ///
    /// [`AttemptError`]; what the handler itself does is in the [`Ended`].
    pub async fn run(self, request: M::Request) -> Result<Ended<M>, AttemptError> {
        self.start(request)?.ended().await
    }

    /// [`run`](Self::run) for tests without a runtime. Blocks.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// Within a runtime.
    pub fn run_blocking(self, request: M::Request) -> Result<Ended<M>, AttemptError> {
        self.start(request)?.ended_blocking()
    }

    /// Begins the attempt. The handler runs on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`AttemptError`], where the request or what was saved cannot be encoded, or the system refuses.
    pub fn start(self, request: M::Request) -> Result<Running<M>, AttemptError> {
        let Self { worker, mut order, number, previous, saved, method: _ } = self;
        order.history = history(previous, saved, order.max_body).map_err(AttemptError::Saved)?;
        let last = order.history.as_ref().and_then(|history| history.previous.last());
        order.number = number.unwrap_or_else(|| last.map_or(0, |last| last.number).saturating_add(1));
        let mut body = Vec::new();
        M::Encoding::encode_into(&mut body, &request).map_err(AttemptError::Request)?;
        let (wire, told) =
            start(worker, order, body).map_err(|error| AttemptError::System(error.to_string()))?;
        Ok(Running {
            wire,
            told,
            progress: Vec::new(),
            parts: Vec::new(),
            saves: Vec::new(),
            recycle_asked: false,
            last: None,
        })
    }
}

impl<M: Method> fmt::Debug for Attempt<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("method", &M::NAME)
            .field("worker", &self.worker)
            .field("number", &self.number)
            .field("previous", &self.previous.len())
            .finish_non_exhaustive()
    }
}

/// An attempt that goes on. Dropped, it is cancelled, and nobody waits for it.
#[must_use = "it is cancelled when this is dropped"]
pub struct Running<M: Method> {
    wire: Wire,
    told: UnboundedReceiver<Told>,
    progress: Vec<ToldProgress>,
    parts: Vec<M::Partial>,
    saves: Vec<Saved>,
    recycle_asked: bool,
    /// What ended it, once that was read.
    last: Option<Last>,
}

impl<M: Method> Running<M> {
    /// What the handler says next; `None` once the attempt has ended. [`ended`](Self::ended) tells it again.
    ///
    /// # Errors
    ///
    /// [`AttemptError::Decode`], of a part that is not of the method's type.
    pub async fn said(&mut self) -> Result<Option<Said<M::Partial>>, AttemptError> {
        if self.last.is_some() {
            return Ok(None);
        }
        loop {
            let told = self.told.recv().await;
            if let Some(said) = self.take(told)? {
                return Ok(said);
            }
        }
    }

    /// [`said`](Self::said) for tests without a runtime. Blocks.
    ///
    /// # Errors
    ///
    /// Those of [`said`](Self::said).
    ///
    /// # Panics
    ///
    /// Within a runtime.
    pub fn said_blocking(&mut self) -> Result<Option<Said<M::Partial>>, AttemptError> {
        if self.last.is_some() {
            return Ok(None);
        }
        loop {
            let told = self.told.blocking_recv();
            if let Some(said) = self.take(told)? {
                return Ok(said);
            }
        }
    }

    /// Cancels it, as a broker does for a caller that went away: an asynchronous handler is dropped at its next await, a
    /// blocking one sees [`Context::is_cancelled`](crate::Context::is_cancelled). One that does not stop is waited for,
    /// until the deadline.
    pub fn cancel(&self) {
        self.wire.cancel();
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`AttemptError`].
    pub async fn ended(mut self) -> Result<Ended<M>, AttemptError> {
        while self.said().await?.is_some() {}
        self.end()
    }

    /// [`ended`](Self::ended) for tests without a runtime. Blocks.
    ///
    /// # Errors
    ///
    /// [`AttemptError`].
    ///
    /// # Panics
    ///
    /// Within a runtime.
    pub fn ended_blocking(mut self) -> Result<Ended<M>, AttemptError> {
        while self.said_blocking()?.is_some() {}
        self.end()
    }

    /// What that is to whoever listens: `None` for what is told at the end alone, `Some(None)` at the end.
    fn take(&mut self, told: Option<Told>) -> Result<Option<Option<Said<M::Partial>>>, AttemptError> {
        let said = match told {
            Some(Told::Progress(progress)) => {
                self.progress.push(progress.clone());
                Said::Progress(progress)
            }
            Some(Told::Part(body)) => {
                let part = || M::Encoding::decode(&body).map_err(decode("partial"));
                self.parts.push(part()?);
                Said::Part(part()?)
            }
            Some(Told::Saved(body)) => {
                let saved = Saved::new(body);
                self.saves.push(saved.clone());
                Said::Saved(saved)
            }
            Some(Told::RecycleAsked) => {
                self.recycle_asked = true;
                return Ok(None);
            }
            Some(Told::Last(last)) => {
                self.last = Some(last);
                return Ok(Some(None));
            }
            None => return Ok(Some(None)),
        };
        Ok(Some(Some(said)))
    }

    fn end(self) -> Result<Ended<M>, AttemptError> {
        let Self { progress, parts, saves, recycle_asked, last, .. } = self;
        let end = match last {
            Some(Last::Answered(body)) => End::Answered(M::Encoding::decode(&body).map_err(decode("reply"))?),
            Some(Last::Failed(error)) => End::Failed(error),
            Some(Last::Cancelled) => End::Cancelled,
            Some(Last::Panicked(panicked)) => {
                End::Panicked { message: panicked.message, location: panicked.location }
            }
            Some(Last::TimedOut) => End::TimedOut,
            Some(Last::Gone(error)) => return Err(AttemptError::Worker(error)),
            Some(Last::Garbled(what)) => return Err(AttemptError::System(what)),
            None => return Err(AttemptError::System("the worker left without a word".to_owned())),
        };
        Ok(Ended { end, progress, parts, saves, recycle_asked })
    }
}

fn decode(what: &'static str) -> impl Fn(BodyError) -> AttemptError {
    move |source| AttemptError::Decode { what, source }
}

impl<M: Method> fmt::Debug for Running<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("method", &M::NAME).finish_non_exhaustive()
    }
}
