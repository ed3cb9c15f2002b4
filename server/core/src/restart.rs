//! How long a worker waits before its next incarnation.
//!
//! It owns the arithmetic alone: a pure function of the settings, the run of unproductive incarnations and a random
//! number. It must never order a process.

use std::time::Duration;

use crate::settings::RestartSettings;

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
    let doublings = unproductive.saturating_sub(1).min(31);
    jittered(settings.initial.saturating_mul(1 << doublings).min(settings.max), fraction)
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
    use std::time::Duration;

    use super::wait;
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
    fn a_fixed_delay_is_exact() {
        let fixed =
            RestartSettings { initial: Duration::from_secs(5), max: Duration::from_secs(5), ..SETTINGS };
        for n in 1..5 {
            assert_eq!(wait(&fixed, n, 0.0), Duration::from_secs(5));
        }
    }
}
