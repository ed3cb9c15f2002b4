//! Calls that nobody waits for any more: their slots are freed, and nobody else notices.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lifeboat_client::ConfidenceLabel;
use lifeboat_tests::act::{Act, Deed, Wait};
use lifeboat_tests::harness::{Broker, LIMIT, MARK_VARIABLE, RawClient, SLACK, Turn, caller, eventually};

use crate::calls::{all_begun, ended, open, sent};
use crate::common::{begun, busy, config, crashes, echo, within};

#[tokio::test]
async fn a_dropped_call_of_a_cooperative_handler_costs_no_process() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    for tag in 0..20 {
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.call(Wait { millis: 60_000 }).await }
        });
        busy(&broker, 1).await;
        call.abort();
        let began = Instant::now();
        let after = echo(&client, tag).await;
        assert_eq!(after.pid, before.pid, "the process survives a cancel that it heeds");
        assert!(began.elapsed() < Duration::from_secs(1), "the slot was freed after {:?}", began.elapsed());
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("method", "wait"), ("outcome", "cancelled")]), 20);
    assert!(metrics.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}

#[tokio::test]
async fn a_dropped_call_of_a_deaf_handler_is_killed_after_the_graces() {
    let _turn = Turn::shared();
    let graces = "cancel_grace = \"300ms\"\nstop_grace = \"300ms\"";
    let broker = Broker::start(config("sdk", 1, graces, "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(Act::new(Deed::Litter(Box::new(Deed::Hang)))).await }
    });
    eventually(LIMIT, "worker, child and daemon live", async || {
        broker.tree_of(&before.worker, before.incarnation).len() == 3
    })
    .await;
    call.abort();
    let began = Instant::now();
    let after = echo(&client, 2).await;
    within(began.elapsed(), Duration::from_millis(590), Duration::from_millis(600) + SLACK);
    assert_ne!(after.pid, before.pid);
    assert!(broker.tree_of(&before.worker, before.incarnation).is_empty());
    crashes(&broker, "cancelled", 1).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("worker_kills_total", &[("reason", "cancelled")]), 1);
    assert_eq!(metrics.count("requests_total", &[("method", "act"), ("outcome", "cancelled")]), 1);
    broker.stop();
}

/// A call that is dropped while it waits in the queue is never executed.
#[tokio::test]
async fn a_dropped_call_in_the_queue_never_runs() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    let trace = broker.room().path().join("trace");
    echo(&client, 1).await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.call(Act::new(Deed::EchoAfter(500))).await }
    });
    busy(&broker, 1).await;
    let waiting = tokio::spawn({
        let (client, act) = (client.clone(), Act::echo(2).traced(&trace));
        async move { client.call(act).await }
    });
    eventually(LIMIT, "it waits", async || broker.metrics().await.sum("queue_depth", &[("pool", "p")]) > 0.0)
        .await;
    waiting.abort();
    running.await.expect("no panic").expect("the running one is not touched");
    echo(&client, 3).await;
    assert!(!trace.exists(), "it was executed");
    assert_eq!(broker.metrics().await.count("requests_total", &[("outcome", "cancelled")]), 1);
    broker.stop();
}

#[tokio::test]
async fn story_11_a_client_that_dies_frees_its_slots() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 3, "", "")).await;
    let other = broker.client().await;
    broker.all_idle().await;
    for _ in 0..3 {
        let mut dying = Command::new(caller())
            .args([broker.socket().as_os_str(), "10".as_ref(), "60000".as_ref()])
            .env(MARK_VARIABLE, broker.room().mark().value())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        let mut lines = BufReader::new(dying.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "sent");
        busy(&broker, 3).await;
        let undisturbed = tokio::spawn({
            let other = other.clone();
            async move { other.request(Act::echo(7)).timeout(LIMIT).await }
        });
        dying.kill().expect("it lives");
        dying.wait().expect("it is a child");
        let acted = undisturbed.await.expect("no panic").expect("the other client's call is answered");
        assert_eq!(acted.tag, 7);
        broker.all_idle().await;
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("outcome", "cancelled")]), 30);
    assert_eq!(metrics.sum("client_connections", &[]), 1.0);
    assert_eq!(metrics.sum("queue_depth", &[("pool", "p")]), 0.0);
    assert!(
        metrics.by("worker_crashes_total", "reason").is_empty(),
        "handlers that heed the cancel cost no process"
    );
    broker.stop();
}

/// With `on_disconnect = "finish"` the work goes on, and its result is nobody's.
#[tokio::test]
async fn story_11_on_disconnect_finish_lets_the_work_go_on() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "on_disconnect = \"finish\"", "")).await;
    let other = broker.client().await;
    let before = echo(&other, 1).await;
    // Without the SDK, which would write a cancel first.
    let mut gone = RawClient::greeted(broker.socket()).await;
    let trace = broker.room().path().join("trace");
    gone.request::<Act>(1, &Act::new(Deed::EchoAfter(300)).traced(&trace)).await;
    begun(&trace).await;
    drop(gone);
    assert_eq!(echo(&other, 2).await.pid, before.pid);
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("outcome", "ok")]), 3, "it was finished");
    assert_eq!(metrics.count("requests_total", &[("outcome", "cancelled")]), 0);
    assert!(metrics.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}

/// What one slot's handler does while the broker waits for another to heed its cancel is its own deed.
#[tokio::test]
async fn an_exit_beside_a_cancelled_call_is_told_as_an_exit() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "slots = 2\ncancel_grace = \"60s\"", "")).await;
    let client = broker.client().await;
    let file = |name: &str| broker.room().path().join(name);
    let deaf = sent(client.request(Act::new(Deed::Hang).traced(file("deaf"))));
    all_begun(&file("deaf"), 1).await;
    let exits = Act::when(file("exit"), Deed::Exit(3)).traced(file("exits"));
    let exits = sent(client.request(exits));
    all_begun(&file("exits"), 1).await;
    deaf.abort();
    eventually(LIMIT, "its cancel has come", async || {
        broker.metrics().await.count("requests_total", &[("method", "act"), ("outcome", "cancelled")]) == 1
    })
    .await;
    open(&file("exit"));
    let error = ended(exits).await.expect_err("it exits");
    let reason = error.crash_reason().expect("it is a crash");
    let confidence = ConfidenceLabel::Proven;
    assert_eq!((reason.label(), reason.exit_code(), reason.confidence()), ("exit", Some(3), confidence));
    crashes(&broker, "exit", 1).await;
    assert_eq!(broker.metrics().await.count("worker_kills_total", &[]), 0, "the broker has killed nobody");
    broker.stop();
}
