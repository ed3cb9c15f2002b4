//! How tripped pools come back.

use lifeboat_core::event::{Answer, Operation, Target};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{PoolId, WorkerId};
use lifeboat_core::reason::{OutcomeKind, RejectWhy};
use lifeboat_core::view::PoolState;

use crate::boat::{Boat, exit, life, ms, plain, slotted};
use crate::trip::{WORKER_1, touchy, trip};

#[test]
fn a_chance_is_one_process_and_one_request_at_a_time() {
    let mut boat = Boat::launch(touchy(plain(2)));
    boat.dies_before_ready(0, 1);
    boat.pass(ms(100));
    boat.dies_before_ready(0, 2);
    boat.dies_before_ready(1, 1);
    assert_eq!(boat.state(), PoolState::Tripped);
    boat.orders.clear();
    boat.pass(boat.wait());
    assert_eq!(boat.spawned(), [life(0, 3)]);
    let early = boat.request();
    assert_eq!((boat.rejected_why(early), boat.retry_after(early)), (RejectWhy::Tripped, Some(ms(2000))));
    boat.becomes_ready(life(0, 3));
    assert!(!boat.core.ready(), "it has not shown anything yet");
    let [first, second] = [(); 2].map(|()| boat.request());
    assert!(boat.was_sent(first));
    assert_eq!(boat.rejected_why(second), RejectWhy::Tripped);
    boat.answer(first, Answer::Failed { answer: 1, again: None });
    assert_eq!(boat.state(), PoolState::Probing, "a failure shows nothing");
    let third = boat.request();
    boat.ok(third);
    assert_eq!(boat.state(), PoolState::Serving);
    assert!(boat.core.ready());
    assert_eq!(boat.count(|fact| matches!(fact, Fact::PoolRecovered { .. })), 1);
}

#[test]
fn one_request_at_a_time_even_with_many_slots() {
    let mut boat = Boat::launch(touchy(slotted(plain(1), 4, 8)));
    trip(&mut boat, 0, 1);
    boat.pass(boat.wait());
    let next = life(0, boat.spawned().len() as u32);
    boat.becomes_ready(next);
    let tags = [(); 3].map(|()| boat.request());
    assert_eq!(tags.map(|tag| boat.was_sent(tag)), [true, false, false]);
    boat.cancel(tags[0]);
    let more = boat.request();
    assert_eq!(boat.rejected_why(more), RejectWhy::Tripped, "the slot is not rid of it yet");
    boat.answer(tags[0], Answer::Cancelled);
    let more = boat.request();
    assert!(boat.was_sent(more));
}

#[test]
fn any_unproductive_end_opens_it_again() {
    let mut boat = Boat::launch(touchy(plain(1)));
    trip(&mut boat, 0, 1);
    for incarnation in 4..8 {
        boat.pass(boat.wait());
        assert_eq!(boat.spawned().last(), Some(&life(0, incarnation)));
        boat.dies_before_ready(0, incarnation);
        assert_eq!(boat.state(), PoolState::Tripped);
    }
    assert_eq!(boat.count(|fact| matches!(fact, Fact::PoolProbed { .. })), 4);
}

#[test]
fn being_stable_closes_it() {
    let mut boat = Boat::launch(touchy(plain(1)));
    trip(&mut boat, 0, 1);
    boat.pass(boat.wait());
    boat.becomes_ready(life(0, 4));
    boat.pass(ms(4999));
    assert_eq!(boat.state(), PoolState::Probing);
    boat.pass(ms(1));
    assert_eq!(boat.state(), PoolState::Serving);
}

#[test]
fn a_process_that_was_stable_before_shows_it_again() {
    let mut boat = Boat::afloat(touchy(plain(2)));
    boat.pass(ms(6000));
    boat.dies(life(WORKER_1, 1), exit(1));
    trip(&mut boat, WORKER_1, 2);
    boat.pass(boat.wait());
    assert_eq!(boat.state(), PoolState::Probing);
    boat.pass(ms(4999));
    assert_eq!(boat.state(), PoolState::Probing);
    boat.pass(ms(1));
    assert_eq!(boat.state(), PoolState::Serving, "worker 0 has served on all the time, without a request");
}

#[test]
fn an_ok_of_somebody_who_still_serves_closes_it_and_forgives_nobody_else() {
    let mut boat = Boat::afloat(touchy(plain(2)));
    let [first, second] = [(); 2].map(|()| boat.request());
    boat.dies(life(WORKER_1, 1), exit(1));
    boat.pass(ms(100));
    trip(&mut boat, WORKER_1, 2);
    assert_eq!(boat.kind(second), Some(OutcomeKind::Crashed));
    boat.facts.clear();
    boat.orders.clear();
    boat.ok(first);
    assert_eq!(boat.state(), PoolState::Serving);
    assert!(boat.spawned().is_empty(), "worker 1 has failed twice in a row before the last time");
    assert_eq!(boat.count(|fact| matches!(fact, Fact::WorkerBackingOff { unproductive: 2, .. })), 1);
    boat.pass(ms(200));
    assert_eq!(boat.spawned().len(), 1);
}

#[test]
fn a_restart_by_hand_closes_it_at_once() {
    let mut boat = Boat::launch(touchy(plain(2)));
    boat.dies_before_ready(0, 1);
    boat.dies_before_ready(1, 1);
    boat.pass(ms(100));
    boat.dies_before_ready(0, 2);
    boat.dies_before_ready(1, 2);
    assert_eq!(boat.state(), PoolState::Tripped);
    boat.orders.clear();
    boat.operate(Operation::Restart, Target::Pool(PoolId(0)));
    assert_eq!((boat.state(), boat.spawned().len()), (PoolState::Serving, 2));
    let waits = boat.request();
    assert_eq!(boat.kind(waits), None);
}

#[test]
fn a_worker_that_is_drained_leaves_the_chance_to_another() {
    let mut boat = Boat::launch(touchy(plain(2)));
    boat.dies_before_ready(0, 1);
    boat.dies_before_ready(1, 1);
    boat.pass(ms(100));
    boat.dies_before_ready(0, 2);
    boat.dies_before_ready(1, 2);
    boat.orders.clear();
    boat.pass(boat.wait());
    assert_eq!(boat.spawned(), [life(0, 3)]);
    boat.becomes_ready(life(0, 3));
    boat.operate(Operation::Drain, Target::Worker(WorkerId(0)));
    boat.dies(life(0, 3), exit(0));
    assert_eq!(boat.state(), PoolState::Probing);
    assert_eq!(boat.spawned(), [life(0, 3), life(1, 3)]);
}

#[test]
fn a_worker_that_is_restarted_takes_the_chance_that_nobody_had() {
    let mut boat = Boat::launch(touchy(plain(1)));
    trip(&mut boat, 0, 1);
    boat.operate(Operation::Drain, Target::Worker(WorkerId(0)));
    boat.pass(boat.wait());
    assert_eq!((boat.state(), boat.spawned().len()), (PoolState::Probing, 3), "nobody is there to take it");
    boat.operate(Operation::Restart, Target::Worker(WorkerId(0)));
    assert_eq!(boat.spawned().last(), Some(&life(0, 4)));
}
