//! How much of the plane's time reading output may take, and how it is shared among those that flood.
//!
//! One flood is read at 20 to 30 MB/s per stream, many together at no more than 66 MB/s: a few percent of a core. A
//! process that writes faster waits in its own writes. Nothing here acts.

use std::cell::Cell;
use std::time::Duration;

/// How often a process that floods is looked at while it is the only one.
const FLOOD_TURN: Duration = Duration::from_millis(2);

/// How many times longer its turns become when others flood too.
const LONGEST_TURN: u32 = 4;

/// How much one look reads of one stream: what a pipe holds by default, less when many flood.
const LOOK_BYTES: usize = 64 * 1024;
const LEAST_LOOK_BYTES: usize = 4 * 1024;

/// How much is read of all streams of one kind that flood in one turn.
const TURN_BYTES: usize = 512 * 1024;

/// A look that reads that much of a stream has found a flood.
const FLOOD_BYTES: usize = LOOK_BYTES / 4;

/// How many processes flood at this time.
#[derive(Debug, Default)]
pub(super) struct Share {
    floods: Cell<usize>,
}

impl Share {
    /// How much one look may read of one stream.
    pub(super) fn look_bytes(&self) -> usize {
        (TURN_BYTES / self.floods.get().max(1)).clamp(LEAST_LOOK_BYTES, LOOK_BYTES)
    }

    /// The time from one look at a flood to the next.
    pub(super) fn flood_turn(&self) -> Duration {
        let floods = u32::try_from(self.floods.get()).unwrap_or(LONGEST_TURN);
        FLOOD_TURN * floods.clamp(1, LONGEST_TURN)
    }

    /// Whether a look with that budget that read so much has found a flood.
    pub(super) const fn is_flood(read: usize, budget: usize) -> bool {
        read >= FLOOD_BYTES || read >= budget
    }

    pub(super) fn enter(&self) {
        self.floods.set(self.floods.get() + 1);
    }

    pub(super) fn leave(&self) {
        self.floods.set(self.floods.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_may_read_together_is_bounded() {
        let per_second = |floods| {
            let share = Share { floods: Cell::new(floods) };
            share.look_bytes() as u128 * floods as u128 * 1_000 / share.flood_turn().as_millis()
        };
        for floods in 1..=128 {
            assert!(
                (32_000_000..=66_000_000).contains(&per_second(floods)),
                "{floods}: {}",
                per_second(floods)
            );
        }
        // Beyond that, no less than what keeps each of them going.
        assert_eq!(per_second(1_000), 512_000_000);
    }

    #[test]
    fn a_full_budget_is_a_flood() {
        assert!(Share::is_flood(LEAST_LOOK_BYTES, LEAST_LOOK_BYTES));
        assert!(Share::is_flood(FLOOD_BYTES, LOOK_BYTES));
        assert!(!Share::is_flood(FLOOD_BYTES - 1, LOOK_BYTES));
    }
}
