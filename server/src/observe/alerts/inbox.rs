//! The way of alerts from the data plane to the control plane.
//!
//! It keeps one alert of each subject, the latest, so that it is as bounded as pools and workers are and loses nobody's last
//! word, however many change in one turn. Nobody holds it for longer than it takes to put one in or to take all out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Alert, Subject};

/// Both ends of it.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    alerts: Mutex<BTreeMap<Subject, Alert>>,
    news: Notify,
}

impl Inbox {
    /// Puts one in.
    pub(in crate::observe) fn put(&self, alert: Alert) {
        let mut alerts = self.lock();
        let earlier = alerts.get(&alert.subject).map_or(0, |earlier| earlier.changes);
        let changes = alert.changes.saturating_add(earlier);
        alerts.insert(alert.subject.clone(), Alert { changes, ..alert });
        self.0.news.notify_one();
    }

    /// Waits until there are some, and takes them all.
    pub(super) async fn take(&self) -> impl Iterator<Item = Alert> + use<> {
        loop {
            let alerts = std::mem::take(&mut *self.lock());
            if !alerts.is_empty() {
                return alerts.into_values();
            }
            self.0.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Subject, Alert>> {
        self.0.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AlertKind, AlertStatus};
    use super::*;

    #[tokio::test]
    async fn however_many_change_at_once_nobodys_last_word_is_lost() {
        let inbox = Inbox::default();
        for (status, timestamp) in [(AlertStatus::Firing, 1), (AlertStatus::Resolved, 2)] {
            for worker in 0..4_096 {
                let worker = Some(format!("images-{worker}"));
                let subject =
                    Subject { alert: AlertKind::WorkerUnhealthy, pool: "images".to_owned(), worker };
                inbox.put(Alert { subject, status, timestamp, text: String::new(), changes: 1 });
            }
        }
        let taken: Vec<_> = inbox.take().await.collect();
        assert_eq!(taken.len(), 4_096);
        let is_last =
            |alert: &Alert| (alert.status, alert.timestamp, alert.changes) == (AlertStatus::Resolved, 2, 2);
        assert!(taken.iter().all(is_last));
    }
}
