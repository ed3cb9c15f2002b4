//! The ladder: how a process is ended, rung by rung.
//!
//! It owns the phases of a process and their timers, the rule that the intent is recorded before the signal, and the
//! order of the rungs: cancel frame, `cancel_grace`, SIGTERM, `stop_grace`, SIGKILL, `kill_timeout`. It must never
//! judge a death or settle a request.
//!
//! An intent whose signal was sent stays, whatever comes later; before that a newer one takes its place, because it
//! is the one that leads to a signal.

use std::time::Duration;

use crate::action::Action;
use crate::core::Core;
use crate::evidence::{Intent, IntentKind, StopSignal};
use crate::fact::Fact;
use crate::ids::ProcessKey;
use crate::process::{Phase, Rung};
use crate::reason::{KillReason, StopReason};
use crate::settings::PoolSettings;
use crate::time::Timestamp;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

impl<Q, A> Core<Q, A> {
    /// Moves a process to another phase: its old timer is cancelled, lanes and counts follow.
    pub(crate) fn set_phase(&mut self, index: usize, phase: Phase, timer: Option<(Timestamp, TimerKind)>) {
        let process = self.process(index);
        debug_assert!(process.phase.may_become(phase), "{:?} cannot become {phase:?}", process.phase);
        let (was_up, key) = (process.phase.is_up(), process.key);
        let old = std::mem::replace(&mut process.timer, timer);
        process.phase = phase;
        let stable = match phase {
            Phase::Ending(_) | Phase::Collecting => process.stable_timer.take(),
            Phase::Spawning | Phase::Starting | Phase::Serving | Phase::Cancelling => None,
        };
        let owner = TimerOwner::Process(key);
        if let Some((at, kind)) = old {
            self.timers.cancel(Timer { at, kind, owner });
        }
        if let Some(at) = stable {
            self.timers.cancel(Timer { at, kind: TimerKind::StableAfter, owner });
        }
        if let Some((at, kind)) = timer {
            self.timers.arm(Timer { at, kind, owner });
        }
        let pool = self.pool_of(index);
        if was_up != phase.is_up() {
            let up = &mut self.pools[usize::from(pool.0)].up;
            *up = if was_up { *up - 1 } else { *up + 1 };
            self.mark_dirty(pool);
        }
        self.update_lane(index);
    }

    /// Records what the broker has decided. Before the signal, always.
    pub(crate) fn set_intent(&mut self, index: usize, what: IntentKind) {
        let at = self.now;
        let process = self.process(index);
        if process.intent.is_none_or(|intent| intent.signal_sent.is_none()) {
            process.intent = Some(Intent { what, at, signal_sent: None });
        }
    }

    /// The first rung for an executing attempt, whose cancel frame was sent: the process serves on if it answers
    /// within `cancel_grace`.
    pub(crate) fn begin_cancelling(&mut self, index: usize, why: KillReason, kill_by: Option<Timestamp>) {
        self.set_intent(index, IntentKind::Kill(why));
        let now = self.now;
        let grace = self.pool_settings(index).cancel_grace;
        self.process(index).kill_by = kill_by;
        self.set_phase(index, Phase::Cancelling, Some((cut(now, grace, kill_by), TimerKind::Ladder)));
        if grace.is_zero() {
            self.terminate(index);
        }
    }

    /// The cancelled attempt was answered in time: the ladder is left, the process goes on as before.
    pub(crate) fn end_cancelling(&mut self, index: usize) {
        let process = self.process(index);
        process.kill_by = None;
        process.intent = None;
        if process.drained {
            self.set_intent(index, IntentKind::Stop(StopReason::Shutdown));
            self.set_phase(index, Phase::Ending(Rung::Draining), None);
        } else {
            self.set_phase(index, Phase::Serving, None);
            let pool = self.pool_of(index);
            self.mark_dirty(pool);
        }
    }

    /// A drained process without anything left to finish should leave; SIGTERM follows after `cancel_grace`.
    pub(crate) fn ask_if_idle(&mut self, index: usize) {
        let process = self.process(index);
        if process.phase == Phase::Ending(Rung::Draining) && !process.has_open_requests() {
            self.ask_to_leave(index);
        }
    }

    /// The process was asked to leave: SIGTERM follows after `cancel_grace`.
    pub(crate) fn ask_to_leave(&mut self, index: usize) {
        let grace = self.pool_settings(index).cancel_grace;
        let at = cut(self.now, grace, self.process(index).kill_by);
        self.set_phase(index, Phase::Ending(Rung::Asked), Some((at, TimerKind::Ladder)));
        if grace.is_zero() {
            self.terminate(index);
        }
    }

    /// SIGTERM; SIGKILL follows after `stop_grace`.
    pub(crate) fn terminate(&mut self, index: usize) {
        let grace = self.pool_settings(index).stop_grace;
        let at = cut(self.now, grace, self.process(index).kill_by);
        self.set_phase(index, Phase::Ending(Rung::Terminated), Some((at, TimerKind::Ladder)));
        self.signal(index, StopSignal::Terminate);
        if grace.is_zero() {
            self.kill_as_intended(index);
        }
    }

    /// SIGKILL, for a reason of its own unless a signal was sent for another one already.
    pub(crate) fn kill(&mut self, index: usize, what: IntentKind) {
        match self.process(index).phase {
            Phase::Ending(Rung::Killed | Rung::Unborn) | Phase::Collecting => {}
            Phase::Spawning => {
                self.set_intent(index, what);
                self.set_phase(index, Phase::Ending(Rung::Unborn), None);
            }
            Phase::Starting | Phase::Serving | Phase::Cancelling | Phase::Ending(_) => {
                self.set_intent(index, what);
                self.kill_as_intended(index);
            }
        }
    }

    /// SIGKILL, for the reason that is recorded already.
    pub(crate) fn kill_as_intended(&mut self, index: usize) {
        let at = self.now + self.pool_settings(index).kill_timeout;
        self.set_phase(index, Phase::Ending(Rung::Killed), Some((at, TimerKind::KillTimeout)));
        self.signal(index, StopSignal::Kill);
    }

    fn signal(&mut self, index: usize, signal: StopSignal) {
        let pool = self.pool_of(index);
        let process = self.process(index);
        let key = process.key;
        let intent = process.intent.as_mut().expect("the intent is recorded before the signal");
        intent.signal_sent = Some(signal);
        let intent = *intent;
        self.out.act(Action::Signal { process: key, signal });
        self.out.tell(Fact::Signalled { pool, process: key, intent });
    }

    /// The cancelled request's deadline cuts the ladder short.
    pub(crate) fn bound_ladder(&mut self, index: usize, deadline: Timestamp) {
        let earliest = deadline.max(self.now);
        let process = self.process(index);
        process.kill_by = Some(process.kill_by.map_or(deadline, |at| at.min(deadline)));
        if let Some((at, TimerKind::Ladder)) = process.timer
            && at > earliest
        {
            process.timer = Some((earliest, TimerKind::Ladder));
            let owner = TimerOwner::Process(process.key);
            self.timers.cancel(Timer { at, kind: TimerKind::Ladder, owner });
            self.timers.arm(Timer { at: earliest, kind: TimerKind::Ladder, owner });
        }
    }

    /// Routes a timer of a process.
    pub(crate) fn process_timer_fired(&mut self, key: ProcessKey, kind: TimerKind) {
        let index = self.find_process(key).expect("timers of a process are cancelled when it is released");
        if kind == TimerKind::StableAfter {
            self.process(index).stable_timer = None;
            self.workers[index].unproductive = 0;
            return;
        }
        self.process(index).timer = None;
        match kind {
            TimerKind::StartTimeout => self.kill(index, IntentKind::StartTimeout),
            TimerKind::Ladder => self.climb(index),
            TimerKind::ExitGrace => self.exit_grace_passed(index),
            TimerKind::KillTimeout => self.kill_timeout_passed(index),
            TimerKind::AttemptTimeout
            | TimerKind::Deadline
            | TimerKind::RetryBackoff
            | TimerKind::RestartBackoff
            | TimerKind::StableAfter
            | TimerKind::DrainTimeout => debug_assert!(false, "{kind:?} is no timer of a process"),
        }
    }

    /// A grace is over: the next rung.
    fn climb(&mut self, index: usize) {
        let now = self.now;
        let process = self.process(index);
        let cut_short = process.kill_by.is_some_and(|at| at <= now);
        match process.phase {
            Phase::Cancelling | Phase::Ending(Rung::Asked) if !cut_short => self.terminate(index),
            Phase::Ending(Rung::Leaving) => self.leave_by_force(index),
            Phase::Cancelling | Phase::Ending(Rung::Asked | Rung::Terminated) => self.kill_as_intended(index),
            Phase::Spawning
            | Phase::Starting
            | Phase::Serving
            | Phase::Ending(Rung::Unborn | Rung::Draining | Rung::ConnectionLost | Rung::Killed)
            | Phase::Collecting => debug_assert!(false, "no rung is due in {:?}", process.phase),
        }
    }

    fn leave_by_force(&mut self, index: usize) {
        if self.process(index).intent.is_none() {
            self.set_intent(index, IntentKind::SlotsFailed);
        }
        self.kill_as_intended(index);
    }

    /// The connection ended and the process did not: it is killed for that, or for what was decided before.
    fn exit_grace_passed(&mut self, index: usize) {
        if self.process(index).intent.is_none() {
            self.set_intent(index, IntentKind::Connection);
        }
        self.kill_as_intended(index);
    }

    pub(crate) fn pool_settings(&self, index: usize) -> &PoolSettings {
        self.settings.pool(self.workers[index].pool)
    }
}

/// The end of a grace, cut short by a deadline.
fn cut(now: Timestamp, grace: Duration, kill_by: Option<Timestamp>) -> Timestamp {
    let at = now + grace;
    kill_by.map_or(at, |deadline| at.min(deadline).max(now))
}
