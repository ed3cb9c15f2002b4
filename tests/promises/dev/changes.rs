//! A program that changes under `lifeboat dev`, and one that does not work for long.

use std::fs;
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client, RejectWhy};
use lifeboat_tests::act::Act;
use lifeboat_tests::harness::{LIMIT, Turn, eventually};

use super::scene::{Dev, echo, serving, write};
use crate::scene::{Beside, says};

/// A tripped pool has no chance of itself before this: it waits 10 s, or half as long at least.
const UNTRIED: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_an_argument_names_is_watched() {
    let _turn = Turn::shared();
    let mut dev = Dev::with(&serving("sdk"), &["sh", "./worker.sh"], |_| {});
    says(&dev.prints("in the place of"), &["It serves act, wait"]);
    write(&dev.room, &serving("mirror"));
    says(&dev.prints("in the place of"), &["It serves mirror"]);
    says(&dev.interrupt().await, &["worker.sh has changed: starting the next process"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_while_the_program_changes() {
    let _turn = Turn::shared();
    let dev = Dev::with(&serving("sdk"), &["--slots", "2", "./worker.sh"], |_| {});
    let client = dev.client().await;
    let mut before = echo(&client).await.incarnation;
    let mut calling = Vec::new();
    for _ in 0..4 {
        calling.push(Beside::start(dev.client().await));
    }
    for _ in 0..2 {
        write(&dev.room, &serving("sdk"));
        eventually(LIMIT, "the next process serves", async || echo(&client).await.incarnation > before).await;
        before = echo(&client).await.incarnation;
    }
    for calls in calling {
        calls.undisturbed().await;
    }
    let log = dev.interrupt().await;
    assert!(!log.contains("died"), "{log}");
}

/// Workers that all fail to start until a file `model` is there: too many of them for their pool, which trips.
async fn tripped() -> (Dev, Client) {
    let script = format!("test -e model || exit 5; {}", serving("sdk"));
    let dev = Dev::with(&script, &["--workers", "16", "./worker.sh"], |_| {});
    let client = dev.client().await;
    eventually(LIMIT, "the pool is tripped", async || {
        let error = client.call(Act::echo(1)).await.expect_err("nobody serves");
        matches!(error, CallError::Rejected { why: RejectWhy::Tripped, .. })
    })
    .await;
    // Some were on their way when it tripped; there are no further ones until it is tried again.
    let processes = || dev.room.mark().alive();
    eventually(LIMIT, "all have failed", async || processes().iter().all(|one| one.worker().is_none())).await;
    (dev, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_has_tripped_is_tried_at_once_when_its_program_changes() {
    let _turn = Turn::shared();
    let (dev, client) = tripped().await;
    let began = Instant::now();
    write(&dev.room, &serving("sdk"));
    serves(&client).await;
    assert!(began.elapsed() < UNTRIED, "it took {:?}", began.elapsed());
    let log = dev.interrupt().await;
    assert_eq!(log.matches("did not start: exit code 5").count(), 1, "it is complained of once:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_has_tripped_is_tried_again_by_itself() {
    let _turn = Turn::shared();
    let (dev, client) = tripped().await;
    fs::write(dev.room.path().join("model"), "").expect("the room can be written to");
    serves(&client).await;
    let log = dev.interrupt().await;
    assert!(!log.contains("has changed: starting"), "{log}");
}

async fn serves(client: &Client) {
    eventually(LIMIT, "it serves", async || client.call(Act::echo(1)).await.is_ok()).await;
}
