//! Every deadline that the core waits for.
//!
//! It owns the times and what each is for. It must never act on one: it hands out what is due, earliest first.
//!
//! Limits of requests are by far the most frequent timers and almost never fire. They wait in one first-in-first-out
//! line per timeout class (a kind and a length): lengths are equal within a class, so the oldest is always the
//! earliest. Cancelling one takes it out only if it is at the front; elsewhere it stays as garbage, told apart by
//! its generation (the request's id, which is never reused, and the attempt's number), and is collected once the
//! garbage outnumbers the living. The front of every class is always alive, which makes [`Timers::next`] exact
//! and cheap. Limits of other lengths (a client's own) and the rare timers of processes wait in an ordered set.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::ids::{AttemptNumber, PoolId, ProcessKey, RequestId, WorkerId};
use crate::request::Requests;
use crate::time::Timestamp;
use crate::view::TimerKind;

/// Garbage that is never worth collecting.
pub(crate) const SMALL: usize = 32;

/// What a timer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerOwner {
    /// A request, and for limits of an attempt which one.
    Request(RequestId, AttemptNumber),
    /// A process.
    Process(ProcessKey),
    /// A worker that waits for its next process.
    Worker(WorkerId),
    /// A pool.
    Pool(PoolId),
    /// The broker.
    Broker,
}

/// One timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) at: Timestamp,
    pub(crate) kind: TimerKind,
    pub(crate) owner: TimerOwner,
}

/// A timeout class's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassId(u16);

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Timestamp,
    request: RequestId,
    attempt: AttemptNumber,
}

#[derive(Debug)]
struct Class {
    kind: TimerKind,
    length: Duration,
    entries: VecDeque<Entry>,
    /// How many of the entries still count.
    live: usize,
}

/// All timers.
#[derive(Debug)]
pub(crate) struct Timers {
    classes: Vec<Class>,
    others: BTreeSet<Timer>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self { classes: Vec::new(), others: BTreeSet::new() }
    }

    /// The class for limits of this kind and length.
    pub(crate) fn class(&mut self, kind: TimerKind, length: Duration) -> ClassId {
        let found = self.classes.iter().position(|class| class.kind == kind && class.length == length);
        let place = found.unwrap_or_else(|| {
            self.classes.push(Class { kind, length, entries: VecDeque::new(), live: 0 });
            self.classes.len() - 1
        });
        ClassId(
            u16::try_from(place)
                .expect("the configuration bounds the methods, which have three classes at most"),
        )
    }

    /// Starts a limit of a class. Times within a class never fall, because the core's clock does not.
    pub(crate) fn arm_limit(
        &mut self,
        class: ClassId,
        now: Timestamp,
        request: RequestId,
        attempt: AttemptNumber,
    ) {
        let class = &mut self.classes[usize::from(class.0)];
        class.entries.push_back(Entry { at: now + class.length, request, attempt });
        class.live += 1;
    }

    /// Cancels a limit of a class. The record already says that it no longer waits for it.
    pub(crate) fn cancel_limit<Q>(&mut self, class: ClassId, request: RequestId, requests: &Requests<Q>) {
        let class = &mut self.classes[usize::from(class.0)];
        class.live -= 1;
        let at_front = class.entries.front().is_some_and(|entry| entry.request == request);
        class.tidy(at_front, requests);
    }

    /// Takes out what is left of a cancelled limit of a class that was started at this time: another one with the same
    /// generation may follow, which would wake the garbage.
    pub(crate) fn forget_limit(&mut self, class: ClassId, started_at: Timestamp, request: RequestId) {
        let class = &mut self.classes[usize::from(class.0)];
        let at = started_at + class.length;
        let first = class.entries.partition_point(|entry| entry.at < at);
        let mut same = class.entries.range(first..).take_while(|entry| entry.at == at);
        if let Some(place) = same.position(|entry| entry.request == request) {
            class.entries.remove(first + place);
        }
    }

    /// Starts a timer of its own length. [`Timestamp::FAR_FUTURE`] is never.
    pub(crate) fn arm(&mut self, timer: Timer) {
        if timer.at < Timestamp::FAR_FUTURE {
            self.others.insert(timer);
        }
    }

    /// Cancels a timer of its own length.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.others.remove(&timer);
    }

    /// The earliest timer.
    pub(crate) fn next(&self) -> Option<(Timestamp, TimerKind)> {
        let mut next = self.others.first().map(|timer| (timer.at, timer.kind));
        for class in &self.classes {
            if let Some(entry) = class.entries.front()
                && next.is_none_or(|(at, _)| entry.at < at)
            {
                next = Some((entry.at, class.kind));
            }
        }
        next
    }

    /// Takes out the earliest timer that is due. The caller marks its record before the next call.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (at, kind) = self.next()?;
        if at > now {
            return None;
        }
        if self.others.first().is_some_and(|timer| timer.at == at && timer.kind == kind) {
            return self.others.pop_first();
        }
        let class = self
            .classes
            .iter_mut()
            .find(|class| class.kind == kind && class.entries.front().is_some_and(|entry| entry.at == at))?;
        class.live -= 1;
        let entry = class.entries.pop_front()?;
        Some(Timer { at, kind, owner: TimerOwner::Request(entry.request, entry.attempt) })
    }

    /// Restores the rule that the front of every class is alive, after [`Timers::pop_due`].
    pub(crate) fn trim<Q>(&mut self, requests: &Requests<Q>) {
        for class in &mut self.classes {
            class.tidy(true, requests);
        }
    }

    /// Entries and living entries over all classes: for the invariants.
    pub(crate) fn census<Q>(&self, requests: &Requests<Q>) -> Vec<(usize, usize, usize)> {
        self.classes
            .iter()
            .map(|class| {
                let alive = class.entries.iter().filter(|entry| entry.is_live(class.kind, requests)).count();
                (class.entries.len(), class.live, alive)
            })
            .collect()
    }

    /// Whether the front of every class is alive: for the invariants.
    pub(crate) fn fronts_are_alive<Q>(&self, requests: &Requests<Q>) -> bool {
        let mut fronts = self.classes.iter().filter_map(|class| Some((class.kind, class.entries.front()?)));
        fronts.all(|(kind, entry)| entry.is_live(kind, requests))
    }

    /// The timers of their own length: for the invariants.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Timer> {
        self.others.iter()
    }
}

impl Class {
    /// Takes the dead from the front, if one died there, and all of them once they outnumber the living.
    fn tidy<Q>(&mut self, at_front: bool, requests: &Requests<Q>) {
        if at_front {
            while self.entries.front().is_some_and(|entry| !entry.is_live(self.kind, requests)) {
                self.entries.pop_front();
            }
        }
        if self.entries.len() > 2 * self.live + SMALL {
            self.entries.retain(|entry| entry.is_live(self.kind, requests));
        }
    }
}

impl Entry {
    fn is_live<Q>(&self, kind: TimerKind, requests: &Requests<Q>) -> bool {
        requests.get(self.request).is_some_and(|record| match kind {
            TimerKind::Deadline => record.armed.deadline,
            TimerKind::QueueTimeout => record.armed.queue,
            TimerKind::AttemptTimeout => record.armed.attempt && record.attempt() == self.attempt,
            TimerKind::ProgressTimeout
            | TimerKind::OutputTimeout
            | TimerKind::RetryBackoff
            | TimerKind::Avoidance
            | TimerKind::StartTimeout
            | TimerKind::Ladder
            | TimerKind::ExitGrace
            | TimerKind::KillTimeout
            | TimerKind::RestartBackoff
            | TimerKind::StableAfter
            | TimerKind::Heartbeat
            | TimerKind::RecycleAge
            | TimerKind::RecycleIdle
            | TimerKind::Probe
            | TimerKind::DrainTimeout => false,
        })
    }
}
