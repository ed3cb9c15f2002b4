//! Pools that trip: their callers are told why, the other pools do not notice, and they come back once they can serve.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_client::{CallError, Client, RejectWhy, encode_body};
use lifeboat_tests::act::{Act, Deed, MIRROR};
use lifeboat_tests::harness::{
    Broker, LIMIT, Marked, Room, SLACK, Start, Turn, eventually, misbehave, until_some,
};

use crate::calls::{all_begun, ended, open, queued_in, sent};
use crate::commands::lifeboat;
use crate::common::timed;
use crate::scene::{Beside, says};

/// What the program says that cannot start.
const WORDS: &str = "no model found";

/// Three pools: one whose program cannot start, one whose workers do what each request asks for, and a healthy one whose
/// calls go on all the time.
struct Three {
    broker: Broker,
    client: Client,
    beside: Beside,
    /// Until this is there, the program that cannot start takes its time to find out.
    begin: PathBuf,
    /// Once this is there, it can.
    mended: PathBuf,
}

impl Three {
    async fn start(max_restarts: u32, longest_wait: &str) -> Self {
        let room = Arc::new(Room::new());
        let (begin, mended) = (room.path().join("begin"), room.path().join("mended"));
        let restart = format!(
            r#"restart = {{ initial = "10ms", max = "{longest_wait}", max_restarts = {max_restarts} }}"#
        );
        let config = format!(
            r#"
[pools.missing]
command = ["sh", "-c", "until test -e '{}'; do sleep 0.01; done; test -e '{}' || {{ echo '{WORDS}' >&2; exit 3; }}; exec '{}' mirror"]
workers = 2
{restart}
[pools.missing.methods.{MIRROR}]

[pools.crashing]
command = ["misbehave", "sdk"]
workers = 2
{restart}
[pools.crashing.methods.act]

[pools.healthy]
command = ["misbehave", "sdk"]
[pools.healthy.methods.wait]
"#,
            begin.display(),
            mended.display(),
            misbehave().display()
        );
        let broker = Start::new(config).in_room(&room).start().await;
        let client = broker.client().await;
        let beside = Beside::start(broker.client().await);
        Self { broker, client, beside, begin, mended }
    }

    /// Has the pool trip whose program cannot start; whoever waits for it is refused, and told why.
    async fn trip(&self) {
        let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(mirrored(self.client.clone()))).collect();
        queued_in(&self.broker, "missing", 3).await;
        open(&self.begin);
        for call in waiting {
            let error = call.await.expect("no panic").expect_err("its pool has tripped");
            let (retry_after, message) = refused(&error);
            says(&message, &["missing-", "start_failed (exit code 3)", WORDS]);
            assert!(retry_after.is_some_and(|wait| !wait.is_zero()), "{error:?}");
        }
        assert_eq!(self.tripped("missing").await, 1);
        let page = self.broker.page("/readyz").await.expect("/readyz answers");
        assert_eq!(page.status, 503);
        says(&page.body, &["pool missing is tripped", "start_failed", "exit code 3", WORDS]);
        assert!(!page.body.contains("crashing") && !page.body.contains("healthy"), "{}", page.body);
    }

    async fn tripped(&self, pool: &str) -> u64 {
        self.broker.metrics().await.count("pool_tripped", &[("pool", pool)])
    }

    /// One call after another is refused, until one is answered: that ends it.
    async fn comes_back<T>(&self, pool: &str, call: impl AsyncFn() -> Result<T, CallError>) {
        eventually(LIMIT, "the pool answers again", async || {
            call().await.inspect_err(|error| drop(refused(error))).is_ok()
        })
        .await;
        self.serves(pool).await;
    }

    /// The pool has its chance, with a process that is ready for it.
    async fn has_its_chance(&self, pool: &str) {
        let told =
            format!("pool {pool} is tripped: it is being tried with one process, one request at a time");
        eventually(LIMIT, "it has its chance", async || {
            let page = self.broker.page("/readyz").await.expect("/readyz answers");
            let health = self.broker.health().await;
            let workers = health["workers"].as_object().expect("health has workers");
            let mut of_it = workers.values().filter(|worker| worker["pool"] == pool);
            page.body.contains(&told) && of_it.any(|worker| worker["state"] == "ready")
        })
        .await;
        assert_eq!(self.processes(pool).len(), 1, "one process");
    }

    /// The pool serves again, with all its workers.
    async fn serves(&self, pool: &str) {
        assert_eq!(self.tripped(pool).await, 0);
        eventually(LIMIT, "every worker of the pool has a process", async || self.processes(pool).len() == 2)
            .await;
        self.broker.ready().await;
    }

    /// The processes of a pool.
    fn processes(&self, pool: &str) -> Vec<Marked> {
        let mut alive = self.broker.alive();
        alive.retain(|marked| marked.worker().is_some_and(|(worker, _)| worker.starts_with(pool)));
        alive
    }

    /// Nobody else has noticed: no call of the healthy pool was lost, or took longer than a busy machine explains.
    async fn end(self) {
        let slowest = self.beside.undisturbed().await;
        assert!(slowest < SLACK, "a call of the healthy pool took {slowest:?}");
        let metrics = self.broker.metrics().await;
        let outcomes =
            |outcome| metrics.count("requests_total", &[("pool", "healthy"), ("outcome", outcome)]);
        let all = metrics.count("requests_total", &[("pool", "healthy")]);
        assert_eq!(outcomes("ok"), all);
        assert_eq!(metrics.count("worker_starts_total", &[("pool", "healthy")]), 1);
        self.broker.stop();
    }
}

/// A call of the pool whose program cannot start.
async fn mirrored(client: Client) -> Result<(), CallError> {
    let body = encode_body(&"mirror").expect("a text can be encoded");
    let reply = client.call_raw(MIRROR, body.clone()).await?;
    assert_eq!(reply, body, "a mirror gives back what it gets");
    Ok(())
}

/// A tripped pool's refusal: when to come again, if that is known, and why.
fn refused(error: &CallError) -> (Option<Duration>, String) {
    let CallError::Rejected { why, retry_after, message, attempts, .. } = error else { panic!("{error:?}") };
    assert_eq!((*why, attempts.len()), (RejectWhy::Tripped, 0));
    assert!(!error.may_have_executed() && error.is_retryable());
    (*retry_after, message.clone().expect("a tripped pool says why"))
}

/// While it is tripped it is given one chance after another, each with one process. Once the program can start, the pool
/// serves again without anybody's help.
#[tokio::test]
async fn story_27_a_program_that_cannot_start_is_tried_until_it_can() {
    const LONGEST: Duration = Duration::from_secs(3);
    let _turn = Turn::shared();
    let three = Three::start(5, "3s").await;
    three.trip().await;
    let starts = async || three.broker.metrics().await.count("worker_starts_total", &[("pool", "missing")]);
    let before = starts().await;
    let refusal = async || {
        let (result, took) = timed(mirrored(three.client.clone())).await;
        assert!(took < SLACK, "a refusal took {took:?}");
        refused(&result.expect_err("it is tripped still"))
    };
    // Nothing is known of the next chance while there is one.
    let known = until_some(LIMIT, "the time of the next chance is told", async || refusal().await.0).await;
    assert!(known <= LONGEST, "{known:?}");

    eventually(LIMIT, "each chance has one process, and there are several", async || {
        let log = three.broker.log();
        let tried = log.lines().filter(|line| line.contains("tripped pool is tried again")).count() as u64;
        assert!(three.processes("missing").len() <= 1, "one at a time");
        tried >= 2 && starts().await == before + tried
    })
    .await;
    says(&refusal().await.1, &["start_failed (exit code 3)", WORDS]);
    open(&three.mended);
    three.comes_back("missing", async || mirrored(three.client.clone()).await).await;
    three.end().await;
}

/// Whoever has mended the cause does not have to wait for the next chance, half a minute away at least.
#[tokio::test]
async fn a_restart_brings_it_back_at_once() {
    let _turn = Turn::shared();
    let three = Three::start(5, "1m").await;
    three.trip().await;
    let error = mirrored(three.client.clone()).await.expect_err("it is tripped");
    let (retry_after, _) = refused(&error);
    assert!(retry_after.is_some_and(|wait| wait > LIMIT), "{error:?}");
    open(&three.mended);
    let told = lifeboat(&three.broker, &["restart", "missing"]).await.done();
    assert_eq!(told.trim(), "restarting missing-0, missing-1");
    let (result, took) = timed(mirrored(three.client.clone())).await;
    result.expect("it serves again, or will once it has started");
    assert!(took < LIMIT, "{took:?}");
    three.serves("missing").await;
    three.end().await;
}

/// Processes that die of the first request that each is given: after so many the pool trips, and a chance is one request in
/// one process.
#[tokio::test]
async fn a_worker_that_dies_of_each_first_request() {
    const MOST: u32 = 4;
    let _turn = Turn::shared();
    let three = Three::start(MOST, "2s").await;
    open(&three.mended);
    open(&three.begin);
    three.broker.ready().await;
    for _ in 0..MOST {
        let error = three.client.call(Act::new(Deed::Exit(1))).await.expect_err("it exits");
        assert!(
            matches!(&error, CallError::WorkerCrashed { reason, .. } if reason.label() == "exit"),
            "{error:?}"
        );
    }
    let error = three.client.call(Act::new(Deed::Exit(1))).await.expect_err("the pool has tripped");
    let (retry_after, message) = refused(&error);
    says(&message, &["crashing-", "exit (exit code 1)", "exiting with 1"]);
    assert!(retry_after.is_some_and(|wait| !wait.is_zero()), "{error:?}");
    assert_eq!((three.tripped("crashing").await, three.tripped("healthy").await), (1, 0));

    three.has_its_chance("crashing").await;
    let at = |name: &str| three.broker.room().path().join(name);
    let (trace, gate) = (at("trace"), at("gate"));
    let act = Act::when(&gate, Deed::Exit(1)).traced(&trace);
    let probe = sent(three.client.request(act.clone()));
    all_begun(&trace, 1).await;
    for _ in 0..4 {
        refused(&three.client.call(act.clone()).await.expect_err("one request at a time"));
    }
    open(&gate);
    let error = ended(probe).await.expect_err("it exits");
    assert!(matches!(error, CallError::WorkerCrashed { .. }), "{error:?}");
    all_begun(&trace, 1).await;
    assert_eq!(three.tripped("crashing").await, 1, "the chance is lost");

    three.comes_back("crashing", async || three.client.call(Act::echo(1)).await).await;
    three.end().await;
}
