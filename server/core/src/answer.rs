//! What processes say of the attempts they were given.
//!
//! It owns the check that an answer is the one that is due, and what each kind of answer does to attempt and process.
//! It must never accept an answer for an attempt that the process does not execute: such an answer is refused and
//! counted, or the process has broken the protocol and is killed.

use crate::action::{AttemptCause, Outcome};
use crate::core::Core;
use crate::event::Answer;
use crate::fact::{Fact, RetryCause};
use crate::ids::{AttemptNumber, ProcessKey, RequestId};
use crate::process::{Held, Phase, Rung};
use crate::reason::{AttemptEnd, CrashReason};
use crate::retry::Trigger;
use crate::settle::Retriable;
use crate::view::TimerKind;

impl<Q, A> Core<Q, A> {
    /// Takes an answer. Accepted until the evidence of the process's death has been gathered: bytes first, verdict
    /// second.
    pub(crate) fn answered(
        &mut self,
        key: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        answer: Answer<A>,
    ) {
        let Some(index) = self.find_process(key) else {
            if self.unkillable.contains_key(&key) {
                self.refuse(key);
            }
            return;
        };
        let process = self.process(index);
        let names = |held: &Held| held.request == request && held.attempt == attempt;
        if process.line.front().is_some_and(names) {
            self.front_answered(index, answer);
        } else if process.line.iter().any(names) {
            self.violated(index, "it answered a request before the ones it was sent earlier".into());
        } else if process.newest.is_some_and(|newest| request <= newest) {
            self.refuse(key);
        } else {
            self.violated(index, "it answered a request that it was never sent".into());
        }
    }

    fn refuse(&mut self, process: ProcessKey) {
        let pool = self.worker_pool(process.worker);
        self.out.tell(Fact::AnswerRefused { pool, process });
    }

    fn front_answered(&mut self, index: usize, answer: Answer<A>) {
        let now = self.now;
        self.note_started(index);
        let held = self.process(index).line[0];
        if matches!(answer, Answer::Cancelled) && !self.may_be_cancelled(&held) {
            self.violated(index, "it cancelled a request that nobody had cancelled".into());
            return;
        }
        self.process(index).line.pop_front();
        self.workers[index].last_activity = now;
        match answer {
            Answer::Ok(answer) => {
                self.process(index).answered_ok = true;
                self.workers[index].note_ok();
                if held.settled.is_none() {
                    self.end_attempt(held.request, AttemptEnd::Ok, None);
                    self.end_ok(held.request, answer);
                }
                self.after_answer(index);
            }
            Answer::Failed { answer, retryable } => {
                self.workers[index].note_failure();
                if held.settled.is_none() && !self.stopped_past_limit(index, held) {
                    self.end_attempt(held.request, AttemptEnd::Failed, None);
                    let ask = Retriable {
                        trigger: Trigger::Failed { retryable },
                        cause: RetryCause::Failed,
                        otherwise: Outcome::Failed { answer },
                    };
                    self.retry_or_end(held.request, ask);
                }
                self.after_answer(index);
            }
            Answer::Panicked { message, location } => self.panicked(index, held, message, location),
            Answer::Cancelled => {
                if held.settled.is_none() && !self.stopped_past_limit(index, held) {
                    self.end_attempt(held.request, AttemptEnd::Closed, None);
                    self.end_request(held.request, Outcome::Closed);
                }
                self.after_answer(index);
            }
        }
    }

    /// Whether anybody has asked for this attempt to stop.
    fn may_be_cancelled(&mut self, held: &Held) -> bool {
        held.settled.is_some() || {
            let record = self.requests.open_record(held.request);
            record.limit.is_some() || record.closing
        }
    }

    /// An attempt that ran past a limit and stopped without an answer times out when its process is dead. The graces
    /// that are left have no use any more.
    fn stopped_past_limit(&mut self, index: usize, held: Held) -> bool {
        if self.requests.open_record(held.request).limit.is_none() {
            return false;
        }
        let process = self.process(index);
        process.awaiting_death.push(held);
        if process.phase == Phase::Cancelling {
            self.terminate(index);
        }
        true
    }

    /// The handler panicked: the attempt crashed, the slot is retired. A process has one slot, so that it is expected
    /// to leave; the rest of its line never starts.
    fn panicked(&mut self, index: usize, held: Held, message: String, location: Option<String>) {
        let now = self.now;
        let reason = CrashReason::SlotPanicked { message: message.clone(), location };
        let (label, place) = (reason.label(), reason.label_index());
        let process = self.process(index);
        process.panicked = true;
        process.slots_failed.get_or_insert_with(|| format!("the handler panicked: {message}"));
        self.workers[index].note_crash(now, label);
        if held.settled.is_none() && !self.stopped_past_limit(index, held) {
            self.end_attempt(held.request, AttemptEnd::Crashed, Some(AttemptCause::Slot(reason)));
            let max_attempts = self.requests.open_record(held.request).max_attempts;
            let ask = Retriable {
                trigger: Trigger::Crash,
                cause: RetryCause::Crash(place),
                otherwise: Outcome::Crashed { max_attempts },
            };
            self.retry_or_end(held.request, ask);
        }
        self.slots_gone(index);
    }

    /// The process has no slot left: it should leave by itself within `stop_grace`.
    pub(crate) fn slots_gone(&mut self, index: usize) {
        match self.process(index).phase {
            Phase::Serving | Phase::Cancelling | Phase::Ending(Rung::Draining | Rung::Asked) => {
                let at = self.now + self.pool_settings(index).stop_grace;
                let process = self.process(index);
                if process.phase == Phase::Cancelling {
                    process.intent = None;
                }
                self.set_phase(index, Phase::Ending(Rung::Leaving), Some((at, TimerKind::Ladder)));
            }
            Phase::Spawning
            | Phase::Starting
            | Phase::Ending(
                Rung::Unborn | Rung::Leaving | Rung::ConnectionLost | Rung::Terminated | Rung::Killed,
            )
            | Phase::Collecting => {}
        }
    }

    /// The front of the line is free: the next one has started, and there may be room.
    fn after_answer(&mut self, index: usize) {
        match self.process(index).phase {
            Phase::Cancelling => self.end_cancelling(index),
            Phase::Serving => {
                self.update_lane(index);
                let pool = self.pool_of(index);
                self.mark_dirty(pool);
            }
            Phase::Spawning | Phase::Starting | Phase::Ending(_) | Phase::Collecting => {}
        }
        self.start_front(index);
        self.ask_if_idle(index);
    }
}
