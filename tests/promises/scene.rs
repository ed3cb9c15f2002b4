//! A broker that somebody does something bad to, while others use it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lifeboat_client::{CallError, Client};
use lifeboat_protocol::RefusedCode;
use lifeboat_tests::act::Wait;
use lifeboat_tests::harness::{Broker, LIMIT, RawClient, eventually};
use tokio::task::JoinHandle;

use crate::common::{echo, plain, timed};

/// A client's calls, one after another, for as long as something else happens.
pub(crate) struct Beside {
    over: Arc<AtomicBool>,
    /// How long the slowest took.
    calls: JoinHandle<Result<Duration, CallError>>,
}

impl Beside {
    /// Calls `wait` over and over.
    pub(crate) fn start(client: Client) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let calls = tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            while !seen.load(Ordering::Relaxed) || slowest.is_zero() {
                let (answered, took) = timed(client.request(Wait { millis: 1 }).timeout(LIMIT)).await;
                answered?;
                slowest = slowest.max(took);
            }
            Ok(slowest)
        });
        Self { over, calls }
    }

    /// Ends the calls; none of them was lost. Gives how long the slowest took.
    pub(crate) async fn undisturbed(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        let slowest = self.calls.await.expect("no panic");
        slowest.unwrap_or_else(|error| panic!("somebody else's call was lost: {error:?}"))
    }
}

/// A broker with one worker and a client whose calls go on.
pub(crate) struct Scene {
    pub(crate) broker: Broker,
    pub(crate) client: Client,
    beside: Beside,
    pid: u32,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        Self::of(Broker::start(plain()).await).await
    }

    /// The scene of a broker whose pool `p` has one worker on the SDK.
    pub(crate) async fn of(broker: Broker) -> Self {
        let client = broker.client().await;
        let pid = echo(&client, 1).await.pid;
        let beside = Beside::start(broker.client().await);
        Self { broker, client, beside, pid }
    }

    /// The process that has answered, and must answer at the end.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Nobody has noticed anything: no call was lost, the same process answers, nothing has crashed.
    pub(crate) async fn undisturbed(self) {
        self.undisturbed_beside(&[]).await;
    }

    /// The same, while processes of other pools died for these reasons.
    pub(crate) async fn undisturbed_beside(self, reasons: &[&str]) {
        self.beside.undisturbed().await;
        assert_eq!(echo(&self.client, 2).await.pid, self.pid, "the worker has not noticed");
        let deaths = self.broker.metrics().await.by("worker_crashes_total", "reason");
        assert_eq!(deaths.keys().map(String::as_str).collect::<Vec<_>>(), reasons);
        self.broker.stop();
    }

    /// Bytes that the broker must refuse with this code, and then close. Gives what it says.
    pub(crate) async fn refuses(&self, greeted: bool, bytes: &[u8], code: RefusedCode) -> String {
        refuses(self.broker.socket(), greeted, bytes, code).await
    }
}

/// Bytes that the broker at this socket must refuse with this code, and then close. Gives what it says.
pub(crate) async fn refuses(socket: PathBuf, greeted: bool, bytes: &[u8], code: RefusedCode) -> String {
    let mut raw = if greeted { RawClient::greeted(socket).await } else { RawClient::connect(socket).await };
    raw.send(bytes).await;
    let refused = raw.receive().await.expect("a refusal says why").refused();
    assert_eq!(refused.code, code, "{}", refused.message);
    assert!(refused.message.len() > 10, "a refusal says what to do: {:?}", refused.message);
    assert!(raw.receive().await.is_none(), "a refused connection is closed");
    refused.message
}

/// All these words are in a text.
#[track_caller]
pub(crate) fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

/// Waits until the log says all of these, which the broker never waits for itself.
pub(crate) async fn logs(broker: &Broker, words: &[&str]) {
    for word in words {
        eventually(LIMIT, &format!("the log says {word:?}"), async || broker.log().contains(word)).await;
    }
}
