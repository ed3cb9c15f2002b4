//! Strange hosts: a parent that ignores SIGCHLD, and a container in which the broker is PID 1.

use std::time::Duration;

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Marked, Start, Turn, eventually, misbehave, zombies_of};

use crate::common::{begun, crashes, echo, failing, plain};
use crate::scene::Beside;

#[tokio::test]
async fn sigchld_ignored_by_the_parent() {
    let _turn = Turn::shared();
    let broker = Start::new(plain()).by(["env", "--ignore-signal=SIGCHLD"]).start().await;
    let client = broker.client().await;
    let beside = Beside::start(broker.client().await);
    for (deed, code, signal) in [(Deed::Exit(7), Some(7), None), (Deed::Abort, None, Some(6))] {
        let error = failing(&client, deed).await;
        let CallError::WorkerCrashed { reason, .. } = &error else { panic!("{error:?}") };
        assert_eq!((reason.exit_code(), reason.signal()), (code, signal), "{error:?}");
        echo(&client, 1).await;
    }
    beside.undisturbed().await;
    broker.stop();
}

/// What starts a broker as PID 1 of a namespace of its own.
fn as_pid_1() -> Vec<&'static str> {
    let root = rustix::process::geteuid().is_root();
    let mut command = vec!["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !root {
        command.extend(["--user", "--map-root-user"]);
    }
    command
}

async fn start_as_pid_1(config: String) -> Broker {
    match Start::new(config).by(as_pid_1()).try_start().await {
        Ok(broker) => broker,
        Err(refusal) if refusal.log.contains("unshare:") => panic!(
            "this test needs PID namespaces: run it as root, or allow them to users (sysctl \
             kernel.unprivileged_userns_clone=1, and no seccomp profile that forbids `unshare`): {}",
            refusal.log
        ),
        Err(refusal) => panic!("the broker ended with {:?}:\n{}", refusal.code, refusal.log),
    }
}

fn is_pid_1(broker: &Broker) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("the broker lives");
    let inner = status.lines().find(|line| line.starts_with("NSpid:")).expect("a modern kernel");
    assert_eq!(inner.split_whitespace().last(), Some("1"), "the broker is PID 1: {inner}");
}

/// A pool whose every start leaves a daemon that stays and one that ends, whom nobody but PID 1 can reap.
fn littering() -> String {
    let misbehave = misbehave();
    format!(
        r#"
[pools.litter]
command = ["sh", "-c", "$0 escape; $0 escape-and-end; exec $0 fail-start", "{}"]
restart = {{ initial = "1ms", max = "5ms", max_restarts = "unlimited" }}
[pools.litter.methods.nothing]
"#,
        misbehave.display()
    )
}

#[tokio::test]
async fn as_pid_1_orphans_are_reaped_and_sigterm_ends() {
    const DEATHS: u64 = 10;
    let _turn = Turn::shared();
    let broker = start_as_pid_1(plain() + &littering()).await;
    is_pid_1(&broker);
    eventually(LIMIT, "starts have failed", async || {
        let metrics = broker.metrics().await;
        metrics.count("worker_crashes_total", &[("pool", "litter"), ("reason", "start_failed")]) >= DEATHS
    })
    .await;
    eventually(LIMIT, "the daemons of the dead are gone", async || {
        let old = |marked: &Marked| {
            marked.worker().is_some_and(|(name, life)| name == "litter-0" && life <= DEATHS)
        };
        !broker.alive().iter().any(old)
    })
    .await;
    eventually(LIMIT, "the broker has no zombies", async || zombies_of(broker.pid()).is_empty()).await;
    broker.stop();
}

/// A client outside the broker's namespace, such as one in another container that shares the socket's directory.
#[tokio::test]
async fn a_client_of_another_pid_namespace() {
    let _turn = Turn::shared();
    let broker = start_as_pid_1(plain()).await;
    is_pid_1(&broker);
    let client = Client::builder().socket(broker.socket()).connect_timeout(Duration::from_secs(3));
    let client = client.connect().await.expect("the broker takes clients of its own user, wherever they run");
    echo(&client, 1).await;
    for round in 1..=5 {
        let error = failing(&client, Deed::Litter(Box::new(Deed::Exit(7)))).await;
        let CallError::WorkerCrashed { reason, .. } = &error else { panic!("{error:?}") };
        assert_eq!(reason.exit_code(), Some(7));
        echo(&client, round).await;
    }
    crashes(&broker, "exit", 5).await;
    eventually(LIMIT, "the broker has no zombies and only its worker", async || {
        zombies_of(broker.pid()).is_empty()
            && broker.alive().iter().filter(|it| it.worker().is_some()).count() == 1
    })
    .await;

    let trace = broker.room().path().join("trace");
    let running = tokio::spawn({
        let (client, act) = (client.clone(), Act::new(Deed::EchoAfter(500)).tag(5).traced(&trace));
        async move { client.call(act).await }
    });
    begun(&trace).await;
    broker.terminate();
    assert_eq!(running.await.expect("no panic").expect("what runs is finished").tag, 5);
    broker.ended();
}
