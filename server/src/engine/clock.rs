//! The only place that reads the clock for the core.

use std::time::Instant;

use lifeboat_core::time::Timestamp;

/// A monotonic clock that is read once per wake-up and remembers the reading.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    last: Timestamp,
}

impl Clock {
    /// A clock whose zero is now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), last: Timestamp::ZERO }
    }

    /// Reads the clock.
    pub fn read(&mut self) -> Timestamp {
        let micros = self.started.elapsed().as_micros();
        self.last = Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.last
    }

    /// The last reading.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.last
    }
}
