//! A blocking client that many threads share, while workers crash now and then.

use std::path::{Path, PathBuf};
use std::thread;

use lifeboat_client::{CallError, blocking};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};

use crate::calls::{Called, executions};
use crate::common::{config, crashes};

const SEED: u64 = 41;
const THREADS: u64 = 50;
const CALLS: u64 = 20;
const WORKERS: u16 = 4;

/// One call in so many has a worker crash.
const FAULT_ONE_IN: u64 = 12;

/// A way to crash.
struct Fault {
    deed: Deed,
    /// The reason that the caller is told.
    told: &'static str,
    /// The reason under which the process's death is counted.
    counted: &'static str,
}

const FAULTS: [Fault; 4] = [
    Fault { deed: Deed::Exit(3), told: "exit", counted: "exit" },
    Fault { deed: Deed::Abort, told: "signal", counted: "signal" },
    Fault { deed: Deed::Panic, told: "slot_panicked", counted: "slots_exhausted" },
    Fault { deed: Deed::Signal(9), told: "killed_from_outside", counted: "killed_from_outside" },
];

/// A call that has ended, and what it asked for: one of the faults, or none.
struct Call {
    tag: u64,
    fault: Option<usize>,
    ended: Called,
}

/// The calls of one thread, one after another.
fn calls(client: &blocking::Client, number: u64, trace: &Path) -> Vec<Call> {
    let mut random = fastrand::Rng::with_seed(SEED * THREADS + number);
    let call = |tag| {
        let fault = (random.u64(..FAULT_ONE_IN) == 0).then(|| random.usize(..FAULTS.len()));
        let deed = fault.map_or_else(|| Deed::EchoAfter(random.u64(..3)), |fault| FAULTS[fault].deed.clone());
        let ended = client.request(Act::new(deed).tag(tag).traced(trace)).send();
        Call { tag, fault, ended }
    };
    (number * CALLS..(number + 1) * CALLS).map(call).collect()
}

/// The calls of all threads: half of them hold a clone of the client, half a reference.
fn all_calls(socket: PathBuf, trace: &Path) -> Vec<Call> {
    let client = &blocking::Client::connect(socket).expect("the broker takes clients");
    thread::scope(|scope| {
        let thread = |number: u64| match number % 2 {
            0 => scope.spawn(move || calls(client, number, trace)),
            _ => {
                let client = client.clone();
                scope.spawn(move || calls(&client, number, trace))
            }
        };
        let threads: Vec<_> = (0..THREADS).map(thread).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

/// Checks how a call ended.
fn check(call: &Call) {
    match (&call.ended, call.fault) {
        (Ok(reply), None) => assert_eq!((reply.tag, reply.attempts()), (call.tag, 1)),
        (Err(CallError::WorkerCrashed { reason, attempts, .. }), Some(fault)) => {
            assert_eq!((reason.label(), attempts.len()), (FAULTS[fault].told, 1), "{:?}", call.ended);
        }
        (ended, fault) => panic!("call {} with fault {fault:?} ended as {ended:?}", call.tag),
    }
}

#[tokio::test]
async fn fifty_threads_share_a_client_while_workers_crash() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", WORKERS, "", "")).await;
    let (socket, trace) = (broker.socket(), broker.room().path().join("trace"));
    let written = trace.clone();
    let calls = tokio::task::spawn_blocking(move || all_calls(socket, &written));
    let calls = calls.await.expect("no thread panics");

    calls.iter().for_each(check);
    let mut executed: Vec<_> = executions(&trace).iter().map(|execution| execution.tag).collect();
    executed.sort_unstable();
    assert_eq!(executed, (0..THREADS * CALLS).collect::<Vec<_>>(), "each call is executed once");

    let mut crashed = 0;
    for (number, fault) in FAULTS.iter().enumerate() {
        let count = calls.iter().filter(|call| call.fault == Some(number)).count() as u64;
        assert!(count > 0, "the seed chooses every fault");
        crashes(&broker, fault.counted, count).await;
        crashed += count;
    }
    let metrics = broker.metrics().await;
    let count = |outcome| metrics.count("requests_total", &[("outcome", outcome)]);
    assert_eq!((count("ok"), count("crashed")), (THREADS * CALLS - crashed, crashed));
    assert_eq!(metrics.count("requests_total", &[]), THREADS * CALLS, "every request has one end");
    eventually(LIMIT, "the last client is gone", async || {
        broker.metrics().await.count("client_connections", &[]) == 0
    })
    .await;
    broker.stop();
}
