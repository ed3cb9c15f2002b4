//! The death procedure: from the first sign to the verdict and the replacement.
//!
//! It owns the order of steps: the first sign stops dispatching; the exit is waited for, in bounded time; the evidence
//! is gathered; the process is judged once; then what it held is settled (`aftermath`) and its worker gets a
//! replacement. It must never settle an executing request before the process is dead, but for the one bound that
//! `kill_timeout` sets.

use crate::action::Action;
use crate::core::Core;
use crate::evidence::{ConnectionEnd, Evidence, IntentKind};
use crate::fact::Fact;
use crate::ids::{ProcessKey, RequestId};
use crate::judge::{Case, End, Verdict, judge};
use crate::process::{Phase, Rung, Settled};
use crate::reason::{AttemptEnd, Confidence, CrashReason, KillReason, TimeoutWhich};
use crate::timers::{Timer, TimerOwner};
use crate::view::{EXIT_GRACE, TimerKind};

impl<Q, A> Core<Q, A> {
    /// The end of a process's connection is a hint: its own exit is awaited, but not for long.
    pub(crate) fn connection_ended(&mut self, key: ProcessKey, how: ConnectionEnd) {
        let Some(index) = self.find_process(key) else { return };
        if let ConnectionEnd::Violation(what) = how {
            self.violated(index, what);
            return;
        }
        let now = self.now;
        let process = self.process(index);
        process.note_sign(now);
        process.connection.get_or_insert(how);
        let lost = match process.phase {
            Phase::Starting | Phase::Serving | Phase::Cancelling => true,
            // What it executes cannot be answered any more. With nothing left, it is leaving as it was told to.
            Phase::Ending(Rung::Draining | Rung::Asked) => process.has_open_requests(),
            Phase::Spawning
            | Phase::Ending(
                Rung::Unborn | Rung::Leaving | Rung::ConnectionLost | Rung::Terminated | Rung::Killed,
            )
            | Phase::Collecting => false,
        };
        if lost {
            let timer = Some((now + EXIT_GRACE, TimerKind::ExitGrace));
            self.set_phase(index, Phase::Ending(Rung::ConnectionLost), timer);
        }
    }

    /// A process sent what cannot be accepted: it is killed at once.
    pub(crate) fn violated(&mut self, index: usize, what: String) {
        let now = self.now;
        let process = self.process(index);
        process.note_sign(now);
        if !matches!(process.connection, Some(ConnectionEnd::Violation(_))) {
            process.connection = Some(ConnectionEnd::Violation(what));
        }
        self.kill(index, IntentKind::Connection);
    }

    /// A process has no slot left and says so: it should leave by itself.
    pub(crate) fn workers_failed(&mut self, key: ProcessKey, reasons: String) {
        let now = self.now;
        let Some(index) = self.find_process(key) else { return };
        let process = self.process(index);
        process.note_sign(now);
        process.slots_failed = Some(reasons);
        self.slots_gone(index);
    }

    /// A process uses more memory than its limit: no grace, the memory is wanted back.
    pub(crate) fn memory_exceeded(&mut self, key: ProcessKey) {
        if let Some(index) = self.find_process(key) {
            self.kill(index, IntentKind::Kill(KillReason::MemoryLimit));
        }
    }

    /// A process has exited: its evidence is wanted. What it never read it cannot have started.
    pub(crate) fn exited(&mut self, key: ProcessKey, unread: bool) {
        if let Some(process) = self.unkillable.get_mut(&key) {
            if process.phase != Phase::Collecting {
                process.phase = Phase::Collecting;
                self.out.act(Action::Collect { process: key });
            }
            return;
        }
        let now = self.now;
        let Some(index) = self.find_process(key) else { return };
        let process = self.process(index);
        if process.phase == Phase::Collecting {
            return;
        }
        process.note_sign(now);
        self.set_phase(index, Phase::Collecting, None);
        if unread {
            self.last_was_unread(index);
        }
        self.bound_collecting(index);
        self.out.act(Action::Collect { process: key });
    }

    /// A process could not be started.
    pub(crate) fn spawn_failed(&mut self, key: ProcessKey, error: String) {
        let now = self.now;
        let Some(index) = self.find_process(key) else { return };
        let process = self.process(index);
        if !matches!(process.phase, Phase::Spawning | Phase::Ending(Rung::Unborn)) {
            return;
        }
        process.note_sign(now);
        self.set_phase(index, Phase::Collecting, None);
        let end = End::Crash(CrashReason::SpawnFailed(error));
        self.conclude(index, Verdict { end, confidence: Confidence::Proven }, Evidence::default());
        self.release(index);
    }

    /// The evidence is complete and the tree is dead: the process is judged.
    pub(crate) fn evidence_gathered(&mut self, key: ProcessKey, evidence: Box<Evidence>) {
        if self.unkillable.get(&key).is_some_and(|process| process.phase == Phase::Collecting) {
            self.unkillable.remove(&key);
            let pool = self.worker_pool(key.worker);
            self.out.tell(Fact::UnkillableDied { pool, process: key });
            self.tell_leaks(key, &evidence);
            self.out.act(Action::Release { process: key });
            return;
        }
        let Some(index) = self.find_process(key) else { return };
        let process = self.process(index);
        if process.phase != Phase::Collecting {
            return;
        }
        let verdict = judge(&Case {
            ready: process.ready_at.is_some(),
            intent: process.intent,
            connection: process.connection.as_ref(),
            slots_failed: process.slots_failed.as_deref(),
            wait: evidence.wait,
            oom: evidence.oom,
        });
        self.tell_leaks(key, &evidence);
        self.conclude(index, verdict, *evidence);
        self.release(index);
    }

    fn tell_leaks(&mut self, process: ProcessKey, evidence: &Evidence) {
        let count = evidence.descendants_leaked;
        if count > 0 {
            let pool = self.worker_pool(process.worker);
            self.out.tell(Fact::DescendantsLeaked { pool, process, count });
        }
    }

    /// Nothing more is wanted of a worker's process, which was concluded.
    fn release(&mut self, index: usize) {
        let key = self.process(index).key;
        self.out.act(Action::Release { process: key });
        let at_once = self.bury(index);
        self.replace(index, at_once);
    }

    /// Takes a concluded process from its worker. Tells whether the next one may be ordered at once.
    fn bury(&mut self, index: usize) -> bool {
        self.processes -= 1;
        let worker = &mut self.workers[index];
        let process = worker.process.take().expect("the caller concluded this worker's process");
        let ended_at = process.first_sign_at.unwrap_or(self.now);
        let stable_after = self.settings.pool(worker.pool).restart.stable_after;
        let planned = process.concluded_as_planned;
        let productive = process.is_productive(ended_at, stable_after);
        if productive {
            worker.unproductive = 0;
        }
        let pool = worker.pool;
        if let Some((at, kind)) = process.timer {
            self.timers.cancel(Timer { at, kind, owner: TimerOwner::Process(process.key) });
        }
        if process.phase == Phase::Ending(Rung::Killed) {
            self.unkillable.insert(process.key, process);
        }
        self.mark_dirty(pool);
        planned || productive
    }

    /// SIGKILL was sent and `kill_timeout` is over. A process that has not exited is called unkillable and replaced;
    /// one that has, and whose evidence takes that long, cannot hold up a deadline any longer.
    pub(crate) fn kill_timeout_passed(&mut self, index: usize) {
        let process = self.process(index);
        if process.phase == Phase::Collecting {
            self.settle_overdue(index);
            return;
        }
        let reason = CrashReason::Killed(KillReason::Unkillable);
        let verdict = Verdict { end: End::Crash(reason), confidence: Confidence::Proven };
        self.conclude(index, verdict, Evidence::default());
        let at_once = self.bury(index);
        self.replace(index, at_once);
    }

    /// Bounds the wait for the evidence by the deadline of what was executing, where that has passed.
    pub(crate) fn bound_collecting(&mut self, index: usize) {
        let (now, wait) = (self.now, self.pool_settings(index).kill_timeout);
        let overdue = self.overdue(index);
        let deadlines = overdue.iter().filter_map(|id| self.requests.get(*id)).map(|record| record.deadline);
        let Some(deadline) = deadlines.min() else { return };
        let process = self.process(index);
        if process.timer.is_some() {
            return;
        }
        let at = (deadline + wait).max(now);
        process.timer = Some((at, TimerKind::KillTimeout));
        let owner = TimerOwner::Process(process.key);
        self.timers.arm(Timer { at, kind: TimerKind::KillTimeout, owner });
    }

    /// Requests that were executing on a process and whose deadline has passed.
    fn overdue(&self, index: usize) -> Vec<RequestId> {
        let Some(process) = &self.workers[index].process else { return Vec::new() };
        let running = process.executing().into_iter().chain(&process.awaiting_death);
        running
            .map(|held| held.request)
            .filter(|id| self.requests.get(*id).is_some_and(|record| !record.deadline_armed))
            .collect()
    }

    fn settle_overdue(&mut self, index: usize) {
        let (now, wait) = (self.now, self.pool_settings(index).kill_timeout);
        for id in self.overdue(index) {
            if self.requests.open_record(id).deadline + wait > now {
                continue;
            }
            let process = self.process(index);
            process.awaiting_death.retain(|held| held.request != id);
            if let Some(held) = process.line.iter_mut().find(|held| held.request == id) {
                held.settled = Some(Settled::Deadline);
            }
            self.end_attempt(id, AttemptEnd::TimedOut, None);
            let outcome = self.timed_out(id, TimeoutWhich::Deadline);
            self.end_request(id, outcome);
        }
        self.bound_collecting(index);
    }
}
