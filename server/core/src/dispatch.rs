//! Giving requests to processes.
//!
//! It owns the moment in which a request becomes a slot's: the order to write it, its place in the slot's line and the
//! start of its attempt. It must never look for a match itself (the pool and `suspects` do) or end anything.

use crate::berth::{Berth, berths_of};
use crate::core::Core;
use crate::fact::Fact;
use crate::ids::{PoolId, RequestId, SlotId, WorkerId};
use crate::phase::Phase;
use crate::process::{Company, Process};
use crate::reason::KillReason;
use crate::request::RequestPhase;
use crate::slot::{Held, Settled};

impl<Q, A> Core<Q, A> {
    /// Dispatches whatever can be dispatched in a pool.
    pub(crate) fn fill(&mut self, pool: PoolId) {
        self.dispatch_waiting(pool);
        // One that is freed has room again; one that is kept for suspects is no reason for others to wait for it.
        while self.set_apart_as_wanted(pool) {
            self.dispatch_waiting(pool);
        }
    }

    fn dispatch_waiting(&mut self, pool: PoolId) {
        while self.breaker_lets_through(pool) {
            let Some((request, berth)) = self.next_match(pool) else { return };
            if self.is_overdue(request) {
                self.end_overdue(request);
                self.pools[usize::from(pool.0)].queue.tidy(&self.requests);
                continue;
            }
            self.pools[usize::from(pool.0)].queue.take(&self.requests, request);
            self.disarm_queue(request);
            self.disarm_avoidance(request);
            self.dispatch(request, berth);
            self.pools[usize::from(pool.0)].queue.tidy(&self.requests);
        }
    }

    fn next_match(&mut self, pool: PoolId) -> Option<(RequestId, usize)> {
        let suspect = self.match_suspect(pool);
        if suspect.is_some() {
            return suspect;
        }
        let berths = &self.berths;
        let ups = |id: WorkerId| shared_ups(berths, id);
        self.pools[usize::from(pool.0)].next_match(&self.requests, ups)
    }

    /// Gives a request, which waits nowhere, to a process with room; a suspect to an empty one.
    pub(crate) fn dispatch(&mut self, request: RequestId, berth: usize) {
        let now = self.now;
        let process = self.berths[berth].process.as_mut().expect("a berth in a lane has a process");
        let slot = process.next_slot().expect("a process in a lane has room");
        let record = self.requests.open_record(request);
        let (key, attempt) = (process.key, record.next_attempt());
        let left = record.deadline - now;
        let is_front = process.slot(slot).line.is_empty();
        let time_left = match record.limits.attempt.length {
            Some(limit) if is_front => left.min(limit),
            _ => left,
        };
        record.phase = RequestPhase::Held { process: key };
        let first = !std::mem::replace(&mut record.dispatched, true);
        let (method, pool, accepted_at) = (record.method, record.pool, record.accepted_at);
        let (suspect, body) = (record.suspect, record.body);
        process.slot(slot).line.push_back(Held {
            request,
            attempt,
            method,
            body,
            started: false,
            moved: false,
            settled: None,
        });
        process.newest = process.newest.max(Some(request));
        process.active_at = now;
        self.worker(berth).last_activity = now;
        if suspect {
            self.set_company(berth, Company::Alone);
        }
        self.update_lane(berth);
        self.send_dispatch(berth, slot, request, attempt, time_left);
        if first {
            self.out.tell(Fact::FirstDispatched { pool, method, waited: now - accepted_at });
        }
        if is_front {
            self.start_front(berth, slot);
        }
    }

    /// Starts the attempt at the front of a slot's line, unless it runs already.
    ///
    /// The worker starts it by itself, right after the slot answered the one before; this is the core taking note. A
    /// slot that has failed starts nothing.
    pub(crate) fn start_front(&mut self, berth: usize, slot: SlotId) {
        let process = self.process(berth);
        let (phase, all_failed) = (process.phase, process.slots_failed.is_some());
        let place = process.slot(slot);
        let Some(held) = place.line.front().filter(|held| !held.started).copied() else { return };
        if place.retired || all_failed {
            return;
        }
        self.note_started(berth, slot, 0);
        match held.settled {
            None if phase.executes() => self.arm_attempt(held.request),
            // Its cancel frame was sent when it was settled; the process has `cancel_grace` to get rid of it.
            Some(Settled::Cancelled) if phase.executes() => {
                self.begin_cancelling(berth, slot, KillReason::Cancelled, None);
            }
            Some(Settled::Deadline) if phase.executes() => {
                self.begin_cancelling(berth, slot, KillReason::Deadline, None);
            }
            None | Some(Settled::Cancelled | Settled::Deadline | Settled::Closed) => {}
        }
    }

    /// Takes note that what has this place in a slot's line, usually the front, is executing: an attempt of its request is
    /// spent.
    pub(crate) fn note_started(&mut self, berth: usize, slot: SlotId, place: usize) {
        let now = self.now;
        let line = &mut self.process(berth).slot(slot).line;
        let Some(held) = line.get_mut(place).filter(|held| !held.started) else { return };
        held.started = true;
        let held = *held;
        if held.settled.is_none() {
            let record = self.requests.open_record(held.request);
            record.attempts = record.attempts.saturating_add(1);
            record.started_at = now;
            record.progress_at = now;
            debug_assert_eq!(
                record.attempt(),
                held.attempt,
                "an attempt has the number it was dispatched with"
            );
        }
    }

    /// Takes back that the front of a slot's line has started, and the attempt that was spent on it.
    pub(crate) fn take_start_back(&mut self, berth: usize, slot: SlotId) {
        let line = &mut self.process(berth).slot(slot).line;
        let Some(held) = line.front_mut().filter(|held| held.started) else { return };
        held.started = false;
        let request = held.request;
        self.disarm_attempt(request);
        let record = self.requests.open_record(request);
        record.attempts = record.attempts.saturating_sub(1);
        let (method, started_at) = (record.method, record.started_at);
        if let Some(class) = self.classes[usize::from(method.0)].attempt {
            self.timers.forget_limit(class, started_at, request);
        }
    }

    /// Puts a request back into the queue, free of charge or for its next attempt.
    pub(crate) fn put_back(&mut self, request: RequestId) {
        let record = self.requests.open_record(request);
        record.phase = RequestPhase::Queued;
        let (pool, avoid, bytes, suspect) = (record.pool, record.avoid, record.bytes, record.suspect);
        let queue = &mut self.pools[usize::from(pool.0)].queue;
        if suspect {
            queue.push_suspect(request, avoid, bytes);
            self.arm_avoidance(request);
        } else {
            queue.push_returned(request, avoid, bytes);
        }
        self.mark_dirty(pool);
    }

    /// Tells the lanes how full a process is, or that it is given nothing.
    pub(crate) fn update_lane(&mut self, berth: usize) {
        let pool =
            &mut self.pools[usize::from(self.workers[usize::from(self.berths[berth].worker.0)].pool.0)];
        let process = self.berths[berth].process.as_ref();
        let lane =
            process.filter(|process| process.phase == Phase::Serving).and_then(|process| process.lane());
        let member = pool.member(berth);
        pool.lanes.set_load(member, lane);
    }
}

/// How many berths of a worker have a process that is ready or starting.
pub(crate) fn ups(berths: &[Berth], worker: WorkerId) -> u16 {
    count(berths, worker, |_| true)
}

/// How many of those are there for anybody.
pub(crate) fn shared_ups(berths: &[Berth], worker: WorkerId) -> u16 {
    count(berths, worker, |process| process.company == Company::Anybody)
}

fn count(berths: &[Berth], worker: WorkerId, fits: impl Fn(&Process) -> bool) -> u16 {
    let processes = berths_of(worker).into_iter().filter_map(|berth| berths[berth].process.as_ref());
    processes.map(|process| u16::from(process.phase.is_up() && fits(process))).sum()
}
