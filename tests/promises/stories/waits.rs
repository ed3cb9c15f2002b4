//! Waits and ends of a worker's lives: how long before the next one, and what becomes of those who wait.

use std::time::Duration;

use lifeboat_client::CallError;
use lifeboat_tests::act::{Act, Deed, PANIC};
use lifeboat_tests::harness::{Broker, LIMIT, SLACK, Turn, eventually, until_some};
use rustix::process::Signal;

use crate::calls::{all_begun, ended, open, sent, signal};
use crate::common::{config, crashes, echo, failing, timed};
use crate::starts::waits;

/// The callers of a process whose last slots fail together are told at once, and nothing of theirs stays in the broker, though
/// the next process takes long to start.
#[tokio::test]
async fn story_04_the_callers_are_told_at_once_and_nothing_of_theirs_stays() {
    const SLOTS: usize = 4;
    let _turn = Turn::shared();
    let text = config("sdk-slow-start", 1, "slots = 4\non_busy = \"reject\"", "");
    let broker = Broker::start(text.replace("slow-start\"", "slow-start\", \"1500\"")).await;
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let (trace, gate) = (broker.room().path().join("trace"), broker.room().path().join("gate"));
    let panics = || sent(client.request(Act::when(&gate, Deed::Panic).traced(&trace)));
    let calls: Vec<_> = (0..SLOTS).map(|_| panics()).collect();
    all_begun(&trace, SLOTS).await;
    let together = async {
        open(&gate);
        for call in calls {
            let error = ended(call).await.expect_err("its handler panics");
            let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
            assert_eq!((reason.label(), reason.message(), attempts.len()), ("slot_panicked", Some(PANIC), 1));
        }
    };
    let ((), took) = timed(together).await;
    assert!(took < SLACK, "the last was told after {took:?}");
    let open_requests = client.admin().requests(100).await.expect("a person may ask").requests;
    assert!(open_requests.is_empty(), "{open_requests:?}");
    crashes(&broker, "slots_exhausted", 1).await;
    let metrics = broker.metrics().await;
    for name in ["queue_depth", "queue_bytes"] {
        assert_eq!(metrics.count(name, &[("pool", "p")]), 0, "{name}");
    }
    assert_eq!(metrics.count("slots", &[("pool", "p"), ("state", "busy")]), 0);
    assert_eq!(metrics.count("requests_total", &[("pool", "p")]), SLOTS as u64, "one outcome each");
    broker.stop();
}

/// The waits before the first so many incarnations of a worker that never starts.
async fn first_waits(restart: &str, count: usize) -> Vec<Duration> {
    let text = format!(
        "[pools.p]\ncommand = [\"misbehave\", \"fail-start\"]\nrestart = {{ {restart}, max_restarts = \"unlimited\" }}\n\
         [pools.p.methods.act]\n"
    );
    let broker = Broker::start(text).await;
    let waits = until_some(LIMIT, "so many starts have failed", async || {
        let waits = waits(&broker.log());
        (waits.len() >= count).then_some(waits)
    })
    .await;
    broker.stop();
    waits
}

#[tokio::test]
async fn story_26_waits_have_a_longest_and_are_spread() {
    let _turn = Turn::shared();
    let (first, longest) = (Duration::from_millis(20), Duration::from_millis(40));
    let waits = first_waits(r#"initial = "20ms", max = "40ms""#, 4).await;
    assert!((first / 2..=first).contains(&waits[0]), "{waits:?}");
    for wait in &waits[1..] {
        assert!((longest / 2..=longest).contains(wait), "{waits:?}");
    }
    assert!(waits[1..].windows(2).any(|pair| pair[0] != pair[1]), "they are spread: {waits:?}");
}

#[tokio::test]
async fn story_26_a_wait_may_be_fixed() {
    let _turn = Turn::shared();
    let waits = first_waits(r#"initial = "60ms", max = "60ms""#, 4).await;
    assert!(waits.iter().all(|wait| *wait == Duration::from_millis(60)), "{waits:?}");
}

/// Whether the worker, after it had to wait, lived a productive life; then what comes after that.
async fn forgets_its_waits(becomes_productive: impl AsyncFnOnce(&Broker)) {
    const FIRST: Duration = Duration::from_millis(40);
    let text = r#"
[pools.p]
command = ["misbehave", "sdk"]
restart = { initial = "40ms", max = "20s", stable_after = "600ms", max_restarts = "unlimited" }
[pools.p.methods.act]
"#;
    let broker = Broker::start(text).await;
    let client = broker.client().await;
    // Waits for the next one, and tells how long it is.
    let next_wait = async |nth: usize| {
        failing(&client, Deed::Exit(1)).await;
        let waits = until_some(LIMIT, "the wait is told", async || {
            let waits = waits(&broker.log());
            (waits.len() > nth).then_some(waits)
        });
        waits.await[nth]
    };
    for (nth, most) in [FIRST, 2 * FIRST].into_iter().enumerate() {
        let wait = next_wait(nth).await;
        assert!((most / 2..=most).contains(&wait), "wait {nth}: {wait:?}");
    }
    broker.ready().await.all_idle().await;
    becomes_productive(&broker).await;
    signal(broker.worker_pid("p-0").await, Signal::KILL);
    crashes(&broker, "killed_from_outside", 1).await;
    broker.ready().await.all_idle().await;
    assert_eq!(waits(&broker.log()).len(), 2, "it is replaced at once");
    let wait = next_wait(2).await;
    assert!((FIRST / 2..=FIRST).contains(&wait), "the first wait again: {wait:?}");
    broker.stop();
}

#[tokio::test]
async fn story_26_the_first_answer_ends_the_waits() {
    let _turn = Turn::shared();
    forgets_its_waits(async |broker| drop(echo(&broker.client().await, 1).await)).await;
}

#[tokio::test]
async fn story_26_a_process_that_stays_long_enough_ends_the_waits() {
    const STABLE: u64 = 600;
    let _turn = Turn::shared();
    forgets_its_waits(async |broker| {
        eventually(LIMIT, "it has stayed long enough", async || {
            broker.health().await["workers"]["p-0"]["idleTime"].as_u64() > Some(STABLE)
        })
        .await;
    })
    .await;
}

/// Two pools whose workers are idle most of the time: only the one that asks for it is given new processes.
#[tokio::test]
async fn story_28_an_idle_worker_is_left_alone_where_nobody_asked() {
    const ROUNDS: u64 = 3;
    let _turn = Turn::shared();
    let text = r#"
[pools.p]
command = ["misbehave", "sdk"]
recycle = { idle = "150ms" }
[pools.p.methods.act]
[pools.beside]
command = ["misbehave", "sdk"]
[pools.beside.methods.wait]
"#;
    let broker = Broker::start(text).await;
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let before = broker.worker_pid("beside-0").await;
    let recycled = async |pool| {
        let labels = [("pool", pool), ("reason", "recycle_idle")];
        broker.metrics().await.count("worker_recycles_total", &labels)
    };
    for round in 1..=ROUNDS {
        echo(&client, round).await;
        eventually(LIMIT, "it is replaced when it was idle", async || recycled("p").await >= round).await;
    }
    assert_eq!(recycled("beside").await, 0);
    assert_eq!(broker.worker_pid("beside-0").await, before, "the same process");
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}
