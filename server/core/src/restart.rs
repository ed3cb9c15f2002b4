//! How long a worker waits before its next incarnation.
//!
//! It owns the arithmetic alone: a pure function of the settings, the run of unproductive incarnations and a random
//! number. It must never order a process.

use std::time::Duration;

use crate::settings::RestartSettings;

/// How many unproductive incarnations in a row a worker needs at least to be worn out.
const FEWEST_WORN: u32 = 3;

/// The wait after the `unproductive`-th unproductive incarnation in a row (from 1).
///
/// Doubles from `initial` up to `max`; half of it is fixed and half is random (`fraction` is in 0 to 1), so that
/// workers that died together do not come back together, and none comes back at once. A fixed delay is had by
/// `initial = max`: nothing is spread then.
#[must_use]
pub fn wait(settings: &RestartSettings, unproductive: u32, fraction: f64) -> Duration {
    if settings.initial >= settings.max {
        return settings.max;
    }
    jittered(ceiling(settings, unproductive), fraction)
}

fn ceiling(settings: &RestartSettings, unproductive: u32) -> Duration {
    let doublings = unproductive.saturating_sub(1).min(31);
    settings.initial.saturating_mul(1 << doublings).min(settings.max)
}

/// Whether so many unproductive incarnations in a row leave no hope: the waits have grown to the longest, or the row
/// alone is one that trips the pool. A few never do: a fixed delay is the longest from the beginning, and one accident
/// says nothing. Nobody is worn out where `max_restarts` has no limit.
#[must_use]
pub fn is_worn_out(settings: &RestartSettings, unproductive: u32) -> bool {
    settings.max_restarts.is_some_and(|most| {
        unproductive >= most.get()
            || unproductive >= FEWEST_WORN && ceiling(settings, unproductive) >= settings.max
    })
}

/// The wait of a tripped pool before its next chance: `max`, spread like any other, also where `initial` is zero and
/// workers come back at once.
#[must_use]
pub fn longest_wait(settings: &RestartSettings, fraction: f64) -> Duration {
    if settings.initial >= settings.max { settings.max } else { jittered(settings.max, fraction) }
}

fn jittered(ceiling: Duration, fraction: f64) -> Duration {
    let half = ceiling / 2;
    half + half.mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::{is_worn_out, wait};
    use crate::settings::RestartSettings;

    const SETTINGS: RestartSettings = RestartSettings {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(30),
        stable_after: Duration::from_secs(30),
        max_restarts: None,
        window: Duration::from_secs(60),
    };

    #[test]
    fn doubles_up_to_the_longest_wait() {
        let ceilings: Vec<u128> = (1..12).map(|n| wait(&SETTINGS, n, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(wait(&SETTINGS, u32::MAX, 1.0), SETTINGS.max);
    }

    #[test]
    fn never_less_than_half() {
        assert_eq!(wait(&SETTINGS, 1, 0.0), Duration::from_millis(50));
        assert_eq!(wait(&SETTINGS, 1, 0.5), Duration::from_millis(75));
    }

    #[test]
    fn worn_out_when_the_waits_grow_no_more_or_the_row_is_long() {
        assert!(!is_worn_out(&SETTINGS, u32::MAX), "nothing trips it");
        let settings = RestartSettings { max_restarts: NonZeroU32::new(20), ..SETTINGS };
        let from = |settings: RestartSettings| (1..).find(|row| is_worn_out(&settings, *row));
        assert_eq!(from(settings), Some(10));
        assert_eq!(from(RestartSettings { initial: settings.max, ..settings }), Some(3));
        assert_eq!(from(RestartSettings { initial: Duration::ZERO, ..settings }), Some(20));
        assert_eq!(from(RestartSettings { max_restarts: NonZeroU32::new(2), ..settings }), Some(2));
    }

    #[test]
    fn a_fixed_delay_is_exact() {
        let fixed =
            RestartSettings { initial: Duration::from_secs(5), max: Duration::from_secs(5), ..SETTINGS };
        for n in 1..5 {
            assert_eq!(wait(&fixed, n, 0.0), Duration::from_secs(5));
        }
    }
}
