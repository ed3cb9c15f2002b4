//! Requests that a handler makes of its own broker.

use std::future::IntoFuture as _;
use std::time::Duration;

use lifeboat_tests::act::{Act, Ask, Deed, Nest, NestBlocking, Nested};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};

use crate::calls::executions;
use crate::common::{timed, within};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A pool that asks, and one that is asked.
const TWO: &str = r#"
[pools.outer]
command = ["misbehave", "sdk"]
[pools.outer.methods.nest]
[pools.outer.methods.nest-blocking]

[pools.inner]
command = ["misbehave", "sdk"]
cancel_grace = "50ms"
stop_grace = "100ms"
restart = { initial = "1ms", max = "10ms", max_restarts = "unlimited" }
[pools.inner.methods.act]
[pools.inner.methods.see]
"#;

fn nest(ask: Ask) -> Nest {
    Nest { ask, detached: false, spawned: false }
}

async fn asked(broker: &Broker, request: Nest) -> Nested {
    let client = broker.client().await;
    let request = client.request(request).timeout(LIMIT).trace_context(TRACE, "vendor=1");
    request.await.expect("it tells what came of it").into_inner()
}

#[tokio::test]
async fn a_nested_request_has_the_time_and_the_trace_of_the_one_that_makes_it() {
    let _turn = Turn::shared();
    let broker = Broker::start(TWO).await;
    for spawned in [false, true] {
        let seen = asked(&broker, Nest { spawned, ..nest(Ask::See) }).await.seen.expect("it was answered");
        let left = seen.left.map(Duration::from_millis).expect("there is a deadline");
        assert!(left <= LIMIT && left > LIMIT / 2, "{left:?}");
        assert_eq!(seen.trace, Some((TRACE.to_owned(), "vendor=1".to_owned())));
    }
    let seen = asked(&broker, Nest { detached: true, ..nest(Ask::See) }).await.seen.expect("answered");
    assert!(seen.left.is_some_and(|left| Duration::from_millis(left) > LIMIT), "{seen:?}");
    assert_eq!(seen.trace, None);
    broker.stop();
}

#[tokio::test]
async fn a_client_that_blocks_has_them_too_in_a_handler_that_blocks_and_in_its_threads() {
    let _turn = Turn::shared();
    let broker = Broker::start(TWO).await;
    let client = broker.client().await;
    for threaded in [false, true] {
        let request = client.request(NestBlocking { threaded }).timeout(LIMIT);
        let nested = request.trace_context(TRACE, "vendor=1").await.expect("it tells what came of it");
        let seen = nested.into_inner().seen.expect("it was answered");
        let left = seen.left.map(Duration::from_millis).expect("there is a deadline");
        assert!(left <= LIMIT && left > LIMIT / 2, "{left:?}");
        assert_eq!(seen.trace, Some((TRACE.to_owned(), "vendor=1".to_owned())));
    }
    broker.stop();
}

#[tokio::test]
async fn the_death_of_the_worker_that_is_asked_is_an_error_of_the_call_alone() {
    let _turn = Turn::shared();
    let broker = Broker::start(TWO).await;
    let first = asked(&broker, nest(Ask::Act(Act::new(Deed::Exit(3))))).await;
    let expected = ("Worker crashed (exit code 3) while processing 'act'".to_owned(), true);
    assert_eq!(first.error, Some(expected));
    let second = asked(&broker, nest(Ask::See)).await;
    assert_eq!((second.pid, second.error), (first.pid, None), "whoever asked serves on");
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("worker_crashes_total", &[("pool", "outer")]), 0);
    assert_eq!(metrics.count("worker_crashes_total", &[("pool", "inner"), ("reason", "exit")]), 1);
    broker.stop();
}

#[tokio::test]
async fn what_is_asked_ends_with_the_request_that_asks() {
    let _turn = Turn::shared();
    let broker = Broker::start(TWO).await;
    let client = broker.client().await;
    let trace = broker.room().path().join("trace");
    let hangs = || nest(Ask::Act(Act::new(Deed::Hang).traced(&trace)));

    let limit = Duration::from_millis(500);
    let (late, took) = timed(client.request(hangs()).timeout(limit)).await;
    assert!(late.is_err_and(|error| error.to_string().contains("timed out: deadline")));
    within(took, limit, LIMIT);
    // Its own deadline passes at the same time as that of the handler, whose process is killed, and its client with it.
    let ended = async |outcomes: &[&str]| {
        let metrics = broker.metrics().await;
        let count = |outcome| metrics.count("requests_total", &[("pool", "inner"), ("outcome", outcome)]);
        outcomes.iter().map(|outcome| count(*outcome)).sum::<u64>()
    };
    eventually(LIMIT, "the nested one has ended", async || ended(&["timed_out", "cancelled"]).await == 1)
        .await;
    let before = ended(&["cancelled"]).await;

    let dropped = tokio::spawn(client.request(hangs()).into_future());
    eventually(LIMIT, "the second one has begun", async || executions(&trace).len() == 2).await;
    dropped.abort();
    eventually(LIMIT, "the nested one is cancelled too", async || ended(&["cancelled"]).await == before + 1)
        .await;
    broker.stop();
}
