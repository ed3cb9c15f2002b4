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
use crate::phase::{Phase, Rung};
use crate::reason::{AttemptEnd, Confidence, CrashReason, KillReason, TimeoutWhich};
use crate::slot::Settled;
use crate::timers::{Timer, TimerOwner};
use crate::view::{EXIT_GRACE, TimerKind};

impl<Q, A> Core<Q, A> {
    /// The end of a process's connection is a hint: its own exit is awaited, but not for long.
    pub(crate) fn connection_ended(&mut self, key: ProcessKey, how: ConnectionEnd) {
        let Some(berth) = self.find_process(key) else { return };
        if let ConnectionEnd::Violation(what) = how {
            self.violated(berth, what);
            return;
        }
        let now = self.now;
        let process = self.process(berth);
        process.note_sign(now);
        process.connection.get_or_insert(how);
        let lost = match process.phase {
            Phase::Starting | Phase::Serving | Phase::Cancelling => true,
            // What it executes cannot be answered any more. With nothing left, it is leaving as it was told to.
            Phase::Ending(Rung::Retiring) => true,
            Phase::Ending(Rung::Draining | Rung::Asked) => process.has_open_requests(),
            Phase::Spawning
            | Phase::Ending(
                Rung::Unborn | Rung::Leaving | Rung::ConnectionLost | Rung::Terminated | Rung::Killed,
            )
            | Phase::Collecting => false,
        };
        if lost {
            let timer = Some((now + EXIT_GRACE, TimerKind::ExitGrace));
            self.set_phase(berth, Phase::Ending(Rung::ConnectionLost), timer);
        }
    }

    /// A process sent what cannot be accepted: it is killed at once.
    pub(crate) fn violated(&mut self, berth: usize, what: String) {
        let now = self.now;
        let process = self.process(berth);
        process.note_sign(now);
        if !matches!(process.connection, Some(ConnectionEnd::Violation(_))) {
            process.connection = Some(ConnectionEnd::Violation(what));
        }
        self.kill(berth, IntentKind::Connection);
    }

    /// A process has no slot left and says so: it should leave by itself.
    pub(crate) fn workers_failed(&mut self, key: ProcessKey, reasons: String) {
        let now = self.now;
        let Some(berth) = self.find_process(key) else { return };
        let process = self.process(berth);
        process.note_sign(now);
        process.slots_failed = Some(reasons);
        process.heard_at = now;
        self.slots_gone(berth);
    }

    /// A process uses more memory than its limit: no grace, the memory is wanted back.
    pub(crate) fn memory_exceeded(&mut self, key: ProcessKey) {
        if let Some(berth) = self.find_process(key) {
            self.kill(berth, IntentKind::Kill(KillReason::MemoryLimit));
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
        let Some(berth) = self.find_process(key) else { return };
        let process = self.process(berth);
        if process.phase == Phase::Collecting {
            return;
        }
        process.note_sign(now);
        process.rungs.exited_at = Some(now);
        self.set_phase(berth, Phase::Collecting, None);
        if unread {
            self.last_was_unread(berth);
        }
        self.bound_collecting(berth);
        self.out.act(Action::Collect { process: key });
    }

    /// A process could not be started.
    pub(crate) fn spawn_failed(&mut self, key: ProcessKey, error: String) {
        let now = self.now;
        let Some(berth) = self.find_process(key) else { return };
        let process = self.process(berth);
        if !matches!(process.phase, Phase::Spawning | Phase::Ending(Rung::Unborn)) {
            return;
        }
        process.note_sign(now);
        self.set_phase(berth, Phase::Collecting, None);
        let end = End::Crash(CrashReason::SpawnFailed(error));
        let verdict = Verdict { end, confidence: Confidence::Proven };
        let fit = self.conclude(berth, verdict, Evidence::default());
        self.release(berth, fit);
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
        let Some(berth) = self.find_process(key) else { return };
        let process = self.process(berth);
        if process.phase != Phase::Collecting {
            return;
        }
        let verdict = judge(&Case {
            ready: process.ready_at.is_some(),
            intent: process.intent,
            asked_to_leave: process.rungs.terminated_at.is_some(),
            connection: process.connection.as_ref(),
            slots_failed: process.slots_failed.as_deref(),
            wait: evidence.wait,
            exiting_before_kill: evidence.exiting_before_kill,
            oom: evidence.oom,
            cpu_used_up: evidence.is_cpu_used_up(),
        });
        self.tell_leaks(key, &evidence);
        if let Some(recording) = &evidence.recorder {
            self.heed_recorder(berth, recording);
        }
        let fit = self.conclude(berth, verdict, *evidence);
        self.release(berth, fit);
    }

    fn tell_leaks(&mut self, process: ProcessKey, evidence: &Evidence) {
        let count = evidence.descendants_leaked;
        if count > 0 {
            let pool = self.worker_pool(process.worker);
            self.out.tell(Fact::DescendantsLeaked { pool, process, count });
        }
    }

    /// Nothing more is wanted of a worker's process, which was concluded.
    fn release(&mut self, berth: usize, fit: bool) {
        let key = self.process(berth).key;
        self.out.act(Action::Release { process: key });
        self.bury(berth, fit);
    }

    /// Takes a concluded process from its berth; its worker goes on, at once if the process was `fit`.
    fn bury(&mut self, berth: usize, fit: bool) {
        self.processes -= 1;
        let process = self.berths[berth].process.take().expect("the caller concluded this berth's process");
        let was_ready = process.ready_at.is_some();
        let pool = self.pool_of(berth);
        if let Some((at, kind)) = process.timer {
            self.timers.cancel(Timer { at, kind, owner: TimerOwner::Process(process.key) });
        }
        if process.phase == Phase::Ending(Rung::Killed) {
            self.unkillable.insert(process.key, process);
        }
        self.mark_dirty(pool);
        self.go_on(berth, was_ready, fit);
        self.go_on_probing(pool);
    }

    /// SIGKILL was sent and `kill_timeout` is over. A process that has not exited is called unkillable and replaced;
    /// one that has, and whose evidence takes that long, cannot hold up a deadline any longer.
    pub(crate) fn kill_timeout_passed(&mut self, berth: usize) {
        let process = self.process(berth);
        if process.phase == Phase::Collecting {
            self.settle_overdue(berth);
            return;
        }
        let reason = CrashReason::Killed(KillReason::Unkillable);
        let verdict = Verdict { end: End::Crash(reason), confidence: Confidence::Proven };
        let fit = self.conclude(berth, verdict, Evidence::default());
        self.bury(berth, fit);
    }

    /// Bounds the wait for the evidence by the deadline of what was executing, where that has passed.
    pub(crate) fn bound_collecting(&mut self, berth: usize) {
        let (now, wait) = (self.now, self.pool_settings(berth).kill_timeout);
        let overdue = self.overdue(berth);
        let deadlines = overdue.iter().filter_map(|id| self.requests.get(*id)).map(|record| record.deadline);
        let Some(deadline) = deadlines.min() else { return };
        let process = self.process(berth);
        if process.timer.is_some() {
            return;
        }
        let at = (deadline + wait).max(now);
        process.timer = Some((at, TimerKind::KillTimeout));
        let owner = TimerOwner::Process(process.key);
        self.timers.arm(Timer { at, kind: TimerKind::KillTimeout, owner });
    }

    /// Requests that were executing on a process and whose deadline has passed.
    fn overdue(&self, berth: usize) -> Vec<RequestId> {
        let Some(process) = &self.berths[berth].process else { return Vec::new() };
        let running = process.executing().chain(&process.awaiting_death);
        running
            .map(|held| held.request)
            .filter(|id| self.requests.get(*id).is_some_and(|record| !record.armed.deadline))
            .collect()
    }

    fn settle_overdue(&mut self, berth: usize) {
        let (now, wait) = (self.now, self.pool_settings(berth).kill_timeout);
        for id in self.overdue(berth) {
            if self.requests.open_record(id).deadline + wait > now {
                continue;
            }
            let process = self.process(berth);
            process.awaiting_death.retain(|held| held.request != id);
            let lines = process.slots.iter_mut().flat_map(|slot| &mut slot.line);
            for held in lines.filter(|held| held.request == id) {
                held.settled = Some(Settled::Deadline);
            }
            self.end_attempt(id, AttemptEnd::TimedOut, None);
            let outcome = self.timed_out(id, TimeoutWhich::Deadline);
            self.end_request(id, outcome);
        }
        self.bound_collecting(berth);
    }
}
