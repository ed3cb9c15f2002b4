//! Verdicts: one for each process, true, and charged to nobody but those who executed.

use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::evidence::{StopSignal, WaitStatus};
use lifeboat_core::fact::Death;
use lifeboat_core::ids::{ProcessKey, WorkerId};
use lifeboat_core::reason::{CrashReason, KillReason, StopReason};
use lifeboat_core::restart;

use super::process::Process;
use super::{Shadow, Wait};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn crashed(&mut self, death: &Arc<Death>, coverage: &mut Coverage) {
        let now = self.now;
        let key = death.process;
        self.reports += 1;
        assert_eq!(death.report.0, self.reports, "{key}: reports are counted without gaps");
        let stable_after = self.pool_settings(death.pool).restart.stable_after;
        let process = self.known(key);
        let unkillable = death.reason == CrashReason::Killed(KillReason::Unkillable);
        assert!(process.evidence || unkillable, "{key} is judged by its evidence");
        if unkillable {
            process.unkillable = true;
            assert_eq!(process.signals.last(), Some(&StopSignal::Kill), "{key} was killed");
            assert!(!process.exited, "{key} has not exited");
        }
        check_reason(process, death, coverage);
        let first_sign = process.first_sign.unwrap_or(now);
        assert_eq!(death.first_sign_at, first_sign, "{key}: its death is known since then");
        let since_ready = process.ready_at.map(|at| first_sign - at);
        let productive = process.answered_ok || since_ready.is_some_and(|time| time >= stable_after);
        assert_eq!(death.productive, productive, "{key}: productive");
        assert_eq!(death.judged_at, now);
        assert_eq!(death.started_at, process.ordered_at, "{key} was ordered then");
        let panicked_out = process.panicked_out;
        process.death = Some((death.reason.clone(), death.intent.map(|intent| intent.what)));
        let executing = self.check_charges(death, coverage);
        self.count_death(&executing, death, coverage);
        let worker = self.worker(key.worker);
        if !panicked_out {
            (worker.failures, worker.crashes) = (worker.failures + 1, worker.crashes + 1);
        }
        self.failed_again(key.worker);
        self.weigh(death, coverage);
        self.concluded(key, coverage);
    }

    /// Every front that had started was executing, and nobody else; what had not started goes back.
    fn check_charges(&mut self, death: &Death, coverage: &mut Coverage) -> Vec<u64> {
        let key = death.process;
        let process = self.look(key).expect("it is known");
        let mut executing: Vec<u64> = process.executing().map(|held| held.serial).collect();
        let unstarted: Vec<u64> =
            process.held().filter(|held| !held.started).map(|held| held.serial).collect();
        executing.extend(process.stopped.iter().filter(|serial| self.peek(**serial).is_held_by(key)));
        let mut told: Vec<u64> = death.executing.iter().map(|(id, _, _)| self.by_id[id]).collect();
        assert_eq!(death.executing.len(), death.executing_since.len());
        for ((id, ..), since) in death.executing.iter().zip(&death.executing_since) {
            let request = self.peek(self.by_id[id]);
            if request.is_held_by(key) {
                assert_eq!(*since, Some(request.started_at), "{key}: since when it was executing");
            }
        }
        executing.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, executing, "{key} was executing");
        let back = unstarted.iter().filter(|serial| self.peek(**serial).is_held_by(key)).count();
        assert_eq!(death.requeued as usize, back, "{key}: gives back what had not started");
        let charged = executing.iter().filter(|serial| self.peek(**serial).is_held_by(key)).count();
        if charged > 1 {
            coverage.see("several executed when it died");
        }
        executing
    }

    pub(super) fn stopped(&mut self, key: ProcessKey, reason: StopReason, coverage: &mut Coverage) {
        let process = self.known(key);
        assert!(process.evidence, "{key} is judged by its evidence");
        assert!(process.leaving.contains(&reason), "{key} stopped for {reason:?}, and nobody planned it");
        let ended = match process.wait {
            Some(WaitStatus::Exited { .. } | WaitStatus::Unknown) => true,
            Some(WaitStatus::Signaled { signal: 1 | 2 | 15, .. }) => true,
            Some(WaitStatus::Signaled { signal: 9, .. }) => {
                process.signals.contains(&StopSignal::Kill) && !process.exiting_before_kill
            }
            Some(WaitStatus::Signaled { .. }) | None => false,
        };
        assert!(ended, "{key}: {:?} is no planned end", process.wait);
        self.worker(key.worker).must_back_off = None;
        self.concluded(key, coverage);
    }

    fn concluded(&mut self, key: ProcessKey, coverage: &mut Coverage) {
        let process = self.known(key);
        assert!(!process.concluded, "{key} is judged once");
        process.concluded = true;
        let closing = self.is_closing(self.worker_pools[usize::from(key.worker.0)]);
        let worker = self.worker(key.worker);
        if worker.successor == Some(key) {
            worker.successor = None;
            worker.due = worker.due.filter(|_| !closing);
            coverage.see("a successor failed");
            return;
        }
        if worker.present != Some(key) {
            return;
        }
        worker.due = None;
        worker.backoff_until = None;
        worker.successor_row = 0;
        let next = worker.successor.take().filter(|next| self.gets_ready_after(*next, key));
        let worker = self.worker(key.worker);
        worker.present = next;
        worker.promoted = next;
        if next.is_some() {
            worker.must_back_off = None;
            coverage.see("the old one died before its successor was ready");
        }
    }

    /// A successor still gets ready at the end of the one before it. What is due at once happens in the order of the
    /// times: it may have been given up just before, or just after.
    fn gets_ready_after(&self, next: ProcessKey, old: ProcessKey) -> bool {
        let (Some(next), Some(old)) = (self.look(next), self.look(old)) else { return false };
        let settings = self.pool_settings(old.pool);
        let given_up_at = next.ordered_at + settings.start_timeout;
        let died_at = old.killed_at.map(|at| at + settings.kill_timeout);
        next.is_starting() || next.just_doomed && died_at.is_some_and(|died_at| died_at < given_up_at)
    }

    pub(super) fn backing_off(&mut self, id: WorkerId, wait: Duration, unproductive: u32) {
        let now = self.now;
        let pool = self.worker_pools[usize::from(id.0)];
        assert!(!self.is_closing(pool), "nothing comes back to a pool that is drained");
        assert!(self.look_pool(pool).is_closed(), "a tripped pool has one wait for all");
        let settings = self.settings.pool(pool).restart;
        let worker = self.worker(id);
        assert!(!worker.disabled, "{id:?} is out of service");
        let counted = match worker.must_back_off.take() {
            _ if worker.present.is_some() => {
                assert!(worker.due.is_some(), "{id:?} has a process and needs no other");
                worker.successor_row += 1;
                worker.successor_row
            }
            Some(Wait::Longer) => {
                worker.row += 1;
                worker.row
            }
            Some(Wait::AsBefore) => worker.row,
            None if worker.row_unsure => worker.row,
            None => panic!("{id:?} has no reason to wait"),
        };
        // Whether it became stable before it ended is anybody's guess: the row goes on, or begins anew.
        let unsure = std::mem::replace(&mut worker.row_unsure, false) && unproductive > counted;
        assert!(
            counted == unproductive || unsure,
            "{id:?}: {counted} unproductive in a row, not {unproductive}"
        );
        if unsure && worker.present.is_none() {
            worker.row = unproductive;
        }
        let (least, most) =
            (restart::wait(&settings, unproductive, 0.0), restart::wait(&settings, unproductive, 1.0));
        assert!(least <= wait && wait <= most && most <= settings.max, "{id:?}: waits for {wait:?}");
        if !wait.is_zero() {
            worker.backoff_until = Some(now + wait);
        }
    }
}

/// The reason fits the evidence, and a kill of ours was wanted for it.
fn check_reason(process: &Process, death: &Death, coverage: &mut Coverage) {
    let key = process.key;
    if let CrashReason::Killed(why) = death.reason {
        assert!(why == KillReason::Unkillable || process.grounds.contains(&why), "{key}: why {why:?}?");
        assert_eq!(death.killed_by_broker, Some(why), "{key}");
        assert!(death.intent.is_some(), "{key}: our kill needs an intent");
        let left = why != KillReason::Unkillable && matches!(process.wait, Some(WaitStatus::Exited { .. }));
        assert!(!left || process.terminated_at.is_some(), "{key}: only SIGTERM asks a process to leave");
    } else {
        assert_eq!(death.killed_by_broker, None, "{key}");
    }
    let ours = matches!(death.reason, CrashReason::Killed(_) | CrashReason::Unresponsive);
    if process.exiting_before_kill && matches!(process.wait, Some(WaitStatus::Signaled { signal: 9, .. })) {
        assert!(!ours, "{key}: somebody else's SIGKILL came first, not {:?}", death.reason);
        coverage.see("somebody else's SIGKILL came before ours");
    }
    assert_eq!(death.rungs.terminated_at, process.terminated_at, "{key}: SIGTERM is told with its time");
    assert_eq!(death.rungs.killed_at, process.killed_at, "{key}: SIGKILL is told with its time");
    let told_to_stop = process.is_cancelling() || !process.stopped.is_empty() || process.drained;
    let untouched = process.signal_facts == 0 && !told_to_stop && !process.violated;
    if untouched
        && process.no_slots.is_none()
        && process.is_ready()
        && let Some(wait) = process.wait
    {
        assert_true_reason(&death.reason, wait);
    }
}

/// Nobody had touched it: the status alone tells why it died.
fn assert_true_reason(reason: &CrashReason, wait: WaitStatus) {
    let fits = match (reason, wait) {
        (_, WaitStatus::Unknown) => true,
        (CrashReason::Exit { code }, WaitStatus::Exited { code: real }) => *code == real,
        (CrashReason::CpuLimit, WaitStatus::Signaled { signal, .. }) => signal == 24,
        (CrashReason::FileSizeLimit, WaitStatus::Signaled { signal, .. }) => signal == 25,
        (CrashReason::SandboxViolation, WaitStatus::Signaled { signal, .. }) => signal == 31,
        (CrashReason::Oom | CrashReason::KilledFromOutside, WaitStatus::Signaled { signal, .. }) => {
            signal == 9
        }
        (CrashReason::StoppedFromOutside { signal }, WaitStatus::Signaled { signal: real, .. }) => {
            *signal == real && matches!(real, 1 | 2 | 15)
        }
        (CrashReason::Signal { signal, .. }, WaitStatus::Signaled { signal: real, .. }) => *signal == real,
        (_, WaitStatus::Exited { .. } | WaitStatus::Signaled { .. }) => false,
    };
    assert!(fits, "{reason:?} does not fit {wait:?}");
}
