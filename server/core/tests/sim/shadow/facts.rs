//! What the core tells observers, checked against what it was told.

use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::evidence::{StopSignal, WaitStatus};
use lifeboat_core::fact::{Death, Fact, RequestEnded};
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId, WorkerId};
use lifeboat_core::reason::{AttemptEnd, CrashReason, KillReason, OutcomeKind, TimeoutWhich};
use lifeboat_core::restart;

use super::{AnswerKind, Expected, Place, Shadow};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(crate) fn fact(&mut self, fact: &Fact, core: &Core<u64, u64>, coverage: &mut Coverage) {
        match fact {
            Fact::RequestEnded(ended) => self.request_ended(ended, core, coverage),
            Fact::AttemptEnded { request, attempt, process, end, duration, .. } => {
                self.attempt_ended(
                    self.serial(core, *request),
                    *attempt,
                    *process,
                    *end,
                    *duration,
                    coverage,
                );
            }
            Fact::FirstDispatched { .. } => {}
            Fact::Retried { request, next, backoff, .. } => {
                self.retried(self.serial(core, *request), *next, *backoff);
            }
            Fact::LimitPassed { request, which, .. } => {
                self.limit_passed(self.serial(core, *request), *which)
            }
            Fact::RequeuedFree { request, .. } => {
                let serial = self.serial(core, *request);
                let Place::Held(key) = self.peek(serial).place else { panic!("{serial} was not held") };
                let process = self.known(key);
                assert!(process.concluded, "only the dead give back");
                let held =
                    process.line.iter().find(|held| held.serial == serial).expect("it was in the line");
                assert!(!held.started, "what has started is not given back free of charge");
                if process.never_read == Some(serial) {
                    coverage.see("given back unread");
                }
                self.place(serial, Place::Waiting);
            }
            Fact::AnswerRefused { .. } => {}
            Fact::WorkerStarting { .. } | Fact::WorkerReady { .. } => {}
            Fact::Signalled { process, intent, .. } => {
                assert!(intent.signal_sent.is_some(), "the intent goes with its signal");
                assert!(intent.at <= self.now, "the intent came first");
                self.known(*process).signal_facts += 1;
            }
            Fact::WorkerCrashed(death) => self.crashed(death),
            Fact::WorkerStopped { process, .. } => {
                assert!(self.draining, "{process} stopped as planned, and nobody planned it");
                self.concluded(*process);
            }
            Fact::WorkerBackingOff { worker, wait, unproductive, .. } => {
                self.backing_off(*worker, *wait, *unproductive);
            }
            Fact::DescendantsLeaked { .. } => {}
            Fact::UnkillableDied { process, .. } => {
                let process = self.known(*process);
                assert!(process.unkillable && process.evidence, "only what was called unkillable dies late");
            }
            Fact::DrainBegan => assert!(self.draining, "nobody asked for a shutdown"),
        }
    }

    fn serial(&self, core: &Core<u64, u64>, id: RequestId) -> u64 {
        let known = self.by_id.get(&id).copied();
        known.or_else(|| core.payload(id).copied()).unwrap_or_else(|| panic!("{id} is not known"))
    }

    fn attempt_ended(
        &mut self,
        serial: u64,
        attempt: AttemptNumber,
        key: ProcessKey,
        end: AttemptEnd,
        duration: Duration,
        coverage: &mut Coverage,
    ) {
        let request = self.peek(serial);
        assert_eq!(request.place, Place::Held(key), "{serial}: only a held request's attempt ends");
        assert_eq!(request.attempts, attempt.0, "{serial}: it is the attempt that had started");
        assert_eq!(request.ended + 1, attempt.0, "{serial}: each attempt ends once");
        assert_eq!(duration, self.now - request.started_at, "{serial}: attempts are timed from their start");
        let (limit, cancelled) = (request.limit, request.cancelled);
        let expected = self.expected;
        let draining = self.draining;
        let answer = |kind| expected == (Expected::Answer { serial, kind });
        let process = self.known(key);
        let front = process.line.front().is_some_and(|held| held.serial == serial && held.started);
        assert_ne!(process.never_read, Some(serial), "{serial}: what was never read costs no attempt");
        match end {
            AttemptEnd::Ok => assert!(answer(AnswerKind::Ok), "{serial}: nobody answered ok"),
            AttemptEnd::Failed => {
                let failed = [true, false].map(|retryable| answer(AnswerKind::Failed { retryable }));
                assert!(failed.contains(&true), "{serial}: no handler said no");
            }
            AttemptEnd::Crashed => {
                let panicked = answer(AnswerKind::Panicked);
                assert!(panicked || (process.concluded && front), "{serial}: only the executing one pays");
                if panicked {
                    let location = None;
                    coverage.reason(&CrashReason::SlotPanicked { message: String::new(), location });
                }
            }
            AttemptEnd::TimedOut => {
                assert!(limit.is_some(), "{serial}: no limit had passed");
                assert!(
                    process.concluded || process.exited,
                    "{serial}: a timeout ends the work: its process is dead or called unkillable"
                );
                if !process.concluded {
                    coverage.see("evidence overdue");
                    let settings = self.pool_settings(self.peek(serial).pool);
                    let due = self.peek(serial).deadline + settings.kill_timeout;
                    assert!(self.now >= due, "{serial}: its process's evidence was not waited for");
                }
            }
            AttemptEnd::Cancelled => assert!(cancelled, "{serial}: nobody cancelled it"),
            AttemptEnd::Closed => assert!(draining, "{serial}: nobody shuts down"),
        }
        let request = self.request(serial);
        request.ended += 1;
        request.last_end = Some(end);
        request.last_worker = Some(key.worker);
        self.place(serial, Place::Limbo);
    }

    fn limit_passed(&mut self, serial: u64, which: TimeoutWhich) {
        let now = self.now;
        let request = self.request(serial);
        match which {
            TimeoutWhich::Deadline => assert!(now >= request.deadline, "{serial}: not before its deadline"),
            TimeoutWhich::Attempt => {
                let limit = request.attempt_limit.expect("it has a limit");
                assert!(now >= request.started_at + limit, "{serial}: not before its limit");
                assert!(request.limit.is_none(), "{serial}: an attempt's limit passes once");
            }
            TimeoutWhich::Queue | TimeoutWhich::Progress | TimeoutWhich::Output => panic!("not there yet"),
        }
        request.limit = Some(which);
    }

    fn crashed(&mut self, death: &Death) {
        let now = self.now;
        let key = death.process;
        let stable_after = self.pool_settings(death.pool).restart.stable_after;
        let process = self.known(key);
        let unkillable = death.reason == CrashReason::Killed(KillReason::Unkillable);
        assert!(process.evidence || unkillable, "{key} is judged by its evidence");
        if unkillable {
            process.unkillable = true;
            assert_eq!(process.signals.last(), Some(&StopSignal::Kill), "{key} was killed");
            assert!(!process.exited, "{key} has not exited");
        }
        if let CrashReason::Killed(_) = death.reason {
            assert!(
                process.asked || process.signal_facts > 0,
                "{key}: our kill needs a signal or at least a cancel frame"
            );
            assert!(death.intent.is_some(), "{key}: our kill needs an intent");
        }
        let untouched = process.signal_facts == 0
            && !process.asked
            && !process.violated
            && !process.slots_failed
            && process.ready_at.is_some();
        if untouched && let Some(wait) = process.wait {
            assert_true_reason(&death.reason, wait);
        }
        let since_ready = process.ready_at.map(|at| death.first_sign_at - at);
        let productive = process.answered_ok || since_ready.is_some_and(|time| time >= stable_after);
        assert_eq!(death.productive, productive, "{key}: productive");
        assert!(death.judged_at == now && death.first_sign_at <= now);
        let unstarted: Vec<u64> =
            process.line.iter().filter(|held| !held.started).map(|held| held.serial).collect();
        let executing = process.line.front().filter(|held| held.started).map(|held| held.serial);
        let stopped = process.stopped.clone();
        let given_back =
            unstarted.iter().filter(|serial| self.peek(**serial).place == Place::Held(key)).count();
        assert_eq!(death.requeued as usize, given_back, "{key}: gives back what had not started");
        let told = death.executing.map(|(id, _, _)| self.by_id[&id]);
        assert!(
            told == executing || (executing.is_none() && told.is_some_and(|told| stopped.contains(&told))),
            "{key} was executing {executing:?}, not {told:?}"
        );
        let worker = &mut self.workers[usize::from(key.worker.0)];
        worker.unproductive = if productive { 0 } else { worker.unproductive + 1 };
        self.concluded(key);
    }

    fn concluded(&mut self, key: ProcessKey) {
        let process = self.known(key);
        assert!(!process.concluded, "{key} is judged once");
        process.concluded = true;
        self.workers[usize::from(key.worker.0)].has_process = false;
    }

    fn backing_off(&mut self, worker: WorkerId, wait: Duration, unproductive: u32) {
        let now = self.now;
        assert!(!self.draining, "nothing comes back during a shutdown");
        let pool = self.worker_pools[usize::from(worker.0)];
        let settings = self.settings.pool(pool).restart;
        let place = &mut self.workers[usize::from(worker.0)];
        assert_eq!(place.unproductive, unproductive, "{worker:?}: unproductive incarnations in a row");
        let (least, most) =
            (restart::wait(&settings, unproductive, 0.0), restart::wait(&settings, unproductive, 1.0));
        assert!(least <= wait && wait <= most && most <= settings.max, "{worker:?}: waits for {wait:?}");
        if !wait.is_zero() {
            place.backoff_until = Some(now + wait);
        }
    }

    fn request_ended(&mut self, ended: &RequestEnded, core: &Core<u64, u64>, coverage: &mut Coverage) {
        let now = self.now;
        assert!(!ended.past_deadline, "a promise is broken");
        let serial = match (ended.request, self.expected) {
            (Some(id), _) => self.serial(core, id),
            (None, Expected::Admission(serial)) => serial,
            (None, _) => panic!("only a new request is refused"),
        };
        let request = self.peek(serial);
        assert!(!matches!(request.place, Place::Done(_)), "{serial} has an outcome already");
        assert_eq!(ended.attempts, request.attempts, "{serial}: attempts are counted");
        assert_eq!(ended.duration, now - request.accepted_at);
        assert_eq!(ended.outcome == OutcomeKind::Rejected, ended.request.is_none());
        if let Place::Held(key) = request.place {
            if ended.outcome == OutcomeKind::Closed && self.never_read(key) == Some(serial) {
                coverage.see("closed unread");
            }
            let started = request.attempts > request.ended;
            assert!(!started, "{serial}: its attempt ends before it does");
            if ended.outcome == OutcomeKind::TimedOut {
                coverage.see("timed out while held behind");
            }
            assert!(!self.known(key).concluded || self.draining, "{serial}: it would have been given back");
        }
        match ended.outcome {
            OutcomeKind::Ok => {
                assert_eq!(self.expected, Expected::Answer { serial, kind: AnswerKind::Ok });
                assert_eq!(ended.late, self.peek(serial).limit.is_some(), "{serial}: late");
            }
            OutcomeKind::Failed => assert_eq!(self.peek(serial).last_end, Some(AttemptEnd::Failed)),
            OutcomeKind::Crashed => {
                assert_eq!(self.peek(serial).last_end, Some(AttemptEnd::Crashed));
                assert!(!self.draining, "{serial}: expected is not unexpected");
            }
            OutcomeKind::TimedOut => assert!(self.peek(serial).limit.is_some(), "{serial}: no limit passed"),
            OutcomeKind::Cancelled => assert!(self.peek(serial).cancelled, "{serial}: nobody cancelled it"),
            OutcomeKind::Closed => assert!(self.draining, "{serial}: nobody shuts down"),
            OutcomeKind::Rejected => {}
        }
        if self.peek(serial).cancelled {
            assert_eq!(ended.outcome, OutcomeKind::Cancelled, "{serial}: a cancel is final");
        }
        self.refuse_denied_retry(serial, ended.outcome, coverage);
        self.place(serial, Place::Done(ended.outcome));
        self.ended += 1;
        self.open.remove(&serial);
        let kill_timeout = ended.pool.map_or(Duration::ZERO, |pool| self.pool_settings(pool).kill_timeout);
        let bound = self.peek(serial).deadline + kill_timeout + super::rules::SLACK;
        self.bounds.remove(&(bound, serial));
        if !self.peek(serial).connected {
            self.outcomes_of_the_gone += 1;
        }
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
