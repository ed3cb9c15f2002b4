//! A handler that says no and when to come back.

use std::time::Duration;

use lifeboat_core::action::Outcome;
use lifeboat_core::event::{Answer, Target};
use lifeboat_core::event::{ClientLimits, Operation};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, ClientTag, PoolId};
use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::settings::{Backoff, Jitter, RetryOn, RetryPolicy, Settings};

use crate::boat::{Boat, ms, plain};

/// Two workers, three attempts, waits of 50 ms without jitter, a deadline of 10 s.
fn patient() -> Settings {
    let mut settings = plain(2);
    settings.methods[0].retry = RetryPolicy::Retry {
        on: RetryOn { failed: true, ..RetryOn::NOTHING },
        max_attempts: std::num::NonZeroU16::new(3).unwrap(),
        backoff: Backoff { first: ms(50), then: ms(50), jitter: Jitter::None, ..Backoff::default() },
    };
    settings
}

fn no(answer: u64, again: Duration) -> Answer<u64> {
    Answer::Failed { answer, again: Some(again) }
}

fn waits(boat: &Boat) -> Vec<Duration> {
    let wait = |fact: &Fact| if let Fact::Retried { backoff, .. } = fact { Some(*backoff) } else { None };
    boat.facts.iter().filter_map(wait).collect()
}

fn attempt(boat: &Boat, tag: ClientTag) -> AttemptNumber {
    boat.sent(tag).attempt
}

#[test]
fn the_next_attempt_waits_at_least_that_long() {
    let mut boat = Boat::afloat(patient());
    let tag = boat.request();
    boat.answer(tag, no(1, ms(700)));
    boat.pass(ms(699));
    assert_eq!(attempt(&boat, tag), AttemptNumber(1));
    boat.pass(ms(1));
    assert_eq!(attempt(&boat, tag), AttemptNumber(2));
    assert_eq!(waits(&boat), [ms(700)]);
}

#[test]
fn the_policys_own_wait_counts_where_it_is_longer() {
    let mut boat = Boat::afloat(patient());
    let tag = boat.request();
    boat.answer(tag, no(1, ms(20)));
    assert_eq!(waits(&boat), [ms(50)]);
}

#[test]
fn a_wait_past_the_deadline_is_final_at_once_and_says_what_the_handler_said() {
    let mut boat = Boat::afloat(patient());
    let [beyond, exactly, within] = [ms(60_000), ms(10_000), ms(9_999)].map(|again| {
        let tag = boat.request();
        boat.answer(tag, no(7, again));
        tag
    });
    for tag in [beyond, exactly] {
        assert!(matches!(boat.settlement(tag).outcome, Outcome::Failed { answer: 7 }));
    }
    assert_eq!(boat.kind(within), None, "it waits");
    assert_eq!(waits(&boat), [ms(9_999)]);
}

#[test]
fn the_longest_wait_that_can_be_said_is_past_every_deadline() {
    let mut boat = Boat::afloat(patient());
    let tag = boat.request();
    boat.answer(tag, no(1, Duration::MAX));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Failed));
}

#[test]
fn a_clients_shorter_deadline_counts() {
    let mut boat = Boat::afloat(patient());
    let tag = boat.request_with(ClientLimits { timeout: Some(ms(400)), ..ClientLimits::default() });
    boat.answer(tag, no(1, ms(500)));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Failed));
}

#[test]
fn the_wait_asked_for_is_part_of_one_counter_and_the_last_no_is_told() {
    let mut boat = Boat::afloat(patient());
    let tag = boat.request();
    for number in 1..=3 {
        boat.answer(tag, no(number, ms(100)));
        boat.pass(ms(100));
    }
    assert!(matches!(boat.settlement(tag).outcome, Outcome::Failed { answer: 3 }));
    assert_eq!(waits(&boat), [ms(100), ms(100)]);
}

#[test]
fn a_request_that_waits_can_be_cancelled_and_is_closed_by_a_drain() {
    let mut boat = Boat::afloat(patient());
    let tags = [(); 2].map(|()| {
        let tag = boat.request();
        boat.answer(tag, no(1, ms(5_000)));
        tag
    });
    boat.cancel(tags[0]);
    boat.operate(Operation::Drain, Target::Pool(PoolId(0)));
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::Cancelled), Some(OutcomeKind::Closed)]);
}
