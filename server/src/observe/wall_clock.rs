//! Turns the core's timestamps into times of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lifeboat_core::time::Timestamp;

/// One moment known in both clocks: the core's, and the time of day.
///
/// The time of day is read once, at the start, so that a step of the system's clock cannot reorder what is shown.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    at: Timestamp,
    wall: SystemTime,
}

impl WallClock {
    /// `at` and `wall` are the same moment.
    #[must_use]
    pub const fn new(at: Timestamp, wall: SystemTime) -> Self {
        Self { at, wall }
    }

    /// The present time of day is `at`.
    #[must_use]
    pub fn starting_at(at: Timestamp) -> Self {
        Self::new(at, SystemTime::now())
    }

    /// Milliseconds since 1970 at `time`; 0 for times before that.
    #[must_use]
    pub fn unix_millis(&self, time: Timestamp) -> u64 {
        millis(self.since_epoch(time))
    }

    /// Seconds since 1970 at `time`; 0 for times before that.
    #[must_use]
    pub fn unix_seconds(&self, time: Timestamp) -> f64 {
        self.since_epoch(time).as_secs_f64()
    }

    fn since_epoch(&self, time: Timestamp) -> Duration {
        let anchor = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        if time >= self.at {
            anchor.saturating_add(time.since(self.at))
        } else {
            anchor.saturating_sub(self.at.since(time))
        }
    }
}

/// A length in whole milliseconds.
pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_the_anchor() {
        let clock = WallClock::new(Timestamp::from_millis(5_000), UNIX_EPOCH + Duration::from_secs(1_000));
        assert_eq!(clock.unix_millis(Timestamp::from_millis(5_250)), 1_000_250);
        assert_eq!(clock.unix_millis(Timestamp::ZERO), 995_000);
        assert!((clock.unix_seconds(Timestamp::from_millis(5_500)) - 1_000.5).abs() < 1e-9);
        let early = WallClock::new(Timestamp::from_millis(5_000), UNIX_EPOCH);
        assert_eq!(early.unix_millis(Timestamp::ZERO), 0, "never before 1970");
    }
}
