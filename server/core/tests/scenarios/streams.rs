//! What a client hears while its request runs.

use lifeboat_core::event::{Answer, Event};
use lifeboat_core::ids::{AttemptNumber, RequestId};
use lifeboat_core::reason::{AttemptEnd, OutcomeKind};
use lifeboat_core::settings::RetryOn;

use crate::boat::{Boat, CLIENT, Heard, Sent, exit, life, ms, plain, retry, retrying, signal, slotted};

const FIRST: AttemptNumber = AttemptNumber::FIRST;

#[test]
fn progress_and_parts_are_passed_on_as_they_come() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.stream(false);
    boat.progress(tag, 10);
    boat.part(tag, 11);
    boat.progress(tag, 12);
    let heard = boat.heard_of(tag);
    assert!(
        matches!(heard[..], [Heard::Progress(FIRST, 10), Heard::Part(FIRST, 11), Heard::Progress(FIRST, 12)]),
        "{heard:?}"
    );
    boat.ok(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn a_client_that_streams_is_told_that_its_request_was_accepted() {
    let mut boat = Boat::afloat(plain(1));
    let first = boat.stream(false);
    let waiting = boat.stream(false);
    let deadline = plain(1).methods[0].deadline;
    let told: Vec<_> = boat.accepted.iter().map(|(tag, _, left)| (*tag, *left)).collect();
    assert_eq!(told, [(first, deadline), (waiting, deadline)], "one that waits too");
    assert_eq!(boat.accepted[0].1, boat.sent(first).request);
    boat.request();
    boat.tell(Event::ShutdownRequested);
    boat.stream(false);
    assert_eq!(boat.accepted.len(), 2, "neither who did not ask nor who is rejected");
}

#[test]
fn a_client_that_did_not_ask_hears_nothing_but_its_outcome() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.request();
    boat.progress(tag, 1);
    boat.part(tag, 2);
    boat.dies(life(0, 1), signal(11));
    assert!(boat.heard_of(tag).is_empty());
    assert_eq!(boat.sent(tag).attempt, AttemptNumber(2), "and is retried: it was told no part");
}

#[test]
fn after_a_part_there_is_no_retry() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.stream(false);
    boat.part(tag, 1);
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    assert!(matches!(boat.heard_of(tag)[..], [Heard::Part(..)]));
}

#[test]
fn unless_the_call_can_be_restarted() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.stream(true);
    boat.part(tag, 1);
    boat.dies(life(0, 1), signal(11));
    let heard = boat.heard_of(tag);
    let [Heard::Part(FIRST, 1), Heard::AttemptFailed(record)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((record.number, record.end, record.process), (FIRST, AttemptEnd::Crashed, life(0, 1)));
    boat.part(tag, 2);
    assert!(matches!(boat.heard_of(tag)[..], [_, _, Heard::Part(AttemptNumber(2), 2)]));
    boat.ok(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn progress_alone_does_not_forbid_a_retry() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.stream(false);
    boat.progress(tag, 1);
    boat.dies(life(0, 1), signal(11));
    assert!(matches!(boat.heard_of(tag)[..], [Heard::Progress(..), Heard::AttemptFailed(_)]));
    assert_eq!(boat.sent(tag).attempt, AttemptNumber(2));
}

#[test]
fn a_failed_attempt_is_told_only_if_another_one_follows() {
    let mut settings = plain(2);
    settings.methods[0].retry = retry(RetryOn { failed: true, ..RetryOn::NOTHING }, 2);
    let mut boat = Boat::afloat(settings);
    let tag = boat.stream(false);
    boat.answer(tag, Answer::Failed { answer: 1, again: Some(ms(0)) });
    boat.answer(tag, Answer::Failed { answer: 2, again: Some(ms(0)) });
    let heard = boat.heard_of(tag);
    let [Heard::AttemptFailed(record)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((record.number, record.end), (FIRST, AttemptEnd::Failed));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Failed));
}

#[test]
fn a_request_that_goes_back_free_of_charge_has_not_failed() {
    let mut boat = Boat::afloat(slotted(plain(1), 1, 2));
    let _first = boat.request();
    let tag = boat.stream(false);
    boat.dies(life(0, 1), signal(11));
    assert!(boat.heard_of(tag).is_empty());
}

#[test]
fn what_is_said_of_an_attempt_that_does_not_execute_is_passed_over() {
    let mut boat = Boat::afloat(slotted(plain(1), 1, 2));
    let first = boat.stream(false);
    let behind = boat.stream(false);
    boat.progress(behind, 1);
    boat.part(behind, 2);
    let Sent { process, request, .. } = boat.sent(first);
    boat.tell(Event::ProgressReceived { process, request, attempt: AttemptNumber(2), note: 3 });
    let never = RequestId(99 << RequestId::INDEX_BITS);
    boat.tell(Event::PartReceived { process, request: never, attempt: FIRST, part: 4 });
    boat.ok(first);
    let attempt = FIRST;
    boat.tell(Event::ProgressReceived { process, request, attempt, note: 5 });
    assert!(boat.heard.is_empty(), "{:?}", boat.heard);
    boat.progress(behind, 6);
    assert_eq!(boat.heard.len(), 1, "now it executes");
    assert!(boat.signals(life(0, 1)).is_empty());
}

#[test]
fn nothing_is_told_of_what_the_client_has_given_up() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.stream(false);
    boat.cancel(tag);
    boat.progress(tag, 1);
    boat.part(tag, 2);
    assert!(boat.heard.is_empty());
}

#[test]
fn nothing_is_told_to_a_client_that_has_gone() {
    let mut settings = retrying(2, 2);
    settings.pools[0].on_disconnect = lifeboat_core::settings::OnDisconnect::Finish;
    let mut boat = Boat::afloat(settings);
    let tag = boat.stream(false);
    boat.tell(Event::ClientClosed { client: CLIENT });
    boat.part(tag, 1);
    boat.dies(life(0, 1), exit(1));
    assert!(boat.heard.is_empty());
    assert_eq!(boat.sent(tag).attempt, AttemptNumber(2), "a part that nobody heard forbids nothing");
}

#[test]
fn what_was_told_before_a_shutdown_stays_and_nothing_is_retried() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.stream(true);
    boat.part(tag, 1);
    boat.tell(Event::ShutdownRequested);
    boat.part(tag, 2);
    boat.pass(ms(10));
    boat.dies(life(0, 1), signal(11));
    assert!(matches!(boat.heard_of(tag)[..], [Heard::Part(FIRST, 1), Heard::Part(FIRST, 2)]));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
}
