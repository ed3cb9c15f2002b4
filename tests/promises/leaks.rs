//! Deaths leave nothing in the broker: what it uses after thousands of them is what it used after the first.

use std::time::{Duration, Instant};

use lifeboat_client::Client;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, Usage, eventually, until_some, usage};
use tokio::task::JoinSet;

use crate::common::{config, echo};

/// Deaths after which everything that is made once is there (buffers, threads, histories up to their bounds), and those
/// after which it is looked at again.
const FIRST: u64 = 1_000;
const LAST: u64 = 10_000;

/// Workers that die all the time, and callers who ask for that.
const WORKERS: u16 = 8;
const CALLERS: u32 = 12;

/// More than so many deaths take, on any machine.
const DYING: Duration = Duration::from_secs(300);

/// What the broker has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Has {
    usage: Usage,
    files: usize,
    processes: usize,
}

impl Has {
    fn now(broker: &Broker) -> Self {
        Self {
            usage: usage(broker.pid()),
            files: broker.room().left_in_seat().len(),
            processes: broker.alive().len(),
        }
    }

    /// No more than a tenth above another.
    fn is_within(&self, before: &Self) -> bool {
        let within = |now: usize, then: usize| now * 10 <= then * 11;
        within(self.usage.resident_kib, before.usage.resident_kib)
            && within(self.usage.descriptors, before.usage.descriptors)
            && within(self.usage.threads, before.usage.threads)
            && within(self.files, before.files)
            && within(self.processes, before.processes)
    }
}

/// One death in so many leaves processes behind, which cost more to find.
const LITTERS_ONE_IN: u32 = 50;

fn deed(random: &mut fastrand::Rng) -> Deed {
    if random.u32(..LITTERS_ONE_IN) == 0 {
        return Deed::Litter(Box::new(Deed::Exit(2)));
    }
    let quick = [
        Deed::Exit(1),
        Deed::Abort,
        Deed::Segfault,
        Deed::Signal(9),
        Deed::Signal(15),
        Deed::Garbage,
        Deed::HalfAnswer(500),
        Deed::CloseAndLive,
        Deed::AnswerThen(Box::new(Deed::Exit(3))),
    ];
    quick[random.usize(..quick.len())].clone()
}

async fn deaths(broker: &Broker) -> u64 {
    broker.metrics().await.count("worker_crashes_total", &[])
}

/// Has workers die until so many have since the broker's start, then all serve again.
async fn die(broker: &Broker, client: &Client, until: u64) {
    let mut callers = JoinSet::new();
    for seed in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed.into());
            loop {
                // Most are crashes; which is which is told elsewhere.
                drop(client.call(Act::new(deed(&mut random))).await);
            }
        });
    }
    eventually(DYING, "so many have died", async || deaths(broker).await >= until).await;
    callers.shutdown().await;
    for tag in 0..u64::from(WORKERS) * 4 {
        echo(client, tag).await;
    }
    broker.all_idle().await;
}

#[tokio::test]
async fn ten_thousand_deaths_leave_nothing_in_the_broker() {
    let _turn = Turn::alone();
    let keys = "cancel_grace = \"0s\"\nstop_grace = \"0s\"\noutput = { log = false }";
    let broker = Broker::start(config("raw", WORKERS, keys, "")).await;
    let client = broker.client().await;
    die(&broker, &client, FIRST).await;
    let before = Has::now(&broker);

    let began = Instant::now();
    die(&broker, &client, LAST).await;

    let (died, took) = (deaths(&broker).await, began.elapsed());
    let after = until_some(LIMIT, "everything is as before, within a tenth", async || {
        let now = Has::now(&broker);
        now.is_within(&before).then_some(now)
    })
    .await;
    println!("{died} deaths, all but {FIRST} of them in {took:?}: before {before:?}, after {after:?}");
    broker.stop();
}
