//! Successors: ready before the old process leaves, and what becomes of both when either fails.

use std::num::NonZeroU32;

use lifeboat_core::event::{Answer, Event, Operation, Target};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::PoolId;
use lifeboat_core::reason::{CrashReason, KillReason, OutcomeKind, StopReason};
use lifeboat_core::settings::Settings;
use lifeboat_core::view::PoolState;

use crate::boat::{Boat, exit, life, ms, plain, signal, slotted};
use crate::recycling::due;

/// A boat of one worker whose process is due and runs a request; its successor is ordered.
fn in_change(settings: Settings) -> (Boat, lifeboat_core::ids::ClientTag) {
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.tell(Event::MemoryHigh { process: life(0, 1) });
    assert_eq!(boat.spawned(), [life(0, 2)]);
    (boat, tag)
}

#[test]
fn the_old_one_serves_while_its_successor_starts() {
    let (mut boat, first) = in_change(plain(1));
    let [second, third] = [(); 2].map(|()| boat.request());
    boat.ok(first);
    boat.ok(second);
    assert_eq!(boat.sent(third).process, life(0, 1), "nobody waits for the change");
    boat.ok(third);
    assert_eq!(boat.kinds([first, second, third]), [Some(OutcomeKind::Ok); 3]);
}

#[test]
fn whoever_waits_goes_to_the_successor_at_once() {
    let (mut boat, first) = in_change(plain(1));
    let waits = boat.request();
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.sent(waits).process, life(0, 2));
    assert_eq!(boat.kind(first), None);
}

#[test]
fn what_the_old_one_holds_behind_is_finished_too() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 2));
    let tags = [(); 4].map(|()| boat.request());
    boat.tell(Event::MemoryHigh { process: life(0, 1) });
    boat.becomes_ready(life(0, 2));
    for tag in tags {
        assert!(!boat.was_drained(life(0, 1)));
        boat.ok(tag);
    }
    assert!(boat.was_drained(life(0, 1)));
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::Ok); 4]);
    assert!(tags.iter().all(|tag| boat.sent(*tag).process == life(0, 1)));
}

#[test]
fn one_that_does_not_leave_is_made_to_and_that_is_planned() {
    let (mut boat, tag) = in_change(plain(1));
    boat.becomes_ready(life(0, 2));
    boat.ok(tag);
    boat.pass(ms(99));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
    boat.pass(ms(200));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate, StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::RecycleMemory)]);
    assert!(boat.crashes().is_empty());
}

#[test]
fn limits_hold_for_what_the_old_one_finishes() {
    let mut settings = plain(1);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    let (mut boat, tag) = in_change(settings);
    boat.becomes_ready(life(0, 2));
    boat.pass(ms(1300));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate, StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::TimedOut));
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::AttemptTimeout)]);
    assert_eq!(boat.spawned(), [life(0, 2)]);
}

#[test]
fn a_cancelled_attempt_does_not_keep_the_old_one_from_leaving() {
    let (mut boat, tag) = in_change(plain(1));
    boat.cancel(tag);
    boat.becomes_ready(life(0, 2));
    assert!(!boat.was_drained(life(0, 1)), "it is not rid of it yet");
    boat.pass(ms(50));
    boat.answer(tag, Answer::Cancelled);
    assert!(boat.was_drained(life(0, 1)) && boat.signals(life(0, 1)).is_empty());
}

#[test]
fn a_successor_that_fails_is_tried_again_after_longer_and_longer_waits() {
    let mut settings = plain(1);
    settings.pools[0].restart.max_restarts = NonZeroU32::new(2);
    let (mut boat, first) = in_change(settings);
    boat.ok(first);
    for (incarnation, longest) in [(2, 100), (3, 200), (4, 400), (5, 800)] {
        boat.orders.clear();
        boat.tell(Event::SpawnFailed { process: life(0, incarnation), error: "no such file".into() });
        let tag = boat.request();
        boat.ok(tag);
        assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok), "the old one serves on");
        boat.pass(ms(longest / 2 - 1));
        assert!(boat.spawned().is_empty(), "at least half of {longest} ms, whatever the old one answers");
        boat.pass(ms(longest / 2 + 1));
        assert_eq!(boat.spawned(), [life(0, incarnation + 1)]);
    }
    assert_eq!(boat.core.view(boat.now).pools[0].state, PoolState::Serving, "the pool is as fit as it was");
    boat.becomes_ready(life(0, 6));
    assert!(boat.was_drained(life(0, 1)));
    boat.tell(Event::MemoryHigh { process: life(0, 6) });
    assert_eq!(boat.spawned(), [life(0, 6)], "the one before it has not left yet");
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.spawned(), [life(0, 6), life(0, 7)]);
    boat.tell(Event::SpawnFailed { process: life(0, 7), error: "no such file".into() });
    assert_eq!(boat.count(|fact| matches!(fact, Fact::WorkerBackingOff { unproductive: 1, .. })), 2, "anew");
}

#[test]
fn others_have_their_turn_while_a_successor_is_waited_for() {
    let mut boat = Boat::afloat(plain(2));
    boat.tell(Event::MemoryHigh { process: life(0, 1) });
    boat.tell(Event::MemoryHigh { process: life(1, 1) });
    boat.tell(Event::SpawnFailed { process: life(0, 2), error: "no such file".into() });
    assert_eq!(boat.spawned(), [life(0, 2), life(1, 2)]);
    boat.pass(ms(100));
    assert_eq!(boat.spawned().len(), 2, "one at a time");
    boat.becomes_ready(life(1, 2));
    assert_eq!(boat.spawned(), [life(0, 2), life(1, 2), life(0, 3)]);
}

#[test]
fn a_successor_takes_the_place_of_one_that_dies_first() {
    let (mut boat, tag) = in_change(plain(1));
    let waits = boat.request();
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    boat.pass(ms(1000));
    assert_eq!(boat.spawned(), [life(0, 2)], "one replacement, and it is on its way");
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.sent(waits).process, life(0, 2));
    assert!(boat.signals(life(0, 2)).is_empty());
    boat.ok(waits);
}

#[test]
fn a_successor_that_dies_after_that_backs_off_like_any_other() {
    let (mut boat, _) = in_change(plain(1));
    boat.dies(life(0, 1), signal(11));
    boat.tell(Event::SpawnFailed { process: life(0, 2), error: "no such file".into() });
    boat.orders.clear();
    assert_eq!(boat.count(|fact| matches!(fact, Fact::WorkerBackingOff { unproductive: 1, .. })), 1);
    boat.pass(ms(100));
    assert_eq!(boat.spawned(), [life(0, 3)]);
}

#[test]
fn an_old_one_that_crashes_while_it_finishes_has_a_replacement_already() {
    let (mut boat, tag) = in_change(plain(1));
    boat.becomes_ready(life(0, 2));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    assert_eq!(boat.reasons()[0].label(), "signal", "what it was is told all the same");
    boat.pass(ms(5000));
    assert_eq!(boat.spawned(), [life(0, 2)]);
}

#[test]
fn news_of_the_old_one_do_not_touch_the_new_one() {
    let (mut boat, tag) = in_change(plain(1));
    boat.becomes_ready(life(0, 2));
    let next = boat.request();
    boat.closes_connection(life(0, 1));
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kinds([tag, next]), [Some(OutcomeKind::Crashed), None]);
    boat.ok(next);
    assert_eq!(boat.kind(next), Some(OutcomeKind::Ok));
}

#[test]
fn a_shutdown_ends_both() {
    let (mut boat, tag) = in_change(plain(1));
    boat.is_spawned(life(0, 2));
    boat.tell(Event::ShutdownRequested);
    assert_eq!(boat.signals(life(0, 2)), [StopSignal::Kill], "it was not ready");
    boat.dies(life(0, 2), signal(9));
    boat.ok(tag);
    boat.dies(life(0, 1), exit(0));
    assert!(boat.core.is_finished() && boat.crashes().is_empty());
    let (mut boat, tag) = in_change(plain(1));
    boat.becomes_ready(life(0, 2));
    boat.tell(Event::ShutdownRequested);
    boat.ok(tag);
    for incarnation in [1, 2] {
        assert!(boat.was_drained(life(0, incarnation)));
        boat.dies(life(0, incarnation), exit(0));
    }
    assert!(boat.core.is_finished() && boat.crashes().is_empty());
}

#[test]
fn a_tripped_pool_recycles_nobody_until_it_is_back() {
    let mut settings = plain(2);
    settings.pools[0].restart.max_restarts = NonZeroU32::new(1);
    let mut boat = Boat::afloat(settings);
    boat.dies(life(1, 1), exit(1));
    boat.tell(Event::MemoryHigh { process: life(0, 1) });
    assert_eq!(due(&boat).len(), 1);
    assert!(boat.spawned().is_empty());
    boat.operate(Operation::Restart, Target::Pool(PoolId(0)));
    assert_eq!(boat.spawned(), [life(1, 2), life(0, 2)]);
}
