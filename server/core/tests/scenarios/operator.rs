//! What a person orders: restart, drain, kill.

use lifeboat_core::event::Operation::{Drain, Kill, Restart};
use lifeboat_core::event::{Answer, Event, Target};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, PoolId, WorkerId};
use lifeboat_core::reason::{CrashReason, KillReason, OutcomeKind, RejectWhy, StartFailure, StopReason};
use lifeboat_core::view::{PoolState, WorkerState};

use crate::boat::{Boat, exit, life, ms, plain, retrying, signal, slotted};

const POOL: Target = Target::Pool(PoolId(0));

const fn worker(id: u16) -> Target {
    Target::Worker(WorkerId(id))
}

fn states(boat: &Boat) -> Vec<WorkerState> {
    boat.core.view(boat.now).workers.iter().map(|worker| worker.state).collect()
}

#[test]
fn a_restart_of_a_pool_rolls_and_loses_nothing() {
    let mut boat = Boat::afloat(plain(2));
    let tags = [boat.request(), boat.request()];
    boat.operate(Restart, POOL);
    assert_eq!(boat.spawned(), [life(0, 2)], "one after the other");
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.spawned(), [life(0, 2), life(1, 2)]);
    boat.becomes_ready(life(1, 2));
    for (tag, worker) in tags.into_iter().zip(0..) {
        boat.ok(tag);
        boat.dies(life(worker, 1), exit(0));
    }
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::Ok); 2]);
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::Operator), (life(1, 1), StopReason::Operator)]);
    assert!(boat.crashes().is_empty());
}

#[test]
fn a_restart_of_a_worker_is_its_own() {
    let mut boat = Boat::afloat(plain(2));
    boat.operate(Restart, worker(1));
    assert_eq!(boat.spawned(), [life(1, 2)]);
    boat.becomes_ready(life(1, 2));
    assert!(boat.was_drained(life(1, 1)) && !boat.was_drained(life(0, 1)));
}

#[test]
fn a_restart_replaces_a_process_that_is_not_ready_yet_as_soon_as_it_is() {
    let mut boat = Boat::launch(plain(1));
    boat.operate(Restart, worker(0));
    boat.becomes_ready(life(0, 1));
    assert_eq!(boat.spawned(), [life(0, 1), life(0, 2)], "it may have begun before what was changed");
    // Nor does an order get lost that comes while its successor gets ready.
    boat.operate(Restart, worker(0));
    boat.becomes_ready(life(0, 2));
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.spawned().last(), Some(&life(0, 3)));
    boat.becomes_ready(life(0, 3));
    boat.dies(life(0, 2), exit(0));
    assert_eq!(boat.spawned().last(), Some(&life(0, 3)), "nobody ordered another one");
}

#[test]
fn a_restart_waits_for_no_backoff() {
    let mut boat = Boat::launch(plain(1));
    for incarnation in 1..4 {
        boat.tell(Event::SpawnFailed { process: life(0, incarnation), error: "no such file".into() });
        boat.pass(ms(400));
    }
    boat.tell(Event::SpawnFailed { process: life(0, 4), error: "no such file".into() });
    boat.orders.clear();
    boat.operate(Restart, worker(0));
    assert_eq!(boat.spawned(), [life(0, 5)]);
    boat.tell(Event::SpawnFailed { process: life(0, 5), error: "no such file".into() });
    assert_eq!(boat.count(|fact| matches!(fact, Fact::WorkerBackingOff { unproductive: 1, .. })), 2, "anew");
}

#[test]
fn nor_for_that_of_a_successor() {
    let mut boat = Boat::afloat(plain(1));
    boat.operate(Restart, worker(0));
    boat.tell(Event::SpawnFailed { process: life(0, 2), error: "no such file".into() });
    boat.orders.clear();
    boat.operate(Restart, worker(0));
    assert_eq!(boat.spawned(), [life(0, 3)]);
}

#[test]
fn a_drained_pool_finishes_what_it_holds_and_takes_nothing_new() {
    let mut boat = Boat::afloat(slotted(plain(1), 1, 2));
    let [runs, behind, waits] = [(); 3].map(|()| boat.request());
    boat.operate(Drain, POOL);
    assert_eq!(boat.kinds([runs, behind, waits]), [None, None, Some(OutcomeKind::Closed)]);
    let late = boat.request();
    assert_eq!(boat.rejected_why(late), RejectWhy::Draining);
    assert_eq!(boat.core.view(boat.now).pools[0].state, PoolState::Draining);
    boat.ok(runs);
    assert!(!boat.was_drained(life(0, 1)));
    boat.ok(behind);
    assert!(boat.was_drained(life(0, 1)));
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::Drain)]);
    assert_eq!(boat.kinds([runs, behind]), [Some(OutcomeKind::Ok); 2]);
    boat.pass(ms(10_000));
    assert!(boat.spawned().is_empty());
    assert_eq!(boat.core.view(boat.now).pools[0].state, PoolState::Drained);
    assert_eq!(states(&boat), [WorkerState::Disabled]);
    assert!(!boat.core.ready() && !boat.core.is_draining());
}

#[test]
fn a_worker_of_a_drained_pool_is_not_restarted_alone() {
    let mut boat = Boat::afloat(plain(1));
    boat.operate(Drain, POOL);
    boat.dies(life(0, 1), exit(0));
    boat.operate(Restart, worker(0));
    assert_eq!((states(&boat), boat.spawned()), (vec![WorkerState::Disabled], vec![]));
}

#[test]
fn a_crash_in_a_drained_pool_is_closed_and_not_retried() {
    let mut boat = Boat::afloat(slotted(retrying(2, 3), 1, 2));
    let tags = [(); 3].map(|()| boat.request());
    boat.operate(Drain, POOL);
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::Closed), None, Some(OutcomeKind::Closed)]);
    assert_eq!(boat.settlement(tags[0]).attempts.len(), 1);
    assert_eq!(boat.reasons()[0].label(), "signal");
    assert!(boat.spawned().is_empty());
}

#[test]
fn a_restart_opens_a_drained_pool_again() {
    let mut boat = Boat::afloat(plain(2));
    let runs = boat.request();
    boat.operate(Drain, POOL);
    boat.dies(life(1, 1), exit(0));
    boat.operate(Restart, POOL);
    assert_eq!(boat.spawned(), [life(1, 2)], "worker 0 has not left yet");
    let waits = boat.request();
    assert_eq!(boat.kind(waits), None);
    boat.becomes_ready(life(1, 2));
    assert!(boat.was_sent(waits));
    boat.ok(runs);
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.spawned(), [life(1, 2), life(0, 2)]);
    assert_eq!(boat.core.view(boat.now).pools[0].state, PoolState::Serving);
}

#[test]
fn a_drained_worker_is_out_of_service_and_the_others_serve_on() {
    let mut boat = Boat::afloat(plain(2));
    let runs = boat.request();
    boat.operate(Drain, worker(0));
    let next = boat.request();
    assert_eq!(boat.place(next), (1, 0));
    let waits = boat.request();
    boat.ok(runs);
    assert!(!boat.was_sent(waits), "worker 0 is given nothing more");
    boat.dies(life(0, 1), exit(0));
    boat.pass(ms(1000));
    assert_eq!(states(&boat), [WorkerState::Disabled, WorkerState::Busy]);
    assert!(boat.spawned().is_empty() && boat.core.ready());
    boat.ok(next);
    assert!(boat.was_sent(waits));
    boat.operate(Restart, worker(0));
    assert_eq!(boat.spawned(), [life(0, 2)]);
}

#[test]
fn a_drained_worker_that_is_not_ready_is_killed_and_its_successor_too() {
    let mut boat = Boat::launch(plain(1));
    boat.is_spawned(life(0, 1));
    boat.operate(Drain, worker(0));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::Drain)]);
    let mut boat = Boat::afloat(plain(1));
    boat.operate(Restart, worker(0));
    boat.is_spawned(life(0, 2));
    boat.operate(Drain, worker(0));
    assert_eq!(boat.signals(life(0, 2)), [StopSignal::Kill]);
    assert!(boat.was_drained(life(0, 1)));
}

#[test]
fn a_drained_worker_does_not_back_off() {
    let mut boat = Boat::launch(plain(1));
    boat.tell(Event::SpawnFailed { process: life(0, 1), error: "no such file".into() });
    boat.operate(Drain, worker(0));
    boat.orders.clear();
    boat.pass(ms(5000));
    assert!(boat.spawned().is_empty());
    assert_eq!((states(&boat), boat.core.poll_timeout()), (vec![WorkerState::Disabled], None));
}

#[test]
fn a_kill_has_no_grace_and_the_replacement_no_wait() {
    let mut boat = Boat::afloat(retrying(2, 2));
    let tag = boat.request();
    boat.operate(Kill, worker(0));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    assert!(boat.signals(life(1, 1)).is_empty());
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Operator)]);
    assert_eq!(boat.crashes()[0].killed_by_broker, Some(KillReason::Operator));
    assert_eq!(
        (boat.place(tag), boat.sent(tag).attempt),
        ((1, 0), AttemptNumber(2)),
        "its policy retries crashes"
    );
    assert_eq!(boat.spawned(), [life(0, 2)], "at once, though it had shown nothing");
}

#[test]
fn kills_of_a_pool_are_no_crash_loop() {
    let mut settings = plain(2);
    settings.pools[0].restart.max_restarts = std::num::NonZeroU32::new(1);
    let mut boat = Boat::afloat(settings);
    boat.operate(Kill, POOL);
    for worker in [0, 1] {
        assert_eq!(boat.signals(life(worker, 1)), [StopSignal::Kill]);
        boat.dies(life(worker, 1), signal(9));
    }
    assert_eq!(boat.spawned(), [life(0, 2), life(1, 2)]);
    assert_eq!(boat.core.view(boat.now).pools[0].state, PoolState::Serving);
}

#[test]
fn a_kill_ends_the_successor_too() {
    let mut boat = Boat::afloat(plain(1));
    boat.operate(Restart, worker(0));
    boat.operate(Kill, worker(0));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.is_spawned(life(0, 2));
    assert_eq!(boat.signals(life(0, 2)), [StopSignal::Kill], "as soon as there is somebody to be killed");
    boat.dies(life(0, 2), signal(9));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Operator); 2]);
    assert_eq!(boat.spawned().len(), 2, "one replacement");
}

#[test]
fn a_process_that_crashed_by_itself_beside_the_kill_is_told_so() {
    let mut boat = Boat::launch(plain(1));
    boat.is_spawned(life(0, 1));
    boat.operate(Kill, worker(0));
    boat.dies(life(0, 1), exit(7));
    assert_eq!(boat.reasons(), [&CrashReason::StartFailed(StartFailure::Exit { code: 7 })]);
}

#[test]
fn an_order_for_somebody_who_is_not_there_is_ignored() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    for operation in [Restart, Drain, Kill] {
        boat.operate(operation, Target::Pool(PoolId(9)));
        boat.operate(operation, worker(9));
    }
    assert_eq!(boat.count(|fact| matches!(fact, Fact::Operated { .. })), 0);
    boat.ok(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
    assert!(boat.signals(life(0, 1)).is_empty());
}

#[test]
fn a_shutdown_heeds_kills_alone() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.tell(Event::ShutdownRequested);
    boat.operate(Restart, POOL);
    boat.operate(Drain, POOL);
    assert!(boat.spawned().is_empty() && boat.signals(life(0, 1)).is_empty());
    boat.operate(Kill, worker(0));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Closed));
    assert!(boat.core.is_finished());
}

#[test]
fn a_drain_while_an_attempt_is_told_to_stop_comes_afterwards() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.cancel(tag);
    boat.operate(Drain, worker(0));
    assert!(!boat.was_drained(life(0, 1)));
    boat.answer(tag, Answer::Cancelled);
    assert!(boat.was_drained(life(0, 1)));
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.stops(), [(life(0, 1), StopReason::Drain)]);
}

#[test]
fn every_order_is_told() {
    let mut boat = Boat::afloat(plain(1));
    for operation in [Restart, Drain, Kill] {
        boat.operate(operation, POOL);
    }
    let told = boat.count(|fact| matches!(fact, Fact::Operated { target, .. } if *target == POOL));
    assert_eq!(told, 3);
}
