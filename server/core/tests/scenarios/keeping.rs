//! Handlers that panic where slots are kept: the attempt pays, nothing else does.

use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, ClientTag};
use lifeboat_core::reason::{AttemptEnd, OutcomeKind};
use lifeboat_core::settings::{OnPanic, Settings};
use lifeboat_core::view::{PoolState, SlotState, WorkerState};

use crate::boat::{Boat, exit, life, ms, plain, retrying, slotted};

fn keeping(mut settings: Settings) -> Settings {
    settings.pools[0].on_panic = OnPanic::Keep;
    settings
}

fn panics(boat: &mut Boat, times: usize) -> Vec<ClientTag> {
    let panic = |_| {
        let tag = boat.request();
        boat.panic_kept(tag);
        tag
    };
    (0..times).map(panic).collect()
}

#[test]
fn the_slot_goes_on_with_what_it_holds() {
    let mut boat = Boat::afloat(keeping(slotted(plain(1), 1, 2)));
    let [first, behind] = [(); 2].map(|()| boat.request());
    boat.panic_kept(first);
    assert_eq!(boat.kinds([first, behind]), [Some(OutcomeKind::Crashed), None]);
    assert_eq!(boat.settlement(first).attempts[0].end, AttemptEnd::Crashed);
    assert_eq!(boat.given_back(), 0, "it has started where it was");
    boat.ok(behind);
    assert_eq!(boat.kind(behind), Some(OutcomeKind::Ok));
    let next = boat.request();
    assert_eq!(boat.sent(next).process, life(0, 1));
    let view = &boat.core.view(boat.now).workers[0];
    assert_eq!((view.state, view.slots[0].state), (WorkerState::Busy, SlotState::Busy));
    assert_eq!(boat.count(|fact| matches!(fact, Fact::SlotKept { .. })), 1);
    assert_eq!(boat.count(|fact| matches!(fact, Fact::SlotRetired { .. })), 0);
    boat.pass(ms(5000));
    assert!(boat.crashes().is_empty() && boat.signals(life(0, 1)).is_empty());
}

#[test]
fn the_attempt_ends_and_is_retried_as_after_any_panic() {
    let mut boat = Boat::afloat(keeping(retrying(2, 2)));
    let tag = boat.request();
    boat.panic_kept(tag);
    assert_eq!((boat.sent(tag).process, boat.sent(tag).attempt), (life(1, 1), AttemptNumber(2)));
    boat.panic_kept(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
}

#[test]
fn it_counts_against_the_workers_health_like_a_panic_that_retires() {
    let mut boat = Boat::afloat(keeping(plain(1)));
    panics(&mut boat, 3);
    let view = &boat.core.view(boat.now).workers[0];
    assert_eq!((view.consecutive_failures, view.consecutive_crashes), (3, 3));
    assert!(!view.healthy);
    let tag = boat.request();
    boat.ok(tag);
    assert!(boat.core.view(boat.now).workers[0].healthy, "an ok resets it");
}

#[test]
fn it_says_nothing_of_how_productive_the_process_is() {
    let mut boat = Boat::afloat(keeping(plain(1)));
    panics(&mut boat, 2);
    boat.dies(life(0, 1), exit(1));
    let death = boat.crashes()[0];
    assert!(!death.productive, "a panic is no answer");
    assert_eq!(boat.count(|fact| matches!(fact, Fact::WorkerBackingOff { unproductive: 1, .. })), 1);
    let view = &boat.core.view(boat.now).workers[0];
    assert_eq!(view.consecutive_crashes, 3, "the death is a failure of its own");

    let mut boat = Boat::afloat(keeping(plain(1)));
    let tag = boat.request();
    boat.ok(tag);
    panics(&mut boat, 2);
    boat.dies(life(0, 1), exit(1));
    assert!(boat.crashes()[0].productive, "it had answered before");
}

#[test]
fn panics_alone_start_nothing_and_so_trip_nothing() {
    let mut settings = keeping(plain(1));
    settings.pools[0].restart.max_restarts = std::num::NonZeroU32::new(2);
    let mut boat = Boat::afloat(settings);
    panics(&mut boat, 20);
    assert!(boat.spawned().is_empty());
    assert_eq!(boat.core.view(boat.now).pools[0].state, PoolState::Serving);
}

#[test]
fn a_slot_whose_process_does_not_say_that_it_goes_on_is_retired() {
    let mut boat = Boat::afloat(keeping(plain(1)));
    let tag = boat.request();
    boat.panic(tag);
    assert_eq!(boat.count(|fact| matches!(fact, Fact::SlotRetired { left: 0, .. })), 1);
    boat.dies(life(0, 1), exit(70));
    assert_eq!(boat.reasons()[0].label(), "slots_exhausted");
}

#[test]
fn so_is_one_that_nobody_allowed_to_go_on() {
    let mut boat = Boat::afloat(slotted(plain(1), 1, 2));
    let [first, behind] = [(); 2].map(|()| boat.request());
    boat.panic_kept(first);
    assert_eq!(boat.count(|fact| matches!(fact, Fact::SlotRetired { left: 0, .. })), 1);
    assert_eq!((boat.given_back(), boat.kind(behind)), (1, None));
}

#[test]
fn a_panic_past_a_limit_does_not_settle_it() {
    let mut settings = keeping(plain(1));
    settings.methods[0].attempt_timeout = Some(ms(1000));
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1050));
    boat.panic_kept(tag);
    assert_eq!(boat.kind(tag), None, "its process is ended for it");
    boat.pass(ms(300));
    boat.dies(life(0, 1), lifeboat_core::evidence::WaitStatus::Signaled { signal: 9, core_dumped: false });
    assert_eq!(boat.kind(tag), Some(OutcomeKind::TimedOut));
}
