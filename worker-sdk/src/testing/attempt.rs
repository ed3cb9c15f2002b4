//! One attempt at one request of a test, and what may be chosen for it.
//!
//! It owns the choices. Must never run a handler itself: `script` speaks with the
//! SDK that does.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use lifeboat_protocol::{
    Assignment, DEFAULT_MAX_BODY, Ext, Method, PreviousAttempt, append_body, encode_body,
};
use serde::Serialize;

use super::past::{INCARNATION, WORKER, history};
use super::script::{Order, start};
use super::{AttemptError, Ended, Running};
use crate::handler::{BlockingHandler, Handler};
use crate::{Handle as _, SaveError, Worker};

/// As the broker's `deadline`, unless it is configured otherwise.
const DEADLINE: Duration = Duration::from_secs(300);

/// One attempt at a request of the method `M`, by a handler without a broker. See [the module](super) for an example.
///
/// ```
/// use std::time::Duration;
///
/// use lifeboat_worker::prelude::*;
/// use lifeboat_worker::testing::Attempt;
/// use lifeboat_worker::{AttemptEnd, PreviousAttempt};
///
/// method!(struct Fetch = "fetch": String => String);
///
/// /// A mirror's address; what one worker after another failed at, it asks another mirror for.
/// async fn fetch(file: String, context: Context, mirrors: State<Vec<String>>) -> Result<String, HandlerError> {
///     let which = context.last_saved()?.unwrap_or(0) + usize::from(context.attempt() > 1);
///     let mirror = mirrors.get(which).ok_or_else(|| HandlerError::new("nowhere", "no mirror has it"))?;
///     context.save(&which).await?;
///     let user = context.metadata().iter().find(|(name, _)| name == "user").map_or("", |(_, user)| user);
///     Ok(format!("{mirror}/{user}/{file}#{}", context.idempotency_key().unwrap_or("none")))
/// }
///
/// let mirrors = || vec!["a".to_owned(), "b".to_owned()];
///
/// // A first attempt, with all that a caller and a broker may send along.
/// let ended = Attempt::<Fetch>::of(fetch)
///     .state(mirrors())
///     .metadata("user", "ada")
///     .idempotency_key("k1")
///     .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
///     .deadline(Duration::from_secs(2))
///     .max_body(1000)
///     .run_blocking("f.txt".to_owned())?;
/// assert_eq!(ended.reply(), "a/ada/f.txt#k1");
///
/// // The second one, after a crash: what the first had saved, or how it ended in detail.
/// let second = || Attempt::<Fetch>::of(fetch).state(mirrors()).saved(&0);
/// assert_eq!(second().run_blocking("f".to_owned())?.reply(), "b//f#none");
/// let crash = PreviousAttempt {
///     number: 1,
///     worker: "files-3".to_owned(),
///     incarnation: 1,
///     end: AttemptEnd::Crashed,
///     reason: Some("oom".to_owned()),
///     duration_ms: 1200,
/// };
/// assert_eq!(second().previous([crash]).run_blocking("f".to_owned())?.saved(), Some(1));
///
/// // The handler only looks at the number here, so that is enough. `by` takes the worker that `main` would run.
/// let worker = Worker::new().state(mirrors()).handle::<Fetch>(fetch);
/// let third = Attempt::<Fetch>::by(worker).number(3).saved(&1);
/// assert_eq!(third.run_blocking("f".to_owned())?.error().code(), "nowhere");
///
/// // A handler that blocks; and an attempt that goes on while the test does something else.
/// method!(struct Sum = "sum": Vec<u32> => u32);
/// let sum = |numbers: Vec<u32>| Ok::<_, HandlerError>(numbers.iter().sum());
/// let running = Attempt::<Sum>::of_blocking(sum).start(vec![1, 2])?;
/// assert_eq!(running.ended_blocking()?.reply(), 3);
/// # Ok::<_, lifeboat_worker::testing::AttemptError>(())
/// ```
///
/// In an asynchronous test it is `run(..).await`. What can be done with an attempt that goes on: see [`Running`].
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
        append_body::<M::Encoding, _>(&mut body, &request).map_err(AttemptError::Request)?;
        let (wire, told) =
            start(worker, order, body).map_err(|error| AttemptError::System(error.to_string()))?;
        Ok(Running::new(wire, told))
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
