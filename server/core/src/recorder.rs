//! What a process's flight recorder says at its death, and what is believed of it.
//!
//! It owns the bounds on that belief: what the page says is a claim of the process, so it weighs on the requests alone that
//! the process still holds, it never beats a proof, and it spares each of them only so often. It must never settle anything:
//! the aftermath does.

use std::time::Duration;

use crate::core::Core;
use crate::ids::{AttemptNumber, RequestId, SlotId};

/// How often a request may go back free of charge on a process's word that it had not begun it. After that what it was the
/// front of has begun it, as without a recorder: a process that lies, or is broken, cannot have it run for ever.
pub const MOST_SPARED: u8 = 3;

/// What a flight recorder said when its process was dead: a copy, with one place for each slot that it notes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// How many heartbeats were noted.
    pub beats: u64,
    /// What was noted of each slot, in their order; those beyond are not noted.
    pub slots: Vec<SlotRecording>,
}

/// What a flight recorder says of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRecording {
    /// It cannot be read: the process died while it wrote, or writes nonsense.
    Unreadable,
    /// It never began anything.
    Unused,
    /// The last that it began.
    Began(Began),
}

/// The last that a slot began, as its process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// The request.
    pub request: RequestId,
    /// Which attempt at it.
    pub attempt: AttemptNumber,
    /// It had not ended.
    pub executing: bool,
    /// How long ago that was when it was read; `None` if it says a time to come.
    pub ago: Option<Duration>,
    /// How often its handler has said that the work moves.
    pub progress: u64,
}

impl<Q, A> Core<Q, A> {
    /// A process is dead and its flight recorder read: what it held has begun, or not, as the recorder says, within bounds.
    pub(crate) fn heed_recorder(&mut self, berth: usize, recording: &Recording) {
        for (slot, said) in (0..=u8::MAX).map(SlotId).zip(&recording.slots) {
            let Some(place) = self.process(berth).slots.get(usize::from(slot.0)) else { return };
            let (line, asked) = (&place.line, place.cancel.is_some());
            // One that is proven not to have been read has not begun, and nothing behind it has.
            let Some(front) = line.front().filter(|held| held.started).copied() else { continue };
            let begun = match said {
                SlotRecording::Unreadable => continue,
                SlotRecording::Unused => None,
                SlotRecording::Began(Began { request, attempt, .. }) => {
                    line.iter().position(|held| (held.request, held.attempt) == (*request, *attempt))
                }
            };
            match begun {
                // It has begun all that came before, although their ends were not read.
                Some(last) => (1..=last).for_each(|place| self.note_started(berth, slot, place)),
                // One that was asked to stop had the time to begin.
                None if asked || front.moved || front.settled.is_some() => {}
                None => self.spare(berth, slot, front.request),
            }
        }
    }

    /// A process says that it had not begun the front of a slot's line.
    fn spare(&mut self, berth: usize, slot: SlotId, request: RequestId) {
        let record = self.requests.open_record(request);
        if record.spared < MOST_SPARED && self.has_not_begun(berth, slot, request) {
            // It may have an outcome now, and then nobody asks again.
            if let Some(record) = self.requests.get_mut(request) {
                record.spared += 1;
            }
            self.process(berth).spared = true;
        }
    }
}
