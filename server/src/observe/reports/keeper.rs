//! Writes reports to files, one after the other, beside what the control plane does.
//!
//! A disk may hang: the writing has a thread of the runtime's own, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ReportFolder;

/// How long the last reports may take to be written at the broker's end.
const LAST_REPORTS: Duration = Duration::from_secs(2);

/// A report on its way to its file.
#[derive(Clone, Debug)]
pub struct Filed {
    pub(super) id: String,
    pub(super) signature: String,
    pub(super) json: Arc<str>,
}

/// Writes what comes until it is told to stop; what waits then has two seconds. What cannot be written is counted in
/// `dropped`.
pub async fn keep_reports(
    mut folder: ReportFolder,
    mut filed: mpsc::Receiver<Filed>,
    dropped: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    let writing = async {
        while let Some(report) = filed.recv().await {
            let written = spawn_blocking(move || {
                let is_written = folder.write(&report);
                (folder, is_written)
            });
            let Ok((again, is_written)) = written.await else {
                tracing::error!("the writer of reports panicked; this is a bug");
                return;
            };
            folder = again;
            dropped.fetch_add(u64::from(!is_written), Ordering::Relaxed);
        }
    };
    let mut writing = std::pin::pin!(writing);
    tokio::select! {
        () = &mut writing => return,
        () = stop.cancelled() => {}
    }
    // The data plane has ended, and with it the queue: it ends when it is empty.
    if timeout(LAST_REPORTS, writing).await.is_err() {
        tracing::warn!("the disk does not keep up: the last reports have no files");
    }
}
