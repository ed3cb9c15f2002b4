//! Nothing of a worker lives when its death is told, and nothing of a broker's a second after its own, whichever way they
//! die and whatever the worker has started.
//!
//! Some dozens of deaths each time; `LIFEBOAT_TREES=1000` (`tests/run --trees 1000`) makes it a thousand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::behaviours::GROVE;
use lifeboat_tests::harness::{
    Broker, LIMIT, Room, Start, Turn, cgroups_of, eventually, is_alive, running_with, until_some,
};
use rustix::process::Signal;
use tokio::task::{JoinSet, LocalSet};

use crate::calls::{all_begun, executions, sent, signal};
use crate::commands::lifeboat;
use crate::common::{config, echo, has_cgroups, timed};

/// How many deaths there are where nobody says so.
const FEW: usize = 60;

/// Says how many.
const VARIABLE: &str = "LIFEBOAT_TREES";

/// How long anything may be seen to live.
const GONE: Duration = Duration::from_secs(1);

/// Calls at a time, and workers.
const WORKERS: usize = 4;

const KEYS: &str = "cancel_grace = \"50ms\"\nstop_grace = \"50ms\"\nlimits = { memory = \"96MiB\" }\n\
                    heartbeat = { interval = \"300ms\", missed = 3 }\non_disconnect = \"cancel\"";

/// How many processes of workers are to die in all.
fn deaths() -> usize {
    let said = std::env::var(VARIABLE).ok();
    said.map_or(FEW, |said| said.parse().unwrap_or_else(|_| panic!("{VARIABLE} is a number of deaths")))
}

/// A way for a worker to die.
#[derive(Clone, Debug)]
enum Way {
    /// It does that itself.
    Itself(Deed),
    /// It hangs for longer than an attempt may take.
    AttemptTimeout,
    /// It is stopped for longer than an attempt may take.
    Frozen,
    /// It hangs at the request's deadline.
    Deadline,
    /// A person has the broker kill it.
    Operator,
    /// Somebody sends it this signal.
    Outside(Signal),
    /// The caller goes, and it does not heed that.
    Cancel,
}

fn ways() -> Vec<Way> {
    let itself = [
        Deed::Exit(0),
        Deed::Exit(3),
        Deed::Halt(3),
        Deed::Abort,
        Deed::Segfault,
        Deed::StackOverflow,
        Deed::Panic,
        Deed::Signal(9),
        Deed::Memory,
        Deed::Garbage,
        Deed::CloseAndLive,
        // Its heartbeats stay away.
        Deed::Stop,
    ];
    let others = [
        Way::AttemptTimeout,
        Way::Frozen,
        Way::Deadline,
        Way::Operator,
        Way::Outside(Signal::KILL),
        Way::Cancel,
    ];
    itself.into_iter().map(Way::Itself).chain(others).collect()
}

/// A word that no other process has on its command line.
fn word(what: &str, number: usize) -> String {
    format!("{what}-{}-{number}-{:08x}", std::process::id(), fastrand::u32(..))
}

/// A request of a whole tree, and of what follows.
fn grove(word: &str, then: Deed) -> Act {
    Act::new(Deed::Grove(word.to_owned(), Box::new(then)))
}

/// The whole tree lives.
async fn grown(word: &str) {
    eventually(LIMIT, "the tree is whole", async || running_with(word).len() == GROVE).await;
}

/// Has a worker die; ends when that is told.
async fn die(broker: &Broker, client: &Client, way: &Way, word: &str) {
    const SHORT: Duration = Duration::from_millis(700);
    let call = |then| client.request(grove(word, then));
    let told = match way {
        Way::Itself(deed) => call(deed.clone()).await,
        Way::AttemptTimeout => call(Deed::Hang).attempt_timeout(SHORT).await,
        Way::Frozen => call(Deed::Stop).attempt_timeout(SHORT).await,
        Way::Deadline => call(Deed::Hang).timeout(SHORT).await,
        Way::Operator | Way::Outside(_) | Way::Cancel => return die_by_hand(broker, client, way, word).await,
    };
    if let Ok(answer) = told {
        panic!("{way:?} was answered: {:?}", answer.into_inner());
    }
}

/// The same, by somebody who first finds out which process it is.
async fn die_by_hand(broker: &Broker, client: &Client, way: &Way, word: &str) {
    let trace = broker.room().path().join(word);
    let call = sent(client.request(grove(word, Deed::Hang).traced(&trace)));
    all_begun(&trace, 1).await;
    let pid = executions(&trace)[0].pid;
    grown(word).await;
    match way {
        Way::Outside(by) => signal(pid, *by),
        Way::Operator => {
            let health = broker.health().await;
            let workers = health["workers"].as_object().expect("health has workers");
            let (name, _) = workers.iter().find(|(_, it)| it["pid"] == pid).expect("it is shown");
            lifeboat(broker, &["kill", name]).await.done();
        }
        Way::Cancel | Way::Itself(_) | Way::AttemptTimeout | Way::Frozen | Way::Deadline => {
            // Nobody is told of it, but the process is ended all the same.
            call.abort();
            return eventually(LIMIT, "the process is gone", async || !is_alive(pid)).await;
        }
    }
    let told = call.await.expect("no panic");
    assert!(matches!(told, Err(CallError::WorkerCrashed { .. })), "{way:?}: {told:?}");
}

/// How long after now something with this word was seen to live; nothing if it was not.
async fn gone(way: &str, word: &str) -> Duration {
    let (told, mut seen) = (Instant::now(), Duration::ZERO);
    loop {
        let left = running_with(word);
        if left.is_empty() {
            return seen;
        }
        seen = told.elapsed();
        let left: Vec<_> = left.into_iter().map(command_of).collect();
        assert!(seen < GONE, "{way}: {GONE:?} after it was told: {left:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn command_of(pid: u32) -> String {
    let read =
        |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default().replace('\0', " ");
    format!("{pid} {} {}", read("cmdline"), read("stat"))
}

/// Says what came of it, for whoever asked for a thousand.
#[expect(clippy::print_stderr, reason = "the figure is what the long run is for")]
fn tell(what: &str, deaths: usize, slowest: Duration, began: Instant) {
    eprintln!(
        "{what}: {deaths} deaths in {:?}; the last process was seen {slowest:?} after",
        began.elapsed()
    );
}

#[tokio::test]
async fn story_05_nothing_lives_whichever_way_its_worker_dies() {
    let _turn = Turn::shared();
    let broker = Arc::new(Broker::start(config("sdk", 4, KEYS, "")).await);
    if !has_cgroups(&broker) {
        return;
    }
    let (began, ways) = (Instant::now(), ways());
    let count = deaths() / 5 * 4;
    let (local, mut lanes) = (LocalSet::new(), JoinSet::new());
    for first in 0..WORKERS {
        let (broker, ways, client) = (Arc::clone(&broker), ways.clone(), broker.client().await);
        let lane = async move {
            let mut slowest = Duration::ZERO;
            for number in (first..count).step_by(WORKERS) {
                let (way, word) = (&ways[number % ways.len()], word("grove", number));
                die(&broker, &client, way, &word).await;
                let seen = gone(&format!("{way:?}"), &word).await;
                // Nobody waits to be told of a cancelled call, and a panic is told before its process ends.
                let is_told_before = matches!(way, Way::Cancel | Way::Itself(Deed::Panic));
                assert!(seen.is_zero() || is_told_before, "{way:?}: told {seen:?} too early");
                slowest = slowest.max(seen);
            }
            slowest
        };
        lanes.spawn_local_on(lane, &local);
    }
    let slowest = local.run_until(lanes.join_all()).await.into_iter().max().expect("there are some");
    tell("worker", count, slowest, began);
    let metrics = broker.metrics().await;
    assert_eq!(metrics.sum("process_leaks_total", &[("pool", "p")]), 0.0, "everything could be killed");
    assert!(metrics.count("worker_crashes_total", &[("pool", "p")]) >= count as u64);
    Arc::into_inner(broker).expect("nobody else has it").stop();
}

/// How a broker dies.
#[derive(Clone, Copy, Debug)]
enum End {
    Sigkill,
    Sigterm,
    /// It drains, and is told not to.
    TwiceSigterm,
}

/// Has a broker with a tree in each of its workers die; tells how long after that anything was seen.
async fn broker_dies(end: End, number: usize) -> Duration {
    let drain = if matches!(end, End::Sigterm) { "0s" } else { "60s" };
    let text = format!("[broker]\ndrain_timeout = \"{drain}\"\n{}", config("sdk", 4, KEYS, ""));
    let mut broker = Broker::start(text).await;
    let pid = broker.pid();
    let client = broker.client().await;
    let word = word("broker", number);
    let calls: Vec<_> = (0..WORKERS).map(|_| sent(client.request(grove(&word, Deed::Hang)))).collect();
    eventually(LIMIT, "the trees are whole", async || running_with(&word).len() == WORKERS * GROVE).await;
    assert!(!cgroups_of(pid).is_empty());
    let room = match end {
        End::Sigkill => broker.kill(),
        End::Sigterm | End::TwiceSigterm => {
            broker.terminate();
            if matches!(end, End::TwiceSigterm) {
                eventually(LIMIT, "it drains", async || broker.log().contains("draining")).await;
                broker.terminate();
            }
            broker.wait_for_exit(LIMIT);
            Arc::clone(broker.room())
        }
    };
    let seen = gone(&format!("{end:?}"), &word).await;
    eventually(GONE, "nothing of it is left", async || room.mark().alive().is_empty()).await;
    eventually(GONE, "its cgroups are gone", async || cgroups_of(pid).is_empty()).await;
    for call in calls {
        assert!(call.await.expect("no panic").is_err());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_08_nothing_lives_whichever_way_its_broker_dies() {
    let _turn = Turn::shared();
    let probe = Broker::start(config("sdk", 1, "", "")).await;
    let has = has_cgroups(&probe);
    probe.stop();
    if !has {
        return;
    }
    let (began, brokers) = (Instant::now(), (deaths() / 5).div_ceil(WORKERS));
    let mut slowest = Duration::ZERO;
    for number in 0..brokers {
        let end = [End::Sigkill, End::Sigterm, End::TwiceSigterm][number % 3];
        slowest = slowest.max(broker_dies(end, number).await);
    }
    tell("broker", brokers * WORKERS, slowest, began);
}

/// Nobody is left to end what they leave, but the next broker.
#[tokio::test]
async fn what_a_broker_leaves_that_was_killed_with_its_warden_goes_with_the_next() {
    // Any broker that starts beside this one may be the next.
    let _turn = Turn::alone();
    let text = config("sdk", 1, "", "");
    let broker = Broker::start(text.as_str()).await;
    if !has_cgroups(&broker) {
        return;
    }
    let pid = broker.pid();
    let word = word("left", 0);
    let act = grove(&word, Deed::Echo);
    broker.client().await.call(act).await.expect("it answers");
    grown(&word).await;
    let is_warden = |one: &&lifeboat_tests::harness::Marked| one.command.starts_with("lifeboat-warden");
    // It cannot replace it in time.
    broker.signal(Signal::STOP);
    let warden = until_some(LIMIT, "there is a warden", async || {
        broker.alive().iter().find(is_warden).map(|warden| warden.pid)
    });
    signal(warden.await, Signal::KILL);
    let room: Arc<Room> = broker.kill();
    assert!(!running_with(&word).is_empty() && !cgroups_of(pid).is_empty());
    let next = Start::new(text).in_room(&room).start().await;
    echo(&next.client().await, 1).await;
    gone("the next broker", &word).await;
    assert!(cgroups_of(pid).is_empty(), "the next one removes them before it serves");
    next.stop();
}

/// As many processes as there may be, each of which tries to start more, are gone when their worker's death is told.
#[tokio::test]
async fn a_fork_bomb_is_bounded_and_goes_with_its_worker() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "limits = { processes = 100 }", "")).await;
    if !has_cgroups(&broker) {
        return;
    }
    let word = word("bomb", 0);
    let client = broker.client().await;
    let before = echo(&client, 1).await.pid;
    let call = sent(client.request(Act::new(Deed::Bomb(word.clone()))));
    // Threads count too, and the worker has some.
    eventually(LIMIT, "it is full", async || running_with(&word).len() >= 80).await;
    assert!(running_with(&word).len() < 100);
    let (result, took) = timed(lifeboat(&broker, &["kill", "p-0"])).await;
    result.done();
    let error = call.await.expect("no panic").expect_err("its worker was killed");
    assert_eq!(error.crash_reason().map(lifeboat_client::CrashReason::label), Some("operator"));
    assert!(took < GONE, "{took:?}");
    gone("the bomb", &word).await;
    assert_ne!(echo(&client, 2).await.pid, before);
    let health = broker.health().await;
    assert_eq!(health["workers"]["p-0"]["limits"]["processes"], 100);
    broker.stop();
}
