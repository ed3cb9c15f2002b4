//! The flight recorder of a process: none, a true one, or one that lies.

use fastrand::Rng;
use lifeboat_core::ids::{AttemptNumber, RequestId};
use lifeboat_core::recorder::{Began, Recording, SlotRecording};

use super::{Process, Slot};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorder {
    None,
    True,
    Lying,
    /// It never began anything, if one believes it.
    Denying,
}

impl Recorder {
    /// `denies` is the chance, out of 1000, that it denies everything.
    pub(super) fn draw(rng: &mut Rng, denies: u32) -> Self {
        if rng.u32(0..1000) < denies {
            return Self::Denying;
        }
        [Self::None, Self::True, Self::True, Self::Lying][rng.usize(0..4)]
    }
}

impl Process {
    /// What is read of it when the process is dead.
    pub(super) fn recording(&self, rng: &mut Rng) -> Option<Recording> {
        let slots = match self.recorder {
            Recorder::None => return None,
            Recorder::True => {
                self.slots.iter().map(|slot| slot.begun.map_or(SlotRecording::Unused, began)).collect()
            }
            Recorder::Denying => vec![SlotRecording::Unused; self.slots.len()],
            Recorder::Lying => {
                self.slots.iter().take(rng.usize(0..6)).map(|slot| self.lie(rng, slot)).collect()
            }
        };
        Some(Recording { beats: rng.u64(..), slots })
    }

    /// Anything: nothing, something held, something answered, something that was never sent.
    fn lie(&self, rng: &mut Rng, slot: &Slot) -> SlotRecording {
        let named = match rng.u32(0..6) {
            0 => return SlotRecording::Unreadable,
            1 => return SlotRecording::Unused,
            2 => self.last_answer,
            3 => Some((RequestId(rng.u64(..)), AttemptNumber(rng.u16(..)))),
            _ if slot.line.is_empty() => None,
            _ => Some(slot.line[rng.usize(0..slot.line.len())]),
        };
        named.map_or(SlotRecording::Unused, began)
    }
}

fn began((request, attempt): (RequestId, AttemptNumber)) -> SlotRecording {
    SlotRecording::Began(Began { request, attempt, executing: true, ago: None, progress: 0 })
}
