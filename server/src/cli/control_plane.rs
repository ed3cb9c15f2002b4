//! The control plane: one thread for all that may wait for others: HTTP, alerts, status lines, files of reports.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::http;
use crate::observe::{
    AlertCounts, Filed, Inbox, Query, ReportFolder, Webhook, deliver_alerts, keep_reports, log_status,
};

/// Where alerts go, where they come from, and where what became of them is counted.
pub(super) type Alerts = (Webhook, Inbox, AlertCounts);

/// Where reports are written, where they come from, and where those that were not are counted.
pub(super) type ReportFiles = (ReportFolder, mpsc::Receiver<Filed>, Arc<AtomicU64>);

/// How long a write of a report that hangs may hold up the end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What the control plane has to do.
#[derive(Debug)]
pub(super) struct ControlPlane {
    /// Where HTTP is served.
    pub(super) listener: Option<TcpListener>,
    /// How often every worker's state is logged.
    pub(super) status_interval: Option<Duration>,
    /// Where alerts come from and go to.
    pub(super) alerts: Option<Alerts>,
    /// Where reports come from and go to.
    pub(super) reports: Option<ReportFiles>,
    /// The way to the data plane.
    pub(super) queries: mpsc::Sender<Query>,
    /// Ends it.
    pub(super) stop: CancellationToken,
}

impl ControlPlane {
    /// Whether there is anything to do.
    pub(super) const fn is_needed(&self) -> bool {
        self.listener.is_some()
            || self.status_interval.is_some()
            || self.alerts.is_some()
            || self.reports.is_some()
    }

    /// Runs until it is told to stop; what is under way then has two seconds.
    pub(super) fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(async {
            let Self { listener, status_interval, alerts, reports, queries, stop } = self;
            let mut parts = Parts::default();
            if let Some(listener) = listener {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                parts.spawn("HTTP", http::serve(listener, queries.clone(), stop.clone()));
            }
            if let Some((webhook, inbox, counts)) = alerts {
                parts.spawn("alerts", deliver_alerts(webhook, inbox, counts, stop.clone()));
            }
            if let Some((folder, filed, dropped)) = reports {
                parts.spawn("files of reports", keep_reports(folder, filed, dropped, stop.clone()));
            }
            if let Some(interval) = status_interval {
                let stop = stop.clone();
                parts.spawn("status lines", async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = log_status(interval, queries) => {}
                    }
                });
            }
            parts.end().await
        });
        runtime.shutdown_timeout(LAST_WRITE);
        done
    }
}

/// What runs on the control plane, each with its name.
#[derive(Debug, Default)]
struct Parts {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Parts {
    fn spawn(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(self.tasks.spawn(part).id(), name);
    }

    /// Waits until all have ended. The panic of one is told at once, and the others go on.
    async fn end(mut self) -> io::Result<()> {
        let mut done = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                let part = self.names.get(&error.id()).copied().unwrap_or_default();
                tracing::error!(%error, part, "a part of the control plane panicked; this is a bug; the others go on");
                done = Err(io::Error::other(error));
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_costs_one_part_alone() {
        let mut parts = Parts::default();
        let (told, other) = oneshot::channel();
        let (panicked, has_panicked) = oneshot::channel::<()>();
        parts.spawn("one", async move {
            let _dropped_by_the_panic = panicked;
            panic!("a bug");
        });
        parts.spawn("other", async move {
            has_panicked.await.expect_err("nothing is sent");
            tokio::task::yield_now().await;
            told.send(()).expect("the test waits");
        });
        assert!(parts.end().await.is_err(), "the end tells it too");
        other.await.expect("the other went on");
    }
}
