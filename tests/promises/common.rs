//! Configurations and small questions that many tests share.

use std::future::IntoFuture;
use std::path::Path;
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, eventually};

/// One pool `p` of so many misbehaving workers of a kind. `keys` are lines of the pool, `policy` lines of the method
/// `act`. Crash loops back off by milliseconds, so that tests of other things do not wait for them, and what should end
/// but does not ends after a minute.
pub(crate) fn config(kind: &str, workers: u16, keys: &str, policy: &str) -> String {
    format!(
        r#"
[pools.p]
command = ["misbehave", "{kind}"]
workers = {workers}
restart = {{ initial = "1ms", max = "10ms", max_restarts = "unlimited" }}
{keys}

[pools.p.defaults]
deadline = "60s"

[pools.p.methods.act]
{policy}

[pools.p.methods.wait]
"#
    )
}

/// The same on the SDK, with one worker and nothing special.
pub(crate) fn plain() -> String {
    config("sdk", 1, "", "")
}

/// The error of a call that must have one.
pub(crate) async fn failing(client: &Client, deed: Deed) -> CallError {
    match client.call(Act::new(deed.clone())).await {
        Ok(acted) => panic!("{deed:?} was answered: {acted:?}"),
        Err(error) => error,
    }
}

/// An echo that must work: the pool serves.
pub(crate) async fn echo(client: &Client, tag: u64) -> Acted {
    let acted =
        client.request(Act::echo(tag)).timeout(LIMIT).await.expect("the pool serves again").into_inner();
    assert_eq!(acted.tag, tag, "an answer belongs to its request");
    acted
}

/// What a future gives, and how long it took.
pub(crate) async fn timed<F: IntoFuture>(future: F) -> (F::Output, Duration) {
    let began = Instant::now();
    let output = future.await;
    (output, began.elapsed())
}

/// Waits until a worker executes a request.
pub(crate) async fn busy(broker: &Broker, workers: usize) {
    eventually(LIMIT, "the workers are busy", async || {
        let health = broker.health().await;
        let all = health["workers"].as_object().expect("health has workers");
        all.values().filter(|worker| worker["status"] == "busy").count() >= workers
    })
    .await;
}

/// Waits until a request that leaves its trace in this file has really begun in its worker: what the broker calls
/// running may still be on its way.
pub(crate) async fn begun(trace: &Path) {
    eventually(LIMIT, "the handler has begun", async || trace.exists()).await;
}

/// Waits until every crash of this reason has been counted, and checks that there are no others of it.
pub(crate) async fn crashes(broker: &Broker, reason: &str, count: u64) {
    let labels = [("pool", "p"), ("reason", reason)];
    eventually(LIMIT, &format!("{count} crashes of reason {reason} are counted"), async || {
        broker.metrics().await.count("worker_crashes_total", &labels) >= count
    })
    .await;
    assert_eq!(
        broker.metrics().await.count("worker_crashes_total", &labels),
        count,
        "crashes of reason {reason}"
    );
}

/// Checks a time: never early, and not later than a busy machine explains.
pub(crate) fn within(took: Duration, least: Duration, most: Duration) {
    assert!(took >= least, "early: took {took:?}, not before {least:?}");
    assert!(took <= most, "late: took {took:?}, allowed {most:?}");
}

/// Whether processes have cgroups here. Where they have not, it says so, and a test of them proves nothing.
#[expect(clippy::print_stderr, reason = "who runs the tests is to know that something is not proven")]
pub(crate) fn has_cgroups(broker: &Broker) -> bool {
    let has = broker.log().contains("each process gets a cgroup of its own");
    if !has {
        eprintln!("SKIPPED: no cgroup may be made here; nothing is proven");
    }
    has
}
