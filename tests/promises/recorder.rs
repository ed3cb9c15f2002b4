//! The flight recorder: who pays for a death is known although nobody was left to say it, and what it says is bounded.

use std::future::IntoFuture as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed, Steps};
use lifeboat_tests::harness::{Broker, LIMIT, Room, Turn};
use rustix::process::{Pid, Signal, kill_process};

use crate::calls::{Called, Calling, all_begun, ended, executions, sent, signal};
use crate::common::{config, echo};
use crate::scene::Beside;

/// How often each kind of death is made.
const ROUNDS: u64 = 200;

/// Sends these, one after the other, to a process that reads all of them and is then killed.
async fn killed(client: &Client, trace: &Path, tags: &[u64]) -> Vec<Called> {
    let mut calls: Vec<Calling> = Vec::new();
    for tag in tags {
        let act = Act { tag: *tag, ..Act::new(Deed::Echo).traced(trace) };
        calls.push(sent(client.request(act).timeout(LIMIT)));
    }
    all_begun(trace, tags.len()).await;
    signal(executions(trace)[0].pid, Signal::KILL);
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(ended(call).await);
    }
    outcomes
}

/// Something else that the machine has to do, until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_crash(called: &Called) -> bool {
    matches!(called, Err(CallError::WorkerCrashed { attempt: 1, .. }))
}

fn is_answered_at_first(called: &Called) -> bool {
    called.as_ref().is_ok_and(|reply| reply.attempts() == 1)
}

#[tokio::test]
async fn story_20_after_a_sigkill_what_had_begun_pays_and_what_had_been_read_does_not() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw-noting", 1, "prefetch = 4", "")).await;
    let client = broker.client().await;
    let room = Room::new();
    let busy = Busy::start();
    for round in 0..ROUNDS {
        let trace = room.path().join(format!("trace-{round}"));
        // In every other round the first of them has begun; in the others none has.
        let begun = round % 2 == 0;
        let tags = if begun { [1, 2, 4, 6] } else { [8, 2, 4, 6] };
        let outcomes = killed(&client, &trace, &tags).await;
        assert_eq!(is_crash(&outcomes[0]), begun, "{round}: {:?}", outcomes[0]);
        let others = if begun { &outcomes[1..] } else { &outcomes[..] };
        assert!(others.iter().all(is_answered_at_first), "{round}: {others:?}");
    }
    drop(busy);
    let metrics = broker.metrics().await;
    let counted = |name| metrics.count(name, &[("pool", "p")]);
    assert_eq!(counted("worker_crashes_total"), ROUNDS);
    assert_eq!(counted("requeues_free_total"), ROUNDS / 2 * 3 + ROUNDS / 2 * 4);
    broker.stop();
}

#[tokio::test]
async fn a_process_that_never_says_that_it_begins_is_believed_three_times() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw-noting", 1, "", "")).await;
    let client = broker.client().await;
    let trace = broker.room().path().join("trace");
    let act = Act { tag: 100, ..Act::new(Deed::Echo).traced(&trace) };
    let call = sent(client.request(act).timeout(LIMIT));
    for read in 1..=4 {
        all_begun(&trace, read).await;
        signal(executions(&trace)[read - 1].pid, Signal::KILL);
    }
    let outcome = ended(call).await;
    assert!(is_crash(&outcome), "{outcome:?}");
    assert_eq!(broker.metrics().await.count("requeues_free_total", &[("pool", "p")]), 3);
    broker.stop();
}

#[tokio::test]
async fn a_sigterm_from_outside_charges_nothing_that_an_sdk_worker_had_not_begun() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "prefetch = 4", "")).await;
    let client = broker.client().await;
    for round in 0..ROUNDS {
        let pid = echo(&client, round).await.pid;
        let calls: Vec<_> = (0..4).map(|tag| sent(client.request(Act::echo(tag)).timeout(LIMIT))).collect();
        tokio::time::sleep(Duration::from_micros(round * 5)).await;
        signal(pid, Signal::TERM);
        for call in calls {
            let outcome = ended(call).await;
            assert!(is_answered_at_first(&outcome), "{round}: {outcome:?}");
        }
    }
    broker.stop();
}

#[tokio::test]
async fn one_that_scribbles_over_it_harms_nobody_else() {
    let _turn = Turn::shared();
    let scribbling = r#"
[pools.q]
command = ["misbehave", "sdk-scribbling"]
workers = 2
slots = 4
prefetch = 4
heartbeat = { interval = "20ms", missed = 2 }
restart = { initial = "1ms", max = "10ms", max_restarts = "unlimited" }
[pools.q.methods.steps]
deadline = "60s"
"#;
    let broker = Broker::start(config("sdk", 1, "", "") + scribbling).await;
    let client = broker.client().await;
    let pid = echo(&client, 1).await.pid;
    let beside = Beside::start(broker.client().await);
    let steps = || Steps { steps: 1, ends: Vec::new(), padding: 0 };
    for round in 0..60_u64 {
        let calls: Vec<_> =
            (0..12).map(|_| tokio::spawn(client.request(steps()).timeout(LIMIT).into_future())).collect();
        let worker = if round % 2 == 0 { "q-0" } else { "q-1" };
        let victim = Pid::from_raw(broker.worker_pid(worker).await.cast_signed());
        // It may be gone already: what it scribbles may look like a process that has stopped.
        let _ = kill_process(victim.expect("a process id"), Signal::KILL);
        for call in calls {
            match call.await.expect("no panic") {
                Ok(_) | Err(CallError::WorkerCrashed { .. }) => {}
                Err(error) => panic!("{round}: {error:?}"),
            }
        }
    }
    beside.undisturbed().await;
    assert_eq!(echo(&client, 2).await.pid, pid, "nobody else has noticed");
    broker.stop();
}
