//! A worker on the SDK whose handlers say all that came after the first version.

use std::process::{ExitCode, Termination as _};
use std::time::Duration;

use bytes::Bytes;
use lifeboat_worker::prelude::*;

pub(super) fn run() -> ExitCode {
    let worker = Worker::new().handle_raw_blocking("retried", retried);
    worker.handle_raw("waits", waits).run().report()
}

/// Saves and fails; goes on from there, and gives back what it was given.
fn retried(body: Bytes, context: Context) -> Result<Bytes, HandlerError> {
    context.progress(Progress::done(u64::from(context.attempt())));
    let Some(saved) = context.last_saved::<String>()? else {
        context.save_blocking("half")?;
        let error = HandlerError::new("not_yet", "try again").retry_after(Duration::from_millis(1));
        return Err(error.and_recycle());
    };
    context.partial_blocking(&saved)?;
    Ok(body)
}

async fn waits(body: Bytes, context: Context) -> Result<Bytes, HandlerError> {
    context.save("waiting").await?;
    context.progress(Progress::new());
    context.cancelled().await;
    context.check_cancel()?;
    Ok(body)
}
