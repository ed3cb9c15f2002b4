//! Giving requests to processes.
//!
//! It owns the moment in which a request becomes a process's: the order to write it, its place in the process's line
//! and the start of its attempt. It must never look for a match itself (the pool does) or end anything.

use crate::core::Core;
use crate::fact::Fact;
use crate::ids::{PoolId, RequestId};
use crate::process::{Held, Phase, Rung, Settled};
use crate::reason::KillReason;
use crate::request::RequestPhase;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

impl<Q, A> Core<Q, A> {
    /// Dispatches whatever can be dispatched in a pool.
    pub(crate) fn fill(&mut self, pool: PoolId) {
        loop {
            let workers = &self.workers;
            let is_up = |id: crate::ids::WorkerId| workers[usize::from(id.0)].is_up();
            let place = &mut self.pools[usize::from(pool.0)];
            let Some((request, worker)) = place.next_match(&self.requests, is_up) else { return };
            place.queue.remove(&self.requests, request);
            self.dispatch(request, usize::from(worker.0));
            self.pools[usize::from(pool.0)].queue.tidy(&self.requests);
        }
    }

    /// Gives a request, which waits nowhere, to a process with room.
    pub(crate) fn dispatch(&mut self, request: RequestId, index: usize) {
        let now = self.now;
        let worker = &mut self.workers[index];
        let process = worker.process.as_mut().expect("a process with room is one");
        let record = self.requests.open_record(request);
        let (key, attempt) = (process.key, record.next_attempt());
        let left = record.deadline - now;
        let is_front = process.line.is_empty();
        let time_left = match record.attempt_limit {
            Some(limit) if is_front => left.min(limit),
            _ => left,
        };
        record.phase = RequestPhase::Held { process: key };
        let first = !std::mem::replace(&mut record.dispatched, true);
        let (method, pool, accepted_at) = (record.method, record.pool, record.accepted_at);
        process.line.push_back(Held { request, attempt, method, started: false, settled: None });
        process.newest = process.newest.max(Some(request));
        worker.last_activity = now;
        let load = process.line.len();
        self.pools[usize::from(pool.0)].lanes.set_load(worker.member, load);
        self.send_dispatch(index, request, attempt, time_left);
        if first {
            self.out.tell(Fact::FirstDispatched { pool, method, waited: now - accepted_at });
        }
        if is_front {
            self.start_front(index);
        }
    }

    /// Starts the attempt at the front of a process's line, unless it runs already.
    ///
    /// The worker starts it by itself, right after it answered the one before; this is the core taking note. A process
    /// whose slots have failed starts nothing.
    pub(crate) fn start_front(&mut self, index: usize) {
        let Some(process) = &self.workers[index].process else { return };
        let Some(held) = process.line.front().filter(|held| !held.started).copied() else { return };
        if process.slots_failed.is_some() {
            return;
        }
        let phase = process.phase;
        self.note_started(index);
        match held.settled {
            None if matches!(phase, Phase::Serving | Phase::Ending(Rung::Draining)) => {
                self.arm_attempt(held.request);
            }
            // Its cancel frame was sent when it was settled; the process has `cancel_grace` to get rid of it.
            Some(Settled::Cancelled) if phase == Phase::Serving => {
                self.begin_cancelling(index, KillReason::Cancelled, None);
            }
            Some(Settled::Deadline) if phase == Phase::Serving => {
                self.begin_cancelling(index, KillReason::Deadline, None);
            }
            None | Some(Settled::Cancelled | Settled::Deadline | Settled::Closed) => {}
        }
    }

    /// Takes note that the front of the line is executing: an attempt of its request is spent.
    pub(crate) fn note_started(&mut self, index: usize) {
        let now = self.now;
        let Some(held) = self.process(index).line.front_mut().filter(|held| !held.started) else { return };
        held.started = true;
        let held = *held;
        if held.settled.is_none() {
            let record = self.requests.open_record(held.request);
            record.attempts = record.attempts.saturating_add(1);
            record.started_at = now;
            debug_assert_eq!(
                record.attempt(),
                held.attempt,
                "an attempt has the number it was dispatched with"
            );
        }
    }

    /// Takes back that the front of the line has started, and the attempt that was spent on it.
    pub(crate) fn take_start_back(&mut self, index: usize) {
        let Some(held) = self.process(index).line.front_mut().filter(|held| held.started) else { return };
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

    fn arm_attempt(&mut self, request: RequestId) {
        let now = self.now;
        let record = self.requests.open_record(request);
        let Some(limit) = record.attempt_limit else { return };
        record.attempt_armed = true;
        let attempt = record.attempt();
        let class = self.classes[usize::from(record.method.0)].attempt;
        match class.filter(|_| record.attempt_by_class) {
            Some(class) => self.timers.arm_limit(class, now, request, attempt),
            None => {
                let owner = TimerOwner::Request(request, attempt);
                self.timers.arm(Timer { at: now + limit, kind: TimerKind::AttemptTimeout, owner });
            }
        }
    }

    /// Puts a request back into the queue, free of charge or for its next attempt.
    pub(crate) fn put_back(&mut self, request: RequestId) {
        let record = self.requests.open_record(request);
        record.phase = RequestPhase::Queued;
        let (pool, avoid, bytes) = (record.pool, record.avoid, record.bytes);
        self.pools[usize::from(pool.0)].queue.push_returned(request, avoid, bytes);
        self.mark_dirty(pool);
    }

    /// Tells the lanes how many requests a process holds, or that it is given none.
    pub(crate) fn update_lane(&mut self, index: usize) {
        let worker = &self.workers[index];
        let lanes = &mut self.pools[usize::from(worker.pool.0)].lanes;
        match &worker.process {
            Some(process) if process.phase == Phase::Serving => {
                lanes.set_load(worker.member, process.line.len());
            }
            Some(_) | None => lanes.remove(worker.member),
        }
    }
}
