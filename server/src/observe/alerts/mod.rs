//! Alerts: what a person should know now, posted to a webhook.
//!
//! It owns what is an alert and what one says. The data plane puts alerts into the [`inbox`] and never waits; the
//! [`desk`] decides which is sent when, the [`webhook`] sends. It must never hold up anything, and no failure of a receiver
//! may cost more than the alert that was for it.

mod counts;
mod desk;
mod inbox;
mod run;
mod webhook;

use lifeboat_core::fact::Fact;
use serde::Serialize;

pub use self::counts::AlertCounts;
pub(super) use self::counts::AlertResult;
pub use self::inbox::Inbox;
pub use self::run::deliver;
pub use self::webhook::{Webhook, WebhookError};

use super::describe::{describe, last_line};
use super::names::Names;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A worker failed `unhealthy_after` times in a row. Over with its next `ok`, or with a restart by a person.
    WorkerUnhealthy,
    /// An unhealthy worker was taken out of service, until a person restarts it. Never told to be over.
    WorkerDisabled,
    /// A pool refuses requests. Over when it serves again.
    PoolTripped,
}

impl AlertKind {
    /// It is told once, and nothing says that it is over.
    const fn is_a_moment(self) -> bool {
        matches!(self, Self::WorkerDisabled)
    }
}

/// Whether it is so, or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// It is so.
    Firing,
    /// It is over.
    Resolved,
}

/// Whom it is about. What is of one subject is told in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Subject {
    /// What it is about.
    pub alert: AlertKind,
    /// The pool.
    pub pool: String,
    /// The worker, if it is one's.
    pub worker: Option<String>,
}

/// One alert, as it is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// What it is about, and whom.
    #[serde(flatten)]
    pub subject: Subject,
    /// Whether it is so, or is over.
    pub status: AlertStatus,
    /// When that was found, in milliseconds since 1970.
    pub timestamp: u64,
    /// The same for people.
    pub text: String,
    /// How often that has changed since the last time it was told.
    pub changes: u32,
}

/// The alert that a fact is, if it is one.
pub(super) fn alert(fact: &Fact, names: &Names, timestamp: u64) -> Option<Alert> {
    let (subject, status, text) = alert_of(fact, names)?;
    Some(Alert { subject, status, timestamp, text, changes: 1 })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "that a person should know of a fact is the exception")]
fn alert_of(fact: &Fact, names: &Names) -> Option<(Subject, AlertStatus, String)> {
    let about = |alert, pool, worker: Option<&str>| Subject {
        alert,
        pool: names.pool(pool).to_owned(),
        worker: worker.map(str::to_owned),
    };
    Some(match fact {
        Fact::WorkerUnhealthy { pool, worker, failures, last_crash } => {
            let name = names.worker(*worker);
            let last = last_crash.map_or_else(String::new, |label| format!("; the last crash: {label}"));
            let text = format!("worker {name} failed {failures} times in a row{last}");
            (about(AlertKind::WorkerUnhealthy, *pool, Some(name)), AlertStatus::Firing, text)
        }
        Fact::WorkerHealthy { pool, worker } => {
            let name = names.worker(*worker);
            let text = format!("worker {name} is healthy again");
            (about(AlertKind::WorkerUnhealthy, *pool, Some(name)), AlertStatus::Resolved, text)
        }
        Fact::WorkerDisabled { pool, worker } => {
            let name = names.worker(*worker);
            let text =
                format!("worker {name} was taken out of service; `lifeboat restart {name}` brings it back");
            (about(AlertKind::WorkerDisabled, *pool, Some(name)), AlertStatus::Firing, text)
        }
        Fact::PoolTripped { pool, why, because, .. } => {
            let name = names.pool(*pool);
            let detail = describe(&because.reason);
            let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
            let said =
                last_line(&because.evidence.stderr_tail).map_or_else(String::new, |line| format!(": {line}"));
            let label = because.reason.label();
            let text = format!("pool {name} refuses requests ({why}); the last death: {label}{detail}{said}");
            (about(AlertKind::PoolTripped, *pool, None), AlertStatus::Firing, text)
        }
        Fact::PoolRecovered { pool } => {
            let text = format!("pool {} serves again", names.pool(*pool));
            (about(AlertKind::PoolTripped, *pool, None), AlertStatus::Resolved, text)
        }
        _ => return None,
    })
}
