//! The broker stays as it is: its size does not slow its starts, and deaths leave nothing in it.

use std::time::{Duration, Instant};

use lifeboat_client::Client;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Start, Turn, ballast, eventually, until_some, usage};

use crate::common::{config, crashes, echo};

/// Memory that the broker has touched: a forking spawn would take 50 ms and more with it.
const BALLAST_MIB: &str = "1024";

const SPAWNS: u64 = 20;

/// A stall by the spawn shows in every round; another program's noise does not.
pub(crate) const ROUNDS: usize = 3;

/// What a request may wait longer than usual.
pub(crate) const LONGER: Duration = Duration::from_millis(10);

/// Two pools, so that requests of one have nothing to do with the deaths of the other.
const TWO_POOLS: &str = r#"
[pools.dying]
command = ["misbehave", "sdk"]
workers = 2
restart = { initial = "1ms", max = "10ms", max_restarts = "unlimited" }
[pools.dying.methods.act]

[pools.steady]
command = ["misbehave", "sdk"]
workers = 1
[pools.steady.methods.wait]
"#;

/// Round trips, one after another, until told to stop.
pub(crate) async fn measure(client: &Client, until: impl Future<Output = ()>) -> Vec<Duration> {
    let mut times = Vec::new();
    tokio::pin!(until);
    loop {
        let began = Instant::now();
        let call = client.call(lifeboat_tests::act::Wait { millis: 0 });
        tokio::select! {
            answered = call => {
                answered.expect("nobody touches this pool");
                times.push(began.elapsed());
            }
            () = &mut until => break,
        }
    }
    times.sort();
    times
}

/// Prints a distribution; gives its 99 % and its worst.
#[expect(clippy::print_stdout, reason = "the distribution is the test's result")]
pub(crate) fn show(what: &str, times: &[Duration]) -> (Duration, Duration) {
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    println!(
        "{what}: {} round trips, half {:?}, 99 % {:?}, 99.9 % {:?}, worst {:?}",
        times.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
    (at(990), at(1000))
}

#[tokio::test]
async fn spawn_is_flat() {
    let _turn = Turn::alone();
    let broker = Start::new(TWO_POOLS).program(ballast(), [BALLAST_MIB]).start().await;
    broker.ready().await;
    let resident = usage(broker.pid()).resident_kib;
    assert!(resident > 1 << 20, "the broker has its ballast: {resident} KiB");
    let (measuring, killing) = (broker.client().await, broker.client().await);
    measure(&measuring, tokio::time::sleep(Duration::from_millis(500))).await;

    let mut longest = Vec::new();
    for round in 1..=ROUNDS {
        let usual = measure(&measuring, tokio::time::sleep(Duration::from_secs(3))).await;
        let meanwhile = measure(&measuring, twenty_spawns(&broker, &killing)).await;
        let (usual_99, usual_worst) = show("usual", &usual);
        let (meanwhile_99, meanwhile_worst) = show("during 20 spawns", &meanwhile);
        let longer = meanwhile_99.saturating_sub(usual_99).max(meanwhile_worst.saturating_sub(usual_worst));
        longest.push(longer);
        if longer <= LONGER {
            break;
        }
        assert!(
            round < ROUNDS,
            "in every round a request waited longer than usual while processes started: {longest:?}"
        );
    }
    broker.stop();
}

/// Kills workers of the other pool one by one, and waits until all have been started again.
async fn twenty_spawns(broker: &Broker, client: &Client) {
    let starts = async || broker.metrics().await.count("worker_starts_total", &[("pool", "dying")]);
    let before = starts().await;
    for number in 1..=SPAWNS {
        client.call(Act::new(Deed::Signal(9))).await.expect_err("it kills itself");
        eventually(LIMIT, "it was started again", async || starts().await >= before + number).await;
        echo(client, 1).await;
    }
}

/// Five hundred deaths of several kinds: descriptors, threads and memory are as before.
#[tokio::test]
async fn deaths_leave_nothing_in_the_broker() {
    let _turn = Turn::alone();
    let broker = Broker::start(config("sdk", 4, "", "")).await;
    let client = broker.client().await;
    let kinds = [Deed::Exit(1), Deed::Abort, Deed::Segfault, Deed::Signal(9), Deed::Panic];
    let die = async |count: usize| {
        for number in 0..count {
            client.call(Act::new(kinds[number % kinds.len()].clone())).await.expect_err("it dies");
        }
        for tag in 0..20 {
            echo(&client, tag).await;
        }
        broker.all_idle().await;
    };
    // What is made once (buffers, threads, histories up to their bounds) is there after these.
    die(100).await;
    let before = usage(broker.pid());

    die(500).await;

    let after = until_some(LIMIT, "descriptors and threads are as before", async || {
        let now = usage(broker.pid());
        (now.descriptors <= before.descriptors && now.threads <= before.threads).then_some(now)
    })
    .await;
    println!("before {before:?}, after {after:?}");
    assert!(after.resident_kib <= before.resident_kib + 2048, "memory grew: {before:?} to {after:?}");
    crashes(&broker, "exit", 120).await;
    crashes(&broker, "slots_exhausted", 120).await;
    broker.stop();
}

/// The same for clients that come and go.
#[tokio::test]
async fn clients_leave_nothing_in_the_broker() {
    let _turn = Turn::alone();
    let broker = Broker::start(config("sdk", 2, "", "")).await;
    let come_and_go = async |count: u64| {
        for tag in 0..count {
            let client = broker.client().await;
            echo(&client, tag).await;
        }
        eventually(LIMIT, "they are gone", async || {
            broker.metrics().await.sum("client_connections", &[]) == 0.0
        })
        .await;
    };
    come_and_go(100).await;
    let before = usage(broker.pid());
    come_and_go(500).await;
    let after = until_some(LIMIT, "descriptors and threads are as before", async || {
        let now = usage(broker.pid());
        (now.descriptors <= before.descriptors && now.threads <= before.threads).then_some(now)
    })
    .await;
    println!("before {before:?}, after {after:?}");
    assert!(after.resident_kib <= before.resident_kib + 2048, "memory grew: {before:?} to {after:?}");
    broker.stop();
}
