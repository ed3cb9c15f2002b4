//! Who is believed, on the word of a flight recorder, to have begun a request or not.

use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId};
use lifeboat_core::reason::TimeoutWhich;
use lifeboat_core::recorder::{Recording, SlotRecording};

use super::Shadow;
use super::process::Held;
use crate::sim::coverage::Coverage;

/// How often a request goes back on such a word.
const MOST: u8 = 3;

impl Shadow {
    /// A dead process's recorder is read.
    pub(super) fn heed(&mut self, key: ProcessKey, recording: &Recording, coverage: &mut Coverage) {
        let Some(process) = self.process(key).filter(|process| process.exited && !process.concluded) else {
            return;
        };
        let lines: Vec<Vec<Held>> =
            process.slots.iter().map(|slot| slot.line.iter().copied().collect()).collect();
        for (line, said) in lines.iter().zip(&recording.slots) {
            let Some(front) = line.first().filter(|held| held.started) else { continue };
            let begun = match said {
                SlotRecording::Unreadable => {
                    coverage.see("recorder unreadable");
                    continue;
                }
                SlotRecording::Unused => 0,
                SlotRecording::Began(began) => self.begun(line, began.request, began.attempt),
            };
            if begun == 0 {
                self.is_cleared(key, *front, coverage);
            }
            for held in line.iter().take(begun).skip(1) {
                self.began_behind(key, *held, coverage);
            }
        }
    }

    /// How many of a line it has begun if it has begun this.
    fn begun(&self, line: &[Held], request: RequestId, attempt: AttemptNumber) -> usize {
        let serial = self.by_id.get(&request);
        let names = |held: &Held| Some(&held.serial) == serial && held.attempt == attempt;
        line.iter().position(names).map_or(0, |place| place + 1)
    }

    fn is_cleared(&mut self, key: ProcessKey, front: Held, coverage: &mut Coverage) {
        let request = self.peek(front.serial);
        if !request.is_held_by(key) {
            return;
        }
        if front.moved {
            coverage.see("a lie about what it had told of");
            return;
        }
        if request.spared >= MOST {
            coverage.see("spared too often");
            return;
        }
        let over = request.limit == Some(TimeoutWhich::Deadline);
        // It was asked to stop, by a limit of the attempt or by a shutdown: it had the time to begin.
        if front.cancel.is_some() || request.limit.is_some() && !over {
            return;
        }
        let closing = self.is_closing(request.pool);
        let process = self.known(key);
        process.cleared.push(front.serial);
        let lines = process.slots.iter_mut().flat_map(|slot| &mut slot.line);
        lines.filter(|held| held.serial == front.serial).for_each(|held| held.started = false);
        let request = self.request(front.serial);
        request.attempts -= 1;
        request.spared += 1;
        if over {
            coverage.see("not begun after its deadline");
        }
        if over || closing {
            self.must_end.push(front.serial);
        }
    }

    /// It has begun this, so it has ended what came before, although nobody read how.
    fn began_behind(&mut self, key: ProcessKey, held: Held, coverage: &mut Coverage) {
        let now = self.now;
        let lines = self.known(key).slots.iter_mut().flat_map(|slot| &mut slot.line);
        lines.filter(|other| other.serial == held.serial).for_each(|other| other.started = true);
        let request = self.request(held.serial);
        if request.is_held_by(key) {
            assert_eq!(request.attempts + 1, held.attempt.0, "{}: without gaps", held.serial);
            request.attempts = held.attempt.0;
            request.started_at = now;
            coverage.see("begun behind an answer that was not read");
        }
    }
}
