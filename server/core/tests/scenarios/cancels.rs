//! Cancelling and going away.

use lifeboat_core::action::Action;
use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::ClientTag;
use lifeboat_core::reason::{CrashReason, KillReason, OutcomeKind};
use lifeboat_core::settings::OnDisconnect;

use crate::boat::{Boat, CLIENT, life, ms, plain, retrying, signal};

#[test]
fn a_waiting_request_is_cancelled_at_once() {
    let mut boat = Boat::launch(plain(1));
    let tag = boat.request();
    boat.cancel(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Cancelled));
    boat.becomes_ready(life(0, 1));
    assert!(boat.dispatched_to(life(0, 1)).is_none());
}

#[test]
fn a_running_request_is_cancelled_at_once_and_its_process_lives_if_it_stops() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.cancel(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Cancelled));
    assert!(boat.was_ordered(|order| matches!(order, Action::SendCancel { .. })));
    let waiting = boat.request();
    assert_eq!(boat.kind(waiting), None, "the slot is taken until the handler has stopped");
    boat.answers(life(0, 1), Answer::Cancelled);
    boat.pass(ms(1000));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.kind(waiting), Some(OutcomeKind::Ok));
}

#[test]
fn an_answer_after_the_cancel_is_swallowed() {
    for answer in [Answer::Ok(1), Answer::Failed { answer: 2, again: Some(ms(0)) }, Answer::Cancelled] {
        let mut boat = Boat::afloat(retrying(1, 3));
        let tag = boat.request();
        boat.cancel(tag);
        boat.answers(life(0, 1), answer);
        assert_eq!(boat.kind(tag), Some(OutcomeKind::Cancelled));
        assert_eq!(boat.core.view(boat.now).open_requests, 0);
    }
}

#[test]
fn a_handler_that_does_not_stop_loses_its_process() {
    let mut boat = Boat::afloat(retrying(1, 3));
    let tag = boat.request();
    boat.cancel(tag);
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
    boat.pass(ms(200));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Cancelled)]);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Cancelled), "and is not retried");
}

#[test]
fn the_deadline_bounds_the_ladder_of_a_cancelled_request() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request_with(ClientLimits { timeout: Some(ms(150)), ..ClientLimits::default() });
    boat.cancel(tag);
    boat.pass(ms(150));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate, StopSignal::Kill]);
}

#[test]
fn a_cancel_of_nothing_is_ignored() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.cancel(ClientTag(99));
    boat.answers_ok(life(0, 1));
    boat.cancel(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn a_client_that_goes_away_frees_its_slots() {
    let mut boat = Boat::afloat(plain(1));
    let tags = [boat.request(), boat.request()];
    boat.tell(Event::ClientClosed { client: CLIENT });
    assert_eq!(boat.core.view(boat.now).open_requests, 0);
    for tag in tags {
        assert!(boat.outcome(tag).is_none(), "there is nobody to be told");
    }
    let ended = boat.facts.iter().filter(|fact| matches!(fact, Fact::RequestEnded(_))).count();
    assert_eq!(ended, 2, "but it is counted");
    boat.answers(life(0, 1), Answer::Cancelled);
    assert!(boat.signals(life(0, 1)).is_empty());
}

#[test]
fn or_lets_its_requests_finish_where_the_pool_says_so() {
    let mut settings = plain(1);
    settings.pools[0].on_disconnect = OnDisconnect::Finish;
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.tell(Event::ClientClosed { client: CLIENT });
    assert_eq!(boat.core.view(boat.now).open_requests, 1);
    boat.answers_ok(life(0, 1));
    assert!(boat.outcome(tag).is_none());
    let ok = |fact: &Fact| matches!(fact, Fact::RequestEnded(ended) if ended.outcome == OutcomeKind::Ok);
    assert!(boat.facts.iter().any(ok));
}
