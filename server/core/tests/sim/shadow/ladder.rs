//! The rungs: each in its time and for a reason, each told with what the broker intends.

use lifeboat_core::evidence::{Intent, IntentKind, StopSignal};
use lifeboat_core::ids::ProcessKey;
use lifeboat_core::reason::{KillReason, StopReason};
use lifeboat_core::view::EXIT_GRACE;

use super::Shadow;
use super::process::Process;
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn signalled(&mut self, key: ProcessKey, intent: &Intent, coverage: &mut Coverage) {
        let now = self.now;
        let Some(signal) = intent.signal_sent else { panic!("{key}: the intent goes with its signal") };
        assert!(intent.at <= now, "{key}: the intent came first");
        let late = self.is_late_for_a_heartbeat(key);
        let process = self.look(key).expect("it is known");
        assert!(!process.exited && !process.concluded, "{key} can be signalled");
        assert!(process.killed_at.is_none(), "{key}: nothing comes after SIGKILL");
        self.check_intent(process, intent.what);
        match signal {
            StopSignal::Terminate => {
                assert!(process.terminated_at.is_none(), "{key}: each rung once");
                assert!(self.may_terminate(process), "{key}: SIGTERM for nothing: {intent:?} {process:?}");
            }
            StopSignal::Kill => {
                let silent = late == Some(false) && intent.what == IntentKind::Unresponsive;
                assert!(
                    silent || self.may_kill(process),
                    "{key}: SIGKILL for nothing: {intent:?} {process:?}"
                );
            }
        }
        if process.executing().filter(|held| held.cancel.is_some()).count() > 1 {
            coverage.see("several told to stop at once");
        }
        let process = self.known(key);
        process.signal_facts += 1;
        process.signal_intents.push(intent.what);
        match signal {
            StopSignal::Terminate => process.terminated_at = Some(now),
            StopSignal::Kill => process.killed_at = Some(now),
        }
    }

    /// What the broker intends is what somebody wanted.
    fn check_intent(&self, process: &Process, what: IntentKind) {
        let key = process.key;
        let fits = match what {
            IntentKind::Stop(StopReason::Shutdown) => self.draining,
            IntentKind::Stop(reason) => process.leaving.contains(&reason),
            IntentKind::Kill(why) => why != KillReason::Unkillable && process.grounds.contains(&why),
            IntentKind::StartTimeout => !process.is_ready(),
            IntentKind::Connection => process.violated || process.lost_at.is_some(),
            IntentKind::Unresponsive => process.heartbeats,
            IntentKind::SlotsFailed => process.no_slots.is_some(),
        };
        assert!(fits, "{key}: {what:?} is nobody's wish: {process:?}");
    }

    /// SIGTERM comes at the end of `cancel_grace`, or when what was told to stop has stopped without an answer.
    fn may_terminate(&self, process: &Process) -> bool {
        let grace = self.pool_settings(process.pool).cancel_grace;
        let passed = |since| grace.is_zero() || self.now >= since + grace;
        let told = process.executing().filter_map(|held| held.cancel).any(passed);
        let leaves_at_once = grace.is_zero() && !process.leaving.is_empty();
        let asked = process.asked_at.map_or(leaves_at_once, passed);
        let by_limit = grace.is_zero() && !process.grounds.is_empty();
        told || asked || by_limit || !process.stopped.is_empty()
    }

    /// SIGKILL comes at the end of `stop_grace`, or at once for everything that cannot wait.
    fn may_kill(&self, process: &Process) -> bool {
        let (now, settings) = (self.now, self.pool_settings(process.pool));
        let over = |since: Option<_>, grace| since.is_some_and(|at| now >= at + grace);
        let asked = over(process.terminated_at, settings.stop_grace);
        let dead_line =
            process.grounds.contains(&KillReason::Deadline) || over(process.kill_by, Default::default());
        let wanted =
            process.grounds.iter().any(|why| matches!(why, KillReason::MemoryLimit | KillReason::Operator));
        let unready = process.doomed || !process.is_ready() && self.draining;
        let gone = over(process.no_slots, settings.stop_grace) || over(process.lost_at, EXIT_GRACE);
        let zero = settings.cancel_grace.is_zero() && settings.stop_grace.is_zero();
        let at_once = zero && (!process.grounds.is_empty() || !process.leaving.is_empty());
        asked || dead_line || wanted || unready || gone || at_once || process.violated || self.hurried
    }

    /// No rung is forgotten: what was due at the last time that was told has been climbed.
    pub(super) fn check_rungs(&self, process: &Process) {
        let (key, settings, told) = (process.key, self.pool_settings(process.pool), self.time_told);
        // What began at the very time that was told last may have begun after it was told.
        let due = |since: Option<_>, grace| since.is_some_and(|at| at + grace <= told && at < told);
        if process.exited || process.concluded || !process.spawned {
            return;
        }
        let killed = process.killed_at.is_some();
        let signalled = killed || process.terminated_at.is_some();
        assert!(killed || !due(process.terminated_at, settings.stop_grace), "{key}: SIGKILL does not come");
        let at_once = process.terminated_at.is_some() && settings.stop_grace.is_zero();
        assert!(killed || !at_once, "{key}: a grace of zero is at once");
        assert!(killed || !process.violated, "{key} broke the protocol and lives");
        assert!(killed || !process.doomed, "{key} is not to live");
        assert!(killed || !self.hurried, "{key} is still asked");
        assert!(killed || !process.killed_by_hand, "{key} was killed by hand and lives");
        let lost = due(process.lost_at, EXIT_GRACE);
        let gone = due(process.no_slots, settings.stop_grace);
        assert!(signalled || !lost, "{key} has no connection and lives: {process:?}");
        assert!(signalled || process.lost_at.is_some() || !gone, "{key} has no slots and lives");
        if process.lost_at.is_some() || process.no_slots.is_some() {
            return;
        }
        for held in process.executing() {
            let at_once = settings.cancel_grace.is_zero() && held.cancel.is_some();
            let over = at_once || due(held.cancel, settings.cancel_grace);
            assert!(signalled || !over, "{key}: {} was told to stop and runs: {process:?}", held.serial);
        }
        assert!(signalled || !due(process.asked_at, settings.cancel_grace), "{key} was asked and stays");
        assert!(!due(process.killed_at, settings.kill_timeout), "{key} is not called unkillable");
    }

    /// A process that was told to drain has nothing left to finish, or the drain timeout is over.
    pub(super) fn note_asked(&mut self) {
        let now = self.now;
        let over = self.drain_began + self.settings.drain_timeout;
        let over = self.draining && self.time_told >= over && self.time_told > self.drain_began;
        for place in 0..self.processes.len() {
            let process = &self.processes[place];
            let cancelling = process.is_cancelling();
            if process.drained && process.works() && !(cancelling && process.was_cancelling) {
                let open = self.has_open_requests(process.key);
                assert!(!open || cancelling || !over, "{} runs on: {process:?}", process.key);
                let asked_at = (!open).then_some(now);
                self.processes[place].asked_at = asked_at;
            }
            self.processes[place].was_cancelling = cancelling;
        }
    }

    /// A request without an outcome depends on it.
    pub(super) fn has_open_requests(&self, key: ProcessKey) -> bool {
        let Some(process) = self.look(key) else { return false };
        let mut all = process.held().map(|held| held.serial).chain(process.stopped.iter().copied());
        all.any(|serial| self.peek(serial).is_held_by(key))
    }
}
