//! Which alert is sent when.
//!
//! It owns the order in which things are told: of one subject one after the other, at most one every ten seconds, and
//! always how things are, not how they were. It must never lose the last word, however fast things change.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Alert, AlertStatus, Subject};

/// What changes more often than this is told once: a person reads it.
pub(super) const QUIET: Duration = Duration::from_secs(10);

/// What is known of a subject.
#[derive(Debug)]
struct File {
    /// What was found last.
    latest: Alert,
    /// What the receiver was told last, or is being told.
    told: Option<AlertStatus>,
    /// It is being told.
    under_way: bool,
    /// It may be told again then.
    again_at: Instant,
}

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Desk(BTreeMap<Subject, File>);

impl Desk {
    /// Takes in what was found.
    pub(super) fn take(&mut self, alert: Alert, now: Instant) {
        let Some(file) = self.0.get_mut(&alert.subject) else {
            let file = File { told: None, under_way: false, again_at: now, latest: alert };
            self.0.insert(file.latest.subject.clone(), file);
            return;
        };
        file.latest = Alert { changes: file.latest.changes.saturating_add(alert.changes), ..alert };
    }

    /// The next alert that is to be sent now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Alert> {
        let file = self.0.values_mut().find(|file| file.is_news() && file.again_at <= now)?;
        file.told = Some(file.latest.status);
        file.under_way = true;
        let alert = file.latest.clone();
        file.latest.changes = 0;
        Some(alert)
    }

    /// When the next alert is to be sent, if nothing happens until then.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.0.values().filter(|file| file.is_news()).map(|file| file.again_at).min()
    }

    /// An alert was delivered, or given up.
    pub(super) fn done(&mut self, subject: &Subject, now: Instant) {
        let Some(file) = self.0.get_mut(subject) else { return };
        file.under_way = false;
        file.again_at = now + QUIET;
        if file.told == Some(AlertStatus::Resolved) || subject.alert.is_a_moment() {
            // It is over, and begins anew.
            file.told = None;
        }
    }
}

impl File {
    /// The receiver knows it otherwise, or has only heard of an earlier time that it was so.
    fn is_news(&self) -> bool {
        let otherwise = match self.told {
            None => self.latest.status == AlertStatus::Firing,
            Some(told) => told != self.latest.status,
        };
        otherwise && !self.under_way && self.latest.changes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::AlertKind;
    use super::*;

    fn alert(kind: AlertKind, status: AlertStatus, timestamp: u64) -> Alert {
        let subject = Subject { alert: kind, pool: "images".to_owned(), worker: None };
        Alert { subject, status, timestamp, text: String::new(), changes: 1 }
    }

    fn tripped(status: AlertStatus, timestamp: u64) -> Alert {
        alert(AlertKind::PoolTripped, status, timestamp)
    }

    #[test]
    fn what_is_and_what_is_over_are_told_in_order() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        desk.take(tripped(AlertStatus::Firing, 1), now);
        let first = desk.next(now).expect("it is told at once");
        assert_eq!((first.timestamp, first.status, first.changes), (1, AlertStatus::Firing, 1));
        desk.take(tripped(AlertStatus::Resolved, 2), now);
        assert_eq!((desk.next(now), desk.next_at()), (None, None), "the first is under way");
        desk.done(&first.subject, now);
        assert_eq!(desk.next_at(), Some(now + QUIET));
        let second = desk.next(now + QUIET).expect("its time has come");
        assert_eq!((second.timestamp, second.status, second.changes), (2, AlertStatus::Resolved, 1));
        desk.done(&second.subject, now + QUIET);
        assert_eq!(desk.next_at(), None);
    }

    #[test]
    fn only_the_last_word_of_many_is_told() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        desk.take(tripped(AlertStatus::Firing, 1), now);
        let first = desk.next(now).expect("it is told");
        for time in (2..=7).step_by(2) {
            desk.take(tripped(AlertStatus::Resolved, time), now);
            desk.take(tripped(AlertStatus::Firing, time + 1), now);
        }
        desk.done(&first.subject, now);
        assert_eq!(desk.next(now + QUIET), None, "it is as it was told");
        desk.take(tripped(AlertStatus::Resolved, 9), now + QUIET);
        let last = desk.next(now + QUIET).expect("it is over");
        assert_eq!((last.timestamp, last.changes), (9, 7));
    }

    #[test]
    fn what_was_over_before_it_was_told_is_not_told() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        desk.take(tripped(AlertStatus::Firing, 1), now);
        desk.take(tripped(AlertStatus::Resolved, 2), now);
        assert_eq!((desk.next(now), desk.next_at()), (None, None));
        desk.take(tripped(AlertStatus::Firing, 3), now);
        assert_eq!(desk.next(now).map(|alert| (alert.timestamp, alert.changes)), Some((3, 3)));
    }

    #[test]
    fn a_moment_is_told_each_time() {
        let (mut desk, mut now) = (Desk::default(), Instant::now());
        for time in 1..4 {
            desk.take(alert(AlertKind::WorkerDisabled, AlertStatus::Firing, time), now);
            let told = desk.next(now).expect("it is told");
            assert_eq!(told.timestamp, time);
            desk.done(&told.subject, now);
            assert_eq!(desk.next(now + QUIET), None, "once");
            now += QUIET;
        }
    }
}
