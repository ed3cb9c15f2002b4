//! A body that crashes one process after the other is refused before it crashes the next one; nobody else's is.

use std::time::Duration;

use lifeboat_client::{CallError, Client, RejectWhy};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};
use serde_json::Value;

use crate::calls::{all_begun, ended, open, sent};
use crate::commands::lifeboat;
use crate::common::{config, crashes, echo};
use crate::scene::{logs, says};

/// A body that crashes its process.
fn poison() -> Act {
    Act::new(Deed::Exit(3)).tag(666)
}

async fn watching(workers: u16, keys: &str, quarantine: &str) -> Broker {
    let broker = Broker::start(config("sdk", workers, keys, quarantine)).await;
    broker.ready().await.all_idle().await;
    broker
}

/// A body crashes a process. Gives its report.
async fn crashed(client: &Client) -> String {
    let error = client.request(poison()).timeout(LIMIT).await.expect_err("poison");
    let CallError::WorkerCrashed { report_id: Some(report), .. } = error else { panic!("{error:?}") };
    report
}

/// A body is refused. Gives the report and the time that are told.
async fn refused(client: &Client) -> (Option<String>, Duration) {
    let error = client.request(poison()).timeout(LIMIT).await.expect_err("poison");
    let CallError::Rejected {
        why: RejectWhy::Quarantined,
        retry_after: Some(retry_after),
        message: Some(message),
        report_id,
        attempts,
        may_have_executed: false,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert!(attempts.is_empty() && message.contains("lifeboat quarantine --release"), "{message}");
    (report_id, retry_after)
}

/// What is in quarantine, as the command lists it.
async fn listed(broker: &Broker) -> Vec<Value> {
    let shown = lifeboat(broker, &["quarantine", "--json"]).await.json();
    shown["bodies"].as_array().expect("a list of bodies").clone()
}

#[tokio::test]
async fn poison_is_refused_the_fourth_time_and_runs_again_when_it_is_released() {
    let _turn = Turn::shared();
    let broker = watching(2, "", "quarantine = { expiry = \"1h\" }").await;
    let (first, second) = (broker.client().await, broker.client().await);
    let mut last = None;
    for client in [&first, &second, &first] {
        last = Some(crashed(client).await);
    }
    let (report, retry_after) = refused(&second).await;
    assert_eq!(report, last, "the last report");
    assert!(
        (Duration::from_secs(3000)..=Duration::from_secs(3600)).contains(&retry_after),
        "{retry_after:?}"
    );
    crashes(&broker, "exit", 3).await;
    echo(&first, 1).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("quarantined", &[("pool", "p")]), 1);
    assert_eq!(metrics.count("rejected_total", &[("pool", "p"), ("why", "quarantined")]), 1);
    let bodies = listed(&broker).await;
    let [body] = &bodies[..] else { panic!("{bodies:?}") };
    assert_eq!((body["method"].as_str(), body["crashes"].as_u64()), (Some("act"), Some(3)));
    assert_eq!(body["report_id"].as_str(), last.as_deref());
    let digest = body["digest"].as_str().expect("a digest");
    let id = last.expect("three crashes");
    says(&lifeboat(&broker, &["quarantine"]).await.done(), &[digest, "act", "3", &id]);
    logs(&broker, &["body quarantined", digest, &id]).await;
    lifeboat(&broker, &["quarantine", "--release", "no-digest"]).await.not_done(1, &["no digest"]);
    lifeboat(&broker, &["quarantine", "--release", "00"]).await.not_done(1, &["no body with the digest"]);
    let released = lifeboat(&broker, &["quarantine", "--release", digest]).await.done();
    assert_eq!(released, format!("released {digest} of act\n"));
    logs(&broker, &["body released from quarantine"]).await;
    crashed(&second).await;
    assert!(listed(&broker).await.is_empty(), "it counts anew");
    assert_eq!(
        lifeboat(&broker, &["quarantine", "--release", "all"]).await.done(),
        "no body is in quarantine\n"
    );
    broker.stop();
}

#[tokio::test]
async fn a_quarantine_expires() {
    let _turn = Turn::shared();
    let broker = watching(2, "", "quarantine = { crash_limit = 1, expiry = \"3s\" }").await;
    let client = broker.client().await;
    crashed(&client).await;
    let (_, retry_after) = refused(&client).await;
    assert!(retry_after <= Duration::from_secs(3), "{retry_after:?}");
    eventually(LIMIT, "the quarantine expires", async || listed(&broker).await.is_empty()).await;
    crashed(&client).await;
    broker.stop();
}

#[tokio::test]
async fn nobody_is_refused_by_a_method_without_a_quarantine() {
    let _turn = Turn::shared();
    let broker = watching(2, "", "").await;
    let client = broker.client().await;
    for _ in 0..5 {
        crashed(&client).await;
    }
    assert!(listed(&broker).await.is_empty());
    broker.stop();
}

/// Four slots: an innocent body executes beside the poison in process after process, and is never to blame.
#[tokio::test]
async fn neighbours_are_never_quarantined() {
    const CRASHES: usize = 4;
    let _turn = Turn::shared();
    let policy = "quarantine = { crash_limit = 1 }\nretry = { max_attempts = 2 }";
    let broker = watching(1, "slots = 4", policy).await;
    let client = broker.client().await;
    let at = |name: &str| broker.room().path().join(name);
    let (trace, gate, exit) = (at("trace"), at("gate"), at("exit"));
    // The same body each time: an act that waits at a gate, and is not told apart by its tag.
    let innocent = || Act::when(&gate, Deed::Echo).traced(&trace);
    let calls: Vec<_> = (0..3).map(|_| sent(client.request(innocent()).timeout(LIMIT))).collect();
    all_begun(&trace, 3).await;
    let guilty = Act::when(&exit, Deed::Exit(3)).traced(&trace);
    let guilty = sent(client.request(guilty).timeout(LIMIT));
    all_begun(&trace, CRASHES).await;
    open(&exit);
    crashes(&broker, "exit", 1).await;
    assert!(listed(&broker).await.is_empty(), "nobody knows which of them it was");
    open(&gate);
    for call in calls {
        ended(call).await.expect("it is not to blame");
    }
    let convicted = ended(guilty).await.expect_err("it kills its second process too, alone");
    assert!(matches!(convicted, CallError::WorkerCrashed { .. }), "{convicted:?}");
    assert_eq!(listed(&broker).await.len(), 1, "the poison, which ran alone");
    let again = client.request(innocent()).timeout(LIMIT).await.expect("the innocent one is served");
    assert_eq!(again.attempts(), 1);
    broker.stop();
}
