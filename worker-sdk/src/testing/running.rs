//! An attempt that goes on: what its handler says, and its end.
//!
//! It owns what was said so far. Must never wait for a handler longer than somebody asks.

use std::fmt;

use lifeboat_protocol::{BodyError, Encoding, Method};
use tokio::sync::mpsc::UnboundedReceiver;

use super::script::{Last, Told, Wire};
use super::{AttemptError, End, Ended, Said, Saved, ToldProgress};

/// An attempt that goes on. Dropped, it is cancelled, and nobody waits for it.
///
/// ```
/// use lifeboat_worker::prelude::*;
/// use lifeboat_worker::testing::{Attempt, End, Said};
///
/// method!(struct Tick = "tick": () => (), partial = u64);
///
/// /// Ticks until nobody listens any more.
/// fn tick((): (), context: Context, parts: Parts<Tick>) -> Result<(), HandlerError> {
///     for tick in 0.. {
///         context.check_cancel()?;
///         parts.send_blocking(&tick)?;
///     }
///     Ok(())
/// }
///
/// let mut running = Attempt::<Tick>::of_blocking(tick).start(())?;
/// while let Some(said) = running.said_blocking()? {
///     if said == Said::Part(3) {
///         running.cancel();
///     }
/// }
/// let ended = running.ended_blocking()?;
/// assert_eq!(ended.end, End::Cancelled);
/// assert!(ended.parts.starts_with(&[0, 1, 2, 3]));
/// # Ok::<_, lifeboat_worker::testing::AttemptError>(())
/// ```
///
/// In an asynchronous test these are `said().await` and `ended().await`.
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
    pub(super) const fn new(wire: Wire, told: UnboundedReceiver<Told>) -> Self {
        Self {
            wire,
            told,
            progress: Vec::new(),
            parts: Vec::new(),
            saves: Vec::new(),
            recycle_asked: false,
            last: None,
        }
    }

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
