//! Signs of life: heartbeats, and whatever else a process sends or writes.
//!
//! It owns when a process was last heard and what its silence means. It must never take the broker's own absence for
//! a process's: a look that comes late counts for nothing.

use std::time::Duration;

use crate::core::Core;
use crate::evidence::IntentKind;
use crate::ids::ProcessKey;
use crate::process::STANDING;
use crate::time::Timestamp;
use crate::timers::{Timer, TimerOwner};
use crate::view::TimerKind;

impl<Q, A> Core<Q, A> {
    /// A process was scheduled, so long ago.
    pub(crate) fn note_heard(&mut self, key: ProcessKey, ago: Duration) {
        let at = self.now.before(ago);
        if let Some(berth) = self.find_process(key) {
            let process = self.process(berth);
            process.heard_at = process.heard_at.max(at);
        }
    }

    /// A process wrote something.
    pub(crate) fn output_seen(&mut self, key: ProcessKey) {
        let now = self.now;
        if let Some(berth) = self.find_process(key) {
            self.process(berth).output_at = now;
        }
    }

    /// It is time to have heard of a process.
    fn heartbeat_due(&mut self, berth: usize, planned: Timestamp) {
        let now = self.now;
        let Some(heartbeat) = self.pool_settings(berth).heartbeat else { return };
        let due = self.process(berth).heard_at + heartbeat.patience();
        if due > now {
            self.arm_standing(berth, TimerKind::Heartbeat, due);
        } else if now - planned > heartbeat.interval / 2 {
            // The broker itself was not scheduled: what the process has said meanwhile may still be unread.
            self.arm_standing(berth, TimerKind::Heartbeat, now + heartbeat.interval);
        } else {
            self.kill(berth, IntentKind::Unresponsive);
        }
    }

    /// Starts a timer of [`STANDING`].
    pub(crate) fn arm_standing(&mut self, berth: usize, kind: TimerKind, at: Timestamp) {
        let process = self.process(berth);
        let Some(place) = STANDING.iter().position(|other| *other == kind) else {
            debug_assert!(false, "{kind:?} is no standing timer");
            return;
        };
        let owner = TimerOwner::Process(process.key);
        let old = process.standing[place].replace(at);
        if let Some(at) = old {
            self.timers.cancel(Timer { at, kind, owner });
        }
        self.timers.arm(Timer { at, kind, owner });
    }

    /// Cancels the timers of [`STANDING`], or all but the heartbeat: a process that still executes can still freeze.
    pub(crate) fn cancel_standing(&mut self, berth: usize, but_the_heartbeat: bool) {
        for (place, kind) in STANDING.into_iter().enumerate() {
            if but_the_heartbeat && kind == TimerKind::Heartbeat {
                continue;
            }
            let process = self.process(berth);
            let owner = TimerOwner::Process(process.key);
            if let Some(at) = process.standing[place].take() {
                self.timers.cancel(Timer { at, kind, owner });
            }
        }
    }

    /// A process that was stable before its pool tripped shows it again.
    pub(crate) fn watch_stability(&mut self, berth: usize) {
        let at = self.now + self.pool_settings(berth).restart.stable_after;
        let Some(process) = self.berthed(berth) else { return };
        let serves = process.stays();
        let mut standing = STANDING.into_iter().zip(process.standing);
        let watched = standing.any(|(kind, at)| kind == TimerKind::StableAfter && at.is_some());
        if serves && !watched {
            self.arm_standing(berth, TimerKind::StableAfter, at);
        }
    }

    /// Routes a timer of [`STANDING`]; its process is ready and executes.
    pub(crate) fn standing_timer_fired(&mut self, berth: usize, kind: TimerKind, planned: Timestamp) {
        let process = self.process(berth);
        debug_assert!(process.phase.executes(), "it would be cancelled");
        if let Some(place) = STANDING.iter().position(|other| *other == kind) {
            process.standing[place] = None;
        }
        match kind {
            TimerKind::StableAfter => {
                let pool = self.pool_of(berth);
                self.worker(berth).unproductive = 0;
                self.recover(pool);
            }
            TimerKind::Heartbeat => self.heartbeat_due(berth, planned),
            TimerKind::RecycleAge => self.recycle(berth, crate::reason::StopReason::RecycleAge),
            TimerKind::RecycleIdle => {
                if let Some(at) = self.recycle_if_idle(berth) {
                    self.arm_standing(berth, TimerKind::RecycleIdle, at);
                }
            }
            TimerKind::QueueTimeout
            | TimerKind::AttemptTimeout
            | TimerKind::ProgressTimeout
            | TimerKind::OutputTimeout
            | TimerKind::Deadline
            | TimerKind::RetryBackoff
            | TimerKind::Avoidance
            | TimerKind::StartTimeout
            | TimerKind::Ladder
            | TimerKind::ExitGrace
            | TimerKind::KillTimeout
            | TimerKind::RestartBackoff
            | TimerKind::Probe
            | TimerKind::DrainTimeout => debug_assert!(false, "{kind:?} is no standing timer"),
        }
    }
}
