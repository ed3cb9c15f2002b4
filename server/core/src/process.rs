//! One process: a worker's present life, or the one before or after it.
//!
//! It owns the process's phase, its slots with the requests they hold and everything that has been seen of its end. It
//! must never decide: dispatch, ladder and death do.

use std::time::Duration;

use crate::evidence::{ConnectionEnd, Intent, Rungs};
use crate::ids::{AttemptNumber, ProcessKey, RequestId, SlotId};
use crate::phase::Phase;
use crate::reason::StopReason;
use crate::slot::{Held, Slot};
use crate::time::Timestamp;
use crate::view::TimerKind;

/// The timers that a ready process has beside the one of its phase.
pub(crate) const STANDING: [TimerKind; 4] =
    [TimerKind::StableAfter, TimerKind::Heartbeat, TimerKind::RecycleAge, TimerKind::RecycleIdle];

/// With whom a request shares a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// With whoever has a slot of it.
    Anybody,
    /// It is given nothing new until it is empty, and then suspects, one after the other.
    SetApart,
    /// It holds a suspect, and nothing else.
    Alone,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) key: ProcessKey,
    pub(crate) pid: Option<u32>,
    pub(crate) phase: Phase,
    /// The timer of the present phase.
    pub(crate) timer: Option<(Timestamp, TimerKind)>,
    /// The timers of [`STANDING`], in that order.
    pub(crate) standing: [Option<Timestamp>; STANDING.len()],
    pub(crate) slots: Vec<Slot>,
    /// How many requests a slot may hold.
    pub(crate) prefetch: usize,
    pub(crate) company: Company,
    /// Attempts that ran past a limit and have stopped: their outcome waits for the process's death.
    pub(crate) awaiting_death: Vec<Held>,
    pub(crate) intent: Option<Intent>,
    pub(crate) rungs: Rungs,
    /// The ladder is cut short by this deadline of a cancelled request.
    pub(crate) kill_by: Option<Timestamp>,
    /// It is to leave as planned, once it has finished what it holds.
    pub(crate) leaving: Option<StopReason>,
    /// It was told to drain.
    pub(crate) drained: bool,
    pub(crate) connection: Option<ConnectionEnd>,
    /// Its slots have failed, for these reasons.
    pub(crate) slots_failed: Option<String>,
    /// It uses more memory than a healthy one should keep.
    pub(crate) memory_high: bool,
    /// A restart was ordered before it was ready: it may be one of what was to be replaced.
    pub(crate) outdated: bool,
    /// A handler panicked and left no slot: the failure is counted already.
    pub(crate) panicked: bool,
    /// Its flight recorder was believed that it had not begun something.
    pub(crate) spared: bool,
    pub(crate) ordered_at: Timestamp,
    pub(crate) ready_at: Option<Timestamp>,
    pub(crate) first_sign_at: Option<Timestamp>,
    /// When it was last given work or answered; before that, when it became ready.
    pub(crate) active_at: Timestamp,
    /// When it last sent anything.
    pub(crate) heard_at: Timestamp,
    /// When it last wrote anything.
    pub(crate) output_at: Timestamp,
    pub(crate) answered_ok: bool,
    /// How many answers it has given.
    pub(crate) served: u32,
    /// The newest request that was dispatched to it.
    pub(crate) newest: Option<RequestId>,
    /// The request that was the last thing ordered to be written to it; `None` if that was a cancel or drain frame.
    pub(crate) last_sent: Option<RequestId>,
}

impl Process {
    pub(crate) fn new(key: ProcessKey, now: Timestamp, slots: u16, prefetch: u16) -> Self {
        Self {
            key,
            pid: None,
            phase: Phase::Spawning,
            timer: None,
            standing: [None; STANDING.len()],
            slots: (0..slots).map(|_| Slot::default()).collect(),
            prefetch: usize::from(prefetch),
            company: Company::Anybody,
            awaiting_death: Vec::new(),
            intent: None,
            rungs: Rungs::default(),
            kill_by: None,
            leaving: None,
            drained: false,
            connection: None,
            slots_failed: None,
            memory_high: false,
            outdated: false,
            panicked: false,
            spared: false,
            ordered_at: now,
            ready_at: None,
            first_sign_at: None,
            active_at: now,
            heard_at: now,
            output_at: now,
            answered_ok: false,
            served: 0,
            newest: None,
            last_sent: None,
        }
    }

    pub(crate) fn slot(&mut self, slot: SlotId) -> &mut Slot {
        &mut self.slots[usize::from(slot.0)]
    }

    /// Every request that it holds, slot by slot.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Held> {
        self.slots.iter().flat_map(|slot| &slot.line)
    }

    /// How many requests it holds.
    pub(crate) fn load(&self) -> usize {
        self.slots.iter().map(|slot| slot.line.len()).sum()
    }

    /// The executing attempts of requests that have no outcome yet.
    pub(crate) fn executing(&self) -> impl Iterator<Item = &Held> {
        self.slots.iter().filter_map(Slot::executing)
    }

    /// The slot that holds an attempt, and its place in the slot's line.
    pub(crate) fn find(&self, request: RequestId, attempt: AttemptNumber) -> Option<(SlotId, usize)> {
        let names = |held: &Held| held.request == request && held.attempt == attempt;
        (0..=u8::MAX).zip(&self.slots).find_map(|(slot, Slot { line, .. })| {
            line.iter().position(names).map(|place| (SlotId(slot), place))
        })
    }

    /// The slot that holds a request that has no outcome yet.
    pub(crate) fn slot_of(&self, request: RequestId) -> Option<SlotId> {
        let holds = |slot: &Slot| slot.line.iter().any(|held| held.request == request);
        (0..=u8::MAX).zip(&self.slots).find(|(_, slot)| holds(slot)).map(|(slot, _)| SlotId(slot))
    }

    /// The slot that the next request goes to: the one that holds the fewest, and of several the first.
    pub(crate) fn next_slot(&self) -> Option<SlotId> {
        let usable = (0..=u8::MAX).zip(&self.slots).filter(|(_, slot)| !slot.retired);
        let (slot, depth) =
            usable.map(|(place, slot)| (SlotId(place), slot.line.len())).min_by_key(|at| at.1)?;
        (depth < self.prefetch).then_some(slot)
    }

    /// How full it is, as the lane it belongs to: by the shortest line of its slots, and among equals by how many slots
    /// have longer ones or are retired. `None` if it has no room, or none for anybody.
    pub(crate) fn lane(&self) -> Option<usize> {
        if self.company != Company::Anybody {
            return None;
        }
        let lines = self.slots.iter().filter(|slot| !slot.retired).map(|slot| slot.line.len());
        let depth = lines.min().filter(|depth| *depth < self.prefetch)?;
        let fuller = self.slots.iter().filter(|slot| slot.retired || slot.line.len() > depth).count();
        Some(depth * self.slots.len() + fuller)
    }

    /// It serves, is to go on, and holds nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Serving && self.slots.iter().all(|slot| slot.line.is_empty())
    }

    /// It serves and is to go on, though it may be getting rid of a cancelled attempt.
    pub(crate) fn stays(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Cancelling) && self.leaving.is_none()
    }

    /// How many slots can be used.
    pub(crate) fn slots_left(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.retired).count()
    }

    /// Whether a request without an outcome depends on it.
    pub(crate) fn has_open_requests(&self) -> bool {
        !self.awaiting_death.is_empty() || self.slots.iter().any(Slot::has_open_requests)
    }

    /// Whether it had answered `ok`, or had been ready for `stable_after` when its end began.
    pub(crate) fn is_productive(&self, ended_at: Timestamp, stable_after: Duration) -> bool {
        self.answered_ok || self.ready_at.is_some_and(|ready_at| ended_at - ready_at >= stable_after)
    }

    /// The first sign of its end was seen.
    pub(crate) fn note_sign(&mut self, now: Timestamp) {
        self.first_sign_at.get_or_insert(now);
    }

    /// The earliest end of a grace among the attempts that were told to stop.
    pub(crate) fn first_cancel(&self) -> Option<SlotId> {
        let cancels =
            (0..=u8::MAX).zip(&self.slots).filter_map(|(place, slot)| Some((SlotId(place), slot.cancel?)));
        cancels.min_by_key(|(slot, cancel)| (cancel.until, *slot)).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::Process;
    use crate::ids::{AttemptNumber, Incarnation, MethodId, ProcessKey, RequestId, SlotId, WorkerId};
    use crate::slot::Held;
    use crate::time::Timestamp;

    fn hold(process: &mut Process, slot: u8, number: u64) {
        process.slot(SlotId(slot)).line.push_back(Held {
            request: RequestId::new(number, 0),
            attempt: AttemptNumber::FIRST,
            method: MethodId(0),
            body: None,
            started: false,
            moved: false,
            settled: None,
        });
    }

    #[test]
    fn requests_are_spread_over_the_slots_that_are_left() {
        let key = ProcessKey { worker: WorkerId(0), incarnation: Incarnation(1) };
        let mut process = Process::new(key, Timestamp::ZERO, 3, 2);
        process.slot(SlotId(1)).retired = true;
        let mut lanes = Vec::new();
        for number in 1..=4 {
            lanes.push(process.lane());
            let slot = process.next_slot().unwrap();
            hold(&mut process, slot.0, number);
        }
        assert_eq!(lanes, [Some(1), Some(2), Some(4), Some(5)], "the retired slot counts as full");
        assert_eq!((process.lane(), process.next_slot()), (None, None));
        assert_eq!(process.find(RequestId::new(4, 0), AttemptNumber::FIRST), Some((SlotId(2), 1)));
        assert_eq!(process.slot_of(RequestId::new(3, 0)), Some(SlotId(0)));
        assert_eq!(process.load(), 4);
    }
}
