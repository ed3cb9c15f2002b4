//! The status lines: what every worker is doing, one line each, for those who read the log.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::info;

use super::{Activity, HealthSnapshot, Query, WorkerHealth};

/// Logs a line for each worker at this interval, until nobody answers any more. Meant for the control plane: it asks the
/// data plane, and formats here.
pub async fn log_status(interval: Duration, queries: mpsc::Sender<Query>) {
    loop {
        tokio::time::sleep(interval).await;
        let (reply, answer) = oneshot::channel();
        if queries.send(Query::Health(reply)).await.is_err() {
            return;
        }
        if let Ok(health) = answer.await {
            log_lines(&health);
        }
    }
}

/// One line for each worker.
pub(super) fn log_lines(health: &HealthSnapshot) {
    for (worker, health) in &health.workers {
        log_line(worker, health);
    }
}

fn log_line(worker: &str, health: &WorkerHealth) {
    let time = |millis: u64| humantime::format_duration(Duration::from_millis(millis)).to_string();
    let task = health.current_task.as_ref();
    let idle = health.status == Activity::Idle && health.pid.is_some();
    info!(
        worker,
        state = health.state,
        incarnation = health.incarnation,
        pid = health.pid,
        method = task.map(|task| task.method.as_str()),
        request = task.map(|task| task.request_id.as_str()),
        attempt = task.map(|task| task.attempt),
        running_for = health.task_duration.map(time),
        since_progress = health.time_since_progress.map(time),
        idle_for = idle.then(|| time(health.idle_time)),
        failures = health.consecutive_failures,
        last_crash = health.last_crash.map(|crash| crash.reason),
        healthy = health.healthy,
        "worker status"
    );
}
