//! Retries: asked for, counted, and on another worker.

use std::fs;
use std::time::Duration;

use lifeboat_client::{AttemptReport, CallError, RetryOn};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};

use crate::common::{config, echo, timed, within};

const CRASH_3: &str = r#"retry = { on = ["crash"], max_attempts = 3 }"#;

/// How often the requests of a trace were executed.
fn executions(file: &std::path::Path) -> usize {
    fs::read_to_string(file).map(|trace| trace.lines().count()).unwrap_or_default()
}

fn attempts_of(error: &CallError) -> (u16, u16, Vec<AttemptReport>) {
    let CallError::WorkerCrashed { attempt, max_attempts, attempts, .. } = error else { panic!("{error:?}") };
    (*attempt, *max_attempts, attempts.to_vec())
}

/// Both workers have answered once, so that a crash of either is replaced at once.
async fn warm(client: &lifeboat_client::Client) {
    let mut seen = std::collections::BTreeSet::new();
    eventually(LIMIT, "both workers answer", async || {
        seen.insert(echo(client, 1).await.worker);
        seen.len() == 2
    })
    .await;
}

#[tokio::test]
async fn story_17_never_without_being_asked() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", "")).await;
    let client = broker.client().await;
    for (number, deed) in [Deed::Exit(1), Deed::Abort, Deed::Panic].into_iter().enumerate() {
        let trace = broker.room().path().join(format!("trace-{number}"));
        let error = client.call(Act::new(deed).traced(&trace)).await.expect_err("it crashes");
        let (attempt, max_attempts, attempts) = attempts_of(&error);
        assert_eq!((attempt, max_attempts, attempts.len()), (1, 1, 1));
        echo(&client, 1).await;
        assert_eq!(executions(&trace), 1, "executed once");
    }
    assert_eq!(broker.metrics().await.sum("retries_total", &[]), 0.0);
    broker.stop();
}

/// A caller may tighten what the configuration allows, and not loosen it.
#[tokio::test]
async fn a_caller_tightens_and_does_not_loosen() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", CRASH_3)).await;
    let client = broker.client().await;
    for (asked, made) in [(1, 1), (2, 2), (3, 3), (9, 3)] {
        let error = client.request(Act::new(Deed::Exit(1))).retry(asked).await.expect_err("it crashes");
        let (attempt, _, attempts) = attempts_of(&error);
        assert_eq!((attempt, attempts.len()), (made, usize::from(made)), "asked for {asked}");
    }
    broker.stop();
}

#[tokio::test]
async fn story_38_on_a_different_worker() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", CRASH_3)).await;
    let client = broker.client().await;
    for _ in 0..20 {
        warm(&client).await;
        let error = client.call(Act::new(Deed::Exit(1))).await.expect_err("it crashes three times");
        let (attempt, max_attempts, attempts) = attempts_of(&error);
        assert_eq!((attempt, max_attempts), (3, 3));
        assert_eq!(error.to_string(), "Worker crashed after 3 attempts while processing 'act'");
        let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        for pair in attempts.windows(2) {
            assert_ne!(pair[0].worker, pair[1].worker, "{attempts:?}");
            assert_ne!(pair[0].pid, pair[1].pid);
            assert!(pair[0].start + pair[0].duration <= pair[1].start, "one after the other: {attempts:?}");
        }
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("retries_total", &[("reason", "exit")]), 40);
    assert_eq!(metrics.count("attempts_total", &[("end", "crashed")]), 60);
    assert_eq!(metrics.count("requests_total", &[("outcome", "crashed")]), 20);
    broker.stop();
}

#[tokio::test]
async fn in_a_pool_of_one_by_the_next_incarnation() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", CRASH_3)).await;
    let client = broker.client().await;
    let error = client.call(Act::new(Deed::Abort)).await.expect_err("it crashes three times");
    let (_, _, attempts) = attempts_of(&error);
    let lives: Vec<_> = attempts.iter().map(|attempt| attempt.incarnation).collect();
    assert_eq!(lives.len(), 3);
    assert!(lives.windows(2).all(|pair| pair[1] == pair[0] + 1), "{lives:?}");
    assert!(attempts.iter().all(|attempt| attempt.worker == "p-0"));
    broker.stop();
}

#[tokio::test]
async fn story_21_the_callers_future_stays_the_same() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", CRASH_3)).await;
    let client = broker.client().await;
    for deed in [Deed::Exit(1), Deed::Abort, Deed::Segfault, Deed::Panic, Deed::Signal(9)] {
        let trace = broker.room().path().join(format!("{deed:?}"));
        let act = Act::new(deed.clone()).tag(77).until(2).traced(&trace);
        let reply = client.request(act).timeout(LIMIT).await.expect("the third attempt answers");
        assert_eq!((reply.attempts(), reply.attempt, reply.tag), (3, 3, 77), "{deed:?}");
        assert_eq!(executions(&trace), 3);
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("outcome", "ok")]), 5);
    assert_eq!(metrics.count("requests_total", &[("outcome", "crashed")]), 0);
    broker.stop();
}

#[tokio::test]
async fn failures_only_where_both_say_so() {
    let _turn = Turn::shared();
    let broker =
        Broker::start(config("sdk", 2, "", r#"retry = { on = ["failed"], max_attempts = 3 }"#)).await;
    let client = broker.client().await;

    let reply =
        client.request(Act::new(Deed::Fail { retryable: true }).until(2)).await.expect("the third answers");
    assert_eq!(reply.attempts(), 3);

    let error =
        client.call(Act::new(Deed::Fail { retryable: true })).await.expect_err("it fails three times");
    let CallError::Failed { attempts, retryable: true, .. } = error else { panic!("{error:?}") };
    assert_eq!(attempts.len(), 3);
    assert!(attempts.windows(2).all(|pair| pair[0].worker != pair[1].worker), "{attempts:?}");

    let error = client.call(Act::new(Deed::Fail { retryable: false })).await.expect_err("it fails for good");
    assert_eq!(error.attempts().len(), 1, "the handler did not call it retryable");

    let error = client.call(Act::new(Deed::Exit(1))).await.expect_err("it crashes");
    assert_eq!(error.attempts().len(), 1, "nobody asked to retry crashes");

    assert_eq!(broker.metrics().await.count("retries_total", &[("reason", "failed")]), 4);
    broker.stop();
}

/// Handled errors and crashes draw on the same counter.
#[tokio::test]
async fn one_counter_for_all() {
    let _turn = Turn::shared();
    let policy = r#"
attempt_timeout = "300ms"
deadline = "30s"
retry = { on = ["crash", "failed", "timeout"], max_attempts = 3, backoff = { first = "0ms", then = "1ms" } }
"#;
    let broker = Broker::start(config(
        "sdk",
        2,
        r#"stop_grace = "10ms"
cancel_grace = "10ms""#,
        policy,
    ))
    .await;
    let client = broker.client().await;
    for deed in [Deed::Fail { retryable: true }, Deed::Exit(2), Deed::Hang] {
        let error = client.call(Act::new(deed.clone())).await.expect_err("it never works");
        assert_eq!(error.attempts().len(), 3, "{deed:?}: {error:?}");
    }
    broker.stop();
}

#[tokio::test]
async fn what_is_retried_may_be_narrowed_by_the_caller() {
    let _turn = Turn::shared();
    let policy = r#"retry = { on = ["crash", "failed"], max_attempts = 3 }"#;
    let broker = Broker::start(config("sdk", 2, "", policy)).await;
    let client = broker.client().await;
    let request = client.request(Act::new(Deed::Exit(1))).retry_on([RetryOn::Failed]);
    let error = request.await.expect_err("it crashes");
    assert_eq!(error.attempts().len(), 1, "the caller wants only failures retried: {error:?}");
    broker.stop();
}

#[tokio::test]
async fn not_sooner_than_the_handler_asks_and_not_past_the_deadline() {
    const WAIT: Duration = Duration::from_millis(300);
    let _turn = Turn::shared();
    let policy =
        r#"retry = { on = ["failed"], max_attempts = 3, backoff = { first = "0ms", then = "1ms" } }"#;
    let broker = Broker::start(config("sdk", 2, "", policy)).await;
    let client = broker.client().await;
    let asks = || Act::new(Deed::FailFor(300));

    let (reply, took) = timed(client.request(asks().until(1))).await;
    assert_eq!(reply.expect("the second attempt answers").attempts(), 2);
    within(took, WAIT, LIMIT);

    let (error, took) = timed(client.call(asks())).await;
    let error = error.expect_err("it fails three times");
    assert_eq!((error.attempts().len(), error.retry_after()), (3, Some(WAIT)), "{error:?}");
    within(took, 2 * WAIT, LIMIT);

    let (error, took) = timed(client.request(Act::new(Deed::FailFor(60_000))).timeout(LIMIT)).await;
    let error = error.expect_err("no attempt fits before the deadline");
    assert_eq!((error.attempts().len(), error.is_retryable()), (1, true), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    within(took, Duration::ZERO, LIMIT / 2);
    broker.stop();
}
