//! What processes say of the attempts they were given.
//!
//! It owns the check that an answer is the one that is due, and what each kind of answer does to attempt and process.
//! It must never accept an answer for an attempt that the process does not execute: such an answer is refused and
//! counted, or the process has broken the protocol and is killed.

use crate::action::{AttemptCause, Outcome};
use crate::core::Core;
use crate::event::Answer;
use crate::fact::{Fact, RetryCause};
use crate::ids::{AttemptNumber, ProcessKey, RequestId, SlotId};
use crate::phase::{Phase, Rung};
use crate::process::Company;
use crate::reason::{AttemptEnd, CrashReason};
use crate::retry::Trigger;
use crate::settings::OnPanic;
use crate::settle::Retriable;
use crate::slot::Held;
use crate::suspects::Blame;
use crate::view::TimerKind;

/// What a process says of a panic.
#[derive(Clone)]
struct Panic {
    message: String,
    location: Option<String>,
}

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
        let Some(berth) = self.find_process(key) else {
            if self.unkillable.contains_key(&key) {
                self.refuse(key);
            }
            return;
        };
        let now = self.now;
        let process = self.process(berth);
        process.heard_at = now;
        match process.find(request, attempt) {
            Some((slot, 0)) => {
                let changes_row = match answer {
                    Answer::Ok(_) => self.worker(berth).unhealthy,
                    Answer::Failed { .. } | Answer::Panicked { .. } => true,
                    Answer::Cancelled => false,
                };
                self.front_answered(berth, slot, answer);
                if changes_row {
                    let index = usize::from(self.worker(berth).id.0);
                    self.mind_health(index);
                }
            }
            Some(_) => {
                self.violated(berth, "it answered a request before the ones it was sent earlier".into())
            }
            None if process.newest.is_some_and(|newest| request <= newest) => self.refuse(key),
            None => self.violated(berth, "it answered a request that it was never sent".into()),
        }
    }

    pub(crate) fn refuse(&mut self, process: ProcessKey) {
        let pool = self.worker_pool(process.worker);
        self.out.tell(Fact::AnswerRefused { pool, process });
    }

    fn front_answered(&mut self, berth: usize, slot: SlotId, answer: Answer<A>) {
        let now = self.now;
        self.note_started(berth, slot, 0);
        let held = self.process(berth).slot(slot).line[0];
        if matches!(answer, Answer::Cancelled) && !self.may_be_cancelled(&held) {
            self.violated(berth, "it cancelled a request that nobody had cancelled".into());
            return;
        }
        let process = self.process(berth);
        process.slot(slot).line.pop_front();
        process.active_at = now;
        process.served = process.served.saturating_add(1);
        if process.company == Company::Alone {
            self.set_company(berth, Company::Anybody);
        }
        self.worker(berth).last_activity = now;
        let pool = self.pool_of(berth);
        if self.pools[usize::from(pool.0)].breaker.is_half_open() {
            // One request at a time: the next one may go to another process.
            self.mark_dirty(pool);
        }
        match answer {
            Answer::Ok(answer) => {
                self.process(berth).answered_ok = true;
                self.worker(berth).note_ok();
                self.forgive_body(&held);
                if held.settled.is_none() {
                    self.end_attempt(held.request, AttemptEnd::Ok, None);
                    self.end_ok(held.request, answer);
                }
                self.recover(pool);
            }
            Answer::Failed { answer, again } => {
                self.worker(berth).note_failure();
                if held.settled.is_none() && !self.stopped_past_limit(berth, slot, held) {
                    self.end_attempt(held.request, AttemptEnd::Failed, None);
                    let ask = Retriable {
                        trigger: Trigger::Failed { again },
                        cause: RetryCause::Failed,
                        blame: Blame::Cleared,
                        otherwise: Outcome::Failed { answer },
                    };
                    self.retry_or_end(held.request, ask);
                }
            }
            Answer::Panicked { message, location, kept } => {
                let kept = kept && self.pool_settings(berth).on_panic == OnPanic::Keep;
                let panic = Panic { message, location };
                if !self.panicked(berth, slot, held, panic, kept) {
                    return;
                }
            }
            Answer::Cancelled => {
                if held.settled.is_none() && !self.stopped_past_limit(berth, slot, held) {
                    self.end_attempt(held.request, AttemptEnd::Closed, None);
                    self.end_request(held.request, Outcome::Closed);
                }
            }
        }
        self.after_answer(berth, slot);
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
    fn stopped_past_limit(&mut self, berth: usize, slot: SlotId, held: Held) -> bool {
        if self.requests.open_record(held.request).limit.is_none() {
            return false;
        }
        let process = self.process(berth);
        process.awaiting_death.push(held);
        if process.phase == Phase::Cancelling {
            self.terminate_for(berth, slot);
        }
        true
    }

    /// The handler panicked: the attempt crashed, and the slot is retired, unless it is kept. What a retired one held behind
    /// never starts. Tells whether the process has a slot left.
    fn panicked(&mut self, berth: usize, slot: SlotId, held: Held, panic: Panic, kept: bool) -> bool {
        let Panic { message, location } = panic.clone();
        let reason = CrashReason::SlotPanicked { message, location };
        let (label, place) = (reason.label(), reason.label_index());
        let left =
            if kept { self.keep_slot(berth, slot, panic) } else { self.retire_slot(berth, slot, panic) };
        let now = self.now;
        self.worker(berth).note_crash(now, label);
        if !kept {
            self.count_crash(held, None);
        }
        if held.settled.is_none() && !self.stopped_past_limit(berth, slot, held) {
            self.end_attempt(held.request, AttemptEnd::Crashed, Some(AttemptCause::Slot(reason)));
            let max_attempts = self.requests.open_record(held.request).max_attempts;
            let ask = Retriable {
                trigger: Trigger::Crash,
                cause: RetryCause::Crash(place),
                blame: Blame::Cleared,
                otherwise: Outcome::Crashed { max_attempts },
            };
            self.retry_or_end(held.request, ask);
        }
        if !kept {
            self.empty_slot(berth, slot);
        }
        if left == 0 {
            self.slots_gone(berth);
        }
        left > 0
    }

    /// The slot goes on. Its process is neither worse nor better for it: only an `ok` or its time make it productive.
    fn keep_slot(&mut self, berth: usize, slot: SlotId, panic: Panic) -> usize {
        let pool = self.pool_of(berth);
        let process = self.process(berth);
        let (key, left) = (process.key, process.slots_left());
        let Panic { message, location } = panic;
        self.out.tell(Fact::SlotKept { pool, process: key, slot, message, location });
        left
    }

    /// The slot takes nothing more. Gives how many are left.
    fn retire_slot(&mut self, berth: usize, slot: SlotId, panic: Panic) -> usize {
        let pool = self.pool_of(berth);
        let process = self.process(berth);
        process.slot(slot).retired = true;
        let (key, slots_left) = (process.key, process.slots_left());
        let Panic { message, location } = panic;
        if slots_left == 0 {
            process.panicked = true;
            process.slots_failed.get_or_insert_with(|| format!("the handler panicked: {message}"));
        }
        let left = u16::try_from(slots_left).unwrap_or(u16::MAX);
        self.out.tell(Fact::SlotRetired { pool, process: key, slot, left, message, location });
        slots_left
    }

    /// What a retired slot held has not started and goes back free of charge.
    fn empty_slot(&mut self, berth: usize, slot: SlotId) {
        for held in std::mem::take(&mut self.process(berth).slot(slot).line) {
            if held.settled.is_none() {
                self.requeue_free(held.request);
            }
        }
    }

    /// The process has no slot left: it should leave by itself within `stop_grace`.
    pub(crate) fn slots_gone(&mut self, berth: usize) {
        match self.process(berth).phase {
            Phase::Serving
            | Phase::Cancelling
            | Phase::Ending(Rung::Retiring | Rung::Draining | Rung::Asked) => {
                let at = self.now + self.pool_settings(berth).stop_grace;
                let process = self.process(berth);
                if process.phase == Phase::Cancelling {
                    process.intent = None;
                }
                self.set_phase(berth, Phase::Ending(Rung::Leaving), Some((at, TimerKind::Ladder)));
            }
            Phase::Spawning
            | Phase::Starting
            | Phase::Ending(
                Rung::Unborn | Rung::Leaving | Rung::ConnectionLost | Rung::Terminated | Rung::Killed,
            )
            | Phase::Collecting => {}
        }
    }

    /// The front of a slot's line is free: the next one has started, and there may be room.
    fn after_answer(&mut self, berth: usize, slot: SlotId) {
        self.end_cancelling(berth, slot);
        if self.process(berth).phase == Phase::Serving {
            self.update_lane(berth);
            let pool = self.pool_of(berth);
            self.mark_dirty(pool);
            self.recycle_if_served(berth);
        }
        self.start_front(berth, slot);
        self.ask_if_idle(berth);
    }
}
