//! What a person orders of a broker that is in use: what was promised to callers is kept.

use std::path::PathBuf;

use lifeboat_client::{CallError, Client, RejectWhy};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually, is_alive};
use serde_json::Value;

use crate::calls::{Calling, all_begun, ended, executions, open, queued, sent};
use crate::commands::lifeboat;
use crate::common::{config, crashes, echo};
use crate::scene::{Beside, logs, says};

/// A broker each of whose workers executes a request until the gate opens.
struct Busy {
    broker: Broker,
    client: Client,
    trace: PathBuf,
    /// What is executed, and the process that does, by worker.
    executing: Vec<(u32, Calling)>,
}

impl Busy {
    async fn with(workers: u16, keys: &str) -> Self {
        let broker = Broker::start(config("sdk", workers, keys, "")).await;
        broker.ready().await.all_idle().await;
        let client = broker.client().await;
        let (trace, gate) = (broker.room().path().join("trace"), broker.room().path().join("gate"));
        let act = |tag| Act::when(&gate, Deed::Echo).tag(tag).traced(&trace);
        let calls: Vec<_> = (0..u64::from(workers)).map(|tag| sent(client.request(act(tag)))).collect();
        all_begun(&trace, calls.len()).await;
        let pid = |tag| executions(&trace).iter().find(|it| it.tag == tag).expect("it has begun").pid;
        let mut executing: Vec<_> = (0..).map(pid).zip(calls).collect();
        let mut pids = Vec::new();
        for worker in 0..workers {
            pids.push(broker.worker_pid(&format!("p-{worker}")).await);
        }
        executing.sort_by_key(|(pid, _)| pids.iter().position(|other| other == pid));
        Self { broker, client, trace, executing }
    }

    fn open(&self) {
        open(&self.broker.room().path().join("gate"));
    }

    /// The worker is out of service.
    async fn has_drained(&self, name: &str) {
        eventually(LIMIT, "it is out of service", async || self.worker(name).await["state"] == "disabled")
            .await;
        assert!(self.worker(name).await["pid"].is_null());
        assert_eq!(self.planned("drain").await, 1);
    }

    /// What a process executes ends in the same process, once it may.
    async fn finishes(executing: (u32, Calling)) {
        let (pid, call) = executing;
        assert_eq!(ended(call).await.expect("it is finished").pid, pid);
    }

    async fn worker(&self, name: &str) -> Value {
        self.broker.health().await["workers"][name].clone()
    }

    async fn planned(&self, reason: &str) -> u64 {
        self.broker.metrics().await.count("worker_recycles_total", &[("pool", "p"), ("reason", reason)])
    }

    /// Nobody has crashed.
    async fn end(self) {
        assert!(self.broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
        self.broker.stop();
    }
}

/// The successors serve while the old processes finish; nothing is lost, of those that call all the time either.
#[tokio::test]
async fn a_restart_loses_nothing() {
    let _turn = Turn::shared();
    let mut busy = Busy::with(1, "slots = 2").await;
    let mut beside = Vec::new();
    for _ in 0..3 {
        beside.push(Beside::start(busy.broker.client().await));
    }
    let said = lifeboat(&busy.broker, &["restart", "p"]).await.done();
    assert_eq!(said, "restarting p-0\n");
    eventually(LIMIT, "the successor serves", async || echo(&busy.client, 9).await.incarnation == 2).await;
    let (old, call) = busy.executing.remove(0);
    assert!(is_alive(old) && !call.is_finished(), "what runs is finished first");
    assert_eq!(busy.planned("operator").await, 0);
    busy.open();
    Busy::finishes((old, call)).await;
    eventually(LIMIT, "the old process has left", async || busy.planned("operator").await == 1).await;
    assert!(!is_alive(old));
    for calls in beside {
        calls.undisturbed().await;
    }
    logs(&busy.broker, &["ordered by a person", "operation=\"restart\"", "target=\"p\""]).await;
    busy.end().await;
}

/// A pool's workers take turns; a worker can be restarted alone.
#[tokio::test]
async fn a_restart_is_for_a_pool_or_a_worker() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 3, "", "")).await;
    broker.ready().await.all_idle().await;
    let beside = Beside::start(broker.client().await);
    let lives = async || {
        let health = broker.health().await;
        ["p-0", "p-1", "p-2"].map(|name| health["workers"][name]["incarnation"].as_u64().unwrap_or_default())
    };
    let said = lifeboat(&broker, &["restart", "p-1", "--json"]).await.json();
    assert_eq!(said, serde_json::json!({ "affected": ["p-1"] }));
    eventually(LIMIT, "it is replaced", async || lives().await == [1, 2, 1]).await;
    let said = lifeboat(&broker, &["restart", "p"]).await.done();
    assert_eq!(said, "restarting p-0, p-1, p-2\n");
    eventually(LIMIT, "all are replaced", async || lives().await == [2, 3, 2]).await;
    let labels = [("pool", "p"), ("reason", "operator")];
    eventually(LIMIT, "the old ones have left", async || {
        broker.metrics().await.count("worker_recycles_total", &labels) == 4
    })
    .await;
    beside.undisturbed().await;
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}

/// What a process holds is finished, what waits is closed, what comes is refused; a restart brings the pool back.
#[tokio::test]
async fn story_16_a_drained_pool_finishes_what_runs_and_closes_what_waits() {
    let _turn = Turn::shared();
    let mut busy = Busy::with(1, "prefetch = 2").await;
    let send = |tag| sent(busy.client.request(Act::echo(tag).traced(&busy.trace)));
    let (held, waiting) = (send(5), [send(6), send(7)]);
    queued(&busy.broker, 2).await;
    assert_eq!(lifeboat(&busy.broker, &["drain", "p"]).await.done(), "draining p-0\n");
    for call in waiting {
        let error = ended(call).await.expect_err("it is closed");
        assert!(matches!(error, CallError::Closed { .. }) && !error.may_have_executed(), "{error:?}");
    }
    let error = busy.client.call(Act::echo(8)).await.expect_err("the pool takes nothing new");
    assert!(matches!(error, CallError::Rejected { why: RejectWhy::Draining, .. }), "{error:?}");
    let page = busy.broker.page("/readyz").await.expect("/readyz answers");
    assert_eq!(page.status, 503);
    says(&page.body, &["pool p is being drained by a person"]);
    let (pid, call) = busy.executing.remove(0);
    assert!(is_alive(pid) && !call.is_finished());
    busy.open();
    Busy::finishes((pid, call)).await;
    Busy::finishes((pid, held)).await;
    busy.has_drained("p-0").await;
    assert!(!is_alive(pid));
    let said = lifeboat(&busy.broker, &["healthcheck"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    says(&said.out, &["not ready", "pool p is drained"]);
    let alone = lifeboat(&busy.broker, &["restart", "p-0"]).await;
    alone.not_done(1, &["the pool of p-0 is drained", "lifeboat restart p"]);
    lifeboat(&busy.broker, &["restart", "p"]).await.done();
    assert_eq!(echo(&busy.client, 9).await.incarnation, 2);
    busy.broker.ready().await;
    busy.end().await;
}

/// The others of its pool serve on, and nobody notices.
#[tokio::test]
async fn a_drained_worker_leaves_the_others_to_serve() {
    let _turn = Turn::shared();
    let mut busy = Busy::with(2, "").await;
    let waiting: Vec<_> = (5..10).map(|tag| sent(busy.client.request(Act::echo(tag)))).collect();
    assert_eq!(lifeboat(&busy.broker, &["drain", "p-0"]).await.done(), "draining p-0\n");
    let other = busy.executing[1].0;
    busy.open();
    for executing in busy.executing.drain(..) {
        Busy::finishes(executing).await;
    }
    for call in waiting {
        assert_eq!(ended(call).await.expect("it only waited").pid, other, "the other worker takes over");
    }
    busy.has_drained("p-0").await;
    assert_eq!(echo(&busy.client, 9).await.pid, other);
    busy.broker.ready().await;
    lifeboat(&busy.broker, &["restart", "p-0"]).await.done();
    busy.broker.all_idle().await;
    assert_eq!(busy.worker("p-0").await["incarnation"], 2);
    busy.end().await;
}

/// SIGKILL at once: what it executes crashes with the reason `operator`, the rest is as free as at any death, and the next
/// process comes without a wait.
#[tokio::test]
async fn a_kill_ends_what_runs_and_nothing_else() {
    let _turn = Turn::shared();
    let mut busy = Busy::with(2, "prefetch = 2").await;
    let held: Vec<_> = (5..7).map(|tag| sent(busy.client.request(Act::echo(tag)))).collect();
    eventually(LIMIT, "each process holds two", async || {
        let workers = busy.client.admin().workers().await.expect("the broker shows its workers").workers;
        workers.iter().all(|worker| worker.held == 2)
    })
    .await;
    assert_eq!(lifeboat(&busy.broker, &["kill", "p-1"]).await.done(), "killed p-1\n");
    let (pid, call) = busy.executing.remove(1);
    let error = ended(call).await.expect_err("its process is killed");
    let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((reason.label(), attempts.len(), attempts[0].pid), ("operator", 1, Some(pid)));
    assert!(!is_alive(pid));
    busy.open();
    Busy::finishes(busy.executing.remove(0)).await;
    for call in held {
        assert_eq!(ended(call).await.expect("it was only held").attempts(), 1);
    }
    assert_eq!(busy.broker.metrics().await.count("requeues_free_total", &[("pool", "p")]), 1);
    busy.broker.all_idle().await;
    let lives = [busy.worker("p-0").await, busy.worker("p-1").await].map(|it| it["incarnation"].clone());
    assert_eq!(lives, [1, 2]);

    assert_eq!(lifeboat(&busy.broker, &["kill", "p"]).await.done(), "killed p-0, p-1\n");
    crashes(&busy.broker, "operator", 3).await;
    let metrics = busy.broker.metrics().await;
    assert_eq!(metrics.count("worker_kills_total", &[("pool", "p"), ("reason", "operator")]), 3);
    assert_eq!(metrics.by("worker_crashes_total", "reason").len(), 1, "no other reason");
    echo(&busy.client, 9).await;
    busy.broker.all_idle().await;
    let log = busy.broker.log();
    assert!(!log.contains("waits before its next incarnation"), "a person's kill is no crash loop:\n{log}");
    busy.broker.stop();
}
