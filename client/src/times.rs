//! What the broker tells of how long it may take.
//!
//! Owns how long the client waits for the broker's word after a deadline, and the warning about a timeout that is shorter than
//! what the broker may take. Must never change a call's timeout.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use lifeboat_protocol::{MethodTimes, OTHER_METHOD};

/// How long after a request's deadline the client still waits for the broker to say how it ended, where the broker does not
/// tell how long it may need: at the deadline it kills without grace and is sure of the death `kill_timeout` (1 s, if not
/// configured) later. [`WAY`] comes on top.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// For the way to the broker and back, and its scheduling.
const WAY: Duration = Duration::from_secs(1);

/// How many methods a warning names.
const NAMED: usize = 5;

/// What one broker told.
#[derive(Debug, Default)]
pub(crate) struct Times {
    methods: BTreeMap<String, MethodTimes>,
    /// The longest from a deadline to the outcome, of all methods.
    after_deadline: Option<Duration>,
}

impl Times {
    pub(crate) fn new(methods: BTreeMap<String, MethodTimes>, after_deadline_ms: Option<u64>) -> Self {
        Self { methods, after_deadline: after_deadline_ms.map(Duration::from_millis) }
    }

    /// The longest until the outcome of a request without a timeout.
    pub(crate) fn answer_within(&self, method: &str) -> Option<Duration> {
        let times = self.methods.get(method).or_else(|| self.methods.get(OTHER_METHOD))?;
        Some(Duration::from_millis(times.answer_within_ms))
    }

    /// How long after its deadline a request's outcome is waited for. An older broker tells it of some methods alone.
    pub(crate) fn slack(&self) -> Duration {
        let after = |times: &MethodTimes| times.answer_within_ms.saturating_sub(times.deadline_ms);
        let told = self.methods.values().map(after).max().map(Duration::from_millis);
        let longest = self.after_deadline.or(told);
        // A broker's word is worth no more than an hour.
        longest.unwrap_or(KILL_TIMEOUT).min(Duration::from_secs(3600)) + WAY
    }

    /// The methods that may take longer than this, the longest first, in words; `None` if none does.
    pub(crate) fn beyond(&self, timeout: Duration) -> Option<String> {
        let within = |times: &MethodTimes| Duration::from_millis(times.answer_within_ms);
        let mut longer: Vec<_> = self.methods.iter().filter(|(_, times)| within(times) > timeout).collect();
        longer.sort_by_key(|(_, times)| Reverse(times.answer_within_ms));
        let mut text = String::new();
        for (name, times) in longer.iter().take(NAMED) {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a text cannot fail.
            let _ = write!(text, "{comma}'{name}' {:?}", within(times));
        }
        if longer.len() > NAMED {
            let _ = write!(text, " and {} more", longer.len() - NAMED);
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(methods: &[(&str, u64, u64)]) -> Times {
        let times = |deadline_ms, answer_within_ms| MethodTimes { deadline_ms, answer_within_ms };
        let methods =
            methods.iter().map(|(name, deadline, within)| ((*name).into(), times(*deadline, *within)));
        Times::new(methods.collect(), None)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_slack_is_what_the_slowest_death_may_take_and_the_way() {
        assert_eq!(Times::default().slack(), ms(2000));
        assert_eq!(told(&[("a", 30_000, 30_100)]).slack(), ms(1100));
        assert_eq!(told(&[("a", 30_000, 30_100), ("b", 10, 8010)]).slack(), ms(9000));
        assert_eq!(told(&[("a", 5, 0)]).slack(), ms(1000), "senseless numbers do no harm");
        assert!(told(&[("a", 0, u64::MAX)]).slack() <= ms(3_601_000));
    }

    #[test]
    fn the_slowest_death_of_a_method_that_is_not_told_of_counts_too() {
        let Times { methods, .. } = told(&[("a", 30_000, 30_100)]);
        assert_eq!(Times::new(methods, Some(8000)).slack(), ms(9000));
        assert_eq!(Times::new(BTreeMap::new(), Some(0)).slack(), ms(1000));
        assert!(Times::new(BTreeMap::new(), Some(u64::MAX)).slack() <= ms(3_601_000));
    }

    #[test]
    fn a_method_without_a_name_has_the_times_of_all_others() {
        let times = told(&[("a", 1, 2), (OTHER_METHOD, 3, 4)]);
        assert_eq!((times.answer_within("a"), times.answer_within("b")), (Some(ms(2)), Some(ms(4))));
        assert_eq!(told(&[("a", 1, 2)]).answer_within("b"), None);
    }

    #[test]
    fn a_warning_names_the_slowest_methods() {
        let times = told(&[("a", 0, 100), ("b", 0, 3000), ("c", 0, 200)]);
        assert_eq!(times.beyond(ms(3000)), None);
        assert_eq!(times.beyond(ms(150)).as_deref(), Some("'b' 3s, 'c' 200ms"));
        let names: Vec<_> = (0..9).map(|number| number.to_string()).collect();
        let many: Vec<_> = names.iter().zip(1..).map(|(name, at)| (name.as_str(), 0, at)).collect();
        let text = told(&many).beyond(Duration::ZERO).expect("all are longer");
        assert!(text.starts_with("'8' 9ms, ") && text.ends_with(", '4' 5ms and 4 more"), "{text}");
    }
}
