//! Limits: on time, and when a request times out its work has ended.

use std::time::Duration;

use lifeboat_client::{AttemptEndLabel, CallError, TimeoutWhich};
use lifeboat_tests::act::{Act, Deed, Wait};
use lifeboat_tests::harness::{Broker, LIMIT, SLACK, Turn, eventually};
use tokio::task::JoinSet;

use crate::common::{busy, config, crashes, echo, timed, within};

const CANCEL_GRACE: Duration = Duration::from_millis(100);
const STOP_GRACE: Duration = Duration::from_millis(200);
const ATTEMPT: Duration = Duration::from_millis(300);

const GRACES: &str = "cancel_grace = \"100ms\"\nstop_grace = \"200ms\"\nkill_timeout = \"1s\"";

/// Checks a time-out, and that nothing of the attempt's process is alive when it is told.
fn timed_out(broker: &Broker, error: &CallError, wanted: TimeoutWhich, limit: Duration) {
    let CallError::TimedOut { which, limit: told, attempts, unanswered, method, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((*which, *told, *unanswered, method.as_str()), (wanted, Some(limit), false, "act"));
    for attempt in attempts {
        let left = broker.tree_of(&attempt.worker, attempt.incarnation);
        assert!(left.is_empty(), "the work goes on after its time-out: {left:#?}");
        assert_eq!(attempt.end, AttemptEndLabel::TimedOut);
    }
    assert!(error.may_have_executed() || attempts.is_empty(), "{error:?}");
}

#[tokio::test]
async fn story_22_an_attempt_that_runs_past_its_limit_is_killed_tree_and_all() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, GRACES, "attempt_timeout = \"300ms\"")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;

    let (result, took) = timed(client.call(Act::new(Deed::Litter(Box::new(Deed::Hang))))).await;

    let error = result.expect_err("it hangs");
    timed_out(&broker, &error, TimeoutWhich::Attempt, ATTEMPT);
    within(took, ATTEMPT, ATTEMPT + CANCEL_GRACE + STOP_GRACE + SLACK);
    let [attempt] = error.attempts() else { panic!("one attempt: {error:?}") };
    assert_eq!(attempt.pid, Some(before.pid));
    assert_eq!(attempt.reason.as_ref().map(|reason| reason.label()), Some("attempt_timeout"));
    crashes(&broker, "attempt_timeout", 1).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("timeouts_total", &[("method", "act"), ("which", "attempt")]), 1);
    assert_eq!(metrics.count("worker_kills_total", &[("reason", "attempt_timeout")]), 1);
    echo(&client, 2).await;
    broker.stop();
}

/// The litter is really there while the work goes on: otherwise the tests above and below prove nothing.
#[tokio::test]
async fn the_tree_is_there_before_it_is_killed() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, GRACES, "attempt_timeout = \"2s\"")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let work = client.call(Act::new(Deed::Litter(Box::new(Deed::Hang))));
    let look = async {
        eventually(LIMIT, "worker, child and daemon live", async || {
            broker.tree_of(&before.worker, before.incarnation).len() == 3
        })
        .await;
    };
    let (result, ()) = tokio::join!(work, look);
    timed_out(&broker, &result.expect_err("it hangs"), TimeoutWhich::Attempt, Duration::from_secs(2));
    broker.stop();
}

#[tokio::test]
async fn a_deadline_while_running_kills_at_once() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "kill_timeout = \"1s\"", "")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    for deed in [Deed::Hang, Deed::EchoAfter(60_000), Deed::Litter(Box::new(Deed::Hang))] {
        let deadline = Duration::from_millis(250);
        let (result, took) = timed(client.request(Act::new(deed)).timeout(deadline)).await;
        let error = result.expect_err("it takes too long");
        timed_out(&broker, &error, TimeoutWhich::Deadline, deadline);
        within(took, deadline, deadline + SLACK);
        assert_eq!(error.attempts().len(), 1);
        echo(&client, 2).await;
    }
    crashes(&broker, "deadline", 3).await;
    assert_eq!(broker.metrics().await.count("requests_past_deadline_total", &[]), 0);
    broker.stop();
}

/// The configured deadline holds where the client has none, and is not loosened by a longer one.
#[tokio::test]
async fn the_configured_deadline_holds() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "kill_timeout = \"1s\"", "deadline = \"300ms\"")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let deadline = Duration::from_millis(300);
    let asked = client.request(Act::new(Deed::Hang)).timeout(Duration::from_secs(60));
    for result in [timed(client.request(Act::new(Deed::Hang))).await, timed(asked).await] {
        let (result, took) = result;
        timed_out(&broker, &result.expect_err("it hangs"), TimeoutWhich::Deadline, deadline);
        within(took, deadline, deadline + SLACK);
    }
    broker.stop();
}

/// A client may tighten an attempt's limit.
#[tokio::test]
async fn a_client_tightens_the_attempt() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, GRACES, "attempt_timeout = \"50s\"")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let request = client.request(Act::new(Deed::Hang)).attempt_timeout(ATTEMPT);
    let (result, took) = timed(request).await;
    timed_out(&broker, &result.expect_err("it hangs"), TimeoutWhich::Attempt, ATTEMPT);
    within(took, ATTEMPT, ATTEMPT + CANCEL_GRACE + STOP_GRACE + SLACK);
    broker.stop();
}

#[tokio::test]
async fn a_deadline_in_the_queue() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let running = client.call(Act::new(Deed::EchoAfter(1_500)));
    let waiting = async {
        busy(&broker, 1).await;
        let deadline = Duration::from_millis(200);
        let (result, took) = timed(client.request(Act::echo(2)).timeout(deadline)).await;
        let error = result.expect_err("the only worker is busy");
        timed_out(&broker, &error, TimeoutWhich::Deadline, deadline);
        assert!(error.attempts().is_empty() && !error.may_have_executed(), "it never ran");
        within(took, deadline, deadline + SLACK);
    };
    let (running, ()) = tokio::join!(running, waiting);
    assert_eq!(running.expect("a waiting request's end is nobody else's").pid, before.pid);
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}

/// A limit that passes while a request waits behind another in a worker's own line leaves the worker alone.
#[tokio::test]
async fn a_deadline_in_the_workers_line() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "prefetch = 3", "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let running = client.call(Act::new(Deed::EchoAfter(1_000)));
    let deadline = Duration::from_millis(200);
    let waiting = timed(client.request(Act::echo(2)).timeout(deadline));
    let (running, (result, took)) = tokio::join!(running, waiting);
    assert_eq!(running.expect("the running one is not touched").pid, before.pid);
    let error = result.expect_err("it never began");
    timed_out(&broker, &error, TimeoutWhich::Deadline, deadline);
    assert!(
        error.attempts().is_empty() && error.may_have_executed(),
        "a process had been given it: {error:?}"
    );
    within(took, deadline, deadline + SLACK);
    assert_eq!(echo(&client, 3).await.pid, before.pid, "the process lives on");
    broker.stop();
}

/// A handler that stops at the cancel frame is told as timed out too, and its process goes all the same.
#[tokio::test]
async fn a_handler_that_heeds_the_cancel_has_timed_out_all_the_same() {
    let _turn = Turn::shared();
    let config =
        config("sdk", 1, GRACES, "").replace("methods.wait]", "methods.wait]\nattempt_timeout = \"300ms\"");
    let broker = Broker::start(config).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let (result, took) = timed(client.call(Wait { millis: 60_000 })).await;
    let error = result.expect_err("it takes too long");
    let CallError::TimedOut { which: TimeoutWhich::Attempt, attempts, .. } = &error else {
        panic!("{error:?}")
    };
    let left = broker.tree_of(&attempts[0].worker, attempts[0].incarnation);
    assert!(left.is_empty(), "{left:#?}");
    within(took, ATTEMPT, ATTEMPT + CANCEL_GRACE + STOP_GRACE + SLACK);
    broker.stop();
}

/// Never early; late by no more than a busy machine explains, and by little in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_precise() {
    let _turn = Turn::alone();
    let broker = Broker::start(config("sdk", 1, "queue = { max_requests = 4096 }", "")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let blocker = tokio::spawn({
        let client = client.clone();
        async move { client.call(Act::new(Deed::EchoAfter(4_000))).await }
    });
    busy(&broker, 1).await;
    let mut waiting = JoinSet::new();
    for number in 0..2_000_u64 {
        let deadline = Duration::from_millis(100 + number * 733 % 2_000);
        let request = client.request(Act::echo(number)).timeout(deadline);
        waiting.spawn(async move {
            let (result, took) = timed(request).await;
            let error = result.expect_err("the only worker is busy");
            let told =
                matches!(error, CallError::TimedOut { which: TimeoutWhich::Deadline, unanswered: false, .. });
            assert!(told, "{error:?}");
            assert!(took >= deadline, "early by {:?}", deadline - took);
            took - deadline
        });
    }
    let mut late = waiting.join_all().await;
    late.sort();
    let (middle, most, worst) = (late[late.len() / 2], late[late.len() * 99 / 100], late[late.len() - 1]);
    println!("past the deadline: half within {middle:?}, 99 of 100 within {most:?}, all within {worst:?}");
    assert!(middle < Duration::from_millis(20), "half within {middle:?}");
    assert!(worst < SLACK, "all within {worst:?}");
    blocker.await.expect("no panic").expect("nobody disturbed it");
    assert_eq!(broker.metrics().await.count("requests_past_deadline_total", &[]), 0);
    broker.stop();
}

/// Retries of time-outs run elsewhere, each killed in its turn, within the deadline.
#[tokio::test]
async fn story_38_a_timeout_is_retried_on_a_different_worker() {
    let _turn = Turn::shared();
    let policy = r#"
attempt_timeout = "300ms"
retry = { on = ["timeout"], max_attempts = 2 }
"#;
    let broker = Broker::start(config("sdk", 2, GRACES, policy)).await;
    let client = broker.client().await;
    let reply = client.request(Act::new(Deed::Hang).until(1)).await.expect("the second attempt answers");
    assert_eq!(reply.attempts(), 2);
    let error = client.call(Act::new(Deed::Hang)).await.expect_err("it hangs twice");
    timed_out(&broker, &error, TimeoutWhich::Attempt, ATTEMPT);
    let [first, second] = error.attempts() else { panic!("two attempts: {error:?}") };
    assert_ne!(first.worker, second.worker);
    broker.stop();
}
