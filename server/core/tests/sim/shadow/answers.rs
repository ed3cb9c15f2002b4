//! What processes say, as the shadow sees it: signs of life, progress, answers, the last that was read.

use std::time::Duration;

use lifeboat_core::event::Answer;
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId, SlotId};
use lifeboat_core::reason::{KillReason, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::OnPanic;

use super::request::Place;
use super::{AnswerKind, Expected, Shadow, Told};
use crate::sim::coverage::Coverage;

impl Shadow {
    pub(super) fn heard(&mut self, key: ProcessKey) {
        self.was_scheduled(key, Duration::ZERO);
    }

    /// It was scheduled so long ago.
    pub(super) fn was_scheduled(&mut self, key: ProcessKey, ago: Duration) {
        let at = self.now.before(ago);
        if let Some(process) = self.process(key).filter(|process| process.heard_at <= at) {
            process.heard_at = at;
            process.heard_later = !ago.is_zero();
        }
    }

    pub(super) fn wrote(&mut self, key: ProcessKey) {
        let now = self.now;
        if let Some(process) = self.process(key) {
            process.output_at = now;
        }
    }

    pub(super) fn memory_high(&mut self, key: ProcessKey) {
        let worker = self.worker(key.worker);
        let stays = worker.present == Some(key) || worker.successor == Some(key);
        if let Some(process) = self.process(key) {
            process.memory_high |= stays && !process.is_ending();
        }
    }

    /// It wants to be replaced, which is granted to whoever serves and is not on its way out.
    pub(super) fn asked_to_retire(&mut self, key: ProcessKey) {
        self.heard(key);
        let serves = self.worker(key.worker).present == Some(key);
        if let Some(process) = self.process(key) {
            process.asked_to_retire |= serves && process.is_ready() && !process.is_ending();
        }
    }

    /// An answer counts if it names the front of a line, breaks the protocol if it names what was not begun or never
    /// sent, and else is old.
    fn named(&mut self, key: ProcessKey, id: RequestId, attempt: AttemptNumber) -> Named {
        let serial = self.by_id.get(&id).copied();
        let now = self.now;
        let Some(process) = self.process(key).filter(|process| !process.concluded) else {
            let known = self.process(key).is_some();
            return if known { Named::Old } else { Named::Nobody };
        };
        let found = serial.and_then(|serial| process.find(serial, attempt));
        match found {
            Some((slot, 0)) => return Named::Front(slot, serial.unwrap()),
            None if serial.is_some_and(|serial| serial <= process.newest) => return Named::Old,
            Some(_) | None => {}
        }
        process.violated = true;
        process.first_sign.get_or_insert(now);
        Named::Wrong
    }

    /// The work moves. A client that streams is told.
    pub(super) fn progressed(&mut self, key: ProcessKey, id: RequestId, attempt: AttemptNumber, what: Told) {
        // What is said of an attempt that it does not execute harms nobody.
        let Some(serial) = self.moves(key, id, attempt) else { return };
        let request = self.request(serial);
        if request.listens() {
            request.told_part |= matches!(what, Told::Part(_));
            self.expected = Expected::Forward { serial, what };
        }
    }

    /// The work moves, if the attempt is the one that executes now and its request is open.
    pub(super) fn moves(&mut self, key: ProcessKey, id: RequestId, attempt: AttemptNumber) -> Option<u64> {
        self.heard(key);
        let now = self.now;
        let serial = self.by_id.get(&id).copied()?;
        let process = self.process(key).filter(|process| !process.concluded)?;
        let (slot, _) = process.find(serial, attempt).filter(|(_, place)| *place == 0)?;
        self.note_front(key, slot);
        if let Some(front) = self.known(key).slot(slot).line.front_mut() {
            front.moved = true;
        }
        let request = self.request(serial);
        request.is_held_by(key).then(|| {
            request.progress_at = now;
            serial
        })
    }

    /// Only an answer for the front of a slot's line counts.
    pub(super) fn answered(
        &mut self,
        key: ProcessKey,
        id: RequestId,
        attempt: AttemptNumber,
        answer: &Answer<u64>,
        coverage: &mut Coverage,
    ) {
        self.heard(key);
        let (slot, serial) = match self.named(key, id, attempt) {
            Named::Front(slot, serial) => (slot, serial),
            Named::Old => {
                self.expected = Expected::Refusal;
                return;
            }
            Named::Wrong | Named::Nobody => return,
        };
        self.note_front(key, slot);
        let kind = match answer {
            Answer::Ok(_) => AnswerKind::Ok,
            Answer::Failed { again, .. } => AnswerKind::Failed { again: *again },
            Answer::Panicked { .. } => AnswerKind::Panicked,
            Answer::Cancelled => AnswerKind::Cancelled,
        };
        let (now, touched) = (self.now, self.touch());
        let limit = self.peek(serial).limit;
        let process = self.known(key);
        let asked = process.slot(slot).line[0].cancel.is_some() || limit.is_some();
        let awaited = self.peek(serial).is_held_by(key);
        let process = self.known(key);
        if kind == AnswerKind::Cancelled && awaited && !asked {
            coverage.see("stopped unasked");
            process.violated = true;
            process.first_sign.get_or_insert(now);
            return;
        }
        if process.is_ending() {
            coverage.see("answered while dying");
        }
        process.slot(slot).line.pop_front();
        process.touched = touched;
        process.active_at = now;
        process.served += 1;
        process.answered_ok |= kind == AnswerKind::Ok;
        if awaited && kind != AnswerKind::Ok && limit.is_some() {
            self.known(key).stopped.push(serial);
        } else if awaited {
            self.expected = Expected::Answer { serial, kind };
            self.answered = Some((serial, attempt.0));
        }
        self.count(key, kind);
        if kind == AnswerKind::Ok {
            self.forgive(serial, coverage);
        }
        let pool = self.worker_pools[usize::from(key.worker.0)];
        let keeps = self.pool_settings(pool).on_panic == OnPanic::Keep;
        let retires = match answer {
            Answer::Panicked { kept, .. } => !(*kept && keeps),
            Answer::Ok(_) | Answer::Failed { .. } | Answer::Cancelled => false,
        };
        if retires {
            self.retire_slot(key, slot, coverage);
            self.count_crash(serial, None, coverage);
        } else {
            self.start_front(key, slot);
        }
    }

    /// What an answer means for its worker and its pool.
    fn count(&mut self, key: ProcessKey, kind: AnswerKind) {
        let worker = self.worker(key.worker);
        match kind {
            AnswerKind::Ok => {
                (worker.failures, worker.crashes, worker.row) = (0, 0, 0);
                self.ok_from = Some(key);
                let pool = self.worker_pools[usize::from(key.worker.0)];
                let pool = self.pool(pool);
                pool.must_recover = pool.is_half_open();
            }
            AnswerKind::Failed { .. } => {
                worker.failures += 1;
                self.failed_again(key.worker);
            }
            AnswerKind::Panicked => {
                (worker.failures, worker.crashes) = (worker.failures + 1, worker.crashes + 1);
                self.failed_again(key.worker);
            }
            AnswerKind::Cancelled => {}
        }
    }

    /// A slot whose handler panicked takes nothing more; the process goes on with the others.
    fn retire_slot(&mut self, key: ProcessKey, slot: SlotId, coverage: &mut Coverage) {
        let now = self.now;
        let process = self.known(key);
        process.slot(slot).retired = true;
        if process.slots.iter().all(|slot| slot.retired) {
            process.no_slots.get_or_insert(now);
            process.panicked_out = true;
        } else {
            coverage.see("a slot retired, its process goes on");
        }
    }

    /// The front of a line executes, unless the slot is retired or the process has none.
    pub(super) fn start_front(&mut self, key: ProcessKey, slot: SlotId) {
        let process = self.known(key);
        if process.no_slots.is_none() && !process.slot(slot).retired {
            self.note_front(key, slot);
        }
    }

    /// Whoever answers or tells of progress had begun, whatever was believed.
    fn note_front(&mut self, key: ProcessKey, slot: SlotId) {
        let now = self.now;
        let Some(held) = self.known(key).slot(slot).line.front_mut().filter(|held| !held.started) else {
            return;
        };
        held.started = true;
        held.cancel = held.cancel.map(|_| now);
        let (serial, attempt, told_to_stop) = (held.serial, held.attempt, held.cancel.is_some());
        let request = self.request(serial);
        if request.is_held_by(key) {
            assert_eq!(request.attempts + 1, attempt.0, "{serial}: attempts are numbered without gaps");
            request.attempts = attempt.0;
            request.started_at = now;
            request.progress_at = now;
        } else if told_to_stop {
            let cancelled = request.place == Place::Done(OutcomeKind::Cancelled);
            let why = if cancelled { KillReason::Cancelled } else { KillReason::Deadline };
            self.known(key).may_be_killed_for(why);
        }
    }

    /// What the process never read it cannot have started: it pays for nothing, unless the last thing written was another
    /// frame or its attempt had run past a limit.
    pub(super) fn exited(&mut self, key: ProcessKey, unread: bool, coverage: &mut Coverage) {
        let now = self.now;
        let Some(process) = self.process(key) else { return };
        let first = !std::mem::replace(&mut process.exited, true);
        process.first_sign.get_or_insert(now);
        if !first || !unread || process.concluded {
            return;
        }
        let last = process.last_written;
        let Some(front) = process.executing().find(|held| Some(held.serial) == last).copied() else {
            let later = process.executing().count() > 0;
            if later {
                coverage.see("unread behind a later frame");
            }
            return;
        };
        let request = self.peek(front.serial);
        if !request.is_held_by(key) {
            return;
        }
        let over = request.limit == Some(TimeoutWhich::Deadline);
        if request.limit.is_some() && !over {
            return;
        }
        let closing = self.is_closing(request.pool);
        let process = self.known(key);
        process.never_read = last;
        let lines = process.slots.iter_mut().flat_map(|slot| &mut slot.line);
        for held in lines.filter(|held| held.serial == front.serial) {
            held.started = false;
        }
        self.request(front.serial).attempts -= 1;
        if over {
            coverage.see("unread after its deadline");
        }
        if over || closing {
            self.must_end.push(front.serial);
        }
    }
}

/// What a process names when it answers.
enum Named {
    Front(SlotId, u64),
    Old,
    Wrong,
    Nobody,
}
