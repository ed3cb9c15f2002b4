//! A process that dies and has not read the last thing that was written to it.

use std::num::NonZeroU16;

use lifeboat_core::action::Action;
use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, ClientTag};
use lifeboat_core::reason::{AttemptEnd, CrashReason, KillReason, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::Settings;

use crate::boat::{Boat, Told, exit, life, ms, plain, retrying, signal};

/// A worker answers and dies at once; before the death is seen it is given the next request.
fn answered_and_died(settings: Settings) -> (Boat, ClientTag) {
    let mut boat = Boat::afloat(settings);
    let first = boat.request();
    let second = boat.request();
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.kind(first), Some(OutcomeKind::Ok));
    boat.facts.clear();
    (boat, second)
}

#[test]
fn a_request_that_was_never_read_costs_nothing() {
    let (mut boat, tag) = answered_and_died(plain(1));
    boat.exits_unread(life(0, 1));
    assert_eq!(boat.given_back(), 0, "not before the process is judged");
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), None, "there is no retry, and none is needed");
    assert_eq!((boat.given_back(), boat.attempt_ends().len()), (1, 0));
    assert_eq!((boat.crashes()[0].executing.len(), boat.crashes()[0].requeued), (0, 1));
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.dispatched_to(life(0, 2)).map(|(_, attempt)| attempt), Some(AttemptNumber::FIRST));
    boat.answers_ok(life(0, 2));
    let Some(Told::Ok { attempts, .. }) = boat.outcome(tag) else { panic!("it is answered") };
    assert_eq!(*attempts, 1);
}

#[test]
fn a_request_that_was_read_is_charged() {
    let (mut boat, tag) = answered_and_died(plain(1));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    assert_eq!((boat.given_back(), boat.attempt_ends()), (0, vec![AttemptEnd::Crashed]));
}

#[test]
fn what_is_said_of_an_exit_the_second_time_does_not_count() {
    let (mut boat, tag) = answered_and_died(plain(1));
    boat.exits(life(0, 1));
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}

#[test]
fn only_the_last_of_several_can_be_unread_so_that_the_first_pays() {
    let mut settings = plain(1);
    settings.pools[0].prefetch = NonZeroU16::new(2).unwrap();
    let mut boat = Boat::afloat(settings);
    let tags = [boat.request(), boat.request()];
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(tags.map(|tag| boat.kind(tag)), [Some(OutcomeKind::Crashed), None]);
    assert_eq!(boat.crashes()[0].requeued, 1);
}

#[test]
fn an_unread_cancel_frame_says_nothing_about_the_request() {
    let mut settings = plain(1);
    settings.pools[0].prefetch = NonZeroU16::new(2).unwrap();
    let mut boat = Boat::afloat(settings);
    let first = boat.request();
    let (request, attempt) = boat.dispatched_to(life(0, 1)).unwrap();
    let second = boat.request();
    boat.cancel(first);
    boat.tell(Event::Answered { process: life(0, 1), request, attempt, answer: Answer::Ok(1) });
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.kind(second), Some(OutcomeKind::Crashed), "it was written before the cancel frame");
    assert_eq!(boat.given_back(), 0);
}

#[test]
fn a_request_whose_attempt_timeout_has_passed_stays_timed_out() {
    let mut settings = retrying(1, 2);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1300));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate, StopSignal::Kill]);
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Attempt);
    assert_eq!(boat.settlement(tag).attempts.len(), 1);
}

#[test]
fn a_request_whose_deadline_has_passed_is_timed_out_without_an_attempt() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(10_000));
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert!(boat.settlement(tag).attempts.is_empty());
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Deadline)]);
}

#[test]
fn its_next_dispatch_has_its_whole_attempt_timeout() {
    let mut settings = plain(2);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    let mut boat = Boat::afloat(settings);
    // The older limit keeps that of the request that was never read from being the first in its line.
    let older = boat.request();
    let tag = boat.request();
    boat.exits_unread(life(1, 1));
    boat.is_collected(life(1, 1), exit(1));
    boat.pass(ms(200));
    boat.becomes_ready(life(1, 2));
    assert_eq!(boat.dispatched_to(life(1, 2)).map(|(_, attempt)| attempt), Some(AttemptNumber::FIRST));
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.kind(older), Some(OutcomeKind::Ok));
    boat.pass(ms(999));
    assert!(
        boat.facts.iter().all(|fact| !matches!(fact, Fact::LimitPassed { .. })),
        "not at its first limit"
    );
    boat.pass(ms(1));
    assert!(boat.was_ordered(|order| matches!(order, Action::SendCancel { .. })), "but at its second");
    assert_eq!(boat.kind(tag), None);
}

#[test]
fn a_second_limit_of_the_same_instant_counts_once() {
    let mut settings = plain(3);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    let mut boat = Boat::afloat(settings);
    boat.request();
    let tag = boat.request();
    boat.exits_unread(life(1, 1));
    boat.is_collected(life(1, 1), exit(1));
    assert_eq!(boat.dispatched_to(life(2, 1)).map(|(_, attempt)| attempt), Some(AttemptNumber::FIRST));
    boat.answers_ok(life(2, 1));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn a_deadline_that_passes_before_the_verdict_finds_a_request_that_never_started() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request_with(ClientLimits { timeout: Some(ms(50)), ..ClientLimits::default() });
    boat.exits_unread(life(0, 1));
    boat.pass(ms(50));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert!(boat.settlement(tag).attempts.is_empty());
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.crashes()[0].requeued, 0);
}

#[test]
fn a_deadline_that_passes_while_the_process_dies_finds_one_too() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request_with(ClientLimits { timeout: Some(ms(50)), ..ClientLimits::default() });
    boat.closes_connection(life(0, 1));
    boat.pass(ms(50));
    assert_eq!(boat.kind(tag), None, "it may run");
    boat.exits_unread(life(0, 1));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert!(boat.settlement(tag).attempts.is_empty());
    boat.is_collected(life(0, 1), exit(4));
    assert_eq!(boat.reasons(), [&CrashReason::Exit { code: 4 }]);
}

#[test]
fn a_limit_of_an_attempt_that_was_none_does_not_count() {
    let mut settings = plain(1);
    settings.methods[0].attempt_timeout = Some(ms(50));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.closes_connection(life(0, 1));
    boat.pass(ms(50));
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!((boat.kind(tag), boat.given_back()), (None, 1));
    boat.pass(ms(200));
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.dispatched_to(life(0, 2)).map(|(_, attempt)| attempt), Some(AttemptNumber::FIRST));
    boat.answers_ok(life(0, 2));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn a_request_that_is_cancelled_before_the_verdict_has_made_no_attempt() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.exits_unread(life(0, 1));
    boat.cancel(tag);
    assert!(boat.settlement(tag).attempts.is_empty());
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.given_back(), 0);
}

#[test]
fn a_drain_frame_was_the_last_thing_written() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.tell(Event::ShutdownRequested);
    boat.exits_unread(life(0, 1));
    assert_eq!(boat.kind(tag), None, "it may run");
    boat.is_collected(life(0, 1), exit(0));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert_eq!(boat.settlement(tag).attempts.len(), 1);
}

#[test]
fn a_shutdown_closes_at_once_what_was_never_read() {
    // Before the exit is seen: the process has lost its connection and is told nothing.
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.closes_connection(life(0, 1));
    boat.tell(Event::ShutdownRequested);
    assert_eq!(boat.kind(tag), None, "it may run");
    boat.exits_unread(life(0, 1));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert!(boat.settlement(tag).attempts.is_empty());
    // After it.
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.exits_unread(life(0, 1));
    boat.tell(Event::ShutdownRequested);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert!(boat.settlement(tag).attempts.is_empty());
    boat.is_collected(life(0, 1), signal(11));
    assert!(boat.core.is_finished());
}
