//! One pool: its waiting line, its members and who of them has room.
//!
//! It owns the match between waiting requests and processes with room. It must never touch a request's record or a
//! process: dispatch carries the match out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::berth::{BERTHS, berths_of};
use crate::breaker::Breaker;
use crate::ids::{PoolId, RequestId, WorkerId};
use crate::lanes::Lanes;
use crate::queue::Queue;
use crate::request::Requests;
use crate::settings::PoolSettings;

/// The shortest and the longest hint for when another try may succeed.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(30));

/// One pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) id: PoolId,
    pub(crate) queue: Queue,
    pub(crate) lanes: Lanes,
    pub(crate) breaker: Breaker,
    /// The first of its workers; the others follow.
    pub(crate) first_worker: WorkerId,
    /// How many workers it has.
    pub(crate) members: u16,
    /// How many of its berths have a process that is ready or starting.
    pub(crate) up: u16,
    /// How many of those are set apart, or run a suspect.
    pub(crate) taken: u16,
    /// The berths that are set apart and hold no suspect yet.
    pub(crate) set_apart: Vec<usize>,
    /// A person drained it: it takes nothing new.
    pub(crate) drained: bool,
    /// It is on the list of pools to be looked at before the entry point ends.
    pub(crate) dirty: bool,
    /// Workers whose process is to be replaced, in the order in which that was found.
    pub(crate) recycle_due: VecDeque<WorkerId>,
    /// The one worker whose successor is getting ready.
    pub(crate) replacing: Option<WorkerId>,
    /// What its requests have saved, in bytes.
    pub(crate) saved_bytes: usize,
    /// A running mean of how long attempts take; zero until one has ended.
    mean_attempt: Duration,
    /// How many requests its workers execute at the same time.
    capacity: u32,
}

impl Pool {
    pub(crate) fn new(id: PoolId, settings: &PoolSettings, first_worker: WorkerId) -> Self {
        let members = settings.workers.get();
        let slots = settings.slots.get();
        let loads = usize::from(slots) * usize::from(settings.prefetch.get());
        Self {
            id,
            queue: Queue::new(settings.queue),
            lanes: Lanes::new(usize::from(members) * BERTHS, loads),
            breaker: Breaker::default(),
            first_worker,
            members,
            up: 0,
            taken: 0,
            set_apart: Vec::new(),
            drained: false,
            dirty: false,
            recycle_due: VecDeque::new(),
            replacing: None,
            saved_bytes: 0,
            mean_attempt: Duration::ZERO,
            capacity: u32::from(members) * u32::from(slots),
        }
    }

    /// Its workers.
    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        let first = self.first_worker.0;
        (first..first + self.members).map(WorkerId)
    }

    /// The first of its berths; the others follow.
    fn first_berth(&self) -> usize {
        berths_of(self.first_worker)[0]
    }

    /// Its berths.
    pub(crate) fn berths(&self) -> std::ops::Range<usize> {
        let first = self.first_berth();
        first..first + usize::from(self.members) * BERTHS
    }

    /// A berth's number in the lanes.
    pub(crate) fn member(&self, berth: usize) -> u16 {
        u16::try_from(berth - self.first_berth()).expect("the configuration bounds the workers")
    }

    /// The berth of a process that a new request can be given to at once. Whoever waits cannot use it, or would have
    /// it.
    pub(crate) fn room_for_new(&self) -> Option<usize> {
        self.room(|_| false)
    }

    fn room(&self, shunned: impl Fn(u16) -> bool) -> Option<usize> {
        self.lanes.pick(shunned).map(|member| self.first_berth() + usize::from(member))
    }

    /// The next request to be dispatched, and to which berth; suspects are not looked at. `ups` tells how many berths of a
    /// worker have a process that is ready or starting and is there for anybody.
    ///
    /// A request that comes back is not given to the worker it avoids while another one is ready or starting; it then
    /// waits without being in anybody's way.
    pub(crate) fn next_match<Q>(
        &mut self,
        requests: &Requests<Q>,
        ups: impl Fn(WorkerId) -> u16,
    ) -> Option<(RequestId, usize)> {
        if self.lanes.is_empty() || self.queue.nobody_waits() {
            return None;
        }
        if let Some(found) = self.match_returned(ups) {
            return Some(found);
        }
        let request = self.queue.first_fresh(requests)?;
        Some((request, self.room_for_new()?))
    }

    /// The oldest request that came back and has a process to go to.
    pub(crate) fn match_returned(&self, ups: impl Fn(WorkerId) -> u16) -> Option<(RequestId, usize)> {
        if self.queue.returned().is_empty() {
            return None;
        }
        let place = |avoid: Option<WorkerId>| {
            let shunned = avoid.map(|worker| berths_of(worker).map(|berth| self.member(berth)));
            self.room(|member| shunned.is_some_and(|shunned| shunned.contains(&member))).or_else(|| {
                let others = self.up - self.taken - avoid.map_or(0, &ups);
                if others == 0 { self.room_for_new() } else { None }
            })
        };
        let (request, avoid) = self.queue.returned().first(|avoid| place(avoid).is_some())?;
        Some((request, place(avoid)?))
    }

    /// Takes note of how long an attempt took.
    pub(crate) fn note_attempt(&mut self, duration: Duration) {
        self.mean_attempt =
            if self.mean_attempt.is_zero() { duration } else { (self.mean_attempt * 7 + duration) / 8 };
    }

    /// When a refused client may try again: the time in which the present waiting line will be worked off, by the
    /// mean of recent attempts and with every worker at work; between 10 ms and 30 s. `None` until an attempt has
    /// ended.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if self.mean_attempt.is_zero() {
            return None;
        }
        let waiting = u32::try_from(self.queue.depth()).unwrap_or(u32::MAX).saturating_add(1);
        let estimate = self.mean_attempt.saturating_mul(waiting) / self.capacity;
        Some(estimate.clamp(RETRY_AFTER.0, RETRY_AFTER.1))
    }
}
