//! The five places at which a request can fail: each of them alone, and all together, and whatever lies between.

use std::path::Path;

use lifeboat_client::CallError;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, RawClient, Turn, eventually, is_alive};

use crate::calls::{Called, Calling, all_begun, ended, open, sent};
use crate::common::echo;
use crate::scene::Beside;

/// Where something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The caller that waits in the broker goes away.
    Caller,
    /// The broker reads from its connection to the worker what is no message.
    BrokersConnection,
    /// The worker's main ends.
    Main,
    /// The worker's connection to the broker breaks under it.
    WorkersConnection,
    /// One of the worker's slots panics.
    Slot,
}

const PLACES: [Place; 5] =
    [Place::Caller, Place::BrokersConnection, Place::Main, Place::WorkersConnection, Place::Slot];

impl Place {
    /// What a handler does that makes it fail; a caller fails by itself.
    const fn deed(self) -> Option<Deed> {
        match self {
            Self::Caller => None,
            Self::BrokersConnection => Some(Deed::Garbage),
            Self::Main => Some(Deed::Exit(3)),
            Self::WorkersConnection => Some(Deed::CloseAndLive),
            Self::Slot => Some(Deed::Panic),
        }
    }

    /// Why the process dies of it, if it does.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Caller | Self::Slot => None,
            Self::BrokersConnection => Some("protocol_violation"),
            Self::Main => Some("exit"),
            Self::WorkersConnection => Some("connection_closed"),
        }
    }
}

/// A process with a slot for each place and one more, and a pool beside it.
const CONFIG: &str = r#"
[pools.p]
command = ["misbehave", "sdk"]
slots = 6
cancel_grace = "200ms"
stop_grace = "200ms"
[pools.p.methods.act]

[pools.beside]
command = ["misbehave", "sdk"]
[pools.beside.methods.wait]
"#;

/// A process that executes a request for each of some places, and one of a caller who did nothing.
struct Six {
    broker: Broker,
    failing: Vec<(Place, Calling)>,
    /// The caller that will go away.
    leaving: Option<RawClient>,
    bystander: Calling,
}

impl Six {
    async fn with(broker: Broker, places: &[Place]) -> Self {
        let client = broker.client().await;
        let at = |name: &str| broker.room().path().join(name);
        let (trace, gate, last) = (at("trace"), at("gate"), at("last"));
        let send = |file: &Path, deed| sent(client.request(Act::when(file, deed).traced(&trace)));
        let bystander = send(&last, Deed::Echo);
        let deed = |place: &Place| Some((*place, place.deed()?));
        let failing: Vec<_> =
            places.iter().filter_map(deed).map(|(place, deed)| (place, send(&gate, deed))).collect();
        let mut leaving = None;
        if places.contains(&Place::Caller) {
            let mut raw = RawClient::greeted(broker.socket()).await;
            raw.request::<Act>(1, &Act::when(&gate, Deed::Echo).traced(&trace)).await;
            leaving = Some(raw);
        }
        all_begun(&trace, places.len() + 1).await;
        Self { broker, failing, leaving, bystander }
    }
}

/// Everything that fails fails at the same time.
async fn fails_at(places: &[Place]) {
    let broker = Broker::start(CONFIG).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let beside = Beside::start(broker.client().await);
    let Six { broker, failing, leaving, bystander } = Six::with(broker, places).await;

    drop(leaving);
    open(&broker.room().path().join("gate"));

    let deaths: Vec<_> = places.iter().filter_map(|place| place.reason()).collect();
    let told = if deaths.is_empty() {
        for (place, call) in failing {
            assert_eq!(charged(ended(call).await), "slot_panicked", "{place:?}");
        }
        open(&broker.room().path().join("last"));
        assert_eq!(ended(bystander).await.expect("its slot goes on").pid, before.pid);
        assert_eq!(echo(&client, 2).await.pid, before.pid, "the process serves on");
        None
    } else {
        let reason = charged(ended(bystander).await);
        // What ends while it is asked to stop is taken to have heeded that.
        let asked = places.contains(&Place::Caller) && reason == "cancelled";
        assert!(asked || deaths.contains(&reason.as_str()), "{places:?}: {reason}");
        for (place, call) in failing {
            let own = charged(ended(call).await);
            let panicked = place == Place::Slot && own == "slot_panicked";
            assert!(own == reason || panicked, "{places:?}: {place:?} was told {own}, others {reason}");
        }
        assert!(!is_alive(before.pid), "dead when it is told");
        assert_eq!(echo(&client, 2).await.incarnation, before.incarnation + 1, "one replacement");
        Some(reason)
    };
    nothing_stays(&broker, places.len() as u64, told.as_deref()).await;
    beside.undisturbed().await;
    broker.stop();
}

/// The reason that a call was told, which made one attempt.
fn charged(called: Called) -> String {
    let error = called.expect_err("its process or slot has failed");
    let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!(attempts.len(), 1, "{error:?}");
    reason.label().to_owned()
}

/// One death, or none; every request has one outcome, and no slot and no place in the queue is taken.
async fn nothing_stays(broker: &Broker, failed: u64, died: Option<&str>) {
    let outcomes = 3 + failed;
    eventually(LIMIT, "every request has an outcome", async || {
        broker.metrics().await.count("requests_total", &[("pool", "p")]) == outcomes
    })
    .await;
    let metrics = broker.metrics().await;
    let deaths = metrics.by_of("worker_crashes_total", "reason", &[("pool", "p")]);
    assert_eq!(deaths.keys().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(died));
    assert_eq!(metrics.count("worker_crashes_total", &[("pool", "p")]), u64::from(died.is_some()));
    assert_eq!(metrics.count("worker_starts_total", &[("pool", "p")]), 1 + u64::from(died.is_some()));
    assert_eq!(metrics.count("slots", &[("pool", "p"), ("state", "busy")]), 0);
    assert_eq!(metrics.count("queue_depth", &[("pool", "p")]), 0);
}

/// Every combination of the five places, in a broker of its own each.
#[tokio::test]
async fn story_01_each_place_fails_alone_and_with_every_other() {
    let _turn = Turn::shared();
    for chosen in 1_u32..1 << PLACES.len() {
        let fails = |place: &Place| chosen & (1 << (*place as u32)) != 0;
        let places: Vec<_> = PLACES.into_iter().filter(fails).collect();
        fails_at(&places).await;
    }
}
