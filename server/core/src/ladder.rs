//! The ladder: how a process is ended, rung by rung.
//!
//! It owns the phases of a process and their timers, the rule that the intent is recorded before the signal, and the
//! order of the rungs: cancel frame, `cancel_grace`, SIGTERM, `stop_grace`, SIGKILL, `kill_timeout`. It must never
//! judge a death or settle a request.
//!
//! An intent whose signal was sent stays, whatever comes later; before that a newer one takes its place, because it
//! is the one that leads to a signal. Attempts of several slots may have been told to stop at the same time; the first
//! grace to end is the one that ends the process.

use std::time::Duration;

use crate::action::Action;
use crate::core::Core;
use crate::evidence::{Intent, IntentKind, StopSignal};
use crate::fact::Fact;
use crate::ids::{ProcessKey, SlotId};
use crate::phase::{Phase, Rung};
use crate::process::{Company, STANDING};
use crate::reason::{KillReason, StopReason};
use crate::settings::PoolSettings;
use crate::slot::Cancel;
use crate::time::Timestamp;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

impl<Q, A> Core<Q, A> {
    /// Moves a process to another phase: its old timer is cancelled, lanes and counts follow.
    pub(crate) fn set_phase(&mut self, berth: usize, phase: Phase, timer: Option<(Timestamp, TimerKind)>) {
        let process = self.process(berth);
        debug_assert!(process.phase.may_become(phase), "{:?} cannot become {phase:?}", process.phase);
        let (before, key) = (process.phase, process.key);
        let old = std::mem::replace(&mut process.timer, timer);
        process.phase = phase;
        let owner = TimerOwner::Process(key);
        if let Some((at, kind)) = old {
            self.timers.cancel(Timer { at, kind, owner });
        }
        if let Some((at, kind)) = timer {
            self.timers.arm(Timer { at, kind, owner });
        }
        if matches!(phase, Phase::Ending(_) | Phase::Collecting) {
            self.cancel_standing(berth, phase.executes());
            self.set_company(berth, Company::Anybody);
        }
        let pool = self.pool_of(berth);
        if before.is_up() != phase.is_up() {
            let up = &mut self.pools[usize::from(pool.0)].up;
            *up = if phase.is_up() { *up + 1 } else { *up - 1 };
            self.mark_dirty(pool);
        }
        self.update_lane(berth);
    }

    /// Records what the broker has decided. Before the signal, always.
    pub(crate) fn set_intent(&mut self, berth: usize, what: IntentKind) {
        let at = self.now;
        let process = self.process(berth);
        if process.intent.is_none_or(|intent| intent.signal_sent.is_none()) {
            process.intent = Some(Intent { what, at, signal_sent: None });
        }
    }

    /// The first rung for an executing attempt, whose cancel frame was sent: the process serves on if it answers
    /// within `cancel_grace`.
    pub(crate) fn begin_cancelling(
        &mut self,
        berth: usize,
        slot: SlotId,
        why: KillReason,
        kill_by: Option<Timestamp>,
    ) {
        let now = self.now;
        let grace = self.pool_settings(berth).cancel_grace;
        let process = self.process(berth);
        process.rungs.asked_at.get_or_insert(now);
        process.slot(slot).cancel = Some(Cancel { why, until: cut(now, grace, kill_by), kill_by });
        self.await_cancels(berth);
        if grace.is_zero() {
            self.terminate_for(berth, slot);
        }
    }

    /// Waits for the first grace to end of the attempts that were told to stop; with none left the process goes on as
    /// before.
    fn await_cancels(&mut self, berth: usize) {
        let process = self.process(berth);
        if let Some(cancel) = process.first_cancel().and_then(|first| process.slot(first).cancel) {
            self.set_intent(berth, IntentKind::Kill(cancel.why));
            self.set_phase(berth, Phase::Cancelling, Some((cancel.until, TimerKind::Ladder)));
            return;
        }
        process.intent = None;
        if process.drained {
            let reason = process.leaving.unwrap_or(StopReason::Shutdown);
            self.set_intent(berth, IntentKind::Stop(reason));
            self.set_phase(berth, Phase::Ending(Rung::Draining), None);
            self.stop_running(berth);
        } else if process.leaving.is_some() {
            self.set_phase(berth, Phase::Ending(Rung::Retiring), None);
        } else {
            process.rungs.asked_at = None;
            self.set_phase(berth, Phase::Serving, None);
            let pool = self.pool_of(berth);
            self.mark_dirty(pool);
        }
    }

    /// The cancelled attempt of a slot was answered in time.
    pub(crate) fn end_cancelling(&mut self, berth: usize, slot: SlotId) {
        let process = self.process(berth);
        if process.slot(slot).cancel.take().is_some() && process.phase == Phase::Cancelling {
            self.await_cancels(berth);
        }
    }

    /// A process that is to leave and has nothing left to finish does so.
    pub(crate) fn ask_if_idle(&mut self, berth: usize) {
        self.leave_if_done(berth);
        let process = self.process(berth);
        if process.phase == Phase::Ending(Rung::Draining) && !process.has_open_requests() {
            self.ask_to_leave(berth);
        }
    }

    /// The process was asked to leave: SIGTERM follows after `cancel_grace`.
    pub(crate) fn ask_to_leave(&mut self, berth: usize) {
        let now = self.now;
        let grace = self.pool_settings(berth).cancel_grace;
        let process = self.process(berth);
        process.rungs.asked_at.get_or_insert(now);
        let at = cut(now, grace, process.kill_by);
        self.set_phase(berth, Phase::Ending(Rung::Asked), Some((at, TimerKind::Ladder)));
        if grace.is_zero() {
            self.terminate(berth);
        }
    }

    /// SIGTERM, because an attempt in this slot was told to stop and has not.
    pub(crate) fn terminate_for(&mut self, berth: usize, slot: SlotId) {
        let process = self.process(berth);
        if let Some(cancel) = process.slot(slot).cancel {
            let earliest = process.slots.iter().filter_map(|slot| slot.cancel?.kill_by).min();
            process.kill_by = earliest;
            self.set_intent(berth, IntentKind::Kill(cancel.why));
        }
        self.terminate(berth);
    }

    /// SIGTERM; SIGKILL follows after `stop_grace`.
    pub(crate) fn terminate(&mut self, berth: usize) {
        let grace = self.pool_settings(berth).stop_grace;
        let at = cut(self.now, grace, self.process(berth).kill_by);
        self.set_phase(berth, Phase::Ending(Rung::Terminated), Some((at, TimerKind::Ladder)));
        self.signal(berth, StopSignal::Terminate);
        if grace.is_zero() {
            self.kill_as_intended(berth);
        }
    }

    /// SIGKILL, for a reason of its own unless a signal was sent for another one already.
    pub(crate) fn kill(&mut self, berth: usize, what: IntentKind) {
        match self.process(berth).phase {
            Phase::Ending(Rung::Killed | Rung::Unborn) | Phase::Collecting => {}
            Phase::Spawning => {
                self.set_intent(berth, what);
                self.set_phase(berth, Phase::Ending(Rung::Unborn), None);
            }
            Phase::Starting | Phase::Serving | Phase::Cancelling | Phase::Ending(_) => {
                self.set_intent(berth, what);
                self.kill_as_intended(berth);
            }
        }
    }

    /// SIGKILL, for the reason that is recorded already.
    pub(crate) fn kill_as_intended(&mut self, berth: usize) {
        let at = self.now + self.pool_settings(berth).kill_timeout;
        self.set_phase(berth, Phase::Ending(Rung::Killed), Some((at, TimerKind::KillTimeout)));
        self.signal(berth, StopSignal::Kill);
    }

    fn signal(&mut self, berth: usize, signal: StopSignal) {
        let now = self.now;
        let pool = self.pool_of(berth);
        let process = self.process(berth);
        let key = process.key;
        let is_first = process.rungs.terminated_at.is_none() && process.rungs.killed_at.is_none();
        match signal {
            StopSignal::Terminate => process.rungs.terminated_at = Some(now),
            StopSignal::Kill => process.rungs.killed_at = Some(now),
        }
        let intent = process.intent.as_mut().expect("the intent is recorded before the signal");
        intent.signal_sent = Some(signal);
        let intent = *intent;
        let look = is_first && intent.what.is_worth_a_look();
        self.out.act(Action::Signal { process: key, signal, look });
        self.out.tell(Fact::Signalled { pool, process: key, intent });
    }

    /// The deadline of the cancelled request in this slot cuts the ladder short.
    pub(crate) fn bound_ladder(&mut self, berth: usize, slot: SlotId, deadline: Timestamp) {
        let earliest = deadline.max(self.now);
        let process = self.process(berth);
        let bounded = |kill_by: Option<Timestamp>| Some(kill_by.map_or(deadline, |at| at.min(deadline)));
        if let Some(cancel) = &mut process.slot(slot).cancel {
            cancel.kill_by = bounded(cancel.kill_by);
            cancel.until = cancel.until.min(earliest);
        }
        if process.phase == Phase::Cancelling {
            self.await_cancels(berth);
            return;
        }
        process.kill_by = bounded(process.kill_by);
        if let Some((at, TimerKind::Ladder)) = process.timer
            && at > earliest
        {
            process.timer = Some((earliest, TimerKind::Ladder));
            let owner = TimerOwner::Process(process.key);
            self.timers.cancel(Timer { at, kind: TimerKind::Ladder, owner });
            self.timers.arm(Timer { at: earliest, kind: TimerKind::Ladder, owner });
        }
    }

    /// Routes a timer of a process. `planned` is the time that it was to fire at.
    pub(crate) fn process_timer_fired(&mut self, key: ProcessKey, kind: TimerKind, planned: Timestamp) {
        let berth = self.find_process(key).expect("timers of a process are cancelled when it is released");
        if STANDING.contains(&kind) {
            self.standing_timer_fired(berth, kind, planned);
            return;
        }
        self.process(berth).timer = None;
        match kind {
            TimerKind::StartTimeout => self.kill(berth, IntentKind::StartTimeout),
            TimerKind::Ladder => self.climb(berth),
            TimerKind::ExitGrace => self.exit_grace_passed(berth),
            TimerKind::KillTimeout => self.kill_timeout_passed(berth),
            TimerKind::QueueTimeout
            | TimerKind::AttemptTimeout
            | TimerKind::ProgressTimeout
            | TimerKind::OutputTimeout
            | TimerKind::Deadline
            | TimerKind::RetryBackoff
            | TimerKind::Avoidance
            | TimerKind::RestartBackoff
            | TimerKind::StableAfter
            | TimerKind::Heartbeat
            | TimerKind::RecycleAge
            | TimerKind::RecycleIdle
            | TimerKind::Probe
            | TimerKind::DrainTimeout => debug_assert!(false, "{kind:?} is no timer of a process"),
        }
    }

    /// A grace is over: the next rung.
    fn climb(&mut self, berth: usize) {
        let now = self.now;
        let process = self.process(berth);
        let first = process.first_cancel();
        let cancelled = first.and_then(|slot| process.slot(slot).cancel);
        match process.phase {
            Phase::Cancelling => {
                let Some((slot, cancel)) = first.zip(cancelled) else {
                    debug_assert!(false, "a process is cancelling while an attempt was told to stop");
                    return;
                };
                if cancel.kill_by.is_some_and(|at| at <= now) {
                    self.kill(berth, IntentKind::Kill(cancel.why));
                } else {
                    self.terminate_for(berth, slot);
                }
            }
            Phase::Ending(Rung::Asked) if process.kill_by.is_none_or(|at| at > now) => self.terminate(berth),
            Phase::Ending(Rung::Leaving) => self.leave_by_force(berth),
            Phase::Ending(Rung::Asked | Rung::Terminated) => self.kill_as_intended(berth),
            Phase::Spawning
            | Phase::Starting
            | Phase::Serving
            | Phase::Ending(
                Rung::Unborn | Rung::Retiring | Rung::Draining | Rung::ConnectionLost | Rung::Killed,
            )
            | Phase::Collecting => debug_assert!(false, "no rung is due in {:?}", process.phase),
        }
    }

    fn leave_by_force(&mut self, berth: usize) {
        if self.process(berth).intent.is_none() {
            self.set_intent(berth, IntentKind::SlotsFailed);
        }
        self.kill_as_intended(berth);
    }

    /// The connection ended and the process did not: it is killed for that, or for what was decided before.
    fn exit_grace_passed(&mut self, berth: usize) {
        if self.process(berth).intent.is_none() {
            self.set_intent(berth, IntentKind::Connection);
        }
        self.kill_as_intended(berth);
    }

    pub(crate) fn pool_settings(&self, berth: usize) -> &PoolSettings {
        self.settings.pool(self.pool_of(berth))
    }
}

/// The end of a grace, cut short by a deadline.
fn cut(now: Timestamp, grace: Duration, kill_by: Option<Timestamp>) -> Timestamp {
    let at = now + grace;
    kill_by.map_or(at, |deadline| at.min(deadline).max(now))
}
