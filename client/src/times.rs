//! What the broker tells of how long it may take.
//!
//! Owns how long the client waits for the broker's word after a deadline, and the warning about a timeout that is
//! shorter than what the broker may take for a method that is called. Must never change a call's timeout.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use lifeboat_protocol::{MethodTimes, OTHER_METHOD};

/// How long after a request's deadline the client still waits for the broker to say how it ended, where the broker does
/// not tell how long it may need: at the deadline it kills without grace and is sure of the death `kill_timeout` (1 s,
/// if not configured) later. [`WAY`] comes on top.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// For the way to the broker and back, and its scheduling.
const WAY: Duration = Duration::from_secs(1);

/// What one broker told.
#[derive(Debug, Default)]
pub(crate) struct Times {
    methods: BTreeMap<String, MethodTimes>,
    /// The longest from a deadline to the outcome, of all methods.
    after_deadline: Option<Duration>,
    /// Methods that may take longer than the client's timeout, and were not called with it yet.
    unwarned: HashSet<String>,
}

impl Times {
    pub(crate) fn new(methods: BTreeMap<String, MethodTimes>, after_deadline_ms: Option<u64>) -> Self {
        let after_deadline = after_deadline_ms.map(Duration::from_millis);
        Self { methods, after_deadline, unwarned: HashSet::new() }
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

    /// Has the first calls noted of methods that may take longer than the client's timeout; those of a broker that told
    /// the same before go on as they are.
    pub(crate) fn watched(mut self, timeout: Option<Duration>, before: &mut Self) -> Self {
        if self.methods == before.methods {
            self.unwarned = std::mem::take(&mut before.unwarned);
        } else if let Some(timeout) = timeout {
            let within = |times: &MethodTimes| Duration::from_millis(times.answer_within_ms);
            let longer = self.methods.iter().filter(|(_, times)| within(times) > timeout);
            self.unwarned = longer.map(|(name, _)| name.clone()).collect();
        }
        self
    }

    /// How long a method may take that is called with the client's timeout for the first time, if that is longer. All
    /// that are not named count as one.
    pub(crate) fn first_call(&mut self, method: &str) -> Option<Duration> {
        if self.unwarned.is_empty() {
            return None;
        }
        let named = self.unwarned.remove(method);
        let other = || !self.methods.contains_key(method);
        if named || (other() && self.unwarned.remove(OTHER_METHOD)) {
            self.answer_within(method)
        } else {
            None
        }
    }
}

/// A method that was called for the first time with a timeout shorter than the broker may take.
#[derive(Debug)]
pub(crate) struct TooShort {
    pub(crate) method: Cow<'static, str>,
    pub(crate) answer_within: Duration,
}

impl TooShort {
    pub(crate) fn warn(&self, timeout: Duration) {
        tracing::warn!(
            method = &*self.method,
            ?timeout,
            answer_within = ?self.answer_within,
            "the client's timeout is shorter than the broker may take for this method: it ends calls that could still \
             succeed; raise the timeout, or lower the method's deadline in the broker's configuration"
        );
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
    fn a_first_call_is_noted_once_until_another_broker_tells_something_else() {
        let timeout = Some(ms(150));
        let methods = [("a", 0, 100), ("b", 0, 3000), (OTHER_METHOD, 0, 200)];
        let mut times = told(&methods).watched(timeout, &mut Times::default());
        let expected = [("a", None), ("b", Some(3000)), ("b", None), ("c", Some(200)), ("d", None)];
        for (method, within) in expected {
            assert_eq!(times.first_call(method), within.map(ms), "{method}");
        }
        let mut same = told(&methods).watched(timeout, &mut times);
        assert_eq!(same.first_call("b"), None);
        let mut other = told(&methods[..2]).watched(timeout, &mut same);
        assert_eq!((other.first_call("b"), other.first_call("c")), (Some(ms(3000)), None));
        assert_eq!(told(&methods).watched(None, &mut other).first_call("b"), None, "no timeout");
    }
}
