//! Writes reports to files, one after the other, beside what the control plane does.
//!
//! A disk may hang: the writing has a thread of the runtime's own, and nobody waits for it. It must never hang in silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::ReportFolder;

/// How long the last reports may take to be written at the broker's end.
const LAST_REPORTS: Duration = Duration::from_secs(2);

/// A write that takes longer hangs.
const HANGS: Duration = Duration::from_secs(5);

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
            let written = told_if_it_hangs(
                HANGS,
                spawn_blocking(move || {
                    let is_written = folder.write(&report);
                    (folder, is_written)
                }),
            );
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

async fn told_if_it_hangs<T>(after: Duration, mut writing: JoinHandle<T>) -> Result<T, JoinError> {
    if let Ok(written) = timeout(after, &mut writing).await {
        return written;
    }
    tracing::warn!(
        "the disk hangs: reports have no files until it answers; those that cannot wait are counted"
    );
    let written = writing.await;
    tracing::info!("the disk answers again");
    written
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;
    use tokio::task::yield_now;
    use tokio::time::sleep;
    use tracing::Level;

    use super::*;
    use crate::observe::tests::logging::logged;

    #[test]
    fn a_disk_that_hangs_is_told_when_it_begins_and_when_it_is_over_each_time() {
        let write = async |limit: Duration, length: Duration| {
            let (answer, disk) = oneshot::channel();
            let writing = tokio::spawn(told_if_it_hangs(limit, tokio::spawn(disk)));
            // Its timer is there before this one, and goes off before.
            yield_now().await;
            sleep(length).await;
            answer.send(7).expect("it is waited for");
            assert_eq!(writing.await.expect("no panic").expect("no panic"), Ok(7));
        };
        let lines = logged(Level::INFO, |_| {
            let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
            runtime.block_on(async {
                let (short, longer) = (Duration::from_millis(1), Duration::from_millis(5));
                write(HANGS, short).await;
                write(short, longer).await;
                write(short, longer).await;
            });
        });
        let told: Vec<_> = lines.iter().map(|line| line.split([' ', ':']).next()).collect();
        assert_eq!(told, [Some("WARN"), Some("INFO"), Some("WARN"), Some("INFO")], "{lines:?}");
    }
}
