//! The broker is killed under load: everybody is told within a second, nothing of it runs on, its successor serves.

use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed, Wait};
use lifeboat_tests::harness::{Broker, LIMIT, Room, Start, Turn, eventually, threads_of, until_some};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::calls::signal;
use crate::common::{begun, busy, config, echo};

const TOLD: Duration = Duration::from_secs(1);

/// Nothing that carries the mark lives a second after the death.
async fn gone_in_time(room: &Room, killed: Instant) {
    while killed.elapsed() < TOLD && !room.mark().alive().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let alive = room.mark().alive();
    assert!(alive.is_empty(), "alive {TOLD:?} after the broker was killed: {alive:#?}");
}

/// Keeps calls in flight and gives what became of those that a death interrupted.
fn load(clients: &[Client], calls: &mut JoinSet<(Result<u32, CallError>, Instant)>) {
    for client in clients {
        for number in 0..20_u64 {
            let client = client.clone();
            calls.spawn(async move {
                let result = match number % 2 {
                    0 => client.call(Wait { millis: 60_000 }).await,
                    _ => client.call(Act::new(Deed::Hang)).await,
                };
                (result.map(|acted| acted.pid), Instant::now())
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_44_sigkill_is_told_within_a_second_and_leaves_nothing() {
    let _turn = Turn::shared();
    let text = config("sdk", 4, "", "");
    let broker = Broker::start(text.as_str()).await;
    let clients = [broker.client().await, broker.client().await, broker.client().await];
    for client in &clients {
        echo(client, 1).await;
    }
    let mut calls = JoinSet::new();
    load(&clients, &mut calls);
    busy(&broker, 4).await;
    let killed = Instant::now();
    let room = broker.kill();

    while let Some(call) = calls.join_next().await {
        let (result, told) = call.expect("no panic");
        let Err(error @ CallError::Disconnected { .. }) = &result else { panic!("{result:?}") };
        assert!(error.may_have_executed() && error.is_retryable(), "it was written: {error:?}");
        assert!(told - killed <= TOLD, "told only after {:?}", told - killed);
    }
    gone_in_time(&room, killed).await;

    // Calls made while there is no broker wait for the next one.
    let meanwhile: Vec<_> = clients
        .iter()
        .map(|client| {
            let client = client.clone();
            tokio::spawn(async move { client.request(Act::echo(9)).timeout(LIMIT).await })
        })
        .collect();
    let next = Start::new(text).in_room(&room).start().await;
    for call in meanwhile {
        assert_eq!(call.await.expect("no panic").expect("the successor answers").tag, 9);
    }
    for client in &clients {
        echo(client, 2).await;
    }
    next.stop();
}

/// What workers have started, and what that has started, is ended too: children, daemons in sessions of their own, process
/// groups of their own, and what the kernel shows as a zombie since it has lost its main thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_08_descendants_of_workers_go_with_it() {
    let _turn = Turn::shared();
    let left_behind = |deed: fn(Box<Deed>) -> Deed| deed(Box::new(Deed::Hang));
    for round in 0..12 {
        let broker = Broker::start(config("sdk", 3, "", "")).await;
        let client = broker.client().await;
        let mut calls = JoinSet::new();
        for deed in [Deed::Litter, Deed::LitterUndead, Deed::Regroup].map(left_behind) {
            let client = client.clone();
            calls.spawn(async move { client.call(Act::new(deed)).await });
        }
        // The broker, its warden, three workers, and five that they have started.
        eventually(LIMIT, "all of them live", async || broker.alive().len() == 10).await;
        if round == 0 {
            let wardens = broker.alive().into_iter().filter(|one| one.command.starts_with("lifeboat-warden"));
            assert_eq!(wardens.count(), 1);
        }
        let killed = Instant::now();
        let room = broker.kill();
        gone_in_time(&room, killed).await;
    }
}

/// One that is killed is replaced, and knows what there was before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_08_its_warden_is_replaced() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    client.call(Act::new(Deed::Litter(Box::new(Deed::Echo)))).await.expect("it answers");
    let warden = || {
        let mut alive = broker.alive();
        alive.retain(|one| one.command.starts_with("lifeboat-warden"));
        alive.pop().map(|one| one.pid)
    };
    let first = until_some(LIMIT, "there is a warden", async || warden()).await;
    signal(first, Signal::TERM);
    signal(first, Signal::KILL);
    until_some(LIMIT, "there is another one", async || warden().filter(|pid| *pid != first)).await;
    eventually(LIMIT, "the log says so", async || broker.log().contains("the warden was gone")).await;
    echo(&client, 1).await;
    let killed = Instant::now();
    let room = broker.kill();
    gone_in_time(&room, killed).await;
}

/// The kernel shows such a process as a zombie, and it is none.
#[tokio::test]
async fn a_worker_that_lost_its_main_thread_goes_too() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw-lost-main", 1, "", "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let trace = broker.room().path().join("trace");
    let hanging = tokio::spawn({
        let act = Act::new(Deed::Hang).traced(&trace);
        async move { client.call(act).await }
    });
    begun(&trace).await;
    let seen = broker.alive().iter().any(|one| one.pid == before.pid);
    assert!(seen, "the worker is seen: {:#?}", broker.alive());
    let killed = Instant::now();
    let room = broker.kill();
    gone_in_time(&room, killed).await;
    assert_eq!(threads_of(before.pid), 0);
    let told = hanging.await.expect("no panic");
    assert!(matches!(told, Err(CallError::Disconnected { .. })), "{told:?}");
}

/// A call whose deadline passes before there is a broker again ends at its deadline, certain not to have run.
#[tokio::test]
async fn story_44_a_call_without_a_broker_ends_at_its_deadline() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    echo(&client, 1).await;
    let _room = broker.kill();
    let began = Instant::now();
    let error =
        client.request(Act::echo(2)).timeout(Duration::from_millis(300)).await.expect_err("nobody is there");
    assert!(!error.may_have_executed(), "{error:?}");
    assert!(error.is_retryable(), "{error:?}");
    let took = began.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_millis(900)).contains(&took), "{took:?}");
}

/// Killed over and over, each time taken over by the next.
#[tokio::test]
async fn ten_deaths_in_a_row() {
    let _turn = Turn::shared();
    let text = config("sdk", 2, "", "");
    let mut broker = Broker::start(text.as_str()).await;
    let client = broker.client().await;
    for round in 0..10 {
        echo(&client, round).await;
        let room = broker.kill();
        broker = Start::new(text.as_str()).in_room(&room).start().await;
    }
    echo(&client, 99).await;
    broker.stop();
}
