//! One pool: its waiting line, its members and who of them has room.
//!
//! It owns the match between waiting requests and processes with room. It must never touch a request's record or a
//! process: dispatch carries the match out.

use std::time::Duration;

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
    /// The first of its workers; the others follow.
    pub(crate) first_worker: WorkerId,
    /// How many workers it has.
    pub(crate) members: u16,
    /// How many of its workers have a process that is ready or starting.
    pub(crate) up: u16,
    /// It is on the list of pools to be looked at before the entry point ends.
    pub(crate) dirty: bool,
    /// A running mean of how long attempts take; zero until one has ended.
    mean_attempt: Duration,
}

impl Pool {
    pub(crate) fn new(id: PoolId, settings: &PoolSettings, first_worker: WorkerId) -> Self {
        let members = settings.workers.get();
        Self {
            id,
            queue: Queue::new(settings.queue),
            lanes: Lanes::new(members, settings.prefetch.get()),
            first_worker,
            members,
            up: 0,
            dirty: false,
            mean_attempt: Duration::ZERO,
        }
    }

    /// Its workers.
    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        let first = self.first_worker.0;
        (first..first + self.members).map(WorkerId)
    }

    /// The worker at a place.
    pub(crate) fn worker_at(&self, member: u16) -> WorkerId {
        WorkerId(self.first_worker.0 + member)
    }

    /// The process that a new request can be given to at once. Whoever waits cannot use it, or would have it.
    pub(crate) fn room_for_new(&self) -> Option<WorkerId> {
        self.lanes.pick(None).map(|member| self.worker_at(member))
    }

    /// The next request to be dispatched, and to whom. `is_up` tells whether a worker is ready or starting.
    ///
    /// A request that comes back is not given to the worker it avoids while another one is ready or starting; it then
    /// waits without being in anybody's way.
    pub(crate) fn next_match<Q>(
        &mut self,
        requests: &Requests<Q>,
        is_up: impl Fn(WorkerId) -> bool,
    ) -> Option<(RequestId, WorkerId)> {
        if self.lanes.is_empty() || self.queue.nobody_waits() {
            return None;
        }
        if let Some(found) = self.match_returned(is_up) {
            return Some(found);
        }
        let request = self.queue.first_fresh(requests)?;
        let member = self.lanes.pick(None)?;
        Some((request, self.worker_at(member)))
    }

    /// The oldest request that came back and has a process to go to.
    pub(crate) fn match_returned(&self, is_up: impl Fn(WorkerId) -> bool) -> Option<(RequestId, WorkerId)> {
        if !self.queue.has_returned() {
            return None;
        }
        let place = |avoid: Option<WorkerId>| {
            let shunned = avoid.map(|worker| worker.0 - self.first_worker.0);
            self.lanes.pick(shunned).or_else(|| {
                let others = self.up - u16::from(avoid.is_some_and(&is_up));
                if others == 0 { self.lanes.pick(None) } else { None }
            })
        };
        let (request, avoid) = self.queue.first_returned(|avoid| place(avoid).is_some())?;
        Some((request, self.worker_at(place(avoid)?)))
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
        let estimate = self.mean_attempt.saturating_mul(waiting) / u32::from(self.members);
        Some(estimate.clamp(RETRY_AFTER.0, RETRY_AFTER.1))
    }
}
