//! What the slots of a process do: execute, tell of it, answer; and everything wild.

use std::time::Duration;

use fastrand::Rng;
use lifeboat_core::event::Answer;
use lifeboat_core::evidence::OomEvidence;
use lifeboat_core::ids::{AttemptNumber, RequestId};

use super::{Frame, Process, SIGNALS, chance, exited, signaled};
use crate::sim::setup::Temper;

impl Process {
    /// A slot that has something to execute, any of them.
    pub(super) fn busy_slot(&self, rng: &mut Rng) -> Option<usize> {
        let first = rng.usize(0..self.slots.len());
        let all = (first..self.slots.len()).chain(0..first);
        let busy = |place: &usize| {
            let slot = &self.slots[*place];
            !slot.gone && !slot.hung && !slot.line.is_empty()
        };
        all.into_iter().find(busy).filter(|_| !self.mute && !self.no_slots)
    }

    /// A slot executes the front of its line, or drops it.
    pub(super) fn execute(&mut self, rng: &mut Rng, temper: &Temper, place: usize) {
        let Some((request, attempt)) = self.slots[place].line.front().copied() else { return };
        self.slots[place].begun = Some((request, attempt));
        if chance(rng, temper.tells) {
            let note = rng.u64(..);
            self.socket.push_back(word(rng, request, attempt, note));
            return;
        }
        let cancelled = self.cancelled.contains(&request);
        let answer = if cancelled && !chance(rng, temper.ignores_cancel) {
            match rng.u32(0..4) {
                0 => Answer::Ok(rng.u64(..)),
                1 => Answer::Failed { answer: 1, again: again(rng) },
                _ => Answer::Cancelled,
            }
        } else if chance(rng, temper.hangs) {
            self.slots[place].hung = true;
            return;
        } else if chance(rng, temper.panics) {
            Answer::Panicked { message: "index out of bounds".into(), location: None, kept: rng.bool() }
        } else if chance(rng, temper.fails) {
            Answer::Failed { answer: 2, again: again(rng) }
        } else {
            Answer::Ok(rng.u64(..))
        };
        self.answer(rng, place, answer);
    }

    /// A slot answers before it starts the next one. A panic is the last that is heard of it, if it does not go on.
    fn answer(&mut self, rng: &mut Rng, place: usize, answer: Answer<u64>) {
        let slot = &mut self.slots[place];
        let Some((request, attempt)) = slot.line.pop_front() else { return };
        slot.begun = Some((request, attempt));
        if matches!(answer, Answer::Panicked { kept: false, .. }) {
            slot.gone = true;
            slot.line.clear();
        }
        if chance(rng, 10) {
            self.socket.push_back(Frame::Retire);
        }
        self.socket.push_back(Frame::Answer(request, attempt, answer));
        self.last_answer = Some((request, attempt));
        if self.slots.iter().all(|slot| slot.gone) && rng.bool() {
            self.socket.push_back(Frame::WorkersFailed);
        }
    }

    pub(super) fn go_wild(&mut self, rng: &mut Rng) {
        match rng.u32(0..15) {
            0 | 1 => self.die(exited(rng.i32(0..120))),
            2 | 3 => self.die(signaled(SIGNALS[rng.usize(0..SIGNALS.len())])),
            4 => {
                self.oom = [OomEvidence::OwnCounterRose, OomEvidence::SharedCounterRose][rng.usize(0..2)];
                self.die(signaled(9));
            }
            5 => {
                self.oom = [OomEvidence::NotSeen, OomEvidence::NotWatched][rng.usize(0..2)];
                self.die(signaled(9));
            }
            6 => self.mute = true,
            7 if !self.mute => self.answer_again(rng),
            8 if !self.mute => self.answer_out_of_order(rng),
            9 if !self.mute => {
                self.no_slots = true;
                self.socket.push_back(Frame::WorkersFailed);
            }
            10 => self.execute_and_die(rng),
            11 if !self.mute => self.tell_nonsense(rng),
            12 if !self.mute => self.cancel_unasked(rng),
            _ => {
                let place = rng.usize(0..self.slots.len());
                self.slots[place].hung = true;
            }
        }
    }

    /// The last word: an answer, and death right behind it.
    fn execute_and_die(&mut self, rng: &mut Rng) {
        if let Some(place) = self.busy_slot(rng) {
            self.answer(rng, place, Answer::Ok(7));
        }
        self.die(signaled([6, 9, 11][rng.usize(0..3)]));
    }

    fn answer_again(&mut self, rng: &mut Rng) {
        let (request, attempt) = self.last_answer.unwrap_or((RequestId(u64::MAX), AttemptNumber(1)));
        self.socket.push_back(Frame::Answer(request, attempt, Answer::Ok(rng.u64(..))));
    }

    fn answer_out_of_order(&mut self, rng: &mut Rng) {
        if let Some((request, attempt)) = self.behind(rng) {
            self.socket.push_back(Frame::Answer(request, attempt, Answer::Ok(0)));
        }
    }

    /// A request that some slot holds behind another one.
    fn behind(&self, rng: &mut Rng) -> Option<(RequestId, AttemptNumber)> {
        self.slots[rng.usize(0..self.slots.len())].line.get(1).copied()
    }

    /// Progress, a part or a save of something old, something that has not begun, or something that was never sent.
    fn tell_nonsense(&mut self, rng: &mut Rng) {
        let forged = Some((RequestId(u64::MAX), AttemptNumber(1)));
        let of = match rng.u32(0..3) {
            0 => self.last_answer,
            1 => self.behind(rng),
            _ => forged,
        };
        if let Some((request, attempt)) = of {
            self.socket.push_back(word(rng, request, attempt, 1));
        }
    }

    /// It stops what nobody asked it to stop.
    fn cancel_unasked(&mut self, rng: &mut Rng) {
        if let Some(place) = self.busy_slot(rng) {
            self.answer(rng, place, Answer::Cancelled);
        }
    }
}

/// What a handler says before it answers. Now and then it saves much, and more than its pool may have room for.
fn word(rng: &mut Rng, request: RequestId, attempt: AttemptNumber, note: u64) -> Frame {
    match rng.u32(0..8) {
        0..3 => Frame::Progress(request, attempt, note),
        3..5 => Frame::Part(request, attempt, note),
        5..7 => Frame::Save(request, attempt, note, rng.usize(1..200)),
        _ => Frame::Save(request, attempt, note, if note.is_multiple_of(2) { 1 << 20 } else { 8 << 20 }),
    }
}

/// Whether a handler that says no wants another attempt, and how long it is to wait for it: mostly not at all, sometimes
/// less than the policy has it wait anyway, sometimes past every deadline.
fn again(rng: &mut Rng) -> Option<Duration> {
    match rng.u32(0..8) {
        0..4 => None,
        4 | 5 => Some(Duration::ZERO),
        6 => Some(Duration::from_millis(rng.u64(1..200))),
        _ => Some(Duration::from_millis(rng.u64(1..20_000))),
    }
}
