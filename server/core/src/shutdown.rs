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
use crate::process::{Phase, Rung, Settled};
use crate::reason::StopReason;
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
        for index in 0..self.workers.len() {
            self.cancel_restart(index);
            if self.workers[index].process.is_some() {
                self.drain_process(index);
            }
        }
    }

    fn drain_process(&mut self, index: usize) {
        let process = self.process(index);
        let waiting: Vec<RequestId> = process
            .line
            .iter()
            .filter(|held| !held.started && held.settled.is_none())
            .map(|held| held.request)
            .collect();
        for id in waiting {
            self.abandon(id, Settled::Closed);
        }
        match self.process(index).phase {
            Phase::Spawning | Phase::Starting => self.kill(index, SHUTDOWN),
            Phase::Serving => {
                self.process(index).drained = true;
                self.send_drain(index);
                self.set_intent(index, SHUTDOWN);
                self.set_phase(index, Phase::Ending(Rung::Draining), None);
                self.ask_if_idle(index);
            }
            Phase::Cancelling => {
                self.process(index).drained = true;
                self.send_drain(index);
            }
            Phase::Ending(_) | Phase::Collecting => {}
        }
    }

    /// `drain_timeout` is over: the graces begin for what still runs.
    pub(crate) fn drain_timeout_passed(&mut self) {
        self.stage = Stage::Draining { until: None };
        for index in 0..self.workers.len() {
            let Some(process) = &self.workers[index].process else { continue };
            if process.phase != Phase::Ending(Rung::Draining) {
                continue;
            }
            if let Some(held) = process.executing().copied() {
                let (request, attempt) = (held.request, held.attempt);
                self.requests.open_record(request).closing = true;
                self.send_cancel(index, request, attempt);
            }
            self.ask_to_leave(index);
        }
    }

    /// Ends everything now. Begins a shutdown if none has begun.
    pub(crate) fn shutdown_hurried(&mut self) {
        self.shutdown_requested();
        for index in 0..self.workers.len() {
            if self.workers[index].process.is_some() {
                self.kill(index, SHUTDOWN);
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
