//! The tokio runtime of a slot, in a process with asynchronous handlers.
//!
//! Owns the runtime, which lives on the slot's thread and turns only while a handler runs or while tasks that
//! handlers spawned are alive. Must never carry the SDK's own protocol work on the usual path: a plain blocking
//! read costs one system call, a read through the runtime three.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use lifeboat_protocol::within;
use tokio::io::unix::AsyncFd;

use crate::call::Call;

pub(crate) struct Runtime {
    /// What the slot waits for, as the runtime sees it, registered when first needed.
    source: Option<AsyncFd<Arc<OwnedFd>>>,
    /// Empty only while this is dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Runtime {
    /// # Errors
    ///
    /// Those of creating the runtime's descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { source: None, runtime: Some(runtime) })
    }

    fn tokio(&self) -> &tokio::runtime::Runtime {
        self.runtime.as_ref().expect("only dropping takes the runtime out")
    }

    /// Runs a handler's future to its end; `None` if it was dropped because of a cancel. A future that is ready
    /// together with the cancel has its result. Other tasks that are polled meanwhile do not work for its request.
    pub(crate) fn run<F: Future>(&self, call: &Arc<Call>, future: F) -> Option<F::Output> {
        let runtime = self.tokio();
        // Left last: whatever the future owns is dropped inside the runtime, where it may spawn and make timers.
        let _entered = runtime.enter();
        let mut future = pin!(within(Arc::<Call>::clone(call), future));
        let mut cancelled = pin!(call.cancelled());
        runtime.block_on(poll_fn(|task| match future.as_mut().poll(task) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => cancelled.as_mut().poll(task).map(|()| None),
        }))
    }

    /// Whether handlers left tasks behind that must go on between requests, such as the driver of a database
    /// connection.
    pub(crate) fn has_tasks(&self) -> bool {
        self.tokio().metrics().num_alive_tasks() > 0
    }

    /// Turns the runtime until `look` says that it found something. It is called whenever `source`, which must be the
    /// same every time, may be readable, and must not wait.
    ///
    /// # Errors
    ///
    /// Those of registering the source.
    pub(crate) fn wait_until(
        &mut self,
        source: &Arc<OwnedFd>,
        mut look: impl FnMut() -> bool,
    ) -> io::Result<()> {
        if self.source.is_none() {
            let _entered = self.tokio().enter();
            self.source = Some(crate::sys::register_readable(Arc::clone(source))?);
        }
        let registered = self.source.as_ref().expect("it was registered just now or before");
        self.tokio().block_on(async {
            loop {
                let mut ready = registered.readable().await?;
                if look() {
                    return Ok(());
                }
                ready.clear_ready();
            }
        })
    }
}

impl Drop for Runtime {
    /// Waits for nothing: a `spawn_blocking` task that a handler left behind may never end, and the process is to.
    fn drop(&mut self) {
        // First, while the runtime that it is registered with is there.
        self.source = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
