//! How often it is logged that a client is refused: whoever connects in a loop fills no log.

use std::time::Duration;

use lifeboat_core::time::Timestamp;

/// How long [`SAID`] refusals are enough for.
const WINDOW: Duration = Duration::from_secs(1);

/// Refusals logged one by one within a window: plenty to see who it is.
const SAID: u32 = 10;

/// Counts the refusals of the present window.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Timestamp,
    said: u32,
    unsaid: u64,
}

impl Refusals {
    /// Whether a refusal is to be logged now; if so, how many before it were not.
    pub(super) fn say(&mut self, now: Timestamp) -> Option<u64> {
        if now.since(self.since) >= WINDOW {
            self.since = now;
            self.said = 0;
        }
        if self.said == SAID {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_with_the_next_refusal() {
        let mut refusals = Refusals::default();
        let said = (0..1000).filter(|at| refusals.say(Timestamp::from_micros(*at)).is_some()).count();
        assert_eq!(said, 10);
        assert_eq!(refusals.say(Timestamp::from_millis(1001)), Some(990));
        assert_eq!(refusals.say(Timestamp::from_millis(1002)), Some(0));
    }
}
