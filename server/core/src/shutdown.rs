//! The end of the broker.
//!
//! It owns the stages of a shutdown and what each does to requests and processes: what waits is closed at once, what
//! runs gets `drain_timeout` and then the graces, nothing is respawned, and when nothing is left the end is told
//! once. It must never retry a request or call anything a crash that was closed on purpose.

use crate::action::Action;
use crate::core::Core;
use crate::evidence::IntentKind;
use crate::fact::Fact;
use crate::ids::RequestId;
use crate::phase::{Phase, Rung};
use crate::reason::StopReason;
use crate::slot::{Held, Settled};
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

const SHUTDOWN: IntentKind = IntentKind::Stop(StopReason::Shutdown);

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// None has begun.
    Serving,
    /// Running attempts may finish.
    Draining {
        /// Until then; `None` once that has passed.
        until: Option<crate::time::Timestamp>,
    },
    /// It is over.
    Finished,
}

impl<Q, A> Core<Q, A> {
    /// Begins a shutdown; a second one is ignored.
    pub(crate) fn shutdown_requested(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        let until = self.now + self.settings.drain_timeout;
        self.stage = Stage::Draining { until: Some(until) };
        self.timers.arm(Timer { at: until, kind: TimerKind::DrainTimeout, owner: TimerOwner::Broker });
        self.out.tell(Fact::DrainBegan);
        self.out.act(Action::AnnounceDrain);
        for pool in 0..self.pools.len() {
            for id in self.pools[pool].queue.everyone(&self.requests) {
                self.abandon(id, Settled::Closed);
            }
        }
        for pool in 0..self.pools.len() {
            let id = self.pools[pool].id;
            self.stop_probing(id);
        }
        for worker in 0..self.workers.len() {
            self.cancel_restart(worker);
        }
        for berth in 0..self.berths.len() {
            if self.berthed(berth).is_some() {
                self.drain_process(berth);
            }
        }
    }

    fn drain_process(&mut self, berth: usize) {
        let process = self.process(berth);
        process.leaving = Some(StopReason::Shutdown);
        let waiting = process.held().filter(|held| !held.started && held.settled.is_none());
        let waiting: Vec<RequestId> = waiting.map(|held| held.request).collect();
        for id in waiting {
            self.abandon(id, Settled::Closed);
        }
        match self.process(berth).phase {
            Phase::Spawning | Phase::Starting => self.kill(berth, SHUTDOWN),
            Phase::Serving | Phase::Ending(Rung::Retiring) => {
                self.process(berth).drained = true;
                self.send_drain(berth);
                self.set_intent(berth, SHUTDOWN);
                self.set_phase(berth, Phase::Ending(Rung::Draining), None);
                self.ask_if_idle(berth);
            }
            Phase::Cancelling => {
                self.process(berth).drained = true;
                self.send_drain(berth);
            }
            Phase::Ending(_) | Phase::Collecting => {}
        }
    }

    /// `drain_timeout` is over: the graces begin for what still runs.
    pub(crate) fn drain_timeout_passed(&mut self) {
        self.stage = Stage::Draining { until: None };
        for berth in 0..self.berths.len() {
            self.stop_running(berth);
        }
    }

    /// The graces begin for what a draining process still runs, once `drain_timeout` is over. One that is being rid of a
    /// cancelled attempt has them afterwards.
    pub(crate) fn stop_running(&mut self, berth: usize) {
        let Some(process) = self.berthed(berth) else { return };
        let is_over = self.stage == Stage::Draining { until: None };
        if !is_over || process.phase != Phase::Ending(Rung::Draining) {
            return;
        }
        let executing: Vec<Held> = process.executing().copied().collect();
        for Held { request, attempt, .. } in executing {
            self.requests.open_record(request).closing = true;
            if let Some(slot) = self.process(berth).slot_of(request) {
                self.send_cancel(berth, slot, request, attempt);
            }
        }
        self.ask_to_leave(berth);
    }

    /// Ends everything now. Begins a shutdown if none has begun.
    pub(crate) fn shutdown_hurried(&mut self) {
        self.shutdown_requested();
        for berth in 0..self.berths.len() {
            if self.berthed(berth).is_some() {
                self.kill(berth, SHUTDOWN);
            }
        }
    }

    /// Tells the end, once: no process is left but those that cannot be killed, every request has its outcome.
    pub(crate) fn finish_if_done(&mut self) {
        let Stage::Draining { until } = self.stage else { return };
        let collecting = self.unkillable.values().any(|process| process.phase == Phase::Collecting);
        if self.processes > 0 || self.requests.open() > 0 || collecting {
            return;
        }
        if let Some(at) = until {
            self.timers.cancel(Timer { at, kind: TimerKind::DrainTimeout, owner: TimerOwner::Broker });
        }
        self.stage = Stage::Finished;
        self.out.act(Action::Finished);
    }
}
