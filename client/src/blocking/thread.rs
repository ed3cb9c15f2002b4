//! The thread behind a client that blocks.
//!
//! Owns its start, and the runtime of which it is all there is. Must never be waited for.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Runtime;

use crate::driver::drive;
use crate::shared::Shared;

/// Starts the thread. It ends by itself when the last clone is gone.
///
/// # Errors
///
/// What the operating system says.
pub(super) fn start(thread: thread::Builder, runtime: Runtime, shared: Arc<Shared>) -> io::Result<()> {
    let owned = Owned(Some(runtime));
    thread.spawn(move || owned.run(drive(shared))).map(drop)
}

/// The thread's runtime. It may be dropped anywhere: where there is no thread for it, that is its maker's, and tokio
/// panics when a runtime is dropped on a thread of another one, unless nothing is waited for. Nothing ever runs on it
/// that would have to be waited for.
#[derive(Debug)]
struct Owned(Option<Runtime>);

impl Owned {
    fn run(&self, driver: impl Future<Output = ()>) {
        if let Some(runtime) = &self.0 {
            runtime.block_on(driver);
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;
    use crate::ConnectError;
    use crate::blocking::Client;

    #[tokio::test]
    async fn a_thread_that_cannot_be_started_is_an_error_on_a_runtime_too() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        // More than there are addresses.
        let impossible = thread::Builder::new().stack_size(1 << 60);
        let shared = Client::builder().socket("/nowhere/lifeboat.sock").into_shared(true);
        let error = start(impossible, runtime, shared).expect_err("no thread has such a stack");
        let error = ConnectError::Thread(Arc::new(error));
        assert_eq!(error.to_string(), "the client's thread cannot be started");
    }
}
