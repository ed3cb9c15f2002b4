//! No written answer is lost: a worker answers and dies in the same breath, thousands of times.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};
use tokio::task::JoinSet;

use crate::common::{config, echo};

/// Deaths per test; with both prefetches they are the 5 000 of the promise.
const RUNS: u64 = 2_500;

/// Calls in flight: more than four workers can hold.
const IN_FLIGHT: u64 = 16;

const SIGKILL: i32 = 9;

/// The ways to die, in turn.
fn death(tag: u64) -> Deed {
    match tag % 4 {
        0 => Deed::Exit(0),
        1 => Deed::Exit(3),
        2 => Deed::Signal(SIGKILL),
        _ => Deed::Abort,
    }
}

/// Makes `RUNS` calls, a few at a time, and gives every result with its tag.
async fn run(
    client: &Client,
    act: impl Fn(u64) -> Act + Clone + Send + 'static,
) -> Vec<(u64, Result<Acted, CallError>)> {
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, next, act) = (client.clone(), Arc::clone(&next), act.clone());
        callers.spawn(async move {
            let mut results = Vec::new();
            loop {
                let tag = next.fetch_add(1, Ordering::Relaxed);
                if tag >= RUNS {
                    return results;
                }
                let reply = client.request(act(tag)).await;
                results.push((tag, reply.map(lifeboat_client::Reply::into_inner)));
            }
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

/// Every death is counted once, and for what it was.
async fn deaths_are_counted(broker: &Broker) {
    let wanted = [("exit", RUNS / 2), ("killed_from_outside", RUNS / 4), ("signal", RUNS / 4)];
    for (reason, count) in wanted {
        eventually(LIMIT, &format!("{count} deaths of {reason}"), async || {
            let by_reason = broker.metrics().await.by("worker_crashes_total", "reason");
            by_reason.get(reason).is_some_and(|found| (*found - count as f64).abs() < 0.5)
        })
        .await;
    }
}

/// The worker leaves a trace of each request that it executes and then writes a whole answer, always: a lost answer would
/// be a second execution, since a crash is tried again here until there is an answer.
async fn no_answer_is_lost(prefetch: u16) {
    let keys = format!("prefetch = {prefetch}");
    let policy =
        r#"retry = { on = ["crash"], max_attempts = 100, backoff = { first = "0ms", then = "1ms" } }"#;
    let broker = Broker::start(config("raw", 4, &keys, policy)).await;
    let client = broker.client().await;
    let trace = broker.room().path().join("trace");

    let file = trace.clone();
    let act = move |tag| Act::new(Deed::AnswerThen(Box::new(death(tag)))).tag(tag).traced(&file);
    let results = run(&client, act).await;

    assert_eq!(results.len() as u64, RUNS);
    for (tag, result) in results {
        let acted = result.unwrap_or_else(|error| panic!("{tag} was not answered: {error:?}"));
        assert_eq!(acted.tag, tag, "an answer belongs to its request");
    }
    let trace = fs::read_to_string(trace).expect("requests were executed");
    let tag = |line: &str| line.split(' ').next().and_then(|tag| tag.parse::<u64>().ok()).expect("a tag");
    let mut executed: Vec<u64> = trace.lines().map(tag).collect();
    executed.sort_unstable();
    assert_eq!(
        executed,
        (0..RUNS).collect::<Vec<_>>(),
        "each was executed once, and that answer was delivered"
    );
    deaths_are_counted(&broker).await;
    assert_eq!(broker.metrics().await.count("requests_total", &[("outcome", "ok")]), RUNS);
    broker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_25_no_written_answer_lost() {
    let _turn = Turn::shared();
    no_answer_is_lost(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_25_no_written_answer_lost_with_unread_requests_behind_it() {
    let _turn = Turn::shared();
    no_answer_is_lost(3).await;
}

/// What a process was sent while it died of an earlier request, and never read, goes back free of charge, and others answer
/// it. Nothing is retried here: whoever is charged has crashed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_sent_to_a_dying_worker_does_not_pay() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 4, "", "")).await;
    let client = broker.client().await;

    let results = run(&client, |tag| Act::new(Deed::AnswerThen(Box::new(death(tag)))).tag(tag)).await;

    let charged: Vec<_> = results.iter().filter(|(_, result)| result.is_err()).collect();
    let example = charged.first();
    assert!(charged.is_empty(), "{} of {RUNS} paid for another's death, such as {example:?}", charged.len());
    assert!(results.iter().all(|(_, result)| result.as_ref().is_ok_and(|acted| acted.attempt == 1)));
    let metrics = broker.metrics().await;
    assert!(metrics.count("requeues_free_total", &[("pool", "p")]) > 0, "requests were sent to the dying");
    assert_eq!(metrics.count("attempts_total", &[("end", "crashed")]), 0, "none was charged");
    deaths_are_counted(&broker).await;
    broker.stop();
}

/// With several held, the one directly behind a last answer may have begun, and nobody can prove that it has not: it alone
/// may pay. Those further behind never do.
#[tokio::test]
async fn who_waits_further_behind_a_last_answer_does_not_pay() {
    const ROUNDS: u64 = 30;
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "prefetch = 4", "")).await;
    let client = broker.client().await;
    for round in 0..ROUNDS {
        // The first keeps the worker busy until the line behind it is full.
        let first = client.call(Act::new(Deed::EchoAfter(50)));
        let last = client.call(Act::new(Deed::AnswerThen(Box::new(death(round)))).tag(round));
        let (behind, further) = (client.call(Act::echo(round)), client.call(Act::echo(round)));
        let (first, last, behind, further) = tokio::join!(first, last, behind, further);
        first.expect("it was answered long before");
        assert_eq!(last.expect("the last answer is delivered").tag, round);
        match behind {
            Ok(acted) => assert_eq!((acted.tag, acted.attempt), (round, 1)),
            Err(CallError::WorkerCrashed { attempt, .. }) => assert_eq!(attempt, 1),
            Err(error) => panic!("{error:?}"),
        }
        let further = further.expect("it only waited");
        assert_eq!((further.tag, further.attempt), (round, 1));
    }
    let metrics = broker.metrics().await;
    assert!(metrics.count("requeues_free_total", &[("pool", "p")]) >= ROUNDS);
    assert!(
        metrics.count("attempts_total", &[("end", "crashed")]) <= ROUNDS,
        "one death charges one at most"
    );
    broker.stop();
}

/// A death in the middle of a request charges that one alone; those behind it are answered by others, uncharged.
#[tokio::test]
async fn who_waits_behind_a_crash_does_not_pay() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "prefetch = 3", "")).await;
    let client = broker.client().await;
    let held = Act::new(Deed::EchoAfter(100));
    for round in 0..20 {
        // The first keeps the worker busy until the line behind it is full.
        let first = client.call(held.clone());
        let guilty = client.call(Act::new(Deed::Exit(7)));
        let behind = client.call(Act::echo(round));
        let (first, guilty, behind) = tokio::join!(first, guilty, behind);
        first.expect("it was answered before the crash");
        assert!(matches!(guilty, Err(CallError::WorkerCrashed { attempt: 1, .. })), "{guilty:?}");
        let behind = behind.expect("it only waited behind the guilty one");
        assert_eq!((behind.tag, behind.attempt), (round, 1));
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requeues_free_total", &[("pool", "p")]), 20);
    assert_eq!(metrics.count("attempts_total", &[("end", "crashed")]), 20);
    broker.stop();
}

/// A frame that was cut short is never an answer, wherever it was cut; with a retry another worker answers.
#[tokio::test]
async fn story_25_half_an_answer_is_never_delivered() {
    let _turn = Turn::shared();
    let policy = r#"retry = { on = ["crash"], max_attempts = 2 }"#;
    let broker = Broker::start(config("raw", 2, "", policy)).await;
    let client = broker.client().await;
    for thousandths in (0..=1000).step_by(20) {
        let half =
            Act { padding: 2_000, ..Act::new(Deed::HalfAnswer(thousandths)).tag(u64::from(thousandths)) };
        let reply = client.request(half.clone().until(1)).await.expect("the second attempt answers whole");
        assert_eq!((reply.attempts(), reply.attempt, reply.padding.len()), (2, 2, 2_000));
        match client.request(half).await {
            Err(CallError::WorkerCrashed { reason, attempt: 2, .. }) => {
                assert_eq!(reason.label(), "killed_from_outside")
            }
            other => panic!("cut at {thousandths} of 1000: {other:?}"),
        }
    }
    echo(&client, 1).await;
    broker.stop();
}
