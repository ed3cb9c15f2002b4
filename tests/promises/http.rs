//! The HTTP routes answer while everything else is busy, hung or crashing.

use std::time::{Duration, Instant};

use lifeboat_client::Client;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, Turn};
use tokio::task::JoinHandle;

use crate::common::{busy, config, echo};

/// Asks every route, over and over, for as long as it takes to see a fault; `ready` is what `/readyz` must say.
#[expect(clippy::print_stdout, reason = "the times are shown with --nocapture")]
async fn asked(broker: &Broker, rounds: u32, ready: Option<u16>) {
    let mut times = Vec::new();
    for _ in 0..rounds {
        for path in ["/livez", "/readyz", "/worker-health", "/metrics", "/"] {
            let began = Instant::now();
            let page =
                broker.page(path).await.unwrap_or_else(|error| panic!("{path} does not answer: {error}"));
            times.push(began.elapsed());
            match (path, ready) {
                ("/readyz", Some(status)) => assert_eq!(page.status, status, "{path}: {}", page.body),
                ("/readyz", None) => assert!([200, 503].contains(&page.status), "{path}: {}", page.body),
                _ => assert_eq!(page.status, 200, "{path}: {}", page.body),
            }
        }
    }
    times.sort();
    let worst = times[times.len() - 1];
    println!("half within {:?}, all within {worst:?}", times[times.len() / 2]);
    assert!(worst < Duration::from_secs(1), "the slowest answer took {worst:?}");
}

/// Many calls at once, whose ends are nobody's business here.
fn load(client: &Client, calls: u64, deed: &Deed) -> Vec<JoinHandle<()>> {
    let call = |tag| {
        let (client, act) = (client.clone(), Act::new(deed.clone()).tag(tag));
        tokio::spawn(async move { drop(client.call(act).await) })
    };
    (0..calls).map(call).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_35_while_everything_is_hung() {
    let _turn = Turn::shared();
    let graces = "cancel_grace = \"0s\"\nstop_grace = \"0s\"";
    let broker = Broker::start(config("sdk", 3, graces, "")).await;
    let client = broker.client().await;
    broker.all_idle().await;
    let calls = load(&client, 50, &Deed::Hang);
    busy(&broker, 3).await;
    // Busy is not unready.
    asked(&broker, 40, Some(200)).await;
    let health = broker.health().await;
    assert!(health["status"].is_string() && health["timestamp"].is_u64(), "{health}");
    for worker in ["p-0", "p-1", "p-2"] {
        let worker = &health["workers"][worker];
        assert_eq!((worker["status"].as_str(), worker["state"].as_str()), (Some("busy"), Some("busy")));
        for key in ["idleTime", "timeSinceProgress", "incarnation", "slots", "lastCrash"] {
            assert!(worker.get(key).is_some(), "{key}: {worker}");
        }
        assert_eq!(worker["currentTask"]["method"], "act");
        assert!(worker["taskDuration"].as_u64().is_some_and(|millis| millis > 0), "{worker}");
        assert_eq!(
            (worker["healthy"].as_bool(), worker["consecutiveFailures"].as_u64()),
            (Some(true), Some(0))
        );
        assert!(
            worker["pid"].is_u64() && worker["lastActivity"].is_u64() && worker["taskStartTime"].is_u64()
        );
    }
    for call in calls {
        call.abort();
    }
    broker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_35_while_everything_is_busy() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", "")).await;
    broker.all_idle().await;
    let client = broker.client().await;
    let echoing: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                loop {
                    client.call(Act::echo(1)).await.expect("an echo");
                }
            })
        })
        .collect();
    asked(&broker, 60, Some(200)).await;
    for task in echoing {
        assert!(!task.is_finished(), "an echo failed");
        task.abort();
    }
    broker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_35_while_everything_crashes() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 3, "", "")).await;
    let client = broker.client().await;
    broker.all_idle().await;
    let crashing: Vec<_> = (0..6)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                loop {
                    client.call(Act::new(Deed::Abort)).await.expect_err("it aborts");
                }
            })
        })
        .collect();
    let deaths =
        async || broker.metrics().await.count("worker_crashes_total", &[("pool", "p"), ("reason", "signal")]);
    while deaths().await < 100 {
        asked(&broker, 60, None).await;
    }
    for task in crashing {
        assert!(!task.is_finished(), "a crash was answered");
        task.abort();
    }
    broker.stop();
}

#[tokio::test]
async fn health_tells_failures_and_forgets_them_at_the_first_success() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    for failures in 1..=3_u64 {
        client.call(Act::new(Deed::Exit(1))).await.expect_err("it exits");
        let health = broker.health().await;
        let worker = &health["workers"]["p-0"];
        assert_eq!(worker["consecutiveFailures"], failures, "{worker}");
        assert_eq!(worker["healthy"], failures < 3, "{worker}");
        assert_eq!(worker["lastCrash"]["reason"], "exit", "{worker}");
        assert_eq!(worker["status"], "idle", "a dead task is no current task: {worker}");
    }
    echo(&client, 1).await;
    let health = broker.health().await;
    let worker = &health["workers"]["p-0"];
    assert_eq!((worker["consecutiveFailures"].as_u64(), worker["healthy"].as_bool()), (Some(0), Some(true)));
    broker.stop();
}

#[tokio::test]
async fn routes_that_are_not_there() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    assert_eq!(broker.page("/nothing").await.expect("an answer").status, 404);
    broker.stop();
}
