//! The health of workers: three failures in a row, and what comes of them.

use std::num::NonZeroU32;

use lifeboat_core::event::Operation::{Drain, Kill, Restart};
use lifeboat_core::event::{Answer, Target};
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::WorkerId;
use lifeboat_core::reason::OutcomeKind;
use lifeboat_core::settings::{HealthSettings, OnPanic, Settings};
use lifeboat_core::view::WorkerState;

use crate::boat::{Boat, exit, life, ms, plain, signal};

fn with(workers: u16, health: HealthSettings) -> Settings {
    let mut settings = plain(workers);
    settings.pools[0].health = health;
    settings
}

fn disabling(workers: u16, unhealthy_after: u32) -> Settings {
    let unhealthy_after = NonZeroU32::new(unhealthy_after).unwrap();
    with(workers, HealthSettings { unhealthy_after, disable: true, ..HealthSettings::default() })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "three facts of many are of health")]
fn told(boat: &Boat) -> Vec<(&'static str, u16)> {
    let word = |fact: &Fact| match fact {
        Fact::WorkerUnhealthy { worker, .. } => Some(("unhealthy", worker.0)),
        Fact::WorkerHealthy { worker, .. } => Some(("healthy", worker.0)),
        Fact::WorkerDisabled { worker, .. } => Some(("disabled", worker.0)),
        _ => None,
    };
    boat.facts.iter().filter_map(word).collect()
}

fn states(boat: &Boat) -> Vec<WorkerState> {
    boat.core.view(boat.now).workers.iter().map(|worker| worker.state).collect()
}

/// Each life of a worker fails while it executes, and the next one is ready.
fn fails(boat: &mut Boat, worker: u16, lives: std::ops::RangeInclusive<u32>) {
    for incarnation in lives {
        boat.dies(life(worker, incarnation), signal(11));
        let next = life(worker, incarnation + 1);
        for _ in 0..100 {
            boat.pass(ms(100));
            if boat.spawned().contains(&next) {
                boat.becomes_ready(next);
                break;
            }
        }
    }
}

#[test]
fn it_is_told_once_and_an_ok_ends_it() {
    let mut boat = Boat::afloat(plain(1));
    fails(&mut boat, 0, 1..=2);
    assert!(told(&boat).is_empty());
    fails(&mut boat, 0, 3..=4);
    assert_eq!(told(&boat), [("unhealthy", 0)]);
    let counted =
        |fact: &Fact| matches!(fact, Fact::WorkerUnhealthy { failures: 3, last_crash: Some("signal"), .. });
    assert_eq!(boat.count(counted), 1);
    boat.request();
    boat.answers_ok(life(0, 5));
    assert_eq!(told(&boat), [("unhealthy", 0), ("healthy", 0)]);
}

#[test]
fn errors_of_handlers_count_only_where_the_pool_says_so() {
    for (on_failed, expected) in [(false, vec![]), (true, vec![("unhealthy", 0)])] {
        let mut boat = Boat::afloat(with(1, HealthSettings { on_failed, ..HealthSettings::default() }));
        for _ in 0..3 {
            boat.request();
            boat.answers(life(0, 1), Answer::Failed { answer: 1, again: None });
        }
        assert_eq!(told(&boat), expected);
        assert_eq!(boat.core.view(boat.now).workers[0].healthy, !on_failed);
    }
}

#[test]
fn an_unhealthy_worker_is_taken_out_of_service_until_a_person_restarts_it() {
    let mut boat = Boat::afloat(disabling(2, 2));
    fails(&mut boat, 0, 1..=2);
    assert_eq!(told(&boat), [("unhealthy", 0), ("disabled", 0)]);
    assert_eq!(states(&boat), [WorkerState::Disabled, WorkerState::Ready]);
    assert!(!boat.spawned().contains(&life(0, 3)));
    let tag = boat.request();
    assert_eq!(boat.sent(tag).process, life(1, 1));
    boat.operate(Restart, Target::Worker(WorkerId(0)));
    assert_eq!(told(&boat), [("unhealthy", 0), ("disabled", 0), ("healthy", 0)]);
    boat.becomes_ready(life(0, 3));
    assert_eq!(states(&boat)[0], WorkerState::Ready);
    assert_eq!(boat.core.view(boat.now).workers[0].consecutive_failures, 0, "it begins anew");
}

#[test]
fn the_last_one_in_service_stays() {
    let mut boat = Boat::afloat(disabling(2, 1));
    boat.operate(Drain, Target::Worker(WorkerId(1)));
    boat.dies(life(1, 1), exit(0));
    fails(&mut boat, 0, 1..=3);
    assert_eq!(told(&boat), [("unhealthy", 0)]);
    assert_eq!(states(&boat), [WorkerState::Ready, WorkerState::Disabled]);
    // With somebody beside it, the next failure is one too many.
    boat.operate(Restart, Target::Worker(WorkerId(1)));
    fails(&mut boat, 0, 4..=4);
    assert_eq!(told(&boat), [("unhealthy", 0)], "it is there, and does not serve yet");
    boat.becomes_ready(life(1, 2));
    fails(&mut boat, 0, 5..=5);
    assert_eq!(told(&boat).last(), Some(&("disabled", 0)));
}

/// It is not killed for it: what it holds is finished.
#[test]
fn a_process_that_lives_on_finishes_what_it_holds() {
    let mut settings = disabling(2, 1);
    settings.pools[0].on_panic = OnPanic::Keep;
    settings.pools[0].slots = 2.try_into().unwrap();
    let mut boat = Boat::afloat(settings);
    let tags = [boat.request(), boat.request(), boat.request(), boat.request()];
    let here: Vec<_> = tags.into_iter().filter(|tag| boat.sent(*tag).process == life(0, 1)).collect();
    let [first, second] = here[..] else { panic!("two each: {here:?}") };
    boat.panic_kept(first);
    assert_eq!(told(&boat), [("unhealthy", 0), ("disabled", 0)]);
    boat.ok(second);
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.kinds([first, second]), [Some(OutcomeKind::Crashed), Some(OutcomeKind::Ok)]);
    assert_eq!(states(&boat)[0], WorkerState::Disabled);
    assert!(boat.crashes().is_empty(), "its end was planned");
}

#[test]
fn a_kill_by_hand_counts_like_any() {
    let mut boat = Boat::afloat(disabling(2, 1));
    boat.operate(Kill, Target::Worker(WorkerId(0)));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(told(&boat), [("unhealthy", 0), ("disabled", 0)]);
}
