//! Whoever may be to blame for a death runs alone: a poison request is convicted, and takes no neighbour down twice.

use lifeboat_client::CallError;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};

use crate::calls::{all_begun, ended, executions, open, sent};
use crate::commands::lifeboat;
use crate::common::{config, crashes};
use crate::scene::says;

const REQUESTS: u64 = 2_000;
const POISON: u64 = 10;

/// Every so many requests one is poison, and the first ones are not.
const EVERY: u64 = REQUESTS / POISON;

/// How a poison request ends its process.
fn deadly(tag: u64) -> Deed {
    match tag / EVERY % 5 {
        0 => Deed::Exit(3),
        1 => Deed::Abort,
        2 => Deed::Segfault,
        3 => Deed::Signal(4),
        _ => Deed::Halt(7),
    }
}

const fn is_poison(tag: u64) -> bool {
    tag % EVERY == EVERY / 2
}

/// All requests at once, ten of them poison: those end with both attempts, and every other one is answered. Gives how many
/// of the others were hit by a death.
async fn convicted(keys: &str, policy: &str, poison: impl Fn(u64) -> Deed) -> u64 {
    let keys = format!(
        "slots = 4\ncancel_grace = \"200ms\"\nstop_grace = \"100ms\"\nqueue = {{ max_requests = 3000 }}\n{keys}"
    );
    let broker = Broker::start(config("sdk", 3, &keys, policy)).await;
    broker.ready().await;
    let client = broker.client().await;
    let calls: Vec<_> = (0..REQUESTS)
        .map(|tag| {
            let deed = if is_poison(tag) { poison(tag) } else { Deed::EchoAfter(2) };
            (tag, sent(client.request(Act::new(deed).tag(tag)).timeout(LIMIT)))
        })
        .collect();
    let mut hit = 0;
    for (tag, call) in calls {
        match ended(call).await {
            Ok(reply) if !is_poison(tag) => {
                assert!(reply.attempts() <= 2, "{tag}: hit at most once");
                hit += u64::from(reply.attempts() - 1);
            }
            Err(CallError::WorkerCrashed { attempts, .. } | CallError::TimedOut { attempts, .. })
                if is_poison(tag) =>
            {
                assert_eq!(attempts.len(), 2, "{tag}: convicted within its attempts");
            }
            other => panic!("{tag}: {other:?}"),
        }
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("outcome", "ok")]), REQUESTS - POISON);
    let deaths = metrics.count("worker_crashes_total", &[]);
    assert!((POISON..=2 * POISON).contains(&deaths), "{deaths} deaths");
    assert_eq!(
        metrics.count("attempts_total", &[("end", "crashed")])
            + metrics.count("attempts_total", &[("end", "timed_out")]),
        2 * POISON + hit
    );
    broker.stop();
    hit
}

#[tokio::test]
async fn ten_poison_requests_among_two_thousand_are_convicted_and_nobody_else() {
    let _turn = Turn::alone();
    let policy = r#"retry = { on = ["crash"], max_attempts = 2 }"#;
    for keys in ["prefetch = 1", "prefetch = 4"] {
        let hit = convicted(keys, policy, deadly).await;
        assert!(hit > 0, "{keys}: somebody ran beside one of them");
        assert!(hit <= POISON * 3, "{keys}: {hit} were hit, three beside each at most");
    }
}

#[tokio::test]
async fn poison_that_hangs_takes_no_neighbour_down_either() {
    let _turn = Turn::alone();
    let policy = "attempt_timeout = \"400ms\"\nretry = { on = [\"crash\", \"timeout\"], max_attempts = 2 }";
    convicted("prefetch = 1", policy, |_| Deed::Hang).await;
}

/// Two neighbours whose process dies are shown as suspects: one runs alone, the other waits.
#[tokio::test]
async fn suspects_are_shown() {
    let _turn = Turn::shared();
    let keys = "slots = 2";
    let broker = Broker::start(config("sdk", 1, keys, "retry = { max_attempts = 2 }")).await;
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let at = |name: &str| broker.room().path().join(name);
    let (trace, gate, exit) = (at("trace"), at("gate"), at("exit"));
    let innocent = sent(client.request(Act::when(&gate, Deed::Echo).tag(1).traced(&trace)));
    all_begun(&trace, 1).await;
    let poison = sent(client.request(Act::when(&exit, Deed::Exit(3)).tag(2).traced(&trace)));
    all_begun(&trace, 2).await;
    open(&exit);
    crashes(&broker, "exit", 1).await;
    all_begun(&trace, 3).await;
    let shown = lifeboat(&broker, &["requests", "--json"]).await.json();
    let rows = shown["requests"].as_array().expect("a list of requests");
    let states: Vec<_> = rows.iter().map(|row| (row["state"].as_str(), row["suspect"].as_bool())).collect();
    assert_eq!(states, [(Some("running"), Some(true)), (Some("queued"), Some(true))]);
    says(&lifeboat(&broker, &["requests"]).await.done(), &["running (suspect)", "queued (suspect)"]);
    let third = sent(client.request(Act::echo(3).traced(&trace)));
    eventually(LIMIT, "the third one waits too", async || {
        broker.metrics().await.count("queue_depth", &[("pool", "p")]) == 2
    })
    .await;
    open(&gate);
    assert_eq!(ended(innocent).await.expect("it was not to blame").attempts(), 2);
    let convicted = ended(poison).await.expect_err("it kills every process");
    assert!(matches!(convicted, CallError::WorkerCrashed { .. }), "{convicted:?}");
    assert_eq!(ended(third).await.expect("it ran beside nobody").attempts(), 1);
    let order: Vec<u64> = executions(&trace).iter().map(|execution| execution.tag).collect();
    assert_eq!(order, [1, 2, 1, 2, 3], "one after the other");
    broker.stop();
}
