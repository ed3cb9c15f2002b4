//! Tripping a pool, and its way back.
//!
//! It owns what a crash loop leads to: the pool refuses requests, orders no process, and is given one chance after
//! another, each with one process and one request at a time, until an incarnation is productive. It must never end
//! what runs.

use std::sync::Arc;
use std::time::Duration;

use crate::action::Outcome;
use crate::breaker::BreakerState;
use crate::core::Core;
use crate::fact::{Death, Fact, TripWhy};
use crate::ids::{PoolId, RequestId, WorkerId};
use crate::process::Process;
use crate::reason::{AttemptEnd, KillReason, RejectWhy, TimeoutWhich};
use crate::restart;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;
use crate::worker::Worker;

impl<Q, A> Core<Q, A> {
    /// An incarnation ended unproductive: one too many trips the pool, and any one does so while it has its chance.
    pub(crate) fn note_unproductive(&mut self, pool: PoolId, death: &Arc<Death>) {
        let now = self.now;
        let settings = self.settings.pool(pool).restart;
        let breaker = &mut self.pools[usize::from(pool.0)].breaker;
        let too_many = breaker.note(Arc::clone(death), &settings, now);
        let count = breaker.count();
        let why = match breaker.state {
            BreakerState::Open { .. } => None,
            BreakerState::HalfOpen => Some(TripWhy::ChanceLost),
            BreakerState::Closed if too_many => Some(TripWhy::TooMany(count)),
            BreakerState::Closed => self.worn_out(pool, death.process.worker),
        };
        if let Some(why) = why {
            self.trip(pool, why, death);
        }
    }

    /// Whether no worker of the pool serves and each one in service is worn out: few workers, or slow ones, never have
    /// too many unproductive incarnations within the window. `last` has one more of them than was counted.
    fn worn_out(&self, pool: PoolId, last: WorkerId) -> Option<TripWhy> {
        let settings = self.settings.pool(pool).restart;
        let row = |worker: &Worker| worker.unproductive.saturating_add(u32::from(worker.id == last));
        let workers = self.pools[usize::from(pool.0)].workers().map(|id| &self.workers[usize::from(id.0)]);
        let mut in_service = workers.filter(|worker| !worker.disabled).peekable();
        let hopeless = in_service.peek().is_some()
            && in_service.all(|worker| restart::is_worn_out(&settings, row(worker)))
            && !self.serves_anyone(pool);
        hopeless.then(|| TripWhy::WornOut(row(&self.workers[usize::from(last.0)])))
    }

    /// The pool refuses requests until its next chance.
    fn trip(&mut self, pool: PoolId, why: TripWhy, because: &Arc<Death>) {
        let restart = self.settings.pool(pool).restart;
        let wait = restart::longest_wait(&restart, self.rng.f64());
        let until = self.now + wait;
        let place = &mut self.pools[usize::from(pool.0)];
        place.breaker.state = BreakerState::Open { until };
        place.breaker.probe = None;
        self.timers.arm(Timer { at: until, kind: TimerKind::Probe, owner: TimerOwner::Pool(pool) });
        for worker in self.pools[usize::from(pool.0)].workers() {
            self.cancel_restart(usize::from(worker.0));
        }
        let because = Arc::clone(because);
        self.out.tell(Fact::PoolTripped { pool, why, because, wait });
        for id in self.pools[usize::from(pool.0)].queue.everyone(&self.requests) {
            if let Some(outcome) = self.outcome_while_tripped(id) {
                self.end_request(id, outcome);
            }
        }
    }

    /// The outcome of a request that would wait in a tripped pool: refused if it never ran, else as its last attempt
    /// ended. `None` for one whose handler asked for another try: it keeps waiting for that.
    pub(crate) fn outcome_while_tripped(&mut self, id: RequestId) -> Option<Outcome<A>> {
        let record = self.requests.open_record(id);
        let pool = record.pool;
        if record.history.is_empty() {
            let retry_after = self.tripped_for(pool);
            return Some(Outcome::Rejected { why: RejectWhy::Tripped, retry_after });
        }
        self.outcome_of_last_attempt(id)
    }

    /// The outcome of a request that waits and gets no further attempt, by the end of its last one. `None` without one, and
    /// where its handler failed: what that said was not kept.
    pub(crate) fn outcome_of_last_attempt(&mut self, id: RequestId) -> Option<Outcome<A>> {
        let record = self.requests.open_record(id);
        let max_attempts = record.max_attempts;
        let which = record.last_limit.unwrap_or(TimeoutWhich::Attempt);
        match record.history.last()?.end {
            AttemptEnd::Failed => None,
            AttemptEnd::TimedOut => Some(self.timed_out(id, which)),
            AttemptEnd::Crashed | AttemptEnd::Cancelled | AttemptEnd::Closed | AttemptEnd::Ok => {
                Some(Outcome::Crashed { max_attempts })
            }
        }
    }

    /// When a tripped pool has its next chance.
    pub(crate) fn tripped_for(&self, pool: PoolId) -> Option<Duration> {
        match self.pools[usize::from(pool.0)].breaker.state {
            BreakerState::Open { until } => Some(until - self.now),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        }
    }

    /// When a request that is refused by a tripped pool may be sent again. While the pool has its chance nobody knows
    /// how that ends: after the time in which its process has to be ready it should have shown something.
    pub(crate) fn next_chance(&self, pool: PoolId) -> Duration {
        self.tripped_for(pool).unwrap_or_else(|| self.settings.pool(pool).start_timeout)
    }

    /// Whether a new request may be accepted, as far as the breaker is concerned.
    pub(crate) fn breaker_admits(&mut self, pool: PoolId) -> bool {
        let place = &self.pools[usize::from(pool.0)];
        match place.breaker.state {
            BreakerState::Closed => true,
            BreakerState::Open { .. } => false,
            BreakerState::HalfOpen => {
                let has_probe = place.breaker.probe.is_some_and(|id| self.requests.get(id).is_some());
                !has_probe && place.room_for_new().is_some() && !self.executes_anything(pool)
            }
        }
    }

    /// Whether a waiting request may be dispatched, as far as the breaker is concerned.
    pub(crate) fn breaker_lets_through(&self, pool: PoolId) -> bool {
        match self.pools[usize::from(pool.0)].breaker.state {
            BreakerState::Closed => true,
            BreakerState::Open { .. } => false,
            BreakerState::HalfOpen => !self.executes_anything(pool),
        }
    }

    fn executes_anything(&self, pool: PoolId) -> bool {
        let berths = &self.berths[self.pools[usize::from(pool.0)].berths()];
        berths.iter().filter_map(|berth| berth.process.as_ref()).any(|process| process.load() > 0)
    }

    /// A tripped pool has its next chance. A process that serves is good enough for it.
    pub(crate) fn probe_due(&mut self, pool: PoolId) {
        let place = &mut self.pools[usize::from(pool.0)];
        place.breaker.state = BreakerState::HalfOpen;
        self.out.tell(Fact::PoolProbed { pool });
        for berth in self.pools[usize::from(pool.0)].berths() {
            self.watch_stability(berth);
        }
        self.probe_with_a_process(pool);
        self.mark_dirty(pool);
    }

    /// A process of the pool is gone: a pool that has its chance needs one.
    pub(crate) fn go_on_probing(&mut self, pool: PoolId) {
        if self.pools[usize::from(pool.0)].breaker.is_half_open() {
            self.probe_with_a_process(pool);
        }
    }

    /// Sees to it that a pool that has its chance has a process to take it with.
    fn probe_with_a_process(&mut self, pool: PoolId) {
        let place = &self.pools[usize::from(pool.0)];
        if place.up > 0 || self.is_closing(pool) {
            return;
        }
        let idle = |worker: &WorkerId| {
            let worker = &self.workers[usize::from(worker.0)];
            !worker.disabled && self.berths[worker.present].process.is_none()
        };
        if let Some(worker) = place.workers().find(idle) {
            self.order_process(self.workers[usize::from(worker.0)].present);
        }
    }

    /// An incarnation was productive, or a person gives the pool another chance.
    pub(crate) fn recover(&mut self, pool: PoolId) {
        let place = &mut self.pools[usize::from(pool.0)];
        place.breaker.because = None;
        match place.breaker.state {
            BreakerState::Closed => return,
            BreakerState::Open { until } => {
                let owner = TimerOwner::Pool(pool);
                self.timers.cancel(Timer { at: until, kind: TimerKind::Probe, owner });
            }
            BreakerState::HalfOpen => {}
        }
        self.pools[usize::from(pool.0)].breaker.reset();
        self.out.tell(Fact::PoolRecovered { pool });
        for id in self.pools[usize::from(pool.0)].workers() {
            let index = usize::from(id.0);
            let worker = &self.workers[index];
            let (present, row) = (worker.present, worker.unproductive);
            if worker.disabled || self.berths[present].process.is_some() || self.is_closing(pool) {
                continue;
            }
            // One incarnation's success forgives its own worker's row and nobody else's.
            if row == 0 || !self.wait_for_restart(index, row) {
                self.order_process(present);
            }
        }
        self.mark_dirty(pool);
        self.advance_recycling(pool);
    }

    /// A shutdown began, or a person drains the pool: it is given no chance any more.
    pub(crate) fn stop_probing(&mut self, pool: PoolId) {
        let breaker = &mut self.pools[usize::from(pool.0)].breaker;
        if let BreakerState::Open { until } = breaker.state {
            self.timers.cancel(Timer { at: until, kind: TimerKind::Probe, owner: TimerOwner::Pool(pool) });
        }
        self.pools[usize::from(pool.0)].breaker.reset();
    }

    /// The death to be told with a request that ended without an attempt: why its pool does not serve it.
    pub(crate) fn unfit_because(&self, pool: PoolId) -> Option<Arc<Death>> {
        let breaker = &self.pools[usize::from(pool.0)].breaker;
        if breaker.is_closed() && self.serves_anyone(pool) { None } else { breaker.because.clone() }
    }

    /// Whether a process of the pool serves and is to go on.
    fn serves_anyone(&self, pool: PoolId) -> bool {
        let berths = &self.berths[self.pools[usize::from(pool.0)].berths()];
        berths.iter().filter_map(|berth| berth.process.as_ref()).any(Process::stays)
    }

    /// What an unplanned end means for its worker and its pool's breaker. Tells whether the worker's next process is
    /// ordered at once: the end was a person's wish, or the process had been productive.
    ///
    /// A successor that fails, or an old process that dies while it retires, leaves the worker with the one that serves:
    /// its pool is no less fit for it.
    pub(crate) fn weigh(&mut self, berth: usize, death: &Arc<Death>) -> bool {
        let is_present = self.worker(berth).present == berth;
        if death.productive {
            if is_present {
                self.worker(berth).unproductive = 0;
            }
            return true;
        }
        if death.killed_by_broker == Some(KillReason::Operator) || self.is_closing(death.pool) {
            return true;
        }
        if is_present {
            self.note_unproductive(death.pool, death);
        }
        false
    }
}
