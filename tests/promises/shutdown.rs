//! Planned ends: what runs is finished, nothing new is taken, nothing is left.

use std::time::{Duration, Instant};

use lifeboat_client::CallError;
use lifeboat_protocol::{OutcomeLabel, RejectWhy};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, RawClient, SLACK, Turn, eventually};

use crate::common::{begun, busy, config, echo, plain, within};

#[tokio::test]
async fn sigterm_finishes_what_runs_and_refuses_the_rest() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let mut raw = RawClient::greeted(broker.socket()).await;
    echo(&client, 1).await;
    let trace = broker.room().path().join("trace");
    let running = tokio::spawn({
        let (client, act) = (client.clone(), Act::new(Deed::EchoAfter(1_000)).tag(42).traced(&trace));
        async move { client.call(act).await }
    });
    begun(&trace).await;
    let queued = tokio::spawn({
        let client = client.clone();
        async move { client.call(Act::echo(2)).await }
    });
    eventually(LIMIT, "it waits", async || broker.metrics().await.sum("queue_depth", &[("pool", "p")]) > 0.0)
        .await;

    broker.terminate();

    let error = queued.await.expect("no panic").expect_err("a queued request is closed");
    assert!(matches!(&error, CallError::Closed { attempts, .. } if attempts.is_empty()), "{error:?}");
    assert!(!error.may_have_executed() && error.is_retryable());
    let ready = broker.page("/readyz").await.expect("/readyz answers while draining");
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert_eq!(broker.page("/livez").await.expect("/livez answers while draining").status, 200);
    raw.request::<Act>(1, &Act::echo(3)).await;
    let refused = loop {
        let message = raw.receive().await.expect("a request has an end");
        if message.route.is_some() {
            break message.error();
        }
    };
    assert!(
        refused.outcome == OutcomeLabel::Closed || refused.why == Some(RejectWhy::Draining),
        "a new request is refused: {refused:?}"
    );
    let acted = running.await.expect("no panic").expect("what runs is finished");
    assert_eq!(acted.tag, 42);
    broker.ended();
}

/// SIGTERM right after a request was sent to its worker: it is finished, or it is closed and never ran.
#[tokio::test]
async fn sigterm_at_the_moment_of_dispatch() {
    let _turn = Turn::shared();
    for round in 0..20 {
        let broker = Broker::start(plain()).await;
        let client = broker.client().await;
        echo(&client, 1).await;
        let trace = broker.room().path().join("trace");
        let act = Act::new(Deed::EchoAfter(20)).tag(round).traced(&trace);
        let sent = tokio::spawn(async move { client.call(act).await });
        busy(&broker, 1).await;
        broker.terminate();
        match sent.await.expect("no panic") {
            Ok(acted) => assert_eq!(acted.tag, round),
            Err(CallError::Closed { .. }) => assert!(!trace.exists(), "it was executed and not answered"),
            Err(error) => panic!("{error:?}"),
        }
        broker.ended();
    }
}

#[tokio::test]
async fn an_idle_broker_stops_at_once() {
    let _turn = Turn::shared();
    for kind in ["sdk", "raw"] {
        let broker = Broker::start(config(kind, 4, "", "")).await;
        broker.ready().await;
        let _client = broker.client().await;
        broker.all_idle().await;
        let began = Instant::now();
        broker.stop();
        assert!(began.elapsed() < Duration::from_secs(1), "{kind}: an idle stop took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn story_16_a_second_sigterm_closes_what_runs() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", "")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let hanging: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call(Act::new(Deed::Litter(Box::new(Deed::Hang)))).await })
        })
        .collect();
    busy(&broker, 2).await;
    broker.terminate();
    eventually(LIMIT, "it drains", async || broker.log().contains("draining")).await;
    let began = Instant::now();
    broker.terminate();
    for call in hanging {
        let error = call.await.expect("no panic").expect_err("nothing is finished");
        assert!(matches!(error, CallError::Closed { .. }), "planned, so never a crash: {error:?}");
    }
    broker.ended();
    assert!(began.elapsed() < Duration::from_secs(2), "the second signal took {:?}", began.elapsed());
}

/// After `drain_timeout`, what still runs is ended; its request is closed, and never called a crash.
#[tokio::test]
async fn a_drain_has_an_end() {
    let _turn = Turn::shared();
    let text = config("sdk", 1, "cancel_grace = \"100ms\"\nstop_grace = \"200ms\"", "");
    let broker = Broker::start(format!("[broker]\ndrain_timeout = \"500ms\"\n{text}")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let trace = broker.room().path().join("trace");
    let hanging = tokio::spawn({
        let (client, act) = (client.clone(), Act::new(Deed::Hang).traced(&trace));
        async move { client.call(act).await }
    });
    begun(&trace).await;
    let began = Instant::now();
    broker.terminate();
    let error = hanging.await.expect("no panic").expect_err("it hangs");
    assert!(matches!(error, CallError::Closed { .. }), "{error:?}");
    assert!(error.may_have_executed());
    within(began.elapsed(), Duration::from_millis(500), Duration::from_millis(800) + SLACK);
    broker.ended();
}

#[tokio::test]
async fn story_09_a_worker_that_ignores_sigterm_is_killed_tree_and_all() {
    let _turn = Turn::shared();
    let graces = "cancel_grace = \"200ms\"\nstop_grace = \"600ms\"";
    let mut broker = Broker::start(config("raw-stubborn", 1, graces, "")).await;
    let client = broker.client().await;
    let before = client.call(Act::new(Deed::Litter(Box::new(Deed::Echo)))).await.expect("it answers");
    eventually(LIMIT, "worker, child and daemon live", async || {
        broker.tree_of(&before.worker, before.incarnation).len() == 3
    })
    .await;
    broker.terminate();
    let (_, took) = broker.wait_for_exit(LIMIT);
    // It checks that nothing is left.
    broker.ended();
    within(took, Duration::from_millis(600), Duration::from_millis(800) + SLACK);
}

/// A process that dies while the broker drains is replaced by nobody, and its request is closed.
#[tokio::test]
async fn story_16_a_crash_while_draining_is_closed() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "", r#"retry = { max_attempts = 3 }"#)).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let trace = broker.room().path().join("trace");
    let dying = tokio::spawn({
        let act = Act::new(Deed::Flood(400)).traced(&trace);
        let client = client.clone();
        async move { client.call(act).await }
    });
    begun(&trace).await;
    broker.terminate();
    let error = dying.await.expect("no panic").expect_err("it dies");
    assert!(matches!(error, CallError::Closed { .. }), "{error:?}");
    let executions = std::fs::read_to_string(&trace).expect("it ran").lines().count();
    assert_eq!(executions, 1, "no retry while draining");
    broker.ended();
}

/// SIGTERM before any worker is ready, and in the middle of a crash loop.
#[tokio::test]
async fn a_stop_while_nothing_works() {
    let _turn = Turn::shared();
    for command in
        [r#"["misbehave", "never-ready"]"#, r#"["misbehave", "fail-start"]"#, r#"["sleep", "1000"]"#]
    {
        let text = format!("[pools.p]\ncommand = {command}\nworkers = 4\n[pools.p.methods.act]");
        let broker = Broker::start(text).await;
        let client = broker.client().await;
        let waiting = tokio::spawn(async move { client.call(Act::echo(1)).await });
        eventually(LIMIT, "it waits", async || {
            broker.metrics().await.sum("queue_depth", &[("pool", "p")]) > 0.0
        })
        .await;
        let began = Instant::now();
        broker.stop();
        assert!(began.elapsed() < Duration::from_secs(2), "{command}: {:?}", began.elapsed());
        let error = waiting.await.expect("no panic").expect_err("nobody could answer");
        assert!(matches!(error, CallError::Closed { .. }), "{error:?}");
    }
}
