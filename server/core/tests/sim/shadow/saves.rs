//! What attempts leave for the next ones: the latest that was accepted, exactly, or no further attempt.

use lifeboat_core::Past;
use lifeboat_core::ids::{AttemptNumber, PoolId, ProcessKey, RequestId};

use super::{Expected, Shadow};
use crate::sim::coverage::Coverage;

/// What each slot may have saved beside what the queue may pin: an item and its header.
const PER_SLOT: usize = 1_048_576 + 65_536;

impl Shadow {
    /// The attempt that executes now has something saved for the next one; nobody else may.
    pub(super) fn saved(
        &mut self,
        key: ProcessKey,
        id: RequestId,
        attempt: AttemptNumber,
        what: (u64, usize),
        coverage: &mut Coverage,
    ) {
        let Some(serial) = self.moves(key, id, attempt) else {
            if self.look(key).is_some() {
                self.expected = Expected::Refusal;
                coverage.see("save refused");
            }
            return;
        };
        let pool = self.peek(serial).pool;
        self.request(serial).put_saved(None);
        let fits = self.saved_bytes(pool) + what.1 <= self.most_saved(pool);
        let request = self.request(serial);
        request.unkept = !fits;
        if fits {
            request.put_saved(Some(what));
            coverage.see(if attempt.0 > 1 { "saved by a further attempt" } else { "saved" });
        }
        self.expected = Expected::Save { serial, kept: fits };
    }

    /// It is told whether it was kept.
    pub(super) fn save_told(&mut self, serial: u64, kept: bool, coverage: &mut Coverage) {
        assert_eq!(self.expected, Expected::Save { serial, kept }, "{serial}: whether there was room for it");
        self.expected = Expected::Nothing;
        if !kept {
            coverage.see("save dropped");
        }
    }

    /// A further attempt is told of every one before it, and of exactly what was saved last.
    pub(super) fn check_past(&self, serial: u64, past: Option<Past<'_, u64>>, coverage: &mut Coverage) {
        let request = self.peek(serial);
        let past = past.unwrap_or_else(|| panic!("{serial} is open"));
        let saved = request.saved.map(|(item, _)| item);
        assert_eq!(past.saved.copied(), saved, "{serial}: what was saved last");
        assert!(!request.unkept, "{serial}: no attempt begins before what was saved");
        let numbers: Vec<u16> = past.attempts.iter().map(|attempt| attempt.number.0).collect();
        let all: Vec<u16> = (1..=request.attempts).collect();
        assert_eq!(numbers, all, "{serial}: every attempt before");
        match saved {
            Some(_) => coverage.see("told what was saved"),
            None if past.attempts.is_empty() => {}
            None => coverage.see("told of attempts that saved nothing"),
        }
    }

    fn saved_bytes(&self, pool: PoolId) -> usize {
        let open = self.open.iter().map(|serial| self.peek(*serial)).filter(|request| request.pool == pool);
        open.filter_map(|request| request.saved).map(|(_, bytes)| bytes).sum()
    }

    fn most_saved(&self, pool: PoolId) -> usize {
        let settings = self.pool_settings(pool);
        // Every worker may have one process that serves and one that finishes.
        let processes = 2 * usize::from(settings.workers.get());
        settings.queue.max_bytes + processes * usize::from(settings.slots.get()) * PER_SLOT
    }
}
