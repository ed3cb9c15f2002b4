//! Calls that go on beside a test, the traces that they leave, and the gates that hold them.

use std::fs;
use std::future::IntoFuture as _;
use std::path::Path;

use lifeboat_client::{CallError, Reply, RequestBuilder};
use lifeboat_tests::act::{Act, Acted};
use lifeboat_tests::harness::{Broker, LIMIT, eventually};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;

/// How a call ended.
pub(crate) type Called = Result<Reply<Acted>, CallError>;

/// A call on its way.
pub(crate) type Calling = JoinHandle<Called>;

/// Sends a request now, and awaits its end beside the test.
pub(crate) fn sent(request: RequestBuilder<Act>) -> Calling {
    tokio::spawn(request.into_future())
}

/// How a call ended that is on its way.
pub(crate) async fn ended(calling: Calling) -> Called {
    calling.await.expect("a call does not panic")
}

/// One time that a request was executed, as its handler wrote it down before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) tag: u64,
    pub(crate) pid: u32,
    pub(crate) attempt: u16,
}

/// Every execution that left its trace in a file, in the order of their beginnings.
pub(crate) fn executions(trace: &Path) -> Vec<Execution> {
    let text = fs::read_to_string(trace).unwrap_or_default();
    let read = |line: &str| {
        let mut words = line.split(' ');
        let mut next = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (tag, pid, attempt) = (next()?, next()?, next()?);
        Some(Execution { tag, pid: u32::try_from(pid).ok()?, attempt: u16::try_from(attempt).ok()? })
    };
    // A line that is still being written is none yet.
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.map(|line| read(line).unwrap_or_else(|| panic!("no execution: {line:?}"))).collect()
}

/// Waits until so many executions have begun.
pub(crate) async fn all_begun(trace: &Path, count: usize) {
    eventually(LIMIT, &format!("{count} handlers have begun"), async || executions(trace).len() >= count)
        .await;
    assert_eq!(executions(trace).len(), count, "handlers that have begun");
}

/// Waits until exactly so many requests wait in the queue of the pool `p`: all others are in a process.
pub(crate) async fn queued(broker: &Broker, count: u64) {
    queued_in(broker, "p", count).await;
}

/// The same for another pool.
pub(crate) async fn queued_in(broker: &Broker, pool: &str, count: u64) {
    eventually(LIMIT, &format!("{count} requests are queued"), async || {
        broker.metrics().await.count("queue_depth", &[("pool", pool)]) == count
    })
    .await;
}

/// Lets every handler go on that waits for this file.
pub(crate) fn open(gate: &Path) {
    fs::write(gate, "").expect("the room can be written to");
}

/// Sends a signal to a process that lives.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it lives");
}
