//! Calls that are dropped, wherever they are on their way: each is cancelled and costs nothing, or goes on if it was told to.

use std::collections::BTreeMap;
use std::future::{IntoFuture as _, poll_fn};
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use lifeboat_client::{Client, RequestBuilder, RequestStateLabel};
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::harness::{Broker, Held, LIMIT, Turn, eventually, until_some};

use crate::calls::{Calling, all_begun, ended, executions, open, queued, sent};
use crate::common::{config, crashes, echo, timed, within};

/// Longer than any handler here goes on after its cancel: a worker that is killed for one was killed needlessly.
const GRACE: &str = "cancel_grace = \"30s\"";

/// What the drop of a call's future does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drops {
    Cancels,
    GoesOn,
}

use Drops::{Cancels, GoesOn};

/// A broker, a client whose call is dropped, and one that looks on.
struct Scene {
    broker: Broker,
    caller: Client,
    client: Client,
    drops: Drops,
    /// What the looker-on was answered.
    answered: u64,
}

impl Scene {
    async fn set(drops: Drops, text: String) -> Self {
        let broker = Broker::start(text).await;
        broker.ready().await.all_idle().await;
        let caller = Client::builder().socket(broker.socket()).max_in_flight(1).connect().await;
        let caller = caller.expect("a running broker takes clients");
        let client = broker.client().await;
        Self { broker, caller, client, drops, answered: 0 }
    }

    async fn of_sdk_workers(drops: Drops, workers: u16) -> Self {
        Self::set(drops, config("sdk", workers, GRACE, "")).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.broker.room().path().join(name)
    }

    /// The trace of the call that is dropped.
    fn trace(&self) -> PathBuf {
        self.file("trace")
    }

    /// A call of the caller's.
    fn request(&self, act: Act) -> RequestBuilder<Act> {
        let request = self.caller.request(act.traced(self.trace()));
        match self.drops {
            Cancels => request,
            GoesOn => request.no_cancel_on_drop(),
        }
    }

    /// Has a call on its way until `there`, and then drops it.
    async fn dropped(&self, act: Act, there: impl AsyncFnOnce(&Self)) {
        let mut call = pin!(self.request(act).into_future());
        let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "{polled:?}");
        there(self).await;
        let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "it has ended before it was dropped: {polled:?}");
    }

    /// A call of `client` that keeps a worker busy until the gate opens.
    async fn busy(&mut self, client: &Client) -> Calling {
        let busy = self.file("busy");
        let call = sent(client.request(Act::when(self.file("gate"), Deed::Echo).traced(&busy)));
        all_begun(&busy, 1).await;
        self.answered += 1;
        call
    }

    fn open_gate(&self) {
        open(&self.file("gate"));
    }

    /// Waits until so many requests are open with the broker.
    async fn are_open(&self, count: usize) {
        eventually(LIMIT, &format!("{count} requests are open"), async || {
            self.client.admin().requests(10).await.expect("they are listed").requests.len() == count
        })
        .await;
    }

    /// A call is answered at once.
    async fn serves(&mut self) -> Acted {
        let (acted, took) = timed(echo(&self.client, 1)).await;
        within(took, Duration::ZERO, Duration::from_secs(1));
        self.answered += 1;
        acted
    }

    /// All is over: nothing is open, the dropped call's handler has begun so often, and it ended as it had to, if the broker
    /// has seen it at all. The processes that died, if any, died for this reason.
    async fn ends(mut self, seen: bool, begun: usize, died: Option<&str>) {
        self.are_open(0).await;
        self.serves().await;
        if let Some(reason) = died {
            crashes(&self.broker, reason, 1).await;
        }
        assert_eq!(executions(&self.trace()).len(), begun, "{:?}", self.drops);
        let goes_on = u64::from(self.drops == GoesOn && seen);
        let cancelled = u64::from(self.drops == Cancels && seen);
        let mut outcomes = BTreeMap::from([("ok", self.answered + goes_on), ("cancelled", cancelled)]);
        outcomes.retain(|_, count| *count > 0);
        let metrics = self.broker.metrics().await;
        let counted: Vec<_> = metrics.by("requests_total", "outcome").into_keys().collect();
        assert_eq!(counted, outcomes.keys().copied().collect::<Vec<_>>(), "{:?}", self.drops);
        for (outcome, count) in outcomes {
            assert_eq!(metrics.count("requests_total", &[("outcome", outcome)]), count, "{outcome}");
        }
        let deaths: Vec<_> = metrics.by("worker_crashes_total", "reason").into_iter().collect();
        let wanted: Vec<_> = died.into_iter().map(|reason| (reason.to_owned(), 1.0)).collect();
        assert_eq!(deaths, wanted, "{:?}", self.drops);
        assert_eq!([self.caller.unexpected_answers(), self.client.unexpected_answers()], [0, 0]);
        self.broker.stop();
    }
}

#[tokio::test]
async fn before_it_was_polled_nothing_is_sent() {
    let _turn = Turn::shared();
    for drops in [Cancels, GoesOn] {
        let scene = Scene::of_sdk_workers(drops, 1).await;
        drop(scene.request(Act::echo(1)));
        drop(scene.request(Act::echo(2)).into_future());
        drop(scene.request(Act::echo(3)).stream());
        drop(scene.caller.call(Act::echo(4).traced(scene.trace())));
        // What the caller sends later comes later.
        assert_eq!(echo(&scene.caller, 5).await.tag, 5);
        Scene { answered: 1, ..scene }.ends(false, 0, None).await;
    }
}

#[tokio::test]
async fn in_the_clients_window() {
    let _turn = Turn::shared();
    for drops in [Cancels, GoesOn] {
        let mut scene = Scene::of_sdk_workers(drops, 2).await;
        let caller = scene.caller.clone();
        let busy = scene.busy(&caller).await;
        assert!(!caller.has_room());
        scene.dropped(Act::echo(2), async |scene| scene.are_open(1).await).await;
        scene.serves().await;
        scene.open_gate();
        ended(busy).await.expect("the call before it is not touched");
        let begun = usize::from(drops == GoesOn);
        all_begun(&scene.trace(), begun).await;
        // In the caller's turn, so after anything that still waited there.
        assert_eq!(echo(&caller, 3).await.tag, 3);
        scene.answered += 1;
        scene.ends(drops == GoesOn, begun, None).await;
    }
}

#[tokio::test]
async fn in_the_brokers_queue() {
    let _turn = Turn::shared();
    for drops in [Cancels, GoesOn] {
        let mut scene = Scene::of_sdk_workers(drops, 1).await;
        let busy = scene.busy(&scene.client.clone()).await;
        scene.dropped(Act::echo(2), async |scene| queued(&scene.broker, 1).await).await;
        scene.are_open(if drops == GoesOn { 2 } else { 1 }).await;
        scene.open_gate();
        ended(busy).await.expect("who runs is not touched");
        scene.ends(true, usize::from(drops == GoesOn), None).await;
    }
}

#[tokio::test]
async fn while_it_executes() {
    let _turn = Turn::shared();
    for drops in [Cancels, GoesOn] {
        let mut scene = Scene::of_sdk_workers(drops, 2).await;
        let act = Act::when(scene.file("gate"), Deed::Echo);
        scene.dropped(act, async |scene| all_begun(&scene.trace(), 1).await).await;
        // Cancelled is told at once, whatever the handler does.
        scene.are_open(usize::from(drops == GoesOn)).await;
        scene.serves().await;
        scene.open_gate();
        scene.ends(true, 1, None).await;
    }
}

#[tokio::test]
async fn between_two_attempts() {
    let _turn = Turn::shared();
    for (drops, wait) in [(Cancels, "30s"), (GoesOn, "2s")] {
        let policy = format!(
            r#"retry = {{ on = ["failed"], max_attempts = 2, backoff = {{ first = "{wait}", max = "30s", jitter = "none" }} }}"#
        );
        let mut scene = Scene::set(drops, config("sdk", 1, GRACE, &policy)).await;
        let act = Act::new(Deed::Fail { retryable: true }).until(1);
        scene.dropped(act, async |scene| scene.backs_off().await).await;
        scene.serves().await;
        scene.ends(true, if drops == GoesOn { 2 } else { 1 }, None).await;
    }
}

#[tokio::test]
async fn while_its_worker_dies() {
    let _turn = Turn::shared();
    for drops in [Cancels, GoesOn] {
        let policy = r#"retry = { on = ["crash"], max_attempts = 2 }"#;
        let keys = format!("{GRACE}\nkill_timeout = \"30s\"");
        // One thread, so that it can be held.
        let mut scene = Scene::set(drops, config("raw", 2, &keys, policy)).await;
        let mut held = None;
        let act = Act::new(Deed::Hang).until(1);
        scene.dropped(act, async |scene| held = Some(scene.has_its_worker_die().await)).await;
        scene.are_open(usize::from(drops == GoesOn)).await;
        scene.serves().await;
        held.expect("it dies").let_go();
        scene.ends(true, if drops == GoesOn { 2 } else { 1 }, Some("operator")).await;
    }
}

impl Scene {
    /// Waits until the dropped call's first attempt has failed, and the second is to come.
    async fn backs_off(&self) {
        let row = until_some(LIMIT, "it waits for its next attempt", async || {
            let open = self.client.admin().requests(1).await.expect("they are listed");
            open.requests.into_iter().find(|row| row.state == RequestStateLabel::Backoff)
        })
        .await;
        assert_eq!(row.attempt, 1, "{row:?}");
    }

    /// Has the process killed that executes the call, and holds it on its way out.
    async fn has_its_worker_die(&self) -> Held {
        all_begun(&self.trace(), 1).await;
        let pid = executions(&self.trace())[0].pid;
        let held = Held::on_its_way_out(pid);
        let worker = if self.broker.worker_pid("p-0").await == pid { "p-0" } else { "p-1" };
        self.client.admin().kill(worker).await.expect("it is there");
        eventually(LIMIT, "it dies", async || {
            let health = self.broker.health().await;
            health["workers"][worker]["state"] == "stopping"
        })
        .await;
        held
    }
}
