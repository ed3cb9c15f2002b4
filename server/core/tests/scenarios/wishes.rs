//! What a client may wish for its request: less than the policy, never more.

use lifeboat_core::event::{Answer, ClientLimits};
use lifeboat_core::ids::AttemptNumber;
use lifeboat_core::reason::{OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, Settings};

use crate::boat::{Boat, exit, life, ms, plain, retry, signal};

const ALL: RetryOn = RetryOn { crash: true, stall: true, timeout: true, failed: true };

fn on(ends: RetryOn) -> Settings {
    let mut settings = plain(2);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    settings.methods[0].retry = retry(ends, 2);
    settings
}

fn wanting(ends: RetryOn) -> ClientLimits {
    ClientLimits { retry_on: Some(ends), ..ClientLimits::default() }
}

fn is_tried_again(boat: &Boat) -> bool {
    boat.dispatched_to(life(1, 1)).is_some_and(|(_, attempt)| attempt == AttemptNumber(2))
}

#[test]
fn without_a_wish_the_policy_counts() {
    let mut boat = Boat::afloat(on(ALL));
    boat.request();
    boat.dies(life(0, 1), exit(1));
    assert!(is_tried_again(&boat));
}

#[test]
fn an_end_that_both_want_is_retried() {
    let mut boat = Boat::afloat(on(ALL));
    boat.request_with(wanting(RetryOn { crash: true, ..RetryOn::NOTHING }));
    boat.dies(life(0, 1), signal(11));
    assert!(is_tried_again(&boat));
}

#[test]
fn a_crash_that_the_client_does_not_want_retried_is_final() {
    let mut boat = Boat::afloat(on(ALL));
    let tag = boat.request_with(wanting(RetryOn { crash: false, ..ALL }));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}

#[test]
fn so_is_a_timeout() {
    let mut boat = Boat::afloat(on(ALL));
    let tag = boat.request_with(wanting(RetryOn { timeout: false, ..ALL }));
    boat.pass(ms(1300));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Attempt);
}

#[test]
fn so_is_a_failure() {
    let mut boat = Boat::afloat(on(ALL));
    let tag = boat.request_with(wanting(RetryOn { failed: false, ..ALL }));
    boat.answers(life(0, 1), Answer::Failed { answer: 1, again: Some(ms(0)) });
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Failed));
}

#[test]
fn the_client_cannot_widen_the_policy() {
    let mut boat = Boat::afloat(on(RetryOn { crash: true, ..RetryOn::NOTHING }));
    let tag = boat.request_with(wanting(ALL));
    boat.answers(life(0, 1), Answer::Failed { answer: 1, again: Some(ms(0)) });
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Failed));
    let mut boat = Boat::afloat(plain(2));
    let tag = boat.request_with(wanting(ALL));
    boat.dies(life(0, 1), exit(1));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed), "a method without a policy has none");
}

#[test]
fn a_wish_for_nothing_is_no_retry() {
    let mut boat = Boat::afloat(on(ALL));
    let tag = boat.request_with(wanting(RetryOn::NOTHING));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}
