//! Waiting and being refused.

use lifeboat_core::action::{Action, Outcome};
use lifeboat_core::event::{ClientLimits, Event, NewRequest};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::ClientTag;
use lifeboat_core::reason::{OutcomeKind, RejectWhy};

use crate::boat::{Boat, CLIENT, life, ms, plain};

#[test]
fn requests_are_served_in_the_order_of_their_coming() {
    let mut boat = Boat::afloat(plain(1));
    let tags = [boat.request(), boat.request(), boat.request()];
    for tag in tags {
        assert_eq!(boat.kind(tag), None);
        boat.answers_ok(life(0, 1));
        assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
    }
}

#[test]
fn work_goes_to_the_longest_idle() {
    let mut boat = Boat::afloat(plain(3));
    for _ in 0..3 {
        boat.request();
    }
    boat.answers_ok(life(1, 1));
    boat.answers_ok(life(2, 1));
    boat.answers_ok(life(0, 1));
    boat.orders.clear();
    boat.request();
    assert!(boat.dispatched_to(life(1, 1)).is_some());
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let mut settings = plain(1);
    settings.pools[0].queue.max_requests = 1;
    let mut boat = Boat::afloat(settings);
    boat.request();
    boat.pass(ms(80));
    boat.answers_ok(life(0, 1));
    boat.request();
    boat.request();
    let refused = boat.request();
    assert_eq!(boat.rejected_why(refused), RejectWhy::QueueFull);
    let Outcome::Rejected { retry_after, .. } = boat.settlement(refused).outcome else { unreachable!() };
    assert_eq!(retry_after, Some(ms(160)), "80 ms each for the one that runs and the one that waits");
}

#[test]
fn a_queue_is_full_in_bytes_too() {
    let mut settings = plain(1);
    settings.pools[0].queue.max_bytes = 1500;
    let mut boat = Boat::afloat(settings);
    boat.request();
    let waits = boat.request();
    let refused = boat.request();
    assert_eq!(boat.kind(waits), None);
    assert_eq!(boat.rejected_why(refused), RejectWhy::QueueFull);
    assert_eq!(boat.core.view(boat.now).pools[0].queue_bytes, 1000);
}

#[test]
fn a_queue_of_none_still_serves_who_can_run_at_once() {
    let mut settings = plain(1);
    settings.pools[0].queue.max_requests = 0;
    let mut boat = Boat::afloat(settings);
    let runs = boat.request();
    let refused = boat.request();
    assert_eq!(boat.kind(runs), None);
    assert_eq!(boat.rejected_why(refused), RejectWhy::QueueFull);
}

#[test]
fn open_requests_are_bounded_over_all() {
    let mut settings = plain(1);
    settings.max_open_requests = 2;
    let mut boat = Boat::afloat(settings);
    boat.request();
    boat.request();
    let refused = boat.request();
    assert_eq!(boat.rejected_why(refused), RejectWhy::QueueFull);
}

#[test]
fn an_unknown_method_is_refused() {
    let mut boat = Boat::afloat(plain(1));
    let tag = ClientTag(1);
    let limits = ClientLimits::default();
    let request = NewRequest {
        digest: None,
        client: CLIENT,
        tag,
        method: None,
        payload: 1,
        bytes: 1,
        limits,
        stream: false,
        restartable: false,
    };
    boat.tell(Event::RequestReceived(request));
    assert_eq!(boat.rejected_why(tag), RejectWhy::UnknownMethod);
    let refused = |fact: &Fact| matches!(fact, Fact::RequestEnded(end) if end.pool.is_none());
    assert!(boat.facts.iter().any(refused));
}

#[test]
fn a_tag_that_does_not_rise_is_ignored() {
    let mut boat = Boat::afloat(plain(2));
    let tag = boat.request();
    let limits = ClientLimits::default();
    let method = Some(lifeboat_core::ids::MethodId(0));
    boat.tell(Event::RequestReceived(NewRequest {
        digest: None,
        client: CLIENT,
        tag,
        method,
        payload: 1,
        bytes: 1,
        limits,
        stream: false,
        restartable: false,
    }));
    assert_eq!(boat.core.view(boat.now).open_requests, 1);
}

#[test]
fn a_payload_is_there_for_the_dispatch_and_gone_after_the_end() {
    let mut boat = Boat::afloat(plain(1));
    boat.request();
    let (request, attempt) = boat.dispatched_to(life(0, 1)).unwrap();
    assert_eq!(boat.core.payload(request), Some(&1));
    let answer = lifeboat_core::event::Answer::Ok(1);
    let now = boat.now;
    boat.core.handle_event(now, Event::Answered { process: life(0, 1), request, attempt, answer });
    assert_eq!(boat.core.payload(request), Some(&1), "until the actions are drained");
    while let Some(action) = boat.core.poll_action() {
        assert!(matches!(action, Action::Reply { .. }));
    }
    assert_eq!(boat.core.payload(request), None);
    assert_eq!(boat.core.method_of(request), None);
}
