//! Properties of the pure functions: retry and restart.

use std::num::NonZeroU16;
use std::time::Duration;

use lifeboat_core::restart;
use lifeboat_core::retry::{Ask, Decision, GiveUp, Trigger, ceiling, decide};
use lifeboat_core::settings::{Backoff, Jitter, RestartSettings, RetryOn, RetryPolicy};
use lifeboat_core::time::Timestamp;
use proptest::prelude::*;

fn lengths() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..100_000_000_u64).prop_map(Duration::from_micros),
        any::<u64>().prop_map(Duration::from_nanos),
    ]
}

fn backoffs() -> impl Strategy<Value = Backoff> {
    let factors = prop_oneof![Just(1.0), 1.0..100.0_f64, Just(f64::MAX), Just(0.0)];
    (lengths(), lengths(), factors, lengths(), any::<bool>()).prop_map(|(first, then, factor, max, full)| {
        Backoff { first, then, factor, max, jitter: if full { Jitter::Full } else { Jitter::None } }
    })
}

fn ends() -> impl Strategy<Value = RetryOn> {
    any::<[bool; 4]>().prop_map(|[crash, stall, timeout, failed]| RetryOn { crash, stall, timeout, failed })
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    let retry = (ends(), 1..=u16::MAX, backoffs()).prop_map(|(on, max, backoff)| RetryPolicy::Retry {
        on,
        max_attempts: NonZeroU16::new(max).expect("from 1"),
        backoff,
    });
    prop_oneof![1 => Just(RetryPolicy::Never), 9 => retry]
}

fn triggers() -> impl Strategy<Value = Trigger> {
    prop_oneof![
        Just(Trigger::Crash),
        Just(Trigger::Timeout),
        Just(Trigger::Stall),
        proptest::option::of(lengths()).prop_map(|again| Trigger::Failed { again }),
    ]
}

fn restarts(initial: Duration, max: Duration) -> RestartSettings {
    RestartSettings { initial, max, stable_after: Duration::ZERO, max_restarts: None, window: Duration::ZERO }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    #[test]
    fn a_retry_is_asked_for_counted_and_in_time(
        policy in policies(),
        wish in ends(),
        max_attempts: u16,
        attempts: u16,
        trigger in triggers(),
        now: u64,
        deadline: u64,
        fraction in 0.0..=1.0_f64,
    ) {
        let (now, deadline) = (Timestamp::from_micros(now), Timestamp::from_micros(deadline));
        let ask = Ask { policy: &policy, on: wish, max_attempts, attempts, trigger, now, deadline, fraction };
        let decision = decide(&ask);
        prop_assert_eq!(decision, decide(&ask));
        let RetryPolicy::Retry { on, max_attempts: most, backoff } = &policy else {
            prop_assert_eq!(decision, Decision::GiveUp(GiveUp::NotAskedFor));
            return Ok(());
        };
        let asked = match trigger {
            Trigger::Crash => on.crash && wish.crash,
            Trigger::Timeout => on.timeout && wish.timeout,
            Trigger::Stall => on.stall && wish.stall,
            Trigger::Failed { again } => on.failed && wish.failed && again.is_some(),
        };
        let least = if let Trigger::Failed { again: Some(least) } = trigger { least } else { Duration::ZERO };
        match decision {
            Decision::Again { wait } => {
                prop_assert!(asked && attempts < max_attempts && attempts < most.get());
                prop_assert!(now + wait < deadline);
                prop_assert!(wait >= least, "as long as the handler asks for");
                prop_assert!(wait <= ceiling(backoff, attempts).max(least) && wait <= backoff.max.max(least));
            }
            Decision::GiveUp(GiveUp::NotAskedFor) => prop_assert!(!asked),
            Decision::GiveUp(GiveUp::AttemptsUsedUp) => {
                prop_assert!(attempts >= max_attempts || attempts >= most.get());
            }
            Decision::GiveUp(GiveUp::Deadline) => {
                prop_assert!(now + ceiling(backoff, attempts).max(least) >= deadline);
            }
        }
    }

    #[test]
    fn waits_for_a_retry_grow_and_are_bounded(backoff in backoffs()) {
        let waits: Vec<Duration> = (2..40).map(|attempts| ceiling(&backoff, attempts)).collect();
        prop_assert!(waits.is_sorted(), "{:?}", waits);
        prop_assert!(waits.iter().all(|wait| *wait <= backoff.max));
    }

    #[test]
    fn waits_for_a_restart_grow_and_are_bounded(
        initial in lengths(),
        max in lengths(),
        fraction in 0.0..=1.0_f64,
    ) {
        let settings = restarts(initial, max);
        let waits: Vec<Duration> = (1..40).map(|n| restart::wait(&settings, n, fraction)).collect();
        prop_assert!(waits.is_sorted(), "{:?}", waits);
        prop_assert!(waits.iter().all(|wait| *wait <= max));
        let least = restart::wait(&settings, 1, 0.0);
        prop_assert!(least >= initial.min(max) / 2);
    }

    #[test]
    fn a_tripped_pool_waits_as_long_as_any_worker_may(
        initial in lengths(),
        max in lengths(),
        fraction in 0.0..=1.0_f64,
        unproductive in 1_u32..100,
    ) {
        let settings = restarts(initial, max);
        let longest = restart::longest_wait(&settings, fraction);
        prop_assert!(longest >= max / 2 && longest <= max, "{:?}", longest);
        prop_assert!(restart::wait(&settings, unproductive, fraction) <= longest, "no worker waits longer");
    }
}
