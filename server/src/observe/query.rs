//! The questions that the control plane asks the data plane.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{HealthSnapshot, MetricsSnapshot, Readiness, ReportHead};

/// A question about the broker's present state; the answer goes into the sender. An asker may have given up: a sender
/// whose receiver is gone is no error.
#[derive(Debug)]
pub enum Query {
    /// Everything that is counted and measured.
    Metrics(oneshot::Sender<MetricsSnapshot>),
    /// What every worker is doing.
    Health(oneshot::Sender<HealthSnapshot>),
    /// Whether requests can be served.
    Readiness(oneshot::Sender<Readiness>),
    /// The reports that are kept, the newest first.
    Reports(oneshot::Sender<Vec<ReportHead>>),
    /// The report of this name, as JSON.
    Report(String, oneshot::Sender<Option<Arc<str>>>),
    /// Whether the data plane turns at all.
    Ping(oneshot::Sender<()>),
}
