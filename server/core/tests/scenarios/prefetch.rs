//! A process that holds more than one request.

use std::num::NonZeroU16;

use lifeboat_core::action::Action;
use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, RequestId};
use lifeboat_core::reason::{CrashReason, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::Settings;

use crate::boat::{Boat, life, ms, plain, retrying, signal};

fn deep(mut settings: Settings, prefetch: u16) -> Settings {
    settings.pools[0].prefetch = NonZeroU16::new(prefetch).unwrap();
    settings
}

/// The requests that a process was sent, in order.
fn sent(boat: &Boat) -> Vec<(RequestId, AttemptNumber)> {
    let mut all = Vec::new();
    for order in &boat.orders {
        if let Action::Dispatch { request, attempt, .. } = order {
            all.push((*request, *attempt));
        }
    }
    all
}

fn answer(boat: &mut Boat, (request, attempt): (RequestId, AttemptNumber), answer: Answer<u64>) {
    boat.tell(Event::Answered { process: life(0, 1), request, attempt, answer });
}

#[test]
fn work_goes_to_the_least_loaded() {
    let mut boat = Boat::afloat(deep(plain(2), 2));
    for _ in 0..4 {
        boat.request();
    }
    let mut workers = Vec::new();
    for order in &boat.orders {
        if let Action::Dispatch { process, .. } = order {
            workers.push(process.worker.0);
        }
    }
    assert_eq!(workers, [0, 1, 0, 1]);
}

#[test]
fn only_the_executing_one_pays_for_a_crash() {
    let mut boat = Boat::afloat(deep(plain(1), 3));
    let tags = [boat.request(), boat.request(), boat.request()];
    let held = sent(&boat);
    answer(&mut boat, held[0], Answer::Ok(1));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tags[0]), Some(OutcomeKind::Ok));
    assert_eq!(boat.kind(tags[1]), Some(OutcomeKind::Crashed));
    assert_eq!(boat.kind(tags[2]), None, "it goes on, free of charge");
    assert_eq!(boat.crashes()[0].requeued, 1);
    boat.orders.clear();
    boat.becomes_ready(life(0, 2));
    assert_eq!(sent(&boat), [(held[2].0, AttemptNumber::FIRST)], "no attempt was spent");
}

#[test]
fn those_given_back_go_before_the_newer_ones() {
    let mut boat = Boat::afloat(deep(retrying(1, 2), 2));
    for _ in 0..4 {
        boat.request();
    }
    let held = sent(&boat);
    boat.dies(life(0, 1), signal(11));
    boat.pass(ms(100));
    boat.orders.clear();
    boat.becomes_ready(life(0, 2));
    let again: Vec<RequestId> = sent(&boat).iter().map(|(request, _)| *request).collect();
    assert_eq!(again, [held[0].0, held[1].0]);
    assert_eq!(sent(&boat)[0].1, AttemptNumber(2), "the guilty one has paid");
}

#[test]
fn an_answer_out_of_order_is_a_violation() {
    let mut boat = Boat::afloat(deep(plain(1), 2));
    let tags = [boat.request(), boat.request()];
    let held = sent(&boat);
    answer(&mut boat, held[1], Answer::Ok(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert!(matches!(boat.reasons()[..], [CrashReason::ProtocolViolation(_)]));
    assert_eq!(boat.kind(tags[0]), Some(OutcomeKind::Crashed));
    assert_eq!(boat.kind(tags[1]), None);
}

#[test]
fn an_attempt_is_timed_from_its_turn() {
    let mut settings = deep(plain(1), 2);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    let mut boat = Boat::afloat(settings);
    let tags = [boat.request(), boat.request()];
    let held = sent(&boat);
    boat.pass(ms(900));
    answer(&mut boat, held[0], Answer::Ok(1));
    boat.pass(ms(900));
    assert_eq!(boat.signals(life(0, 1)), [], "900 ms of its own are not 1 s");
    answer(&mut boat, held[1], Answer::Ok(1));
    assert_eq!(boat.kind(tags[1]), Some(OutcomeKind::Ok));
}

#[test]
fn a_deadline_that_passes_behind_others_is_told_at_once() {
    let mut boat = Boat::afloat(deep(plain(1), 2));
    let first = boat.request();
    let second = boat.request_with(ClientLimits { timeout: Some(ms(50)), ..ClientLimits::default() });
    let held = sent(&boat);
    boat.pass(ms(50));
    assert_eq!(boat.timed_out_which(second), TimeoutWhich::Deadline);
    assert!(boat.was_ordered(|order| matches!(order, Action::SendCancel { .. })));
    answer(&mut boat, held[0], Answer::Ok(1));
    assert_eq!(boat.kind(first), Some(OutcomeKind::Ok));
    answer(&mut boat, held[1], Answer::Cancelled);
    boat.pass(ms(1000));
    assert!(boat.signals(life(0, 1)).is_empty(), "nobody did anything wrong");
}

#[test]
fn one_that_was_cancelled_behind_others_and_runs_all_the_same_is_ended() {
    let mut boat = Boat::afloat(deep(plain(1), 2));
    boat.request();
    let second = boat.request();
    let held = sent(&boat);
    boat.cancel(second);
    assert_eq!(boat.kind(second), Some(OutcomeKind::Cancelled));
    answer(&mut boat, held[0], Answer::Ok(1));
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
}

#[test]
fn nothing_more_starts_after_a_panic() {
    let mut boat = Boat::afloat(deep(plain(1), 2));
    let tags = [boat.request(), boat.request()];
    let held = sent(&boat);
    answer(&mut boat, held[0], Answer::Panicked { message: "index".into(), location: None, kept: false });
    boat.dies(life(0, 1), crate::boat::exit(1));
    assert_eq!(boat.kind(tags[0]), Some(OutcomeKind::Crashed));
    assert_eq!(boat.kind(tags[1]), None, "it never started");
    assert!(boat.facts.iter().any(|fact| matches!(fact, Fact::RequeuedFree { .. })));
}

#[test]
fn each_overdue_request_waits_for_the_evidence_until_its_own_bound() {
    let mut settings = deep(plain(1), 2);
    settings.methods[0].attempt_timeout = Some(ms(500));
    let mut boat = Boat::afloat(settings);
    let within = |millis| ClientLimits { timeout: Some(ms(millis)), ..ClientLimits::default() };
    let tags = [boat.request_with(within(1000)), boat.request_with(within(1100))];
    let held = sent(&boat);
    boat.pass(ms(500));
    answer(&mut boat, held[0], Answer::Cancelled);
    boat.exits(life(0, 1));
    boat.pass(ms(799));
    assert_eq!(tags.map(|tag| boat.kind(tag)), [None, None], "their process is not verified dead");
    boat.pass(ms(1));
    assert_eq!(tags.map(|tag| boat.kind(tag)), [Some(OutcomeKind::TimedOut), None]);
    boat.pass(ms(100));
    assert_eq!(boat.timed_out_which(tags[1]), TimeoutWhich::Deadline);
}
