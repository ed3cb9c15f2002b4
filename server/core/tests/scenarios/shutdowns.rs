//! The broker's own end: expected is not unexpected.

use std::num::NonZeroU16;

use lifeboat_core::action::Action;
use lifeboat_core::event::{Answer, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::reason::{OutcomeKind, RejectWhy};

use crate::boat::{Boat, exit, life, ms, plain, retrying, signal};

fn is_finished(boat: &Boat) -> bool {
    let told = boat.was_ordered(|order| matches!(order, Action::Finished));
    assert_eq!(told, boat.core.is_finished());
    told
}

#[test]
fn an_idle_broker_drains_and_ends() {
    let mut boat = Boat::afloat(plain(2));
    boat.tell(Event::ShutdownRequested);
    assert!(boat.was_ordered(|order| matches!(order, Action::AnnounceDrain)));
    for worker in [0, 1] {
        assert!(boat.was_ordered(
            |order| matches!(order, Action::SendDrain { process } if *process == life(worker, 1))
        ));
        assert!(!is_finished(&boat));
        boat.dies(life(worker, 1), exit(0));
    }
    assert!(is_finished(&boat));
    assert!(boat.crashes().is_empty());
    let stops = boat.facts.iter().filter(|fact| matches!(fact, Fact::WorkerStopped { .. })).count();
    assert_eq!(stops, 2);
    assert!(boat.spawned().is_empty(), "nobody is replaced");
    assert_eq!(boat.core.poll_timeout(), None);
}

#[test]
fn what_waits_is_closed_and_what_runs_finishes() {
    let mut boat = Boat::afloat(plain(1));
    let runs = boat.request();
    let waits = boat.request();
    boat.tell(Event::ShutdownRequested);
    assert_eq!(boat.kind(waits), Some(OutcomeKind::Closed));
    let late = boat.request();
    assert_eq!(boat.rejected_why(late), RejectWhy::Draining);
    boat.pass(ms(900));
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.kind(runs), Some(OutcomeKind::Ok));
    boat.dies(life(0, 1), exit(0));
    assert!(is_finished(&boat));
}

#[test]
fn what_is_held_but_has_not_started_is_closed_at_once() {
    let mut settings = plain(1);
    settings.pools[0].prefetch = NonZeroU16::new(2).unwrap();
    let mut boat = Boat::afloat(settings);
    let runs = boat.request();
    let held = boat.request();
    boat.tell(Event::ShutdownRequested);
    assert_eq!((boat.kind(runs), boat.kind(held)), (None, Some(OutcomeKind::Closed)));
}

#[test]
fn after_drain_timeout_the_graces_begin() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.tell(Event::ShutdownRequested);
    boat.pass(ms(1000));
    assert!(boat.was_ordered(|order| matches!(order, Action::SendCancel { .. })));
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
    boat.pass(ms(200));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate, StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert!(boat.crashes().is_empty(), "it was planned");
    assert!(is_finished(&boat));
}

#[test]
fn a_handler_that_stops_when_the_graces_begin_is_closed_at_once() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.tell(Event::ShutdownRequested);
    boat.pass(ms(1010));
    boat.answers(life(0, 1), Answer::Cancelled);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
}

#[test]
fn a_crash_during_a_shutdown_is_closed_and_not_retried() {
    let mut boat = Boat::afloat(retrying(2, 3));
    let tag = boat.request();
    boat.tell(Event::ShutdownRequested);
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert_eq!(boat.reasons()[0].label(), "signal", "what it was is told all the same");
}

#[test]
fn an_idle_process_that_does_not_leave_is_made_to() {
    let mut boat = Boat::afloat(plain(1));
    boat.tell(Event::ShutdownRequested);
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
    boat.dies(life(0, 1), signal(15));
    assert!(boat.crashes().is_empty());
}

#[test]
fn a_process_that_is_not_ready_is_killed_at_once() {
    let mut boat = Boat::launch(plain(2));
    boat.tell(Event::Spawned { process: life(0, 1), pid: 1 });
    boat.tell(Event::ShutdownRequested);
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.tell(Event::Spawned { process: life(1, 1), pid: 2 });
    assert_eq!(boat.signals(life(1, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    boat.dies(life(1, 1), signal(9));
    assert!(boat.crashes().is_empty());
    assert!(is_finished(&boat));
}

#[test]
fn a_hurried_shutdown_kills_everything_now() {
    let mut boat = Boat::afloat(plain(2));
    let tag = boat.request();
    boat.tell(Event::ShutdownHurried);
    for worker in [0, 1] {
        assert_eq!(boat.signals(life(worker, 1)), [StopSignal::Kill]);
    }
    assert_eq!(boat.kind(tag), None, "not before its process is dead");
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    boat.dies(life(1, 1), signal(9));
    assert!(is_finished(&boat));
}

#[test]
fn a_worker_that_backs_off_stays_away() {
    let mut boat = Boat::launch(plain(1));
    boat.tell(Event::SpawnFailed { process: life(0, 1), error: "no such file".into() });
    boat.tell(Event::ShutdownRequested);
    assert!(is_finished(&boat));
    assert_eq!(boat.core.poll_timeout(), None);
}

#[test]
fn an_unkillable_process_does_not_hold_up_the_end() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.tell(Event::ShutdownHurried);
    boat.pass(ms(300));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert!(is_finished(&boat));
}

#[test]
fn limits_hold_during_a_shutdown() {
    let mut settings = plain(1);
    settings.methods[0].attempt_timeout = Some(ms(500));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.tell(Event::ShutdownRequested);
    boat.pass(ms(800));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::TimedOut));
}
