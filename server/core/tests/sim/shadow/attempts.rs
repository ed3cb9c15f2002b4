//! How attempts end and what limits pass, checked against what was seen.

use std::time::Duration;

use lifeboat_core::ids::{AttemptNumber, ProcessKey};
use lifeboat_core::reason::{AttemptEnd, CrashReason, KillReason, TimeoutWhich};
use lifeboat_core::view::OUTPUT_LAG;

use super::request::Place;
use super::{AnswerKind, Expected, Shadow};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn attempt_ended(
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
        let (limit, cancelled, closing) = (request.limit, request.cancelled, self.is_closing(request.pool));
        let expected = self.expected;
        let answer = |kind| expected == (Expected::Answer { serial, kind });
        let process = self.known(key);
        let executed = process.executing().any(|held| held.serial == serial);
        let dead = process.concluded || process.exited;
        assert_ne!(process.never_read, Some(serial), "{serial}: what was never read costs no attempt");
        assert!(!process.cleared.contains(&serial), "{serial}: what was not begun costs no attempt");
        match end {
            AttemptEnd::Ok => assert!(answer(AnswerKind::Ok), "{serial}: nobody answered ok"),
            AttemptEnd::Failed => {
                let failed = matches!(expected, Expected::Answer { serial: of, kind: AnswerKind::Failed { .. } } if of == serial);
                assert!(failed, "{serial}: no handler said no");
            }
            AttemptEnd::Crashed => {
                let panicked = answer(AnswerKind::Panicked);
                assert!(panicked || (process.concluded && executed), "{serial}: only the executing ones pay");
                if panicked {
                    let location = None;
                    coverage.reason(&CrashReason::SlotPanicked { message: String::new(), location });
                }
            }
            AttemptEnd::TimedOut => {
                assert!(limit.is_some(), "{serial}: no limit had passed");
                assert!(dead, "{serial}: a timeout ends the work: its process is dead or called unkillable");
                self.check_overdue(serial, key, coverage);
            }
            AttemptEnd::Cancelled => assert!(cancelled, "{serial}: nobody cancelled it"),
            AttemptEnd::Closed => assert!(closing, "{serial}: nobody shuts down"),
        }
        self.known(key).stopped.retain(|stopped| *stopped != serial);
        let blame = self.blame(key, end);
        let request = self.request(serial);
        request.ended += 1;
        request.blame = blame;
        request.last_end = Some(end);
        request.last_limit = limit;
        request.last_worker = Some(key.worker);
        self.place(serial, Place::Limbo);
    }

    /// Evidence that does not come cannot hold up a deadline for longer than `kill_timeout`.
    fn check_overdue(&mut self, serial: u64, key: ProcessKey, coverage: &mut Coverage) {
        if self.known(key).concluded {
            return;
        }
        coverage.see("evidence overdue");
        let settings = self.pool_settings(self.peek(serial).pool);
        let due = self.peek(serial).deadline + settings.kill_timeout;
        assert!(self.now >= due, "{serial}: its process's evidence was not waited for");
    }

    /// A limit passes when its time has come and not before.
    pub(super) fn limit_passed(&mut self, serial: u64, which: TimeoutWhich) {
        let now = self.now;
        let request = self.peek(serial);
        let key = if let Place::Held(key) = request.place { Some(key) } else { None };
        let output_at = key.and_then(|key| self.look(key)).map(|process| process.output_at);
        let (from, limit) = match which {
            TimeoutWhich::Deadline => (request.deadline, Some(Duration::ZERO)),
            TimeoutWhich::Queue => (request.accepted_at, request.queue_limit),
            TimeoutWhich::Attempt => (request.started_at, request.attempt_limit),
            TimeoutWhich::Progress => (request.progress_at, request.progress_limit),
            TimeoutWhich::Output => {
                let from = output_at.map_or(request.started_at, |at| at.max(request.started_at));
                (from, request.output_limit.map(|limit| limit + OUTPUT_LAG))
            }
        };
        let limit = limit.unwrap_or_else(|| panic!("{serial} has no limit of its {which:?}"));
        assert!(now >= from + limit, "{serial}: not before its limit ({which:?})");
        if which != TimeoutWhich::Deadline {
            assert_eq!(request.limit, None, "{serial}: an attempt's limit passes once");
        }
        let why = match which {
            TimeoutWhich::Queue => {
                assert_eq!(request.place, Place::Waiting, "{serial}: it does not wait");
                assert!(!request.dispatched, "{serial}: it has been dispatched");
                None
            }
            TimeoutWhich::Attempt => Some(KillReason::AttemptTimeout),
            TimeoutWhich::Progress => Some(KillReason::ProgressStall),
            TimeoutWhich::Output => Some(KillReason::OutputStall),
            TimeoutWhich::Deadline => Some(KillReason::Deadline),
        };
        let deadline = request.deadline;
        if which == TimeoutWhich::Deadline {
            self.deadlines.remove(&(deadline, serial));
        }
        if let Some((key, why)) = key.zip(why)
            && self.runs_on(serial, key)
        {
            self.known(key).may_be_killed_for(why);
        }
        // A deadline that passes when its process has exited changes nothing about what ended the attempt.
        let over = key.and_then(|key| self.look(key)).is_some_and(|process| process.exited);
        let request = self.request(serial);
        if !over || request.limit.is_none() {
            request.limit = Some(which);
        }
    }

    /// It executes there, or has stopped past a limit.
    pub(super) fn runs_on(&mut self, serial: u64, key: ProcessKey) -> bool {
        let process = self.known(key);
        process.executing().any(|held| held.serial == serial) || process.stopped.contains(&serial)
    }
}
