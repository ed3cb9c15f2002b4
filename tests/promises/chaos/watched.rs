//! The same few bodies again and again, half of them poison, in a pool of the chaos with quarantine: innocent ones are
//! never refused, and never go down twice beside poison; poison is let in again only when its quarantine has expired.

use std::collections::BTreeMap;
use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::chaos::Ended;
use lifeboat_tests::harness::Broker;
use tokio::task::JoinSet;

use super::injector::Struck;
use super::truth::is_alone;

/// The pool.
pub(super) const POOL: &str = "watched";

/// The pool's own.
const CRASH_LIMIT: usize = 2;
const EXPIRY: Duration = Duration::from_secs(4);

/// Tasks that each send one request after the other.
const CALLERS: usize = 6;

/// Between two requests of a caller: less would be a load that measures the machine.
const PAUSE: Duration = Duration::from_millis(5);

const BODIES: [(Deed, Poison); 6] = [
    (Deed::Echo, false),
    (Deed::Exit(3), true),
    (Deed::EchoAfter(5), false),
    (Deed::Segfault, true),
    (Deed::EchoAfter(30), false),
    (Deed::Abort, true),
];

/// Whether a body kills whoever executes it.
type Poison = bool;

/// One request: its body, when its end was told, and that end.
struct Told {
    body: usize,
    at: Instant,
    ended: Ended,
    report: Option<String>,
}

/// Requests that are being sent.
pub(super) struct Watched {
    over: Arc<AtomicBool>,
    callers: JoinSet<Vec<Told>>,
}

/// What the callers were told, all of them.
pub(super) struct Watch(Vec<Told>);

/// The pool's configuration.
pub(super) fn config() -> String {
    format!(
        r#"
[pools.{POOL}]
command = ["misbehave", "sdk"]
workers = 2
slots = 3
cancel_grace = "50ms"
stop_grace = "50ms"
heartbeat = {{ interval = "300ms", missed = 5 }}
output = {{ log = false }}
restart = {{ initial = "1ms", max = "20ms", max_restarts = "unlimited" }}
[pools.{POOL}.defaults]
deadline = "8s"
[pools.{POOL}.methods.act]
retry = {{ on = ["crash", "stall"], max_attempts = 2, backoff = {{ then = "5ms", max = "20ms" }} }}
quarantine = {{ crash_limit = {CRASH_LIMIT}, expiry = "{}s" }}
"#,
        EXPIRY.as_secs()
    )
}

impl Watched {
    /// Starts all callers.
    pub(super) async fn begin(broker: &Broker, seed: u64) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let client = broker.client().await;
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS as u64 {
            let random = fastrand::Rng::with_seed(seed ^ caller);
            callers.spawn(send(client.clone(), random, Arc::clone(&over)));
        }
        Self { over, callers }
    }

    /// Waits until the last request of each has ended.
    pub(super) async fn come_home(self) -> Watch {
        self.over.store(true, Ordering::Relaxed);
        let mut told: Vec<_> = self.callers.join_all().await.into_iter().flatten().collect();
        told.sort_by_key(|told| told.at);
        Watch(told)
    }
}

async fn send(client: Client, mut random: fastrand::Rng, over: Arc<AtomicBool>) -> Vec<Told> {
    let mut all = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let body = random.usize(..BODIES.len());
        // The tag is the body's: it is the same request again, not one of the kind.
        let (tag, act) = (body as u64, Act::new(BODIES[body].0.clone()).tag(body as u64));
        let result = client.request(act).into_future().await;
        let report = result.as_ref().err().and_then(report_of);
        let ended = match result {
            Ok(reply) => Ended { attempts: reply.attempts(), ..Ended::new(tag, "ok") },
            Err(error) => Ended::of(tag, &error),
        };
        all.push(Told { body, at: Instant::now(), ended, report });
        tokio::time::sleep(PAUSE).await;
    }
    all
}

fn report_of(error: &CallError) -> Option<String> {
    let (CallError::WorkerCrashed { report_id, .. } | CallError::Rejected { report_id, .. }) = error else {
        return None;
    };
    report_id.clone()
}

impl Told {
    fn is(&self, outcome: &str) -> bool {
        self.ended.outcome == outcome
    }

    fn is_refused(&self) -> bool {
        self.is("rejected") && self.ended.detail == "quarantined"
    }

    /// The last attempt's death counts against the body: it was alone, and nobody else did it.
    fn counts(&self) -> bool {
        let last = self.ended.tried.last().and_then(|tried| tried.reason.as_ref());
        let own = last.is_some_and(|(reason, _)| ["exit", "signal"].contains(&reason.as_str()));
        self.is("crashed") && own && is_alone(&self.ended.tried, self.ended.tried.len().saturating_sub(1))
    }
}

impl Watch {
    /// Everything that was told fits what was done.
    #[expect(clippy::print_stdout, reason = "the account is the test's result")]
    pub(super) fn holds(&self, struck: &Struck) {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for told in &self.0 {
            let (outcome, detail) = (told.ended.outcome.as_str(), told.ended.detail.as_str());
            *counts.entry((told.body, outcome, detail)).or_default() += 1;
            if BODIES[told.body].1 { poison(told) } else { innocent(told, struck) }
        }
        println!("watched, by body: {counts:?}");
        for body in (0..BODIES.len()).filter(|body| BODIES[*body].1) {
            self.let_in_seldom(body);
        }
    }

    /// No poison body kills more processes, while a quarantine lasts, than it takes to be convicted and than execute it then.
    fn let_in_seldom(&self, body: usize) {
        let of = || self.0.iter().filter(|told| told.body == body);
        let deaths: Vec<_> = of().filter(|told| told.counts()).map(|told| told.at).collect();
        let most = CRASH_LIMIT + CALLERS;
        for window in deaths.windows(most + 1) {
            let took = window[most].duration_since(window[0]);
            assert!(took > EXPIRY / 2, "{:?}: {} deaths in {took:?}", BODIES[body], most + 1);
        }
        let refused = of().filter(|told| told.is_refused()).count();
        assert!(deaths.len() > CRASH_LIMIT, "{:?}: no quarantine has expired: {deaths:?}", BODIES[body]);
        assert!(refused > deaths.len(), "{:?}: {refused} refused, {} deaths", BODIES[body], deaths.len());
    }
}

fn poison(told: &Told) {
    assert!(!told.is("ok"), "nobody survives it: {:?}", told.ended);
    // It has the report of the last death, for all of them are deaths and no panics.
    assert!(!told.is_refused() || told.report.is_some(), "refused without a report: {:?}", told.ended);
}

/// Not refused; and an attempt that ran alone ended, if it crashed, by something from outside.
fn innocent(told: &Told, struck: &Struck) {
    assert!(!told.is_refused(), "an innocent body: {:?}", told.ended);
    if !told.is("crashed") {
        return;
    }
    assert!(told.report.is_some(), "crashed without a report: {:?}", told.ended);
    let all = &told.ended.tried;
    for (_, tried) in all.iter().enumerate().filter(|(at, _)| is_alone(all, *at)) {
        let (reason, _) = tried.reason.as_ref().expect("a crash has a reason");
        let explained = reason == "operator" || struck.explains(tried, reason);
        assert!(explained, "alone, and {reason}: {:?}", told.ended);
    }
}
