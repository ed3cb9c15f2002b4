//! Drives a real broker through a row.

use lifeboat_client::{CallError, Client, RejectWhy, Reply, TimeoutWhich};
use lifeboat_tests::act::Acted;
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually, threads_of, zombies_of};

use super::row::{Caller, Fate, Row};
use crate::common::{echo, has_cgroups};
use crate::scene::Beside;

/// The worker that misbehaves.
const WORKER: &str = "p-0";

/// So often a worker that never serves must have been started again.
const STARTS: u64 = 3;

/// The process that a row begins with.
struct Before {
    pid: u32,
    incarnation: u64,
}

/// Does what the row says and checks all that it says.
pub(super) async fn prove(row: Row) {
    let _turn = Turn::shared();
    let broker = Broker::start(row.config()).await;
    if row.takes_cgroups && !has_cgroups(&broker) {
        return;
    }
    let client = broker.client().await;
    let beside = Beside::start(broker.client().await);
    let before = begin(&row, &broker, &client).await;

    let result = client.request(row.act.clone()).await;

    check_caller(&row, result);
    match row.fate {
        Fate::ServesOn | Fate::Degraded => {
            serves_on(&row, &broker, &client, before.expect("it can start")).await;
        }
        Fate::Replaced | Fate::ReplacedAfterAWait => {
            replaced(&row, &broker, &client, before.expect("it can start")).await;
        }
        Fate::StartsOver => starts_over(&row, &broker).await,
        Fate::Trips => trips(&row, &broker).await,
    }
    check_deaths(&row, &broker).await;
    beside.undisturbed().await;
    broker.stop();
}

/// The worker as it is before: it has answered, if it can, or is ready, if it ever is.
async fn begin(row: &Row, broker: &Broker, client: &Client) -> Option<Before> {
    if row.greeted {
        let acted = echo(client, 1).await;
        return Some(Before { pid: acted.pid, incarnation: acted.incarnation });
    }
    if !row.fate.serves() {
        return None;
    }
    let pid = broker.worker_pid(WORKER).await;
    Some(Before { pid, incarnation: 1 })
}

fn check_caller(row: &Row, result: Result<Reply<Acted>, CallError>) {
    match (row.caller, result) {
        (Caller::Answered, Ok(reply)) => assert!(!reply.late() && reply.attempts() == 1, "{reply:?}"),
        (Caller::AnsweredLate, Ok(reply)) => assert!(reply.late() && reply.attempts() == 1, "{reply:?}"),
        (Caller::Failed, Err(CallError::Failed { .. })) => {}
        (Caller::Crashed(label), Err(CallError::WorkerCrashed { reason, attempt: 1, attempts, .. })) => {
            assert_eq!((reason.label(), attempts.len()), (label, 1), "{reason:?}");
        }
        (Caller::TimedOut(wanted), Err(CallError::TimedOut { which, attempts, .. })) => {
            assert_eq!((which, attempts.len()), (wanted, 1), "{attempts:?}");
            let reason = attempts[0].reason.as_ref().map(|reason| reason.label());
            assert_eq!(reason, row.reason, "{attempts:?}");
        }
        (Caller::Refused, Err(CallError::Rejected { why: RejectWhy::Tripped, message, attempts, .. })) => {
            let reason = row.reason.expect("what never serves has a reason");
            assert!(message.is_some_and(|text| text.contains(reason)) && attempts.is_empty());
        }
        (Caller::NeverRan, Err(CallError::TimedOut { which, attempts, unanswered: false, .. })) => {
            assert_eq!((which, attempts.len()), (TimeoutWhich::Deadline, 0), "{attempts:?}");
        }
        (wanted, result) => panic!("{}: wanted {wanted:?}, not {result:?}", row.name),
    }
}

/// The same process answers.
async fn serves_on(row: &Row, broker: &Broker, client: &Client, before: Before) {
    let after = echo(client, 2).await;
    assert_eq!((after.pid, after.incarnation), (before.pid, before.incarnation), "the same process");
    let kills = broker.metrics().await.sum("worker_kills_total", &[("pool", "p")]);
    assert_eq!(kills, 0.0, "nobody was killed");
    let state = &broker.health().await["workers"][WORKER]["state"];
    assert_eq!(state == "degraded", row.fate == Fate::Degraded, "{state}");
}

/// The next process serves, and nothing of the one before is left.
async fn replaced(row: &Row, broker: &Broker, client: &Client, before: Before) {
    let next = before.incarnation + 1;
    if row.greeted {
        let after = echo(client, 2).await;
        assert_eq!(after.incarnation, next, "one death, one replacement");
    } else {
        eventually(LIMIT, "the next process is ready", async || {
            let health = broker.health().await;
            health["workers"][WORKER]["incarnation"] == next && health["workers"][WORKER]["state"] == "ready"
        })
        .await;
    }
    let left = broker.tree_of(WORKER, before.incarnation);
    assert!(left.is_empty(), "left of the process before: {left:#?}");
    assert_eq!(threads_of(before.pid), 0, "a thread of the process before runs on");
    assert!(zombies_of(broker.pid()).is_empty(), "zombies are left");
    let waited = waited(broker);
    assert_eq!(waited, row.fate == Fate::ReplacedAfterAWait, "waited before the next process: {waited}");
}

/// It is started again and again, and says why.
async fn starts_over(row: &Row, broker: &Broker) {
    let reason = row.reason.expect("what never serves has a reason");
    let labels = [("pool", "p"), ("reason", reason)];
    eventually(LIMIT, &format!("{STARTS} deaths of {reason} are counted"), async || {
        broker.metrics().await.count("worker_crashes_total", &labels) >= STARTS
    })
    .await;
    assert!(waited(broker), "a crash loop has waits");
}

/// The same, and its pool says that it takes no requests.
async fn trips(row: &Row, broker: &Broker) {
    starts_over(row, broker).await;
    assert_eq!(broker.metrics().await.count("pool_tripped", &[("pool", "p")]), 1);
    let page = broker.page("/readyz").await.expect("/readyz answers");
    assert!(page.status == 503 && page.body.contains("pool p is tripped"), "{}", page.body);
}

/// Whether the worker has waited before a next process.
fn waited(broker: &Broker) -> bool {
    let worker = format!("worker=\"{WORKER}\"");
    broker
        .log()
        .lines()
        .any(|line| line.contains("waits before its next incarnation") && line.contains(&worker))
}

/// The deaths of all pools together are those of the row.
async fn check_deaths(row: &Row, broker: &Broker) {
    let deaths = broker.metrics().await.by("worker_crashes_total", "reason");
    match row.reason {
        None => assert!(deaths.is_empty(), "{deaths:?}"),
        Some(reason) => {
            assert_eq!(deaths.keys().collect::<Vec<_>>(), [reason]);
            assert!(deaths[reason] <= 1.0 || !row.fate.serves(), "counted once: {deaths:?}");
        }
    }
}
