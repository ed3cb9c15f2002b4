//! Which alert is sent when.
//!
//! It owns the order in which things are told: pools before workers, of one subject one after the other, at most one every
//! ten seconds, and always how things are, not how they were. It must never lose the last word, however fast things change
//! and however long the receiver is away.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Alert, AlertKind, AlertStatus, Subject};

/// What changes more often than this is told once: a person reads it.
pub(super) const QUIET: Duration = Duration::from_secs(10);

/// What was not delivered is told again after this, and after twice as long each further time.
pub(super) const AGAIN: Duration = Duration::from_mins(1);

/// But not after more than this.
pub(super) const AGAIN_AT_MOST: Duration = Duration::from_mins(15);

/// What is known of a subject.
#[derive(Debug)]
struct File {
    /// What was found last.
    latest: Alert,
    /// What the receiver was told last.
    told: Option<AlertStatus>,
    /// What it is being told, with how many changes.
    under_way: Option<(AlertStatus, u32)>,
    /// How often in a row that could not be delivered.
    failed: u32,
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
            let file = File { told: None, under_way: None, failed: 0, again_at: now, latest: alert };
            self.0.insert(file.latest.subject.clone(), file);
            return;
        };
        file.latest = Alert { changes: file.latest.changes.saturating_add(alert.changes), ..alert };
    }

    /// The next alert that is to be sent now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Alert> {
        let due = self.0.values_mut().filter(|file| file.is_news() && file.again_at <= now);
        // A pool is more than a worker; then who has waited longest.
        let file =
            due.min_by_key(|file| (file.latest.subject.alert != AlertKind::PoolTripped, file.again_at))?;
        let alert = file.latest.clone();
        file.under_way = Some((alert.status, alert.changes));
        file.latest.changes = 0;
        Some(alert)
    }

    /// When the next alert is to be sent, if nothing happens until then.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.0.values().filter(|file| file.is_news()).map(|file| file.again_at).min()
    }

    /// An alert was delivered, or given up: then it is told again, as long as it is so.
    pub(super) fn done(&mut self, subject: &Subject, delivered: bool, now: Instant) {
        let Some(file) = self.0.get_mut(subject) else { return };
        let Some((status, changes)) = file.under_way.take() else { return };
        if !delivered {
            file.latest.changes = file.latest.changes.saturating_add(changes);
            let wait = AGAIN.saturating_mul(1 << file.failed.min(8));
            file.failed = file.failed.saturating_add(1);
            file.again_at = now + wait.min(AGAIN_AT_MOST);
            return;
        }
        file.failed = 0;
        file.again_at = now + QUIET;
        // What is over begins anew.
        let is_over = status == AlertStatus::Resolved || subject.alert.is_a_moment();
        file.told = if is_over { None } else { Some(status) };
    }
}

impl File {
    /// The receiver knows it otherwise, or has only heard of an earlier time that it was so.
    fn is_news(&self) -> bool {
        let otherwise = match self.told {
            None => self.latest.status == AlertStatus::Firing,
            Some(told) => told != self.latest.status,
        };
        otherwise && self.under_way.is_none() && self.latest.changes > 0
    }
}

#[cfg(test)]
mod tests {
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
        desk.done(&first.subject, true, now);
        assert_eq!(desk.next_at(), Some(now + QUIET));
        let second = desk.next(now + QUIET).expect("its time has come");
        assert_eq!((second.timestamp, second.status, second.changes), (2, AlertStatus::Resolved, 1));
        desk.done(&second.subject, true, now + QUIET);
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
        desk.done(&first.subject, true, now);
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
            desk.done(&told.subject, true, now);
            assert_eq!(desk.next(now + QUIET), None, "once");
            now += QUIET;
        }
    }

    #[test]
    fn what_could_not_be_delivered_is_told_again_while_it_is_so() {
        let (mut desk, mut now) = (Desk::default(), Instant::now());
        desk.take(tripped(AlertStatus::Firing, 1), now);
        for wait in [AGAIN, AGAIN * 2, AGAIN * 4, AGAIN * 8, AGAIN_AT_MOST, AGAIN_AT_MOST] {
            let told = desk.next(now).expect("it is told, or told again");
            assert_eq!((told.timestamp, told.changes), (1, 1));
            desk.done(&told.subject, false, now);
            assert_eq!((desk.next(now), desk.next_at()), (None, Some(now + wait)));
            now += wait;
        }
        let told = desk.next(now).expect("it is told again");
        desk.done(&told.subject, true, now);
        assert_eq!(desk.next_at(), None);
        desk.take(tripped(AlertStatus::Resolved, 2), now);
        let over = desk.next(now + QUIET).expect("it is over");
        desk.done(&over.subject, false, now);
        let over = desk.next(now + AGAIN).expect("that is told again as well, the waits begin anew");
        assert_eq!((over.status, over.changes), (AlertStatus::Resolved, 1));
    }

    #[test]
    fn what_was_over_before_it_could_be_told_is_not_told() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        desk.take(tripped(AlertStatus::Firing, 1), now);
        let told = desk.next(now).expect("it is told");
        desk.take(tripped(AlertStatus::Resolved, 2), now);
        desk.done(&told.subject, false, now);
        assert_eq!((desk.next(now + AGAIN), desk.next_at()), (None, None));
    }

    #[test]
    fn pools_come_first_and_then_who_has_waited_longest() {
        let (mut desk, mut now) = (Desk::default(), Instant::now());
        let worker = |number: u32, status| Alert {
            subject: Subject {
                alert: AlertKind::WorkerUnhealthy,
                pool: "images".to_owned(),
                worker: Some(format!("images-{number:02}")),
            },
            ..alert(AlertKind::WorkerUnhealthy, status, 1)
        };
        for number in (0..20).rev() {
            desk.take(worker(number, AlertStatus::Firing), now);
            now += Duration::from_secs(1);
        }
        desk.take(tripped(AlertStatus::Firing, 1), now);
        let told: Vec<_> = std::iter::from_fn(|| desk.next(now)).map(|alert| alert.subject.worker).collect();
        let workers = (0..20).rev().map(|number| Some(format!("images-{number:02}")));
        assert_eq!(told, std::iter::once(None).chain(workers).collect::<Vec<_>>());
    }
}
