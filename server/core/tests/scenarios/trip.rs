//! Pools that trip.

use std::num::NonZeroU32;
use std::time::Duration;

use lifeboat_core::action::Outcome;
use lifeboat_core::event::{Answer, Event, Operation, Target};
use lifeboat_core::evidence::ConnectionEnd;
use lifeboat_core::fact::{Fact, TripWhy};
use lifeboat_core::ids::{ClientTag, WorkerId};
use lifeboat_core::reason::{CrashReason, OutcomeKind, RejectWhy, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, Settings};
use lifeboat_core::view::PoolState;

use crate::boat::{Boat, exit, life, ms, plain, retry, retrying, signal, slotted};

/// Three unproductive incarnations within a minute are too many.
pub(crate) fn touchy(mut settings: Settings) -> Settings {
    settings.pools[0].restart.max_restarts = NonZeroU32::new(3);
    settings.pools[0].restart.stable_after = ms(5000);
    settings
}

pub(crate) const WORKER_1: u16 = 1;

/// A worker's processes cannot be started, so often that the pool trips.
pub(crate) fn trip(boat: &mut Boat, worker: u16, mut incarnation: u32) {
    boat.dies_before_ready(worker, incarnation);
    while boat.state() == PoolState::Serving {
        boat.pass(ms(400));
        incarnation += 1;
        boat.dies_before_ready(worker, incarnation);
    }
    assert_eq!(boat.state(), PoolState::Tripped);
}

impl Boat {
    pub(crate) fn state(&self) -> PoolState {
        self.core.view(self.now).pools[0].state
    }

    pub(crate) fn dies_before_ready(&mut self, worker: u16, incarnation: u32) {
        let process = life(worker, incarnation);
        self.tell(Event::SpawnFailed { process, error: "no such file".into() });
    }

    /// How long the pool is tripped for, as was told last.
    pub(crate) fn wait(&self) -> Duration {
        let wait = |fact: &Fact| if let Fact::PoolTripped { wait, .. } = fact { Some(*wait) } else { None };
        let wait = self.facts.iter().rev().find_map(wait).expect("it has tripped");
        Duration::from_micros(u64::try_from(wait.as_micros()).unwrap())
    }

    pub(crate) fn retry_after(&self, tag: ClientTag) -> Option<Duration> {
        let Outcome::Rejected { retry_after, .. } = self.settlement(tag).outcome else {
            panic!("not refused")
        };
        retry_after
    }
}

#[test]
fn one_too_many_within_the_window_trips_the_pool() {
    let mut boat = Boat::launch(touchy(plain(1)));
    let waits = boat.request();
    boat.dies_before_ready(0, 1);
    boat.pass(ms(100));
    boat.dies_before_ready(0, 2);
    boat.pass(ms(200));
    assert_eq!((boat.state(), boat.kind(waits)), (PoolState::Serving, None));
    boat.dies_before_ready(0, 3);
    assert_eq!(boat.state(), PoolState::Tripped);
    assert_eq!(boat.count(|fact| matches!(fact, Fact::PoolTripped { why: TripWhy::TooMany(3), .. })), 1);
    assert!(
        boat.wait() >= ms(500) && boat.wait() <= ms(1000),
        "half of the longest wait, and all of it at most"
    );
    assert_eq!(boat.rejected_why(waits), RejectWhy::Tripped);
    assert_eq!(boat.retry_after(waits), Some(boat.wait()));
    let because = boat.settlement(waits).because.as_ref().expect("the reason is told");
    assert_eq!(because.reason, CrashReason::SpawnFailed("no such file".into()));
    let asked = boat.now;
    boat.pass(ms(10));
    let refused = boat.request();
    assert_eq!(boat.retry_after(refused), Some(boat.wait() - (boat.now - asked)));
    assert!(!boat.core.ready());
    boat.orders.clear();
    boat.pass(boat.wait() - ms(11));
    assert!(boat.spawned().is_empty(), "nobody is respawned");
    boat.pass(ms(1));
    assert_eq!((boat.state(), boat.spawned()), (PoolState::Probing, vec![life(0, 4)]));
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let mut boat = Boat::launch(forgetful(1));
    nearly_wears_out(&mut boat, 0, 1);
}

#[test]
fn a_pool_without_a_number_never_trips() {
    let mut boat = Boat::launch(plain(1));
    for incarnation in 1..100 {
        boat.dies_before_ready(0, incarnation);
        boat.pass(ms(1000));
    }
    assert_eq!(boat.state(), PoolState::Serving);
}

/// A pool that never has too many within its window.
fn forgetful(workers: u16) -> Settings {
    let mut settings = touchy(plain(workers));
    settings.pools[0].restart.window = ms(1);
    settings.pools[0].restart.max_restarts = NonZeroU32::new(20);
    settings
}

/// Four times in a row; the wait after the fifth is the longest one of this boat.
fn nearly_wears_out(boat: &mut Boat, worker: u16, first: u32) {
    for incarnation in first..first + 4 {
        boat.dies_before_ready(worker, incarnation);
        boat.pass(ms(1000));
    }
    assert_eq!(boat.state(), PoolState::Serving);
}

fn worn_out(fact: &Fact) -> bool {
    matches!(fact, Fact::PoolTripped { why: TripWhy::WornOut(5), .. })
}

#[test]
fn a_lone_worker_that_waits_its_longest_trips_the_pool() {
    let mut boat = Boat::launch(forgetful(1));
    let waits = boat.request();
    nearly_wears_out(&mut boat, 0, 1);
    boat.dies_before_ready(0, 5);
    assert_eq!((boat.state(), boat.count(worn_out)), (PoolState::Tripped, 1));
    assert_eq!(boat.rejected_why(waits), RejectWhy::Tripped);
}

#[test]
fn who_never_waits_trips_the_pool_by_its_row() {
    let mut settings = forgetful(1);
    settings.pools[0].restart.initial = Duration::ZERO;
    settings.pools[0].restart.max_restarts = NonZeroU32::new(3);
    let mut boat = Boat::launch(settings);
    for incarnation in 1..3 {
        boat.dies_before_ready(0, incarnation);
        boat.pass(ms(1000));
    }
    assert_eq!(boat.state(), PoolState::Serving);
    boat.dies_before_ready(0, 3);
    assert_eq!(boat.state(), PoolState::Tripped);
}

#[test]
fn who_waits_its_longest_trips_nothing_while_another_one_serves() {
    let mut boat = Boat::afloat(forgetful(2));
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(100));
    for incarnation in 2..10 {
        boat.dies_before_ready(0, incarnation);
        boat.pass(ms(1000));
    }
    assert_eq!(boat.state(), PoolState::Serving);
    boat.dies(life(WORKER_1, 1), exit(1));
    nearly_wears_out(&mut boat, WORKER_1, 2);
    boat.dies_before_ready(WORKER_1, 6);
    assert_eq!((boat.state(), boat.count(worn_out)), (PoolState::Tripped, 1));
}

#[test]
fn a_worker_out_of_service_is_not_waited_for() {
    let mut boat = Boat::launch(forgetful(2));
    boat.operate(Operation::Drain, Target::Worker(WorkerId(WORKER_1)));
    nearly_wears_out(&mut boat, 0, 1);
    boat.dies_before_ready(0, 5);
    assert_eq!((boat.state(), boat.count(worn_out)), (PoolState::Tripped, 1));
}

#[test]
fn nor_does_a_pool_trip_that_has_nobody_in_service() {
    let mut boat = Boat::afloat(forgetful(1));
    boat.tell(Event::ConnectionEnded { process: life(0, 1), how: ConnectionEnd::Closed });
    boat.operate(Operation::Drain, Target::Worker(WorkerId(0)));
    boat.dies(life(0, 1), signal(11));
    assert_eq!((boat.crashes().len(), boat.state()), (1, PoolState::Serving));
}

#[test]
fn the_death_that_trips_a_pool_grants_no_retry() {
    let mut settings = touchy(retrying(1, 3));
    settings.pools[0].restart.max_restarts = NonZeroU32::new(1);
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.dies(life(0, 1), signal(11));
    assert_eq!((boat.kind(tag), boat.state()), (Some(OutcomeKind::Crashed), PoolState::Tripped));
    assert_eq!(boat.count(|fact| matches!(fact, Fact::Retried { .. })), 0, "what would be refused");
}

#[test]
fn productive_ones_do_not_count() {
    let mut boat = Boat::afloat(touchy(plain(1)));
    for incarnation in 1..10 {
        let tag = boat.request();
        boat.ok(tag);
        boat.dies(life(0, incarnation), signal(11));
        boat.becomes_ready(life(0, incarnation + 1));
    }
    assert_eq!(boat.state(), PoolState::Serving);
}

#[test]
fn those_that_ran_end_as_their_last_attempt_ended() {
    let mut settings = retrying(2, 2);
    settings.methods[0].attempt_timeout = Some(ms(50));
    settings.methods[0].retry = retry(RetryOn { crash: true, timeout: true, ..RetryOn::NOTHING }, 3);
    let mut boat = Boat::afloat(touchy(settings));
    let (crashed, slow) = (boat.request(), boat.request());
    boat.exits(life(0, 1));
    boat.pass(ms(150));
    boat.exits(life(1, 1));
    boat.is_collected(life(0, 1), exit(1));
    boat.is_collected(life(1, 1), exit(0));
    assert_eq!(boat.kinds([crashed, slow]), [None; 2], "both are to be tried again");
    let waits = boat.request();
    boat.pass(ms(100));
    boat.dies_before_ready(0, 2);
    assert_eq!(boat.state(), PoolState::Tripped);
    assert_eq!(boat.kind(crashed), Some(OutcomeKind::Crashed));
    assert_eq!(boat.settlement(crashed).attempts.len(), 1);
    assert_eq!(boat.timed_out_which(slow), TimeoutWhich::Attempt);
    assert_eq!(boat.rejected_why(waits), RejectWhy::Tripped);
    assert!(boat.settlement(crashed).because.is_none(), "its own attempt says why");
}

#[test]
fn those_whose_handler_asked_for_another_try_keep_waiting() {
    let mut settings = plain(2);
    settings.methods[0].retry = retry(RetryOn { failed: true, ..RetryOn::NOTHING }, 2);
    let mut boat = Boat::afloat(touchy(settings));
    let [asks, runs] = [(); 2].map(|()| boat.request());
    boat.answer(asks, Answer::Failed { answer: 1, again: Some(ms(0)) });
    assert!(boat.core.view(boat.now).pools[0].queue_depth == 1, "it avoids its last worker");
    trip_with_worker_0(&mut boat);
    assert_eq!(boat.kinds([asks, runs]), [None; 2]);
    boat.pass(boat.wait());
    assert_eq!(boat.state(), PoolState::Probing);
    assert_eq!(
        boat.sent.iter().filter(|sent| sent.tag == asks).count(),
        1,
        "one at a time: another one runs"
    );
    boat.answer(runs, Answer::Failed { answer: 1, again: None });
    assert_eq!(boat.place(asks), (1, 0));
    boat.ok(asks);
    assert_eq!((boat.kind(asks), boat.state()), (Some(OutcomeKind::Ok), PoolState::Serving));
}

fn trip_with_worker_0(boat: &mut Boat) {
    boat.dies(life(0, 1), exit(1));
    boat.pass(ms(100));
    trip(boat, 0, 2);
}

#[test]
fn nothing_is_retried_while_it_is_tripped() {
    let mut boat = Boat::afloat(touchy(retrying(2, 3)));
    let runs = boat.request();
    boat.dies(life(WORKER_1, 1), exit(1));
    boat.pass(ms(100));
    trip(&mut boat, WORKER_1, 2);
    assert_eq!(boat.kind(runs), None, "what runs is left alone");
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(runs), Some(OutcomeKind::Crashed));
    assert_eq!(boat.settlement(runs).attempts.len(), 1);
}

#[test]
fn what_is_given_back_to_a_tripped_pool_is_refused() {
    let mut boat = Boat::afloat(touchy(slotted(plain(2), 1, 2)));
    let tags = [(); 4].map(|()| boat.request());
    boat.dies(life(WORKER_1, 1), exit(1));
    boat.pass(ms(100));
    trip(&mut boat, WORKER_1, 2);
    let behind = tags.into_iter().find(|tag| boat.kind(*tag).is_none() && boat.place(*tag) == (0, 0));
    assert!(behind.is_some());
    boat.dies(life(0, 1), signal(11));
    let kinds = boat.kinds(tags);
    assert!(kinds.contains(&Some(OutcomeKind::Rejected)), "{kinds:?}");
    assert!(kinds.iter().all(Option::is_some), "{kinds:?}");
}

#[test]
fn a_shutdown_gives_it_no_chance_any_more() {
    let mut boat = Boat::launch(touchy(plain(1)));
    trip(&mut boat, 0, 1);
    boat.tell(Event::ShutdownRequested);
    assert!(boat.core.is_finished());
    assert_eq!(boat.core.poll_timeout(), None);
}
