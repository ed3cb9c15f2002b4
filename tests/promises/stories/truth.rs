//! `may_have_executed()`: what it denies was never begun, and what was begun it admits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, Turn};

use crate::calls::{Called, all_begun, ended, executions, open, queued, sent};
use crate::commands::lifeboat;
use crate::common::config;

const SHORT: Duration = Duration::from_millis(150);

/// A request that is expected to end with an error, and the traces of its executions.
struct Traced(PathBuf);

impl Traced {
    fn new(broker: &Broker, name: &str) -> Self {
        Self(broker.room().path().join(name))
    }

    fn act(&self, deed: Deed) -> Act {
        Act::new(deed).traced(&self.0)
    }

    fn file(&self) -> &Path {
        &self.0
    }

    /// Checks what the error says against what was done.
    fn told(&self, called: Called, ended: &str, executed: bool) {
        let error = called.expect_err("it cannot be answered");
        assert!(format!("{error:?}").starts_with(ended), "not {ended}: {error:?}");
        assert_eq!(error.may_have_executed(), executed, "{error:?}");
        assert_eq!(!executions(&self.0).is_empty(), executed, "what was told of {ended} is true");
    }
}

#[tokio::test]
async fn story_24_what_waits_has_not_executed() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "queue = { max_requests = 1 }", "")).await;
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let gate = broker.room().path().join("gate");
    let running = Traced::new(&broker, "running");
    let executing = sent(client.request(Act::when(&gate, Deed::Echo).traced(running.file())));
    all_begun(running.file(), 1).await;

    let one = Traced::new(&broker, "queue_timeout");
    one.told(client.request(one.act(Deed::Echo)).queue_timeout(SHORT).await, "TimedOut", false);
    let one = Traced::new(&broker, "deadline");
    one.told(client.request(one.act(Deed::Echo)).timeout(SHORT).await, "TimedOut", false);
    let waiting = Traced::new(&broker, "waiting");
    let queued_call = sent(client.request(waiting.act(Deed::Echo)));
    queued(&broker, 1).await;
    let one = Traced::new(&broker, "full");
    one.told(client.request(one.act(Deed::Echo)).await, "Rejected", false);
    lifeboat(&broker, &["drain", "p"]).await.done();
    waiting.told(ended(queued_call).await, "Closed", false);
    let one = Traced::new(&broker, "draining");
    one.told(client.request(one.act(Deed::Echo)).await, "Rejected", false);

    open(&gate);
    ended(executing).await.expect("it runs to its end");
    broker.stop();
}

#[tokio::test]
async fn story_24_what_was_begun_may_have_executed() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "cancel_grace = \"0s\"\nstop_grace = \"0s\"", "")).await;
    let client = broker.client().await;
    for (name, deed, end) in [
        ("crashes", Deed::Abort, "WorkerCrashed"),
        ("panics", Deed::Panic, "WorkerCrashed"),
        ("fails", Deed::Fail { retryable: false }, "Failed"),
    ] {
        let one = Traced::new(&broker, name);
        one.told(client.request(one.act(deed)).await, end, true);
    }
    let one = Traced::new(&broker, "attempt_timeout");
    one.told(client.request(one.act(Deed::Hang)).attempt_timeout(SHORT).await, "TimedOut", true);

    let one = Traced::new(&broker, "broker_dies");
    let call = sent(client.request(one.act(Deed::Hang)));
    all_begun(one.file(), 1).await;
    let after = Traced::new(&broker, "no_broker");
    let _room = broker.kill();
    one.told(ended(call).await, "Disconnected", true);
    let error = client.request(after.act(Deed::Echo)).timeout(SHORT).await.expect_err("nobody is there");
    assert!(!error.may_have_executed() && executions(after.file()).is_empty(), "{error:?}");
}
