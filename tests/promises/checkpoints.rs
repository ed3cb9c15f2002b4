//! Checkpoints: what an attempt has saved is there for the next one, however it ended.

use std::collections::BTreeSet;

use lifeboat_client::{CallError, Client, Reply};
use lifeboat_protocol::{MAX_SAVED, Route, TimeLeft, put_save};
use lifeboat_tests::act::{Act, Deed, SaveBytes, Stepped, Steps, StepsEnd};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};
use lifeboat_worker::AttemptEnd;

use crate::calls::queued;
use crate::common::{config, crashes, failing};

/// The pool `p` of [`config`] with the methods that save; `policy` is lines of `steps`.
fn saving(kind: &str, workers: u16, keys: &str, policy: &str) -> String {
    let pool = config(kind, workers, keys, "");
    format!(
        r#"{pool}
[pools.p.methods.steps]
{policy}

[pools.p.methods.save_bytes]
retry = {{ on = ["crash"], max_attempts = 2 }}
"#
    )
}

/// A retry after every end, as often as is needed.
const EVERY_END: &str = r#"retry = { on = ["crash", "timeout", "stall", "failed"], max_attempts = 100, backoff = { first = "0ms", then = "1ms" } }"#;

fn steps(steps: u64, ends: &[(u64, StepsEnd)]) -> Steps {
    Steps { steps, ends: ends.to_vec(), padding: 0 }
}

async fn stepped(client: &Client, steps: Steps) -> Reply<Stepped> {
    client.request(steps).timeout(LIMIT).await.expect("the last attempt answers")
}

/// Which attempt did each step.
fn attempts(stepped: &Stepped) -> Vec<u16> {
    stepped.steps.iter().map(|(attempt, _, _)| *attempt).collect()
}

#[tokio::test]
async fn the_next_attempt_goes_on_where_the_last_one_was_killed() {
    let _turn = Turn::shared();
    let broker = Broker::start(saving("sdk", 2, "", EVERY_END)).await;
    let client = broker.client().await;
    for _ in 0..5 {
        let reply = stepped(&client, steps(10, &[(3, StepsEnd::Kill), (7, StepsEnd::Kill)])).await;
        assert_eq!(reply.attempts(), 3);
        assert_eq!(attempts(&reply), [1, 1, 1, 2, 2, 2, 2, 3, 3, 3], "no step twice and none left out");
        assert_eq!(reply.found, Some(7));
        let told: Vec<_> = reply.previous.iter().map(|one| (one.number, one.end)).collect();
        assert_eq!(told, [(1, AttemptEnd::Crashed), (2, AttemptEnd::Crashed)]);
        for (one, step) in reply.previous.iter().zip([&reply.steps[0], &reply.steps[3]]) {
            assert_eq!((&one.worker, one.incarnation), (&step.1, step.2), "where it ran");
            assert_eq!(one.reason.as_deref(), Some("killed_from_outside"));
            assert!(one.duration() < LIMIT);
        }
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("saves_total", &[("pool", "p")]), 5 * 10);
    assert_eq!(metrics.count("saves_dropped_total", &[("pool", "p")]), 0);
    broker.stop();
}

#[tokio::test]
async fn also_after_a_limit_a_failure_and_a_panic() {
    let _turn = Turn::shared();
    let keys = "stop_grace = \"10ms\"\ncancel_grace = \"10ms\"";
    let policy = format!("attempt_timeout = \"300ms\"\n{EVERY_END}");
    let broker = Broker::start(saving("sdk", 2, keys, &policy)).await;
    let client = broker.client().await;
    let ends = [(2, StepsEnd::Hang), (3, StepsEnd::Fail), (5, StepsEnd::Panic)];
    let reply = stepped(&client, steps(6, &ends)).await;
    assert_eq!(attempts(&reply), [1, 1, 2, 3, 3, 4]);
    let told: Vec<_> = reply.previous.iter().map(|one| (one.end, one.reason.as_deref())).collect();
    let expected = [
        (AttemptEnd::TimedOut, Some("attempt_timeout")),
        (AttemptEnd::Failed, None),
        (AttemptEnd::Crashed, Some("slot_panicked")),
    ];
    assert_eq!(told, expected);
    assert!(reply.previous[0].duration().as_millis() >= 300, "{:?}", reply.previous[0]);
    broker.stop();
}

#[tokio::test]
async fn of_as_many_attempts_as_there_may_be_all_are_told() {
    let _turn = Turn::shared();
    let policy = r#"retry = { on = ["failed"], max_attempts = 100, backoff = { first = "0ms", then = "1ms", factor = 1 } }"#;
    let broker = Broker::start(saving("sdk", 2, "", policy)).await;
    let client = broker.client().await;
    let ends: Vec<_> = (1..=99).map(|step| (step, StepsEnd::Fail)).collect();
    let reply = stepped(&client, steps(100, &ends)).await;
    assert_eq!((reply.attempts(), reply.found), (100, Some(99)));
    let told: Vec<_> = reply.previous.iter().map(|one| one.number).collect();
    assert_eq!(told, (1..=99).collect::<Vec<_>>());
    broker.stop();
}

#[tokio::test]
async fn a_first_attempt_knows_of_none() {
    let _turn = Turn::shared();
    let broker = Broker::start(saving("sdk", 1, "", EVERY_END)).await;
    let client = broker.client().await;
    let _ = stepped(&client, steps(2, &[])).await;
    let reply = stepped(&client, steps(2, &[])).await;
    assert_eq!((reply.found, reply.previous.len()), (None, 0), "nothing of another request");
    broker.stop();
}

#[tokio::test]
async fn with_several_slots_and_requests_held_behind_others() {
    const REQUESTS: usize = 24;
    let _turn = Turn::shared();
    let broker = Broker::start(saving("sdk", 2, "slots = 2\nprefetch = 4", EVERY_END)).await;
    let client = broker.client().await;
    let calls = (0..REQUESTS).map(|_| {
        let client = client.clone();
        tokio::spawn(
            async move { stepped(&client, steps(6, &[(2, StepsEnd::Kill), (4, StepsEnd::Kill)])).await },
        )
    });
    let calls: Vec<_> = calls.collect();
    let mut slots = BTreeSet::new();
    for call in calls {
        let reply = call.await.expect("no panic");
        let done = attempts(&reply);
        assert_eq!(done.len(), 6);
        assert!(done.is_sorted(), "each attempt goes on where another one died: {done:?}");
        assert_eq!(reply.previous.len() + 1, usize::from(reply.attempts()));
        // A first attempt may have died with its neighbour before it saved anything.
        let saved = done.iter().filter(|by| **by < reply.attempts()).count();
        assert_eq!(reply.found.unwrap_or_default(), saved);
        slots.insert(reply.slot);
    }
    assert_eq!(slots, BTreeSet::from([0]), "whoever may have killed its process runs alone");
    broker.stop();
}

#[tokio::test]
async fn up_to_a_mebibyte_is_saved_and_more_is_the_handlers_error() {
    let _turn = Turn::shared();
    let broker = Broker::start(saving("sdk", 1, "", EVERY_END)).await;
    let client = broker.client().await;
    for bytes in [70_000, 300_000, MAX_SAVED] {
        let reply = client.request(SaveBytes { bytes }).timeout(LIMIT).await.expect("it answers");
        let (found, refused) = reply.into_inner();
        assert_eq!(found, Some(bytes), "the last words of a process are read to the end");
        let refused = refused.expect("one byte more is too much");
        assert!(refused.contains("1048577") && refused.contains("1048576"), "{refused}");
    }
    broker.stop();
}

/// What waits for its retry has used up the room. There is no attempt that begins before what was saved.
#[tokio::test]
async fn a_save_that_there_is_no_room_for_ends_the_retries() {
    let _turn = Turn::shared();
    let policy = r#"retry = { on = ["crash", "failed"], max_attempts = 2, backoff = { first = "30s", max = "30s", jitter = "none" } }"#;
    let broker = Broker::start(saving("sdk", 1, "queue = { max_bytes = \"1KiB\" }", policy)).await;
    let client = broker.client().await;
    let large = |end| Steps { padding: 1_000_000, ..steps(2, &[(1, end)]) };
    let mut waiting = Vec::new();
    for number in 1..=2 {
        let (client, request) = (client.clone(), large(StepsEnd::Fail));
        waiting.push(tokio::spawn(async move { client.call(request).await }));
        queued(&broker, number).await;
    }
    let error = client.call(large(StepsEnd::Kill)).await.expect_err("it is not retried");
    let CallError::WorkerCrashed { reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!((reason.label(), error.attempts().len()), ("killed_from_outside", 1), "{error:?}");
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("saves_total", &[("pool", "p")]), 2);
    assert_eq!(metrics.count("saves_dropped_total", &[("pool", "p")]), 1);
    eventually(LIMIT, "the log says so", async || broker.log().contains("a save was not kept")).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    broker.stop();
}

#[tokio::test]
async fn a_worker_that_saves_more_than_it_may_is_killed() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "", "")).await;
    let client = broker.client().await;
    let mut bytes = Vec::new();
    put_save(&mut bytes, Route::request(1, TimeLeft::NONE), &vec![0x60; MAX_SAVED + 1]);
    let error = failing(&client, Deed::Say(bytes)).await;
    assert_eq!(error.attempts().len(), 1, "{error:?}");
    crashes(&broker, "protocol_violation", 1).await;
    broker.stop();
}

#[tokio::test]
async fn a_worker_that_did_not_ask_is_not_told() {
    let _turn = Turn::shared();
    let policy = r#"retry = { on = ["crash"], max_attempts = 2 }"#;
    let broker = Broker::start(config("raw", 1, "", policy)).await;
    let client = broker.client().await;
    let act = Act::new(Deed::Exit(3)).until(1);
    let reply = client.request(act).timeout(LIMIT).await.expect("the second attempt answers");
    assert_eq!(reply.attempts(), 2);
    broker.stop();
}
