//! One attempt at one request of a test, and what may be chosen for it.
//!
//! It owns the choices and the view of an attempt that goes on. Must never run a handler itself: `script` speaks with the
//! SDK that does.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use lifeboat_protocol::{Assignment, BodyError, DEFAULT_MAX_BODY, Encoding, Ext, Method};
use tokio::sync::mpsc::UnboundedReceiver;

use super::script::{Last, Order, Told, Wire, start};
use super::{AttemptError, End, Ended, Said, ToldProgress};
use crate::handler::{BlockingHandler, Handler};
use crate::{Handle as _, Worker};

/// As the broker's `deadline`, unless it is configured otherwise.
const DEADLINE: Duration = Duration::from_secs(300);

/// One attempt at a request of the method `M`, by a handler without a broker. See [the module](super) for an example.
#[must_use = "nothing happens before `run` or `start`"]
pub struct Attempt<M> {
    worker: Worker,
    order: Order,
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
            worker: "test-0".to_owned(),
            incarnation: 1,
            ..Assignment::default()
        };
        let order = Order {
            method: M::NAME,
            number: 1,
            deadline: DEADLINE,
            max_body: DEFAULT_MAX_BODY,
            ext: Ext::default(),
            assignment,
        };
        Self { worker, order, method: PhantomData }
    }

    /// Gives the handler something to share, as [`Worker::state`] does.
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.worker = self.worker.state(state);
        self
    }

    /// Which attempt it is, from 1, as [`Context::attempt`](crate::Context::attempt) tells it. Default 1.
    pub const fn number(mut self, number: u16) -> Self {
        self.order.number = number;
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
    /// [`AttemptError`], where the request cannot be encoded or the system refuses.
    pub fn start(self, request: M::Request) -> Result<Running<M>, AttemptError> {
        let Self { worker, order, method: _ } = self;
        let mut body = Vec::new();
        M::Encoding::encode_into(&mut body, &request).map_err(AttemptError::Request)?;
        let (wire, told) =
            start(worker, order, body).map_err(|error| AttemptError::System(error.to_string()))?;
        Ok(Running { wire, told, progress: Vec::new(), parts: Vec::new(), last: None })
    }
}

impl<M: Method> fmt::Debug for Attempt<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("method", &M::NAME)
            .field("worker", &self.worker)
            .field("number", &self.order.number)
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
        let told = self.told.recv().await;
        self.take(told)
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
        let told = self.told.blocking_recv();
        self.take(told)
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

    fn take(&mut self, told: Option<Told>) -> Result<Option<Said<M::Partial>>, AttemptError> {
        match told {
            Some(Told::Progress(progress)) => {
                self.progress.push(progress.clone());
                Ok(Some(Said::Progress(progress)))
            }
            Some(Told::Part(body)) => {
                let part = || M::Encoding::decode(&body).map_err(decode("partial"));
                self.parts.push(part()?);
                part().map(|part| Some(Said::Part(part)))
            }
            Some(Told::Last(last)) => {
                self.last = Some(last);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn end(self) -> Result<Ended<M>, AttemptError> {
        let Self { progress, parts, last, .. } = self;
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
        Ok(Ended { end, progress, parts })
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
