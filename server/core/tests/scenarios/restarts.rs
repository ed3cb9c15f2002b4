//! How dead workers come back, and what is remembered of them.

use lifeboat_core::event::{Answer, Event};
use lifeboat_core::fact::Fact;
use lifeboat_core::reason::{CrashReason, StartFailure};
use lifeboat_core::view::WorkerState;

use crate::boat::{Boat, exit, life, ms, plain, signal};

#[test]
fn a_productive_process_is_replaced_at_once() {
    let mut boat = Boat::afloat(plain(1));
    boat.request();
    boat.answers_ok(life(0, 1));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.spawned(), [life(0, 2)]);
    assert!(boat.crashes()[0].productive);
}

#[test]
fn so_is_one_that_was_ready_for_long() {
    let mut boat = Boat::afloat(plain(1));
    boat.pass(ms(5000));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.spawned(), [life(0, 2)]);
}

#[test]
fn an_unproductive_one_backs_off_and_each_time_longer() {
    let mut boat = Boat::launch(plain(1));
    let mut incarnation = 1;
    for longest in [100, 200, 400, 800, 1000, 1000] {
        boat.orders.clear();
        boat.tell(Event::Spawned { process: life(0, incarnation), pid: 9 });
        boat.dies(life(0, incarnation), exit(1));
        assert_eq!(boat.core.view(boat.now).workers[0].state, WorkerState::Backoff);
        boat.pass(ms(longest / 2 - 1));
        assert!(boat.spawned().is_empty(), "at least half of {longest} ms");
        boat.pass(ms(longest / 2 + 1));
        incarnation += 1;
        assert_eq!(boat.spawned(), [life(0, incarnation)], "at most {longest} ms");
    }
    assert_eq!(boat.reasons()[0], &CrashReason::StartFailed(StartFailure::Exit { code: 1 }));
}

#[test]
fn the_first_ok_forgets_the_backoff() {
    let mut boat = Boat::launch(plain(1));
    boat.tell(Event::SpawnFailed { process: life(0, 1), error: "no such file".into() });
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    boat.request();
    boat.answers_ok(life(0, 2));
    boat.dies(life(0, 2), exit(1));
    assert_eq!(boat.spawned(), [life(0, 1), life(0, 2), life(0, 3)], "at once");
    boat.tell(Event::SpawnFailed { process: life(0, 3), error: "no such file".into() });
    let waits: Vec<u32> = boat
        .facts
        .iter()
        .filter_map(|fact| {
            if let Fact::WorkerBackingOff { unproductive, .. } = fact { Some(*unproductive) } else { None }
        })
        .collect();
    assert_eq!(waits, [1, 1]);
}

#[test]
fn a_fixed_delay_can_be_had() {
    let mut settings = plain(1);
    settings.pools[0].restart.initial = ms(5000);
    settings.pools[0].restart.max = ms(5000);
    let mut boat = Boat::afloat(settings);
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(4999));
    assert!(boat.spawned().is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.spawned(), [life(0, 2)]);
}

#[test]
fn failures_in_a_row_are_counted_and_an_ok_ends_the_row() {
    let mut boat = Boat::afloat(plain(1));
    let counts = |boat: &Boat| {
        let worker = &boat.core.view(boat.now).workers[0];
        (worker.consecutive_failures, worker.consecutive_crashes)
    };
    boat.request();
    boat.answers(life(0, 1), Answer::Failed { answer: 1, again: None });
    boat.request();
    boat.dies(life(0, 1), signal(11));
    assert_eq!(counts(&boat), (2, 1));
    let last = boat.core.view(boat.now).workers[0].last_crash;
    assert_eq!(last, Some((boat.now, "signal")));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    boat.request();
    boat.answers_ok(life(0, 2));
    assert_eq!(counts(&boat), (0, 0));
}

#[test]
fn readiness_wants_a_ready_process_in_every_pool() {
    let mut settings = plain(2);
    let mut second = settings.pools[0].clone();
    second.name = "sounds".into();
    settings.pools.push(second);
    let mut boat = Boat::launch(settings);
    assert!(!boat.core.ready());
    boat.becomes_ready(life(1, 1));
    assert!(!boat.core.ready(), "the other pool has none");
    boat.becomes_ready(life(2, 1));
    assert!(boat.core.ready());
    boat.request();
    assert!(boat.core.ready(), "being busy is not unready");
    assert_eq!(boat.core.worker_name(life(2, 1).worker), "sounds-0");
    let states: Vec<WorkerState> =
        boat.core.view(boat.now).workers.iter().map(|worker| worker.state).collect();
    assert_eq!(states, [WorkerState::Starting, WorkerState::Busy, WorkerState::Ready, WorkerState::Starting]);
}
