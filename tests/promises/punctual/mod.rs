//! Limits fire on time while two thousand other requests are in flight: never early, and not 20 ms late.
//!
//! Each firing is seen by whom it concerns, and all clocks are `CLOCK_MONOTONIC`: the worker notes when it reads the cancel
//! frame, the test when the kernel says that a process is dead and when a waiting request's error arrives. All of these come
//! after the firing, so that it is shown later than it was, never earlier. A request's time begins a little after its
//! sending and counts from there here: a firing shows later than it was by that way, too. Where the beginning is known only
//! within bounds (a process's order, its last sign of life), a firing must not come before the limit has passed since the
//! first of them, and is late from the last.

mod attempts;
mod deadlines;
mod lateness;
mod lives;
mod load;
mod waits;

use std::time::Duration;

use lifeboat_client::{Client, TimeoutWhich};
use lifeboat_tests::chaos::METHODS;
use lifeboat_tests::harness::{Broker, CoreWaits, Stalls, Turn};

use self::attempts::Which;
use self::lateness::Lateness;
use self::load::Load;

/// The promise.
const BOUND: Duration = Duration::from_millis(20);

/// Workers on which limits fire, each with one request at a time.
const TIMED: usize = 8;

/// Any method that no pool names.
const STUCK: &str = "stuck";

/// Workers whose processes are never ready, and the time that they have.
const STARTING: usize = 4;
const START_TIMEOUT: Duration = Duration::from_millis(400);

/// Workers that are stopped, their method, and for how long their heartbeats may stay away.
const BEATING: usize = 4;
const BEAT: &str = METHODS[0].0;
const PATIENCE: Duration = Duration::from_millis(400);

/// At most so many rounds until the machine stands still seldom enough to tell.
const ROUNDS: usize = 3;

/// A pool that is never without work, and those whose requests and processes run into limits.
fn config() -> String {
    format!(
        r#"
[pools.load]
command = ["misbehave", "sdk"]
workers = 6
queue = {{ max_requests = 8192 }}
[pools.load.methods.wait]

[pools.timed]
command = ["misbehave", "raw"]
workers = {TIMED}
cancel_grace = "5s"
restart = {{ initial = "1ms", max = "10ms", max_restarts = "unlimited" }}
[pools.timed.methods.act]

[pools.starting]
command = ["misbehave", "never-ready"]
workers = {STARTING}
start_timeout = "400ms"
restart = {{ initial = "5s", max = "5s", max_restarts = "unlimited" }}
[pools.starting.methods.nothing]

[pools.beating]
command = ["misbehave", "chaos-sdk"]
workers = {BEATING}
heartbeat = {{ interval = "200ms", missed = 2 }}
[pools.beating.methods.{BEAT}]

[pools.stuck]
command = ["misbehave", "raw"]
accept_any_method = true
cancel_grace = "0s"
stop_grace = "0s"
"#
    )
}

fn millis(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(40..400))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a short time")
}

/// Every limit, some hundred times.
async fn round(broker: &Broker, client: &Client, load: &Load) -> Result<(), String> {
    let (stalls, core_waits) = (Stalls::watch(), CoreWaits::watch(broker.pid(), "data plane"));
    let mut seen = Vec::new();
    for (what, which) in [
        ("attempt_timeout, its cancel frame read", Which::Attempt),
        ("progress_timeout, its cancel frame read", Which::Progress),
        ("output_timeout, its cancel frame read", Which::Output),
    ] {
        seen.push((what, 20 * TIMED, attempts::fire(client, which, 20).await));
        load.flies(broker).await;
    }
    for (what, which) in [
        ("deadline of what waits, its error read", TimeoutWhich::Deadline),
        ("queue_timeout, its error read", TimeoutWhich::Queue),
    ] {
        seen.push((what, 500, waits::fire(broker, client, which, 500).await));
        load.flies(broker).await;
    }
    let dead = deadlines::fire(broker, client, 15).await;
    seen.push(("deadline of what runs, its process dead", 15 * TIMED / 2, dead));
    load.flies(broker).await;
    let dead = lives::heartbeats(broker, client, 8).await;
    seen.push(("heartbeat, the stopped process dead", 8 * BEATING, dead));
    load.flies(broker).await;
    let dead = lives::starts(broker, client, 6).await;
    seen.push(("start_timeout, its process dead", 6 * STARTING, dead));
    load.flies(broker).await;
    let (stalled, waited) = (stalls.end(), core_waits.end());
    let checked: Vec<_> = seen
        .iter()
        .map(|(what, wanted, firings)| {
            Lateness::of(*wanted, firings, &stalled, &waited).check(what, stalled.longest())
        })
        .collect();
    checked.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_39_limits_fire_on_time_under_load() {
    let _turn = Turn::alone();
    let broker = Broker::start(config()).await;
    let client = broker.client().await;
    lives::rest(&broker, &client).await;
    lives::others_serve(&broker).await;
    let load = Load::start(&broker).await;
    let mut bad = Vec::new();
    while let Err(why) = round(&broker, &client, &load).await {
        println!("another round: {why}");
        bad.push(why);
        assert!(bad.len() < ROUNDS, "this machine stands still too often: {bad:#?}");
    }
    drop(load);
    assert_eq!(broker.metrics().await.count("requests_past_deadline_total", &[]), 0);
    broker.stop();
}
