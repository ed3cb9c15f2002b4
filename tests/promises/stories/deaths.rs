//! Deaths: how they are seen and judged, in whatever order their signs come.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::Arc;

use lifeboat_client::CallError;
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Room, SLACK, Start, Turn, eventually, is_alive, until_some};
use rustix::process::Signal;

use crate::calls::{all_begun, ended, sent, signal};
use crate::common::{config, crashes, echo, failing, plain, timed};

fn then(deed: Deed) -> Box<Deed> {
    Box::new(deed)
}

/// What a death must be told as: its reason, its exit code and its signal.
type Told = (&'static str, Option<i32>, Option<u32>);

/// What is the same of all deaths: one attempt, told when its tree is dead; one death, one replacement, one outcome.
async fn has_the_same_result(broker: &Broker, before: &Acted, error: &CallError, told: Told, deaths: u64) {
    let CallError::WorkerCrashed { reason, attempt: 1, max_attempts: 1, attempts, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((reason.label(), reason.exit_code(), reason.signal()), told, "{error:?}");
    assert!(error.may_have_executed() && error.is_retryable());
    assert_eq!((attempts.len(), attempts[0].pid), (1, Some(before.pid)), "{error:?}");
    let left = broker.tree_of(&before.worker, before.incarnation);
    assert!(!is_alive(before.pid) && left.is_empty(), "{told:?}: left of the process: {left:?}");
    let after = echo(&broker.client().await, 2).await;
    assert_eq!(after.incarnation, before.incarnation + 1, "one replacement");
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("worker_crashes_total", &[("pool", "p")]), deaths, "one death");
    assert_eq!(metrics.count("worker_starts_total", &[("pool", "p")]), deaths + 1);
    assert_eq!(metrics.count("requests_total", &[("outcome", "crashed")]), deaths, "one outcome");
    assert!(!broker.log().contains("waits before its next incarnation"), "it is replaced at once");
}

#[tokio::test]
async fn story_07_every_way_to_die_has_the_same_result() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let ways = [
        (Deed::Segfault, ("signal", None, Some(11))),
        (Deed::Abort, ("signal", None, Some(6))),
        (Deed::StackOverflow, ("signal", None, Some(6))),
        (Deed::Halt(3), ("exit", Some(3), None)),
        (Deed::Exit(3), ("exit", Some(3), None)),
        (Deed::Exit(0), ("exit", Some(0), None)),
        (Deed::Signal(9), ("killed_from_outside", None, None)),
    ];
    let mut deaths = 0;
    for (deed, told) in ways {
        deaths += 1;
        let before = echo(&client, 1).await;
        let error = failing(&client, Deed::Litter(then(deed))).await;
        has_the_same_result(&broker, &before, &error, told, deaths).await;
    }
    // And kill -9 by somebody else.
    let before = echo(&client, 1).await;
    let trace = broker.room().path().join("trace");
    let call = sent(client.request(Act::new(Deed::Litter(then(Deed::Hang))).traced(&trace)));
    all_begun(&trace, 1).await;
    signal(before.pid, Signal::KILL);
    let error = ended(call).await.expect_err("its process was killed");
    has_the_same_result(&broker, &before, &error, ("killed_from_outside", None, None), deaths + 1).await;
    broker.stop();
}

/// A child holds the socket open: no end of it ever comes, and the death is told all the same.
#[tokio::test]
async fn story_12_a_death_is_seen_while_its_socket_stays_open() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "", "")).await;
    let client = broker.client().await;
    let ways = [
        (Deed::Signal(9), ("killed_from_outside", None, None)),
        (Deed::Abort, ("signal", None, Some(6))),
        (Deed::Exit(5), ("exit", Some(5), None)),
    ];
    for (deaths, (deed, told)) in (1..).zip(ways) {
        let before = echo(&client, 1).await;
        let (result, took) = timed(client.call(Act::new(Deed::KeepSocket(then(deed))))).await;
        let error = result.expect_err("it dies");
        assert!(took < SLACK, "{told:?} was seen after {took:?}");
        has_the_same_result(&broker, &before, &error, told, deaths).await;
    }
    broker.stop();
}

/// The end of a socket says nothing of how its process ends: that is asked of the process, which has its own code.
#[tokio::test]
async fn story_12_a_socket_that_ends_first_does_not_name_the_death() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "", "")).await;
    let client = broker.client().await;
    for deaths in 1..=20 {
        let before = echo(&client, 1).await;
        let error = failing(&client, Deed::ShutWrite(then(Deed::Exit(7)))).await;
        has_the_same_result(&broker, &before, &error, ("exit", Some(7), None), deaths).await;
    }
    broker.stop();
}

/// Whether a process that aborts in this directory dumps its core: some machines allow none.
fn cores_are_dumped(room: &Room) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited; kill -ABRT $$"]).current_dir(room.path());
    shell.status().expect("there is a shell").core_dumped()
}

#[tokio::test]
async fn story_13_code_signal_and_core_flag_reach_the_caller() {
    let _turn = Turn::shared();
    let room = Arc::new(Room::new());
    let cores = cores_are_dumped(&room);
    let keys = format!("limits = {{ core_size = \"unlimited\" }}\ncurrent_dir = {:?}", room.path());
    let broker = Start::new(config("sdk", 1, &keys, "")).in_room(&room).start().await;
    let client = broker.client().await;
    for (deed, code, signal, core) in [
        (Deed::Exit(0), Some(0), None, false),
        (Deed::Exit(255), Some(255), None, false),
        (Deed::Abort, None, Some(6), cores),
        (Deed::Segfault, None, Some(11), cores),
        (Deed::Signal(12), None, Some(12), false),
    ] {
        echo(&client, 1).await;
        let error = failing(&client, deed).await;
        let reason = error.crash_reason().expect("it is a crash");
        assert_eq!((reason.exit_code(), reason.signal(), reason.core_dumped()), (code, signal, core));
        assert_eq!(error.to_string().contains("core dumped"), core, "{error}");
    }
    broker.stop();
}

const EXITED: Told = ("exit", Some(3), None);
const KILLED: Told = ("killed_from_outside", None, None);
const CLOSED: Told = ("connection_closed", None, None);
const VIOLATED: Told = ("protocol_violation", None, None);
const BROKEN: Told = ("connection_error", None, None);

/// Exit, end of the socket in one direction or both, and an error of the connection, one after the other in all orders that a
/// worker can bring about.
fn orders() -> Vec<(Deed, &'static [Told])> {
    let exit = || then(Deed::Exit(3));
    let killed = || then(Deed::Signal(9));
    vec![
        (Deed::Exit(3), &[EXITED]),
        (Deed::ShutWrite(exit()), &[EXITED]),
        (Deed::ShutRead(exit()), &[EXITED]),
        (Deed::ShutRead(then(Deed::ShutWrite(exit()))), &[EXITED]),
        (Deed::ShutWrite(then(Deed::ShutRead(exit()))), &[EXITED]),
        (Deed::KeepSocket(exit()), &[EXITED]),
        (Deed::KeepSocket(then(Deed::ShutWrite(exit()))), &[EXITED]),
        (Deed::Signal(9), &[KILLED]),
        (Deed::ShutWrite(killed()), &[KILLED]),
        (Deed::KeepSocket(killed()), &[KILLED]),
        (Deed::ShutRead(then(Deed::ShutWrite(killed()))), &[KILLED]),
        (Deed::CloseAndLive, &[CLOSED]),
        (Deed::ShutWrite(then(Deed::Hang)), &[CLOSED]),
        (Deed::KeepSocket(then(Deed::Garbage)), &[VIOLATED]),
        (Deed::ShutRead(then(Deed::Garbage)), &[VIOLATED, BROKEN]),
        (Deed::HalfAnswer(500), &[KILLED]),
    ]
}

#[tokio::test]
async fn story_14_one_verdict_whatever_comes_first() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "", "")).await;
    let client = broker.client().await;
    let mut deaths = 0;
    for _ in 0..3 {
        for (deed, allowed) in orders() {
            deaths += 1;
            let before = echo(&client, 1).await;
            let error = failing(&client, deed.clone()).await;
            let label = error.crash_reason().map(|reason| reason.label());
            let told = allowed.iter().find(|told| Some(told.0) == label);
            let told = *told.unwrap_or_else(|| panic!("{deed:?}: {error:?}"));
            has_the_same_result(&broker, &before, &error, told, deaths).await;
        }
    }
    broker.stop();
}

/// The process id of the only worker's process while it starts.
async fn starting(broker: &Broker, incarnation: u64) -> u32 {
    until_some(LIMIT, "the replacement starts", async || {
        let health = broker.health().await;
        let worker = &health["workers"]["p-0"];
        let is_it = worker["incarnation"] == incarnation && worker["state"] == "starting";
        worker["pid"].as_u64().filter(|_| is_it).and_then(|pid| u32::try_from(pid).ok())
    })
    .await
}

/// The replacement dies while it starts, and so does its own: each death is judged once, and the request that waits is
/// answered once.
#[tokio::test]
async fn story_14_a_second_death_while_the_replacement_starts() {
    const AGAIN: u64 = 3;
    let _turn = Turn::shared();
    let text = config("sdk-slow-start", 1, "", "").replace("sdk-slow-start\"", "sdk-slow-start\", \"300\"");
    let broker = Broker::start(text).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let error = failing(&client, Deed::Exit(3)).await;
    assert!(matches!(error, CallError::WorkerCrashed { .. }), "{error:?}");
    let waiting = sent(client.request(Act::echo(9)).timeout(LIMIT));
    for again in 1..=AGAIN {
        let pid = starting(&broker, before.incarnation + again).await;
        signal(pid, Signal::KILL);
        crashes(&broker, "start_failed", again).await;
    }
    let acted = ended(waiting).await.expect("it waits for a process that starts");
    assert_eq!((acted.tag, acted.attempts(), acted.incarnation), (9, 1, before.incarnation + AGAIN + 1));
    crashes(&broker, "exit", 1).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("worker_crashes_total", &[("pool", "p")]), 1 + AGAIN);
    assert_eq!(metrics.count("worker_starts_total", &[("pool", "p")]), 2 + AGAIN);
    assert_eq!(metrics.count("requests_total", &[("pool", "p")]), 3, "one outcome each");
    // Beside the broker and its warden.
    eventually(LIMIT, "one process is left", async || broker.alive().len() == 3).await;
    broker.stop();
}
