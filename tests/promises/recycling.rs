//! Planned replacement under load: nobody loses a request, nobody waits for a start, and nobody calls it a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};
use tokio::task::JoinHandle;

/// What the start of each worker takes at least: who has to wait for one waits longer than this.
const START: Duration = Duration::from_millis(800);

/// Clients that call all the time.
const CLIENTS: usize = 4;

/// So many planned ends are waited for.
const ROUNDS: u64 = 3;

/// One worker, which starts slowly: while it has no process that serves, everybody waits.
fn config(recycle: &str) -> String {
    let millis = START.as_millis();
    format!(
        r#"
[pools.p]
command = ["misbehave", "sdk-slow-start", "{millis}"]
recycle = {{ {recycle} }}
[pools.p.defaults]
deadline = "30s"
[pools.p.methods.act]
"#
    )
}

/// Clients that call, one request after another each, until they are told to stop.
struct Callers {
    over: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Seen>>,
}

/// What one of them has seen.
struct Seen {
    answers: u64,
    longest: Duration,
    /// Who has answered.
    processes: BTreeSet<(String, u64)>,
}

impl Callers {
    async fn start(broker: &Broker, act: &Act, pause: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut callers = Vec::new();
        for _ in 0..CLIENTS {
            let (client, act, over) = (broker.client().await, act.clone(), Arc::clone(&over));
            callers.push(tokio::spawn(async move { call_on(&client, &act, pause, &over).await }));
        }
        Self { over, callers }
    }

    /// Ends them: none was refused, told of a crash, or had to wait for a start. Gives how many requests were answered, and
    /// by how many processes.
    async fn undisturbed(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        let (mut answers, mut processes) = (0, BTreeSet::new());
        for caller in self.callers {
            let seen = caller.await.expect("every request was answered");
            assert!(
                seen.longest < START,
                "a request took {:?}, as if it had waited for a start",
                seen.longest
            );
            answers += seen.answers;
            processes.extend(seen.processes);
        }
        (answers, processes.len() as u64)
    }
}

async fn call_on(client: &Client, act: &Act, pause: Duration, over: &AtomicBool) -> Seen {
    let mut seen = Seen { answers: 0, longest: Duration::ZERO, processes: BTreeSet::new() };
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let reply = client.request(act.clone()).await.expect("the pool never stops to serve");
        seen.longest = seen.longest.max(began.elapsed());
        assert_eq!(reply.attempts(), 1);
        seen.answers += 1;
        seen.processes.insert((reply.worker.clone(), reply.incarnation));
        tokio::time::sleep(pause).await;
    }
    seen
}

/// The planned ends of this reason.
async fn recycled(broker: &Broker, reason: &str) -> u64 {
    broker.metrics().await.count("worker_recycles_total", &[("pool", "p"), ("reason", reason)])
}

/// Has the worker replaced several times for one reason, while clients call.
async fn replaces(recycle: &str, reason: &str, act: Act, pause: Duration) {
    let broker = Broker::start(config(recycle)).await;
    broker.ready().await.all_idle().await;
    let callers = Callers::start(&broker, &act, pause).await;
    eventually(3 * LIMIT, "the worker was replaced several times", async || {
        recycled(&broker, reason).await >= ROUNDS
    })
    .await;

    let (answers, processes) = callers.undisturbed().await;

    let metrics = broker.metrics().await;
    let ends = metrics.count("worker_recycles_total", &[("pool", "p")]);
    assert_eq!(ends, recycled(&broker, reason).await, "all ends are of this reason");
    assert!(processes >= ends, "the successors answer: {processes} processes for {ends} ends");
    assert!(metrics.by("worker_crashes_total", "reason").is_empty(), "a planned end is no crash");
    assert_eq!(metrics.count("requests_total", &[("outcome", "ok")]), answers);
    assert_eq!(metrics.sum("requests_total", &[("pool", "p")]), answers as f64, "and no other outcome");
    successors_come_first(&broker);
    broker.stop();
}

/// In the order of the log, whoever leaves has a successor that is ready.
fn successors_come_first(broker: &Broker) {
    let log = broker.log();
    let at = |what: &str, incarnation: u64| {
        let incarnation = format!(" incarnation={incarnation} ");
        log.lines().position(|line| line.contains(what) && line.contains(&incarnation))
    };
    for incarnation in 1..=ROUNDS {
        let stopped = at("worker stopped", incarnation).expect("a planned end is logged");
        let ready = at("worker ready", incarnation + 1).expect("a start is logged");
        assert!(ready < stopped, "incarnation {incarnation} left before its successor was ready:\n{log}");
    }
}

#[tokio::test]
async fn by_requests() {
    let _turn = Turn::shared();
    replaces("requests = 100", "recycle_requests", Act::new(Deed::Echo), Duration::from_millis(1)).await;
}

#[tokio::test]
async fn by_age() {
    let _turn = Turn::shared();
    replaces("age = \"300ms\"", "recycle_age", Act::new(Deed::EchoAfter(3)), Duration::from_millis(1)).await;
}

/// The clients come together, and not again before the worker has been idle for long enough.
#[tokio::test]
async fn story_28_by_idleness() {
    let _turn = Turn::shared();
    replaces("idle = \"100ms\"", "recycle_idle", Act::new(Deed::Echo), Duration::from_millis(500)).await;
}

/// Each request costs a MiB for good.
#[tokio::test]
async fn by_memory() {
    let _turn = Turn::shared();
    let leak = Act::new(Deed::Keep(1));
    replaces("memory = \"48MiB\"", "recycle_memory", leak, Duration::from_millis(50)).await;
}

#[tokio::test]
async fn by_a_handler_that_asks_for_it() {
    let _turn = Turn::shared();
    let asks = Act::new(Deed::Recycle(Box::new(Deed::Echo)));
    replaces("requests = 1000000", "recycle_asked", asks, Duration::from_millis(1)).await;
}

/// The process finishes what it holds, and one that asked with a failure is replaced all the same.
#[tokio::test]
async fn with_a_failure_too() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("requests = 1000000")).await;
    let client = broker.client().await;
    let before = client.call(Act::echo(1)).await.expect("it answers").incarnation;
    let failing = Deed::Recycle(Box::new(Deed::Fail { retryable: false }));
    let error = client.call(Act::new(failing)).await.expect_err("it says no");
    assert!(matches!(&error, CallError::Failed { code, .. } if code == "asked_to_fail"), "{error:?}");
    eventually(LIMIT, "its successor answers", async || {
        client.call(Act::echo(2)).await.expect("somebody answers always").incarnation > before
    })
    .await;
    eventually(LIMIT, "the old one has left", async || recycled(&broker, "recycle_asked").await == 1).await;
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty(), "it is no crash");
    broker.stop();
}
