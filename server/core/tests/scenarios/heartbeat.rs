//! Processes that are not scheduled any more.

use std::num::NonZeroU16;

use lifeboat_core::event::{Answer, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::reason::{CrashReason, OutcomeKind, StopReason};
use lifeboat_core::settings::{Heartbeat, Settings};
use lifeboat_core::view::TimerKind;

use crate::boat::{Boat, life, ms, plain, retrying, signal};

/// A process says every 2 s that it is there; three may be missing.
fn beating(mut settings: Settings) -> Settings {
    settings.pools[0].heartbeat = Some(Heartbeat { interval: ms(2000), missed: NonZeroU16::new(3).unwrap() });
    settings.methods[0].deadline = ms(60_000);
    settings
}

fn beats(boat: &mut Boat) {
    boat.tell(Event::HeartbeatReceived { process: life(0, 1), ago: ms(0) });
}

#[test]
fn an_idle_process_that_is_silent_is_killed_and_replaced() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.pass(ms(1000));
    beats(&mut boat);
    boat.pass(ms(5999));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "6 s after it was heard, without graces");
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::Unresponsive]);
    assert_eq!(boat.spawned(), [life(0, 2)], "it had been stable");
}

#[test]
fn a_busy_one_too_and_what_it_executed_is_retried_as_after_a_crash() {
    let mut boat = Boat::afloat(beating(retrying(2, 2)));
    let tag = boat.request();
    boat.pass(ms(3000));
    boat.tell(Event::HeartbeatReceived { process: life(1, 1), ago: ms(0) });
    boat.pass(ms(3000));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.place(tag), (1, 0));
    assert_eq!(boat.kind(tag), None);
}

#[test]
fn whatever_it_sends_is_a_sign_of_life() {
    let mut boat = Boat::afloat(beating(plain(1)));
    let tag = boat.stream(false);
    boat.pass(ms(5000));
    boat.progress(tag, 1);
    boat.pass(ms(5000));
    boat.part(tag, 1);
    boat.pass(ms(5000));
    boat.answer(tag, Answer::Ok(1));
    boat.pass(ms(5000));
    beats(&mut boat);
    boat.pass(ms(5999));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
}

#[test]
fn a_heartbeat_that_is_found_later_counts_from_when_it_was() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.pass(ms(3000));
    let found = |ago| Event::HeartbeatReceived { process: life(0, 1), ago: ms(ago) };
    boat.tell(found(1000));
    boat.tell(found(2500));
    boat.pass(ms(4999));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.tell(found(60_000));
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "6 s after the latest");
}

#[test]
fn output_alone_is_none() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.pass(ms(5000));
    boat.tell(Event::OutputSeen { process: life(0, 1) });
    boat.pass(ms(1000));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "the SDK's thread is what is listened for");
}

#[test]
fn a_process_that_announced_none_is_not_waited_for() {
    let mut boat = Boat::launch(beating(plain(1)));
    boat.is_spawned(life(0, 1));
    boat.tell(Event::Ready { process: life(0, 1), heartbeats: false });
    boat.pass(ms(60_000));
    assert!(boat.signals(life(0, 1)).is_empty());
}

#[test]
fn a_pool_without_heartbeats_waits_for_none() {
    let mut boat = Boat::afloat(plain(1));
    boat.pass(ms(60_000));
    assert!(boat.signals(life(0, 1)).is_empty());
}

#[test]
fn a_broker_that_was_not_scheduled_itself_gives_one_more_interval() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.sleeps(ms(7001));
    assert!(boat.signals(life(0, 1)).is_empty(), "more than half an interval late");
    boat.pass(ms(1999));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "it was silent all the same");
}

#[test]
fn what_is_heard_in_that_interval_saves_the_process() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.sleeps(ms(8000));
    boat.pass(ms(10));
    beats(&mut boat);
    boat.pass(ms(5999));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
}

#[test]
fn half_an_interval_late_is_not_late() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.sleeps(ms(7000));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
}

#[test]
fn one_that_died_of_something_else_meanwhile_keeps_its_own_reason() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.pass(ms(6000));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.reasons()[0].label(), "signal");
}

#[test]
fn a_process_that_finishes_what_it_holds_can_freeze_as_well() {
    let mut boat = Boat::afloat(beating(plain(1)));
    let tag = boat.request();
    boat.tell(Event::MemoryHigh { process: life(0, 1) });
    boat.becomes_ready(life(0, 2));
    boat.tell(Event::HeartbeatReceived { process: life(0, 2), ago: ms(0) });
    boat.pass(ms(5000));
    boat.tell(Event::HeartbeatReceived { process: life(0, 2), ago: ms(0) });
    boat.pass(ms(1000));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "it retires, and is silent");
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::Unresponsive]);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}

#[test]
fn one_that_was_told_to_leave_is_asked_by_the_ladder_alone() {
    let mut boat = Boat::afloat(beating(plain(1)));
    boat.pass(ms(5950));
    boat.tell(Event::ShutdownRequested);
    assert_eq!(boat.core.poll_timeout().map(|(_, kind)| kind), Some(TimerKind::Ladder));
    boat.pass(ms(99));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.dies(life(0, 1), crate::boat::exit(0));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::Shutdown)]);
}
