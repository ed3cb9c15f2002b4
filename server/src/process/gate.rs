//! How many lines of a process's output may pass into the log: a burst, then so many a second.
//!
//! It owns the count of the lines that were dropped. Must never read a clock.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// A token bucket of lines.
#[derive(Debug)]
pub(super) struct Gate {
    burst: u32,
    per_second: u32,
    left: u32,
    /// Up to here refilling is counted in `left`.
    refilled_at: Instant,
    /// Dropped and not yet told of.
    untold: u64,
}

impl Gate {
    /// A gate that is full: `burst` lines may pass at once, `per_second` a second after that.
    pub(super) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self { burst, per_second, left: burst, refilled_at: now, untold: 0 }
    }

    /// Adds what the time since the last call is worth.
    pub(super) fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled_at);
        let worth = elapsed.as_nanos() * u128::from(self.per_second) / SECOND.as_nanos();
        match u32::try_from(worth) {
            Ok(worth) if worth < self.burst - self.left => {
                self.left += worth;
                if worth > 0 {
                    // Not `now`: what is left of the time counts for the next line.
                    self.refilled_at += SECOND.saturating_mul(worth) / self.per_second;
                }
            }
            Ok(_) | Err(_) => {
                self.left = self.burst;
                self.refilled_at = now;
            }
        }
    }

    /// Whether a line may pass.
    pub(super) const fn is_open(&self) -> bool {
        self.left > 0
    }

    /// Lets a line pass, which must be allowed; says how many were dropped before it and not told of.
    pub(super) const fn pass(&mut self) -> u64 {
        self.left = self.left.saturating_sub(1);
        self.take_untold()
    }

    /// Notes lines that were dropped.
    pub(super) const fn drop_lines(&mut self, count: u64) {
        self.untold = self.untold.saturating_add(count);
    }

    /// How many were dropped and not told of; from now on they are.
    pub(super) const fn take_untold(&mut self) -> u64 {
        std::mem::replace(&mut self.untold, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(gate: &mut Gate, now: Instant) -> u32 {
        gate.refill(now);
        let mut passed = 0;
        while gate.is_open() {
            gate.pass();
            passed += 1;
        }
        passed
    }

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut gate = Gate::new(100, 20, start);
        assert_eq!(passing(&mut gate, at(10)), 100);
        assert_eq!(passing(&mut gate, at(59)), 0, "a full gate gains nothing");
        assert_eq!(passing(&mut gate, at(60)), 1);
        // Looked at often, the same number passes.
        let often: u32 = (61..=10_060).map(|ms| passing(&mut gate, at(ms))).sum();
        assert_eq!(often, 200);
        assert_eq!(passing(&mut gate, at(15_059)), 99);
        assert_eq!(passing(&mut gate, at(1_000_000)), 100, "never more than the burst");
        assert_eq!(passing(&mut gate, at(500_000)), 0, "time does not run back");
    }

    #[test]
    fn a_gate_may_be_shut_or_have_no_refill() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1_000_000);
        assert_eq!(passing(&mut Gate::new(0, 20, start), later), 0);
        let mut gate = Gate::new(3, 0, start);
        assert_eq!(passing(&mut gate, later), 3);
        assert_eq!(passing(&mut gate, later + SECOND), 0);
        let mut gate = Gate::new(u32::MAX, u32::MAX, start);
        gate.left = 0;
        gate.refill(later);
        assert_eq!(gate.left, u32::MAX);
    }

    #[test]
    fn what_is_dropped_is_told_once() {
        let mut gate = Gate::new(2, 0, Instant::now());
        assert_eq!(gate.pass(), 0);
        gate.drop_lines(3);
        gate.drop_lines(4);
        assert_eq!(gate.pass(), 7);
        assert_eq!(gate.take_untold(), 0);
    }
}
