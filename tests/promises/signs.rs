//! Signs of life: what stalls is ended when its limit says so and never before, and what gives the right signs is not.

use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client, ConfidenceLabel, TimeoutWhich};
use lifeboat_tests::act::{Act, Acted, Deed, Sign};
use lifeboat_tests::harness::{Broker, LIMIT, SLACK, Turn, eventually, is_alive};
use rustix::process::Signal;

use crate::calls::{Calling, all_begun, executions, sent, signal};
use crate::common::{config, crashes, echo, timed, within};

/// How long a handler may give no sign.
const STALL: Duration = Duration::from_millis(600);

/// From a sign to the next, and how many of them last much longer than a stall may.
const PAUSE: u64 = 120;
const MANY: u64 = 15;

const GRACES: &str = "cancel_grace = \"100ms\"\nstop_grace = \"100ms\"";
const LADDER: Duration = Duration::from_millis(200);

/// A limit on silence.
struct Limit {
    policy: &'static str,
    which: TimeoutWhich,
    reason: &'static str,
}

const PROGRESS: Limit =
    Limit { policy: "progress_timeout = \"600ms\"", which: TimeoutWhich::Progress, reason: "progress_stall" };

const OUTPUT: Limit =
    Limit { policy: "output_timeout = \"600ms\"", which: TimeoutWhich::Output, reason: "output_stall" };

/// A broker whose one worker has answered, under one limit on silence.
async fn start(policy: &str) -> (Broker, Client, Acted) {
    let broker = Broker::start(config("sdk", 1, GRACES, policy)).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    (broker, client, before)
}

fn signs(sign: Sign, times: u64, then: Deed) -> Act {
    Act::new(Deed::Signs { sign, times, pause: PAUSE, then: Box::new(then) })
}

/// A handler that gives this sign again and again lives; once it stops to, it is ended when the limit has passed.
async fn counts(limit: &Limit, sign: Sign) {
    let (broker, client, before) = start(limit.policy).await;
    let (reply, took) = timed(client.request(signs(sign, MANY, Deed::Echo))).await;
    assert_eq!(reply.expect("it gives signs").pid, before.pid);
    assert!(took > 2 * STALL, "it took only {took:?}");
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
    let last = Duration::from_millis(3 * PAUSE);
    stalls(&broker, &client, signs(sign, 3, Deed::Hang), last, limit).await;
    broker.stop();
}

/// This sign does not count, however often it is given.
async fn counts_not(limit: &Limit, sign: Sign) {
    let (broker, client, _) = start(limit.policy).await;
    stalls(&broker, &client, signs(sign, MANY, Deed::Echo), Duration::ZERO, limit).await;
    broker.stop();
}

/// A request is ended for a stall that begins so long after its start.
async fn stalls(broker: &Broker, client: &Client, act: Act, begins: Duration, limit: &Limit) {
    let (which, reason) = (limit.which, limit.reason);
    let (result, took) = timed(client.call(act)).await;
    let error = result.expect_err("it stalls");
    let CallError::TimedOut { which: told, limit: length, attempts, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*told, *length, attempts.len()), (which, Some(STALL), 1), "{error:?}");
    assert_eq!(attempts[0].reason.as_ref().map(|reason| reason.label()), Some(reason));
    // On a busy machine the worker's own pauses are late as well.
    let slack = if begins.is_zero() { SLACK } else { 2 * SLACK };
    within(took, begins + STALL, begins + STALL + LADDER + slack);
    crashes(broker, reason, 1).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("timeouts_total", &[("method", "act"), ("which", &which.to_string())]), 1);
    assert_eq!(metrics.count("worker_kills_total", &[("pool", "p"), ("reason", reason)]), 1);
    assert!(attempts[0].pid.is_some_and(|pid| !is_alive(pid)), "the work goes on after its stall");
    echo(client, 2).await;
}

#[tokio::test]
async fn story_31_progress_is_progress() {
    let _turn = Turn::shared();
    counts(&PROGRESS, Sign::Progress).await;
    counts(&PROGRESS, Sign::Partial).await;
}

#[tokio::test]
async fn story_31_output_is_no_progress() {
    let _turn = Turn::shared();
    counts_not(&PROGRESS, Sign::Output).await;
}

#[tokio::test]
async fn story_32_output_is_output() {
    let _turn = Turn::shared();
    counts(&OUTPUT, Sign::Output).await;
    counts(&OUTPUT, Sign::Partial).await;
}

#[tokio::test]
async fn story_32_progress_is_no_output() {
    let _turn = Turn::shared();
    counts_not(&OUTPUT, Sign::Progress).await;
}

/// A stall is tried again only where the policy names it.
#[tokio::test]
async fn a_stall_is_retried_where_asked() {
    let _turn = Turn::shared();
    for (on, attempts) in [("crash", 1), ("stall", 2)] {
        let policy = format!("{}\nretry = {{ on = [\"{on}\"], max_attempts = 2 }}", PROGRESS.policy);
        let (broker, client, _) = start(&policy).await;
        let result = client.request(Act::new(Deed::Hang).until(1)).await;
        let made =
            result.as_ref().map_or_else(|error| error.attempts().len(), |reply| reply.attempts().into());
        assert_eq!((made, result.is_ok()), (attempts, attempts > 1), "{result:?}");
        broker.stop();
    }
}

const INTERVAL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_millis(600);
const HEARTBEAT: &str = "heartbeat = { interval = \"200ms\", missed = 3 }";

/// A process that is stopped was last heard up to an interval before, and must be found out within its patience. A broker
/// that was busy itself gives it an interval more.
fn found_out(took: Duration) {
    within(took, PATIENCE - INTERVAL, PATIENCE + INTERVAL + SLACK);
}

#[tokio::test]
async fn story_29_a_process_that_stops_while_idle_is_unresponsive() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, HEARTBEAT, "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    signal(before.pid, Signal::STOP);
    let stopped = Instant::now();
    eventually(LIMIT, "it is killed", async || !is_alive(before.pid)).await;
    found_out(stopped.elapsed());
    crashes(&broker, "unresponsive", 1).await;
    assert_eq!(broker.metrics().await.count("worker_kills_total", &[("reason", "unresponsive")]), 1);
    assert_eq!(echo(&client, 2).await.incarnation, before.incarnation + 1);
    broker.stop();
}

#[tokio::test]
async fn a_process_that_stops_while_it_executes_is_unresponsive() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, HEARTBEAT, "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let (result, took) = timed(client.call(Act::new(Deed::Stop))).await;
    found_out(took);
    let error = result.expect_err("its process is stopped");
    let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((reason.label(), reason.confidence()), ("unresponsive", ConfidenceLabel::Proven));
    assert_eq!((attempts.len(), attempts[0].pid), (1, Some(before.pid)));
    assert!(!is_alive(before.pid), "dead when it is told");
    crashes(&broker, "unresponsive", 1).await;
    assert_eq!(echo(&client, 2).await.incarnation, before.incarnation + 1);
    broker.stop();
}

/// Two workers; one executes for so long, the other is what the test is about.
struct Pair {
    broker: Broker,
    client: Client,
    executing: Calling,
    other: u32,
}

impl Pair {
    async fn start(kind: &str, keys: &str, executes: Duration) -> Self {
        let broker = Broker::start(config(kind, 2, keys, "")).await;
        broker.ready().await.all_idle().await;
        let client = broker.client().await;
        let trace = broker.room().path().join("trace");
        let millis = u64::try_from(executes.as_millis()).expect("a short time");
        let executing = sent(client.request(Act::new(Deed::EchoAfter(millis)).traced(&trace)));
        all_begun(&trace, 1).await;
        let busy = executions(&trace)[0].pid;
        let pids = [broker.worker_pid("p-0").await, broker.worker_pid("p-1").await];
        let other = pids.into_iter().find(|pid| *pid != busy).expect("there are two");
        Self { broker, client, executing, other }
    }

    /// Once the one has executed, both live and serve; nobody was killed.
    async fn serve(self) {
        let mut pids = vec![echo(&self.client, 1).await.pid, echo(&self.client, 2).await.pid];
        pids.dedup();
        assert_eq!(pids.len(), 2, "who was idle longest is next: {pids:?}");
        assert!(pids.contains(&self.other));
        assert!(self.broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
        self.broker.stop();
    }
}

/// Heartbeats go on while a handler blocks its thread, and while there is nothing to do.
#[tokio::test]
async fn a_process_that_lives_is_left_alone() {
    let _turn = Turn::shared();
    // Patient enough for a machine on which nobody is scheduled for a second.
    let keys = "heartbeat = { interval = \"300ms\", missed = 5 }";
    let mut pair = Pair::start("sdk", keys, Duration::from_secs(4)).await;
    (&mut pair.executing).await.expect("no panic").expect("nobody disturbs it");
    pair.serve().await;
}

#[tokio::test]
async fn a_process_that_stops_for_less_than_its_patience_is_left_alone() {
    let _turn = Turn::shared();
    let keys = "heartbeat = { interval = \"1s\", missed = 5 }";
    let mut pair = Pair::start("sdk", keys, Duration::from_millis(1_500)).await;
    signal(pair.other, Signal::STOP);
    (&mut pair.executing).await.expect("no panic").expect("nobody disturbs it");
    signal(pair.other, Signal::CONT);
    pair.serve().await;
}

/// Workers that do not say that they send heartbeats are not killed for sending none.
#[tokio::test]
async fn who_sends_no_heartbeats_is_not_watched() {
    let _turn = Turn::shared();
    let mut pair = Pair::start("raw", HEARTBEAT, 4 * PATIENCE).await;
    signal(pair.other, Signal::STOP);
    (&mut pair.executing).await.expect("no panic").expect("nobody disturbs it");
    signal(pair.other, Signal::CONT);
    pair.serve().await;
}
