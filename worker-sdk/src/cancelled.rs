//! How a handler notices that nobody waits any more.
//!
//! Owns the ways to ask and the error that says so. Must never stop a handler: it stops itself, or is dropped.

use crate::Context;

impl Context {
    /// Whether the handler should stop: its request was cancelled, or the broker is gone.
    ///
    /// Noticed within a few milliseconds. An asynchronous handler is dropped at its next await after a cancel
    /// anyway; after the loss of the broker it may go on for the pool's `stop_grace`, then the process exits.
    ///
    /// Code that asks by itself whether to go on can be given it:
    ///
    /// ```
    /// use lifeboat_worker::prelude::*;
    ///
    /// method!(struct Solve = "solve": u64 => u64);
    /// # /// Stands for a library that takes a callback.
    /// # fn search(upto: u64, stop: impl Fn() -> bool) -> Option<u64> {
    /// #     (0..=upto).take_while(|_| !stop()).last()
    /// # }
    ///
    /// fn solve(upto: u64, context: Context) -> Result<u64, HandlerError> {
    ///     let found = search(upto, || context.is_cancelled());
    ///     context.check_cancel()?; // half a search is no answer
    ///     found.ok_or_else(|| HandlerError::new("none", "there is no solution"))
    /// }
    /// # #[cfg(feature = "testing")]
    /// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
    /// use lifeboat_worker::testing::{Attempt, End};
    ///
    /// assert_eq!(Attempt::<Solve>::of_blocking(solve).run_blocking(7)?.reply(), 7);
    ///
    /// let running = Attempt::<Solve>::of_blocking(solve).start(u64::MAX)?;
    /// running.cancel();
    /// assert_eq!(running.ended_blocking()?.end, End::Cancelled);
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "testing")]
    /// # test().unwrap();
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call().should_stop()
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled). Dropping the future stops the waiting and nothing else.
    ///
    /// For a task that a handler began and that has to clean up somewhere else: a cancel drops the handler, not the task.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lifeboat_worker::prelude::*;
    ///
    /// method!(struct Film = "film": String => u32);
    ///
    /// /// A job on a machine elsewhere.
    /// struct Job { /* ... */ }
    /// # impl Job {
    /// #     async fn begin(_: String) -> std::io::Result<Self> { Ok(Self {}) }
    /// #     async fn frames(&self) -> Option<u32> { Some(24) }
    /// #     async fn stop(self) {}
    /// # }
    ///
    /// async fn film(script: String, context: Context) -> Result<u32, HandlerError> {
    ///     let job = Job::begin(script).await?;
    ///     tokio::spawn(async move {
    ///         loop {
    ///             if let Some(frames) = job.frames().await {
    ///                 return Ok(frames);
    ///             }
    ///             // A second, or less if nobody waits any more.
    ///             let pause = tokio::time::timeout(Duration::from_secs(1), context.cancelled());
    ///             if pause.await.is_ok() {
    ///                 job.stop().await;
    ///                 return Err(HandlerError::from(lifeboat_worker::Cancelled));
    ///             }
    ///         }
    ///     })
    ///     .await?
    /// }
    /// # #[cfg(feature = "testing")]
    /// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
    /// # let ended = lifeboat_worker::testing::Attempt::<Film>::of(film).run_blocking("A ship.".to_owned())?;
    /// # assert_eq!(ended.reply(), 24);
    /// # Ok(())
    /// # }
    /// # #[cfg(feature = "testing")]
    /// # test().unwrap();
    /// ```
    pub async fn cancelled(&self) {
        self.call().stopping().await;
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
}

/// The request was cancelled, or its broker is gone; given by
/// [`Context::check_cancel`](crate::Context::check_cancel). A handler that returns it, or an error with it among
/// its sources, is reported as cancelled.
///
/// ```
/// use lifeboat_worker::Cancelled;
/// use lifeboat_worker::prelude::*;
///
/// /// An error of a library of yours, which knows that work can be cancelled.
/// #[derive(Debug, thiserror::Error)]
/// enum RenderError {
///     #[error("the page is empty")]
///     Empty,
///     #[error("the page was given up")]
///     GivenUp(#[from] Cancelled),
/// }
///
/// method!(struct Render = "render": String => usize);
///
/// fn render(page: String, context: Context) -> Result<usize, RenderError> {
///     if page.is_empty() {
///         return Err(RenderError::Empty);
///     }
///     while page.len() > 3 {
///         context.check_cancel()?; // this page is never done
///     }
///     Ok(page.len())
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::{Attempt, End};
///
/// let running = Attempt::<Render>::of_blocking(render).start("endless".to_owned())?;
/// running.cancel();
/// assert_eq!(running.ended_blocking()?.end, End::Cancelled);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request was cancelled")]
pub struct Cancelled;
