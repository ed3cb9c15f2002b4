//! The questions that the control plane asks the data plane.

use tokio::sync::oneshot;

use super::{HealthSnapshot, MetricsSnapshot, Readiness};

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
    /// Whether the data plane turns at all.
    Ping(oneshot::Sender<()>),
}
