//! The limits of a process's own life, seen by its death.

use std::future::IntoFuture as _;
use std::time::Duration;

use lifeboat_client::{Client, decode_body, encode_body};
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::clock::now;
use lifeboat_tests::harness::{Broker, LIMIT, eventually, until_some};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;
use tokio::task::JoinSet;

use super::lateness::Firing;
use super::{BEATING, PATIENCE, START_TIMEOUT, STARTING, nanos};

/// When a process died that lives now; `None` when it does not: the machine stood still until after its limit. Blocks.
pub(super) fn death_of(pid: Pid) -> Option<u64> {
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    while poll(&mut [PollFd::new(&process, PollFlags::IN)], None).is_err() {}
    Some(now())
}

/// `start_timeout` of processes that are never ready, `each` times for every worker. A worker that is out of service gets a
/// process while a person's order to restart it is taken: not before it was sent, and not after it was answered.
pub(super) async fn starts(broker: &Broker, client: &Client, each: usize) -> Vec<Firing> {
    let mut firings = Vec::new();
    for _ in 0..each {
        let mut round = JoinSet::new();
        for worker in starting() {
            let sent = now();
            client.admin().restart(&worker).await.expect("a person may order");
            let answered = now();
            let pid = until_some(LIMIT, "it has a process", async || pid_of(broker, &worker).await).await;
            round.spawn_blocking(move || {
                let limit = nanos(START_TIMEOUT);
                let seen = death_of(pid)?;
                Some(Firing { earliest: sent + limit, due: answered + limit, seen })
            });
        }
        firings.extend(round.join_all().await.into_iter().flatten());
        rest(broker, client).await;
    }
    firings
}

fn starting() -> impl Iterator<Item = String> {
    (0..STARTING).map(|number| format!("starting-{number}"))
}

async fn pid_of(broker: &Broker, worker: &str) -> Option<Pid> {
    let pid = broker.health().await["workers"][worker]["pid"].as_i64()?;
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Takes the workers whose processes are never ready out of service, so that they do not start over and over.
pub(super) async fn rest(broker: &Broker, client: &Client) {
    for worker in starting() {
        client.admin().drain(&worker).await.expect("a person may order");
    }
    eventually(LIMIT, "they are out of service", async || {
        let health = broker.health().await;
        let resting = |worker: &Value| worker["state"] == "disabled" && worker["pid"].is_null();
        starting().all(|worker| resting(&health["workers"][worker]))
    })
    .await;
}

/// Waits until all others serve.
pub(super) async fn others_serve(broker: &Broker) {
    eventually(LIMIT, "all workers but those serve", async || {
        let health = broker.health().await;
        let workers = health["workers"].as_object().expect("health has workers");
        workers.values().all(|it| ["ready", "busy", "disabled"].iter().any(|state| it["state"] == *state))
    })
    .await;
}

/// Heartbeats that stay away, `each` times for every worker: it answers, which counts as one, and is stopped before the next
/// is due.
pub(super) async fn heartbeats(broker: &Broker, client: &Client, each: usize) -> Vec<Firing> {
    let mut firings = Vec::new();
    for _ in 0..each {
        others_serve(broker).await;
        let mut round = JoinSet::new();
        for _ in 0..BEATING {
            // Long enough that each is given to another worker.
            let act = encode_body(&Act::new(Deed::EchoAfter(50))).expect("an act can be encoded");
            let call = client.request_raw(super::BEAT, act).into_future();
            round.spawn(async move {
                let sent = now();
                let reply = call.await.expect("it answers");
                let heard = now();
                let acted: Acted = decode_body(&reply).expect("it acted");
                let pid = i32::try_from(acted.pid).ok().and_then(Pid::from_raw).expect("a process id");
                kill_process(pid, Signal::STOP).expect("it lives");
                let patience = nanos(PATIENCE);
                let seen = tokio::task::spawn_blocking(move || death_of(pid)).await.expect("no panic")?;
                let answered = sent + nanos(Duration::from_millis(50));
                Some(Firing { earliest: answered + patience, due: heard + patience, seen })
            });
        }
        firings.extend(round.join_all().await.into_iter().flatten());
    }
    firings
}
