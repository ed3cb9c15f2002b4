//! The control plane's end: takes alerts in, has them delivered, and counts what became of them.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::desk::Desk;
use super::{AlertCounts, AlertResult, Inbox, Subject, Webhook, WebhookError};

/// How many subjects are told of at the same time.
const AT_ONCE: usize = 16;

/// How long alerts that are under way at the end may take.
const LAST_ALERTS: Duration = Duration::from_secs(2);

type Deliveries = JoinSet<(Subject, Result<(), WebhookError>)>;

/// Delivers alerts until `stop` is cancelled; those that are under way then have two seconds.
pub async fn deliver(webhook: Webhook, inbox: Inbox, counts: AlertCounts, stop: CancellationToken) {
    let mut desk = Desk::default();
    let mut deliveries = Deliveries::new();
    loop {
        start_due(&mut desk, &mut deliveries, &webhook);
        let next = desk.next_at().filter(|_| deliveries.len() < AT_ONCE);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(done) = deliveries.join_next() => {
                if let Ok(done) = done {
                    finish(&mut desk, &counts, done);
                }
            }
            alerts = inbox.take() => {
                let now = Instant::now();
                alerts.for_each(|alert| desk.take(alert, now));
            }
            () = at(next) => {}
        }
    }
    let last = async {
        while let Some(done) = deliveries.join_next().await {
            if let Ok(done) = done {
                finish(&mut desk, &counts, done);
            }
        }
    };
    if timeout(LAST_ALERTS, last).await.is_err() {
        warn!(alerts = deliveries.len(), "alerts could not be delivered before the end");
    }
}

fn start_due(desk: &mut Desk, deliveries: &mut Deliveries, webhook: &Webhook) {
    while deliveries.len() < AT_ONCE
        && let Some(alert) = desk.next(Instant::now())
    {
        let webhook = webhook.clone();
        deliveries.spawn(async move {
            let result = webhook.deliver(&alert).await;
            (alert.subject, result)
        });
    }
}

fn finish(desk: &mut Desk, counts: &AlertCounts, (subject, result): (Subject, Result<(), WebhookError>)) {
    desk.done(&subject, result.is_ok(), Instant::now());
    match result {
        Ok(()) => counts.count(AlertResult::Delivered),
        Err(error) => {
            counts.count(AlertResult::Failed);
            let Subject { alert, pool, worker } = &subject;
            warn!(?alert, pool, worker, %error, "an alert was not delivered; it is tried again later while it holds");
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
