//! Policies: what a method asks for is what counts for it, and for it alone.

use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client, encode_body};
use lifeboat_tests::act::{Act, Deed, Wait};
use lifeboat_tests::harness::{Broker, LIMIT, Room, Turn, eventually, run_lifeboat};
use rustix::process::Signal;

use crate::calls::{all_begun, ended, executions, sent, signal};
use crate::common::{config, echo};
use crate::scene::says;

/// Methods that are called like settings.
const NAMES: [&str; 6] = ["retry", "deadline", "defaults", "methods", "max_attempts", "attempt_timeout"];

/// A pool whose default is to try twice; of its methods the first has three attempts and the second one.
fn named_like_settings() -> String {
    let methods: String = NAMES[2..].iter().map(|name| format!("[pools.p.methods.{name}]\n")).collect();
    format!(
        r#"
[pools.p]
command = ["misbehave", "raw-for", "{}"]
restart = {{ initial = "1ms", max = "10ms", max_restarts = "unlimited" }}
[pools.p.defaults]
retry = {{ max_attempts = 2 }}
[pools.p.methods.{}]
retry = {{ max_attempts = 3 }}
[pools.p.methods.{}]
retry = "never"
{methods}
"#,
        NAMES.join("\", \""),
        NAMES[0],
        NAMES[1]
    )
}

/// The pool's default counts for what says nothing; a method's own word wins; a method may be called like a setting.
#[tokio::test]
async fn story_17_defaults_and_methods_that_are_called_like_settings() {
    let _turn = Turn::shared();
    let broker = Broker::start(named_like_settings()).await;
    let client = broker.client().await;
    let body = encode_body(&Act::new(Deed::Exit(1))).expect("an act can be encoded");
    for (name, wanted) in NAMES.into_iter().zip([3, 1, 2, 2, 2, 2]) {
        let error = client.request_raw(name, body.clone()).await.expect_err("it exits each time");
        let CallError::WorkerCrashed { method, attempt, max_attempts, attempts, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((method.as_str(), *attempt, *max_attempts), (name, wanted, wanted));
        assert_eq!(attempts.len(), usize::from(wanted));
    }
    broker.stop();
}

/// How often a request that always crashes is executed under a policy.
async fn executed_under(policy: &str) -> usize {
    let broker = Broker::start(config("sdk", 2, "", policy)).await;
    let client = broker.client().await;
    let trace = broker.room().path().join("trace");
    let error = client.call(Act::new(Deed::Exit(1)).traced(&trace)).await.expect_err("it exits each time");
    let CallError::WorkerCrashed { attempt, max_attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!(attempt, max_attempts);
    let executed = executions(&trace).len();
    assert_eq!(executed, usize::from(*attempt), "what is told is what was done");
    broker.stop();
    executed
}

#[tokio::test]
async fn story_18_max_attempts_counts_the_first_and_is_two_without_a_number() {
    let _turn = Turn::shared();
    assert_eq!(executed_under(r#"retry = { on = ["crash"] }"#).await, 2);
    assert_eq!(executed_under("retry = {}").await, 2);
    assert_eq!(executed_under("retry = { max_attempts = 2 }").await, 2);
    assert_eq!(executed_under("retry = { max_attempts = 3 }").await, 3);
    assert_eq!(executed_under(r#"retry = "never""#).await, 1);
}

/// Two methods with different policies are executed in one process when it dies.
#[tokio::test]
async fn story_20_each_method_that_was_executed_has_its_own_policy() {
    let _turn = Turn::shared();
    let text = r#"
[pools.p]
command = ["misbehave", "sdk"]
slots = 2
[pools.p.methods.act]
retry = { max_attempts = 2 }
[pools.p.methods.wait]
"#;
    let broker = Broker::start(text).await;
    let client = broker.client().await;
    let pid = echo(&client, 1).await.pid;
    let trace = broker.room().path().join("trace");
    let retried = sent(client.request(Act::new(Deed::Hang).until(1).tag(5).traced(&trace)));
    let other = tokio::spawn(client.call(Wait { millis: 60_000 }));
    all_begun(&trace, 1).await;
    eventually(LIMIT, "both are executed", async || {
        broker.metrics().await.count("slots", &[("pool", "p"), ("state", "busy")]) == 2
    })
    .await;
    signal(pid, Signal::KILL);
    let reply = ended(retried).await.expect("its method is tried again");
    assert_eq!((reply.tag, reply.attempts()), (5, 2));
    let error = other.await.expect("no panic").expect_err("its method is not");
    assert!(
        matches!(&error, CallError::WorkerCrashed { attempt: 1, max_attempts: 1, method, .. } if method == "wait"),
        "{error:?}"
    );
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("retries_total", &[("method", "act")]), 1);
    assert_eq!(metrics.count("retries_total", &[("method", "wait")]), 0);
    broker.stop();
}

/// What a configuration that says nothing comes to, as the program itself tells it.
#[test]
fn story_22_limits_have_defaults() {
    let room = Room::new();
    let text = "[pools.p]\ncommand = [\"misbehave\", \"sdk\"]\n[pools.p.methods.act]\n";
    let said =
        run_lifeboat(&room, ["check".into(), "--config".into(), room.write_config(text).into_os_string()]);
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(0), "{told}");
    says(&told, &["pools.p.start_timeout = \"10s\"", "pools.p.methods.act.deadline = \"5m\""]);
}

/// A client that was told nothing looks for a broker for 30 s, and no longer.
#[tokio::test]
async fn story_22_a_client_looks_for_its_broker_for_thirty_seconds() {
    const DEFAULT: Duration = Duration::from_secs(30);
    let room = Room::new();
    let began = Instant::now();
    let error = Client::connect(room.socket()).await.expect_err("nobody listens");
    let took = began.elapsed();
    assert!((DEFAULT..DEFAULT + LIMIT / 4).contains(&took), "{took:?}: {error}");
}
