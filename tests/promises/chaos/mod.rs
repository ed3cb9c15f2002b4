//! Chaos: three pools, eight client processes, every fault at random, from inside and from outside, and an account at the
//! end that must balance. A fourth pool is sent the same few bodies, for the sake of its quarantine.
//!
//! The seed chooses the faults (`LIFEBOAT_CHAOS_SEED` repeats it, as far as a machine repeats anything); it takes a minute,
//! or `LIFEBOAT_CHAOS_MINUTES`, which `tests/run --chaos` sets.

mod account;
mod books;
mod fleet;
mod injector;
mod truth;
mod watched;

use std::path::Path;
use std::time::{Duration, Instant};

use lifeboat_tests::chaos::METHODS;
use lifeboat_tests::harness::{Broker, Metrics, Turn, until_some};
use serde_json::Value;

use self::books::Books;
use self::fleet::Fleet;
use self::injector::Injector;
use self::watched::Watched;

/// How long the chaos takes, in minutes, and what chooses it.
const MINUTES: &str = "LIFEBOAT_CHAOS_MINUTES";
const SEED: &str = "LIFEBOAT_CHAOS_SEED";

/// How long the last calls and the last deaths may take: more than the longest deadline and all graces.
const SETTLING: Duration = Duration::from_secs(30);

/// How long clients send while the broker is told to end.
const LAST_LOAD: Duration = Duration::from_secs(1);

/// The pools differ in everything that matters to a death: slots, prefetch, retries, recycling, heartbeats, what becomes of
/// the requests of clients that went away, and what is done when there is no room.
fn config(seed: u64, state: &Path) -> String {
    let methods = |pool: &str, policy: &str| -> String {
        let own = METHODS.iter().filter(|(_, of, _)| of.name() == pool);
        own.map(|(name, ..)| format!("[pools.{pool}.methods.{name}]\n{policy}\n")).collect()
    };
    format!(
        r#"
[broker]
drain_timeout = "2s"
state_dir = {:?}

[pools.plain]
command = ["misbehave", "chaos-sdk"]
workers = 3
cancel_grace = "50ms"
stop_grace = "50ms"
queue = {{ max_requests = 12 }}
limits = {{ memory = "96MiB" }}
heartbeat = {{ interval = "300ms", missed = 5 }}
output = {{ log = false }}
restart = {{ initial = "1ms", max = "20ms", max_restarts = "unlimited" }}
[pools.plain.defaults]
deadline = "8s"
attempt_timeout = "3s"
{}
[pools.wide]
command = ["misbehave", "chaos-sdk"]
workers = 2
slots = 3
prefetch = 2
cancel_grace = "100ms"
stop_grace = "20ms"
heartbeat = {{ interval = "500ms", missed = 4 }}
recycle = {{ requests = 150, age = "20s" }}
output = {{ log = false }}
restart = {{ initial = "1ms", max = "20ms", max_restarts = "unlimited" }}
[pools.wide.defaults]
deadline = "8s"
attempt_timeout = "1s"
retry = {{ on = ["crash", "stall", "timeout", "failed"], max_attempts = 3, backoff = {{ then = "20ms", max = "100ms" }} }}
{}
[pools.raw]
command = ["misbehave", "chaos-raw", "{seed}"]
workers = 3
prefetch = 3
start_timeout = "1s"
cancel_grace = "0s"
stop_grace = "100ms"
on_disconnect = "finish"
on_busy = "reject"
recycle = {{ requests = 300 }}
output = {{ log = false }}
restart = {{ initial = "1ms", max = "50ms", max_restarts = 8, window = "5s" }}
[pools.raw.defaults]
deadline = "8s"
attempt_timeout = "700ms"
{}
{}"#,
        state.display().to_string(),
        methods("plain", ""),
        methods("wide", ""),
        methods("raw", ""),
        watched::config()
    )
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

/// Waits until the last request has ended and each process that was started is a worker's only one, or is counted as
/// dead, for one reason, or as gone by plan; and counts: what is counted then is whole.
async fn settled(broker: &Broker) -> Metrics {
    until_some(
        SETTLING,
        "nothing runs, waits, starts or dies any more, and every process is counted",
        async || {
            let metrics = broker.metrics().await;
            let health = broker.health().await;
            let workers = health["workers"].as_object().expect("health has workers");
            let idle = |worker: &Value| {
                let serves = worker["state"] == "ready" || worker["state"] == "degraded";
                serves && worker["status"] == "idle"
            };
            let count = |name: &str| metrics.count(name, &[]);
            let gone = count("worker_crashes_total") + count("worker_recycles_total");
            let quiet = workers.values().all(idle)
                && metrics.sum("queue_depth", &[]) == 0.0
                && count("worker_starts_total") == gone + workers.len() as u64;
            quiet.then_some(metrics)
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_accounted_for() {
    let _turn = Turn::alone();
    let length = Duration::from_secs(number(MINUTES).unwrap_or(1) * 60);
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("chaos for {length:?}; repeat it with {SEED}={seed}");
    let state = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(config(seed, state.path())).await;
    broker.ready().await;

    let mut fleet = Fleet::launch(&broker, seed);
    let watched = Watched::begin(&broker, seed).await;
    let mut injector = Injector::new(&broker, seed).await;
    let ends = Instant::now() + length;
    while Instant::now() < ends {
        injector.strike(&broker, &mut fleet).await;
    }
    injector.calm(&broker).await;
    fleet.come_home(SETTLING).await;
    let watch = watched.come_home().await;

    let metrics = settled(&broker).await;
    let books = Books::read(broker.room().path(), &fleet);
    account::balances(&books, &metrics);
    truth::holds(&books, injector.struck(), &metrics);
    watch.holds(injector.struck());
    assert!(!broker.log().contains("confidence=\"unknown\""), "every death has a reason");

    let mut fleet = Fleet::launch_again(&broker, seed);
    tokio::time::sleep(LAST_LOAD).await;
    broker.terminate();
    fleet.come_home(SETTLING).await;
    let books = Books::read(broker.room().path(), &fleet);
    broker.ended();
    account::ends_with_the_broker(&books);
}
