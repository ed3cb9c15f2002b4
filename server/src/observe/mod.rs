//! The observer: folds the core's facts into counters and histograms, logs the notable ones, and turns snapshots into
//! metrics, health and readiness.
//!
//! It owns every number that leaves the broker and the names under which it does. On the data-plane thread it must
//! never format, allocate, look a label up or wait for a hot fact; what is shown to people is built from plain owned
//! snapshots, on the control plane. It must never decide anything: nothing in the broker reads its numbers back.

mod alerts;
mod catalogue;
mod counters;
mod describe;
mod exposition;
mod health;
mod histogram;
mod kills;
mod limits;
mod log;
mod names;
mod news;
mod own_process;
mod query;
mod readiness;
mod recorder;
mod reports;
mod snapshot;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod wall_clock;

pub use self::alerts::{
    Alert, AlertCounts, AlertKind, AlertStatus, Inbox, Subject, Webhook, WebhookError,
    deliver as deliver_alerts,
};
pub use self::catalogue::{CATALOGUE, MetricDescription, MetricKind};
pub use self::describe::{describe, harmless, last_line};
pub use self::exposition::ExpositionError;
pub use self::health::{
    Activity, HealthSnapshot, HealthStatus, LastCrash, SlotHealth, TaskHealth, WorkerHealth,
};
pub use self::limits::{LimitsInForce, MemoryBy};
pub use self::news::News;
pub use self::query::Query;
pub use self::readiness::Readiness;
pub use self::recorder::Observer;
pub use self::reports::{
    Climbed, Decided, Executed, FailedRequest, Filed, Findings, Life, Reason, RecordedSlot, Recorder, Report,
    ReportFolder, ReportHead, Signature, Snapshot, Thread, keep_reports,
};
pub use self::snapshot::MetricsSnapshot;
pub use self::status::log_status;
pub use self::wall_clock::WallClock;
