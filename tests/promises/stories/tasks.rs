//! What is known of a task while it runs, and that nothing of it is left afterwards, whichever way it ends.

use std::time::Duration;

use lifeboat_client::{CallError, RequestBuilder, RequestStateLabel, TimeoutWhich};
use lifeboat_tests::act::{Act, Deed, Sign};
use lifeboat_tests::harness::{Broker, LIMIT, SLACK, Turn, eventually, until_some};
use serde_json::Value;

use crate::calls::{Calling, ended, open, sent};
use crate::commands::lifeboat;
use crate::common::{config, echo, timed, within};

const GRACES: &str = "cancel_grace = \"50ms\"\nstop_grace = \"50ms\"";

async fn worker(broker: &Broker) -> Value {
    broker.health().await["workers"]["p-0"].clone()
}

/// Sends what says three times that it goes on and then waits for the gate. Once it does, all is known of it.
async fn running(broker: &Broker, request: impl FnOnce(Act) -> RequestBuilder<Act>, then: Deed) -> Calling {
    let gate = broker.room().path().join("gate");
    drop(std::fs::remove_file(&gate));
    let then = Box::new(Deed::When(gate, Box::new(then)));
    let before = worker(broker).await["lastActivity"].as_u64();
    let call = sent(request(Act::new(Deed::Signs { sign: Sign::Progress, times: 3, pause: 110, then })));
    let shown = until_some(LIMIT, "it runs, and its progress is known", async || {
        let shown = worker(broker).await;
        let since = shown["timeSinceProgress"].as_u64()?;
        (shown["taskDuration"].as_u64()? > since + 100).then_some(shown)
    })
    .await;
    assert_eq!((shown["status"].as_str(), &shown["consecutiveFailures"]), (Some("busy"), &Value::from(0)));
    let task = &shown["currentTask"];
    assert_eq!((task["method"].as_str(), task["attempt"].as_u64()), (Some("act"), Some(1)), "{shown}");
    assert!(task["requestId"].as_str().is_some_and(|id| !id.is_empty()), "{shown}");
    assert!(shown["taskStartTime"].is_u64() && shown["lastActivity"].as_u64() >= before, "{shown}");
    assert_eq!(&shown["slots"][0]["currentTask"], task);
    call
}

/// Nothing of a task is shown any more; so many failures in a row are.
async fn nothing_runs(broker: &Broker, how: &str, failures: u64) {
    let shown = until_some(LIMIT, "the worker is not busy", async || {
        let shown = worker(broker).await;
        (shown["status"] == "idle" && shown["state"] == "ready").then_some(shown)
    })
    .await;
    for key in ["currentTask", "taskStartTime", "taskDuration", "timeSinceProgress"] {
        assert!(shown[key].is_null(), "{key} after it {how}: {shown}");
    }
    let slots = shown["slots"].as_array().expect("it is ready");
    assert!(slots.iter().all(|slot| slot["state"] == "idle" && slot["currentTask"].is_null()), "{shown}");
    assert_eq!(shown["consecutiveFailures"], failures, "after it {how}: {shown}");
}

fn limited(request: RequestBuilder<Act>, which: TimeoutWhich) -> RequestBuilder<Act> {
    let limit = Duration::from_millis(1_500);
    match which {
        TimeoutWhich::Attempt => request.attempt_timeout(limit),
        TimeoutWhich::Progress => request.progress_timeout(limit),
        TimeoutWhich::Queue | TimeoutWhich::Output | TimeoutWhich::Deadline => request.timeout(limit),
    }
}

/// An answer, a panic, a crash, each limit, a cancel, a kill by a person: after none of them the worker seems busy.
#[tokio::test]
async fn story_33_a_task_is_known_while_it_runs_and_forgotten_however_it_ends() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, GRACES, "")).await;
    let client = broker.client().await;
    let plain = |act| client.request(act);
    let gate = broker.room().path().join("gate");
    for (how, deed, failures) in
        [("answered", Deed::Echo, 0), ("panicked", Deed::Panic, 1), ("crashed", Deed::Abort, 1)]
    {
        echo(&client, 1).await;
        let call = running(&broker, plain, deed).await;
        open(&gate);
        assert_eq!(ended(call).await.is_ok(), failures == 0, "{how}");
        nothing_runs(&broker, how, failures).await;
    }
    for which in [TimeoutWhich::Attempt, TimeoutWhich::Progress, TimeoutWhich::Deadline] {
        echo(&client, 1).await;
        let call = running(&broker, |act| limited(client.request(act), which), Deed::Echo).await;
        let ended = ended(call).await;
        assert!(matches!(ended, Err(CallError::TimedOut { which: told, .. }) if told == which), "{which}");
        nothing_runs(&broker, &format!("ran past its limit ({which})"), 1).await;
    }
    echo(&client, 1).await;
    running(&broker, plain, Deed::Echo).await.abort();
    nothing_runs(&broker, "was cancelled and killed", 1).await;
    echo(&client, 1).await;
    let call = running(&broker, plain, Deed::Echo).await;
    lifeboat(&broker, &["kill", "p-0"]).await.done();
    assert!(ended(call).await.is_err());
    nothing_runs(&broker, "was killed by a person", 1).await;
    echo(&client, 1).await;
    client.call(Act::new(Deed::Fail { retryable: false })).await.expect_err("it says no");
    nothing_runs(&broker, "failed", 1).await;
    echo(&client, 1).await;
    nothing_runs(&broker, "was answered", 0).await;
    broker.stop();
}

/// Output that flows all the time is no reason to let it run: the tree dies, and the caller has the last lines.
#[tokio::test]
async fn story_30_output_does_not_prolong_an_attempt() {
    const LIMITED: Duration = Duration::from_millis(900);
    let _turn = Turn::shared();
    let policy = "attempt_timeout = \"900ms\"\noutput_timeout = \"600ms\"";
    let broker = Broker::start(config("sdk", 1, GRACES, policy)).await;
    let client = broker.client().await;
    let before = client.call(Act::new(Deed::Litter(Box::new(Deed::Echo)))).await.expect("it answers");
    eventually(LIMIT, "worker, child and daemon live", async || {
        broker.tree_of(&before.worker, before.incarnation).len() == 3
    })
    .await;
    let then = Box::new(Deed::Hang);
    let act = Act::new(Deed::Signs { sign: Sign::Output, times: 10_000, pause: 20, then });
    let (result, took) = timed(client.call(act)).await;
    let error = result.expect_err("it runs too long");
    let CallError::TimedOut { which: TimeoutWhich::Attempt, limit: Some(LIMITED), attempts, .. } = &error
    else {
        panic!("{error:?}")
    };
    within(took, LIMITED, LIMITED + Duration::from_millis(100) + SLACK);
    let left = broker.tree_of(&before.worker, before.incarnation);
    assert!(left.is_empty(), "{left:?}");
    let tail = attempts[0].stderr_tail.as_deref().unwrap_or_default();
    assert!(tail.contains("sign 10\n"), "what it wrote: {tail:?}");
    broker.stop();
}

/// What it had written is told with it, but for what has no room: the end is what counts.
#[tokio::test]
async fn story_30_the_output_so_far_is_told() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, GRACES, "attempt_timeout = \"900ms\"")).await;
    let client = broker.client().await;
    let then = Box::new(Deed::Hang);
    let act = Act::new(Deed::Signs { sign: Sign::Stdout, times: 5_000, pause: 0, then });
    let error = client.call(act.clone()).await.expect_err("it runs too long");
    let CallError::TimedOut { which: TimeoutWhich::Attempt, output_so_far, .. } = &error else {
        panic!("{error:?}")
    };
    let output = String::from_utf8_lossy(output_so_far);
    assert!(output.ends_with("sign 4999\nsign 5000\n"), "the end of it: {output:?}");
    assert!(output.len() <= 16 << 10 && output.len() > 8 << 10, "{} bytes", output.len());

    // Whoever wrote nothing, or did not time out, has none.
    let error = client.call(Act::new(Deed::Hang)).await.expect_err("it hangs");
    assert!(
        matches!(&error, CallError::TimedOut { output_so_far, .. } if output_so_far.is_empty()),
        "{error:?}"
    );
    let body = serde_json::to_string(&act).expect("JSON");
    let said = lifeboat(&broker, &["call", "act", "--json", &body]).await;
    let told: Value = serde_json::from_str(&said.out).expect("JSON");
    let output = told["error"]["output_so_far"].as_str().expect("it is told");
    assert!(output.ends_with("sign 5000\n"), "{} bytes", output.len());
    broker.stop();
}

/// A request that waits for its next attempt is still all there: its method, its attempts, its payload.
#[tokio::test]
async fn story_19_a_request_between_two_attempts_is_kept_whole() {
    let _turn = Turn::shared();
    let policy = r#"retry = { max_attempts = 3, backoff = { first = "700ms", jitter = "none" } }"#;
    let broker = Broker::start(config("sdk", 1, "", policy)).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    // All of it is needed to do it again.
    let act = Act { padding: 5_000, ..Act::new(Deed::Exit(1)).until(1).tag(77) };
    let call = sent(client.request(act));
    let row = until_some(LIMIT, "it waits for its second attempt", async || {
        let rows = client.admin().requests(10).await.expect("a person may ask").requests;
        rows.into_iter().find(|row| row.state == RequestStateLabel::Backoff)
    })
    .await;
    assert_eq!((row.method.as_str(), row.attempt, row.max_attempts), ("act", 1, 3));
    let pinned = broker.metrics().await.count("queue_bytes", &[("pool", "p")]);
    assert!(pinned > 0, "what waits is measured");
    let reply = ended(call).await.expect("its second attempt answers");
    assert_eq!((reply.tag, reply.attempts(), reply.padding.len()), (77, 2, 5_000));
    assert_eq!(broker.metrics().await.count("queue_bytes", &[("pool", "p")]), 0);
    broker.stop();
}
