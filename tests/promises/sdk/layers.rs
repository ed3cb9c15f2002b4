//! Methods behind layers of the crate `tower`, over a pool that refuses and crashes.

#[path = "../../../client/examples/tower/again.rs"]
mod again;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Acted, Deed, Wait};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually};
use tokio::task::JoinSet;
use tower::retry::Policy;
use tower::timeout::error::Elapsed;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};

use self::again::Again;
use crate::calls::{all_begun, ended, executions, open, sent};
use crate::common::{config, crashes, echo};

/// What a call waits before its next try.
const PAUSE: Duration = Duration::from_millis(2);

/// What tries again where the example's policy does, and waits before it.
#[derive(Clone)]
struct Patient {
    again: Again,
    /// How often that was, over all calls.
    tries: Arc<AtomicU64>,
}

impl Patient {
    fn new() -> Self {
        Self { again: Again { left: u32::MAX }, tries: Arc::default() }
    }

    fn tries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }
}

impl<R: Clone, T> Policy<R, T, CallError> for Patient {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(&mut self, request: &mut R, result: &mut Result<T, CallError>) -> Option<Self::Future> {
        drop(self.again.retry(request, result)?);
        self.tries.fetch_add(1, Ordering::Relaxed);
        Some(Box::pin(tokio::time::sleep(PAUSE)))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Policy::<R, T, CallError>::clone_request(&mut self.again, request)
    }
}

type Stack = BoxCloneService<Act, Acted, BoxError>;

/// So many calls at a time, each tried again where that is safe.
fn stack(client: &Client, at_a_time: usize, policy: &Patient) -> Stack {
    let layers = ServiceBuilder::new().timeout(LIMIT).concurrency_limit(at_a_time).retry(policy.clone());
    BoxCloneService::new(layers.service(client.service::<Act>()))
}

fn as_call_error(error: &BoxError) -> &CallError {
    error.downcast_ref().unwrap_or_else(|| panic!("no call's error: {error:?}"))
}

/// A broker whose workers, once all have begun, refuse what they have no room for; its client, and a trace.
async fn refusing(workers: u16) -> (Broker, Client, PathBuf) {
    let broker = Broker::start(config("sdk", workers, "on_busy = \"reject\"", "")).await;
    broker.ready().await.all_idle().await;
    let (client, trace) = (broker.client().await, broker.room().path().join("trace"));
    (broker, client, trace)
}

async fn rejected(broker: &Broker) -> u64 {
    broker.metrics().await.count("requests_total", &[("outcome", "rejected")])
}

#[tokio::test]
async fn a_refused_call_is_tried_again_until_there_is_room() {
    let _turn = Turn::shared();
    let (broker, client, trace) = refusing(1).await;
    let (gate, busy) = (trace.with_extension("gate"), trace.with_extension("busy"));
    let executing = sent(client.request(Act::when(&gate, Deed::Echo).traced(&busy)));
    all_begun(&busy, 1).await;

    let policy = Patient::new();
    let call = tokio::spawn(stack(&client, 1, &policy).oneshot(Act::echo(5).traced(&trace)));
    eventually(LIMIT, "it is refused again and again", async || rejected(&broker).await > 2).await;
    assert!(!trace.exists(), "nobody has executed it");
    open(&gate);
    ended(executing).await.expect("it only waited");

    assert_eq!(call.await.expect("no panic").expect("there is room").tag, 5);
    assert_eq!(executions(&trace).len(), 1);
    assert_eq!(policy.tries(), rejected(&broker).await, "each try was for a refusal");
    broker.stop();
}

#[tokio::test]
async fn a_crashed_call_is_not_tried_again() {
    let _turn = Turn::shared();
    let (broker, client, trace) = refusing(1).await;
    let policy = Patient::new();
    let call = stack(&client, 1, &policy).oneshot(Act::new(Deed::Exit(3)).traced(&trace));
    let error = call.await.expect_err("it crashes");
    let error = as_call_error(&error);
    assert_eq!(error.crash_reason().and_then(|reason| reason.exit_code()), Some(3), "{error:?}");
    assert!(error.is_retryable() && error.may_have_executed());
    assert_eq!((policy.tries(), executions(&trace).len()), (0, 1));
    crashes(&broker, "exit", 1).await;
    broker.stop();
}

/// More calls at a time than there are workers, which crash now and then, and refuse while they start anew.
#[tokio::test]
async fn under_load_each_call_is_executed_once() {
    const CALLS: u64 = 200;
    const CRASH_EACH: u64 = 20;
    let _turn = Turn::shared();
    let (broker, client, trace) = refusing(2).await;
    let policy = Patient::new();
    let stack = stack(&client, 4, &policy);
    let crashes_at = |tag: u64| tag.is_multiple_of(CRASH_EACH);
    let mut calls = JoinSet::new();
    for tag in 0..CALLS {
        let deed = if crashes_at(tag) { Deed::Exit(3) } else { Deed::EchoAfter(tag % 3) };
        let call = stack.clone().oneshot(Act::new(deed).tag(tag).traced(&trace));
        calls.spawn(async move { (tag, call.await) });
    }
    while let Some(call) = calls.join_next().await {
        let (tag, result) = call.expect("no panic");
        match result {
            Ok(acted) => assert_eq!((acted.tag, crashes_at(tag)), (tag, false)),
            Err(error) => {
                assert!(crashes_at(tag), "call {tag}: {error:?}");
                assert!(as_call_error(&error).crash_reason().is_some(), "{error:?}");
            }
        }
    }
    each_once(&trace, CALLS);
    crashes(&broker, "exit", CALLS / CRASH_EACH).await;
    let refused = rejected(&broker).await;
    assert!(refused > 0, "there were more calls than workers");
    assert_eq!(policy.tries(), refused, "each try was for a refusal");
    broker.stop();
}

/// Every tag below this was executed once.
fn each_once(trace: &Path, count: u64) {
    let mut tags: Vec<_> = executions(trace).iter().map(|execution| execution.tag).collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_timeout_cancels_the_request() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let _turn = Turn::shared();
    let (broker, client, _) = refusing(1).await;
    let before = echo(&client, 1).await;
    let policy = Patient::new();
    let layers = ServiceBuilder::new().timeout(TIMEOUT).concurrency_limit(1).retry(policy.clone());
    let call = layers.service(client.service::<Wait>()).oneshot(Wait { millis: 60_000 });

    let error = call.await.expect_err("its time is out");

    assert!(error.is::<Elapsed>(), "{error:?}");
    eventually(LIMIT, "it is open no more", async || {
        client.admin().requests(1).await.expect("they are listed").requests.is_empty()
    })
    .await;
    broker.all_idle().await;
    assert_eq!(echo(&client, 2).await.pid, before.pid, "the process survives a cancel that it heeds");
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("method", "wait"), ("outcome", "cancelled")]), 1);
    assert_eq!(
        metrics.count("attempts_total", &[("method", "wait"), ("end", "cancelled")]),
        1,
        "it had begun"
    );
    assert!(metrics.by("worker_crashes_total", "reason").is_empty());
    assert_eq!(policy.tries(), 0);
    broker.stop();
}
