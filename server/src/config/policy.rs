//! Policies: the limits, the retry and the quarantine of a method, and the `defaults` of its pool.
//!
//! Owns how they are inherited (method, else pool, else built in) and ordered.

use std::time::Duration;

use lifeboat_core::ids::PoolId;
use lifeboat_core::settings::{MethodSettings, OnBusy, RetryPolicy};

use super::order;
use super::quarantine::Quarantine;
use super::reader::{Reader, Set};
use super::retry::Retry;
use super::section::Section;
use super::shapes::{Limit, Shape, Time};
use super::tree::Origin;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(300);

/// The keys of a policy, for hints at misplaced ones.
pub(super) const KEYS: [&str; 7] = [
    "deadline",
    "attempt_timeout",
    "queue_timeout",
    "progress_timeout",
    "output_timeout",
    "retry",
    "quarantine",
];

const LIMIT: Limit<Time> = Limit(Time::TIMEOUT);

/// Output is seen up to 10 ms after it was written: silence for less than twice that proves nothing.
const OUTPUT_LIMIT: Limit<Time> = Limit(Time { least: Duration::from_millis(20), ..Time::TIMEOUT });

/// The limits, the retry and the quarantine of a method.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    queue_timeout: Set<Option<Duration>>,
    attempt_timeout: Set<Option<Duration>>,
    progress_timeout: Set<Option<Duration>>,
    output_timeout: Set<Option<Duration>>,
    deadline: Set<Duration>,
    retry: Retry,
    quarantine: Quarantine,
}

impl Policy {
    /// What is built in, named as the keys of this section.
    pub(super) fn built_in(section: &Section) -> Self {
        let off = |key| Set {
            key: section.path(key),
            value: None,
            origin: Origin::Default,
            shown: LIMIT.show(&None),
            sound: true,
        };
        let deadline = Set {
            key: section.path("deadline"),
            value: DEFAULT_DEADLINE,
            origin: Origin::Default,
            shown: Time::TIMEOUT.show(&DEFAULT_DEADLINE),
            sound: true,
        };
        Self {
            queue_timeout: off("queue_timeout"),
            attempt_timeout: off("attempt_timeout"),
            progress_timeout: off("progress_timeout"),
            output_timeout: off("output_timeout"),
            deadline,
            retry: Retry::never(section.path("retry"), Origin::Default),
            quarantine: Quarantine::off(section.path("quarantine"), Origin::Default),
        }
    }

    /// Reads a section; what it does not say is inherited.
    pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section, inherited: &Self) -> Self {
        let deadline = reader.value_or(section, "deadline", &Time::TIMEOUT, &inherited.deadline);
        let mut limit = |key, shape, from| reader.value_or(section, key, shape, from);
        let attempt_timeout = limit("attempt_timeout", &LIMIT, &inherited.attempt_timeout);
        let queue_timeout = limit("queue_timeout", &LIMIT, &inherited.queue_timeout);
        let progress_timeout = limit("progress_timeout", &LIMIT, &inherited.progress_timeout);
        let output_timeout = limit("output_timeout", &OUTPUT_LIMIT, &inherited.output_timeout);
        let retry = Retry::read(reader, section, &inherited.retry);
        let quarantine = Quarantine::read(reader, section, &inherited.quarantine);
        Self { queue_timeout, attempt_timeout, progress_timeout, output_timeout, deadline, retry, quarantine }
    }

    /// From acceptance to outcome.
    pub(super) const fn deadline(&self) -> Duration {
        self.deadline.value
    }

    /// Refuses what can never happen, for a policy that is in use.
    pub(super) fn check(&self, reader: &mut Reader<'_>, on_busy: &Set<OnBusy>) {
        let deadline = Set {
            key: self.deadline.key.clone(),
            value: Some(self.deadline.value),
            origin: self.deadline.origin.clone(),
            shown: self.deadline.shown.clone(),
            sound: self.deadline.sound,
        };
        let attempt = if self.attempt_timeout.value.is_some() { &self.attempt_timeout } else { &deadline };
        order::fires_before(reader, &self.attempt_timeout, &deadline);
        order::fires_before(reader, &self.queue_timeout, &deadline);
        order::fires_before(reader, &self.progress_timeout, attempt);
        order::fires_before(reader, &self.output_timeout, attempt);
        if let Some(waits) = &self.retry.waits {
            waits.check(reader, &self.deadline);
        }
        if self.queue_timeout.value.is_some() && on_busy.value == OnBusy::Reject {
            let help = "no new request waits in this pool, and those that come back wait for their deadline alone: \
                        remove it, or write on_busy = \"queue\"";
            let relation = "can never fire beside";
            order::disordered(reader, &self.queue_timeout, on_busy, relation, Some(help.to_owned()));
        }
        self.check_retry(reader);
    }

    fn check_retry(&self, reader: &mut Reader<'_>) {
        let RetryPolicy::Retry { on, .. } = self.retry.policy else {
            return;
        };
        let key = &self.retry.key;
        if on.stall && self.progress_timeout.value.is_none() && self.output_timeout.value.is_none() {
            let message = format!(
                "`{key}.on` names \"stall\", but there is neither `progress_timeout` nor `output_timeout`: only a \
                 client's own can be retried"
            );
            reader.warn(&self.retry.origin, message);
        }
        if on.timeout && self.attempt_timeout.value.is_none() {
            let message = format!(
                "`{key}.on` names \"timeout\", but there is no `attempt_timeout`: only a client's own can be retried"
            );
            reader.warn(&self.retry.origin, message);
        }
    }

    /// The core's settings of a method with this policy.
    pub(super) fn settings(&self, name: String, pool: PoolId) -> MethodSettings {
        MethodSettings {
            name,
            pool,
            queue_timeout: self.queue_timeout.value,
            attempt_timeout: self.attempt_timeout.value,
            progress_timeout: self.progress_timeout.value,
            output_timeout: self.output_timeout.value,
            deadline: self.deadline.value,
            retry: self.retry.policy,
            quarantine: self.quarantine.settings,
        }
    }
}
