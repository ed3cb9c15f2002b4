//! Waiting is bounded and fair, and who cannot wait is told at once.

use std::time::Duration;

use lifeboat_client::{CallError, Client, RejectWhy, TimeoutWhich};
use lifeboat_protocol::{MessageType, ROUTE_END};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, RawClient, SLACK, Turn, eventually, request_frame};

use crate::calls::{Calling, all_begun, ended, executions, open, queued, sent};
use crate::common::{config, echo, timed, within};

/// The bounds of what is told as `retry_after`.
const SOON: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_secs(30);

/// A broker whose workers are all busy until the gate opens.
struct Busy {
    broker: Broker,
    client: Client,
    executing: Vec<Calling>,
}

impl Busy {
    /// Has every worker answer once before, so that it is known how long an attempt takes.
    async fn with(workers: u16, keys: &str, policy: &str) -> Self {
        let broker = Broker::start(config("sdk", workers, keys, policy)).await;
        broker.ready().await.all_idle().await;
        let client = broker.client().await;
        let (trace, gate) = (broker.room().path().join("executing"), broker.room().path().join("gate"));
        let mut executing = Vec::new();
        for tag in 0..u64::from(workers) {
            echo(&client, tag).await;
        }
        for _ in 0..workers {
            executing.push(sent(client.request(Act::when(&gate, Deed::Echo).traced(&trace))));
        }
        all_begun(&trace, executing.len()).await;
        Self { broker, client, executing }
    }

    /// Opens the gate; what executed is answered, and so are these calls.
    async fn go_on(&mut self, waiting: Vec<Calling>) {
        open(&self.broker.room().path().join("gate"));
        for call in self.executing.drain(..).chain(waiting) {
            ended(call).await.expect("it only waited");
        }
    }

    /// Checks that a request is refused at once for this reason, and never ran.
    async fn refuses(&self, act: Act, wanted: RejectWhy) {
        let (result, took) = timed(self.client.call(act)).await;
        let error = result.expect_err("there is no room for it");
        let CallError::Rejected { why, retry_after, attempts, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*why, attempts.len()), (wanted, 0));
        assert!(retry_after.is_some_and(|wait| (SOON..=LATE).contains(&wait)), "{error:?}");
        assert!(!error.may_have_executed() && error.is_retryable(), "{error:?}");
        assert!(took < SLACK, "a refusal took {took:?}");
    }

    async fn has_refused(&self, why: &str, count: u64) {
        let metrics = self.broker.metrics().await;
        assert_eq!(metrics.count("rejected_total", &[("pool", "p"), ("why", why)]), count);
        assert_eq!(metrics.count("requests_total", &[("pool", "p"), ("outcome", "rejected")]), count);
    }
}

/// A request whose body has so many bytes more than others.
fn large(bytes: usize) -> Act {
    // Workers on the SDK only answer it.
    Act::new(Deed::Say(vec![7; bytes]))
}

#[tokio::test]
async fn story_37_a_full_queue_refuses() {
    let _turn = Turn::shared();
    let mut busy = Busy::with(1, "queue = { max_requests = 3 }", "").await;
    let waiting: Vec<_> = (0..3).map(|tag| sent(busy.client.request(Act::echo(tag)))).collect();
    queued(&busy.broker, 3).await;
    for _ in 0..5 {
        busy.refuses(Act::echo(9), RejectWhy::QueueFull).await;
    }
    busy.has_refused("queue_full", 5).await;
    assert_eq!(busy.broker.metrics().await.count("queue_depth", &[("pool", "p")]), 3);
    busy.go_on(waiting).await;
    echo(&busy.client, 10).await;
    busy.broker.stop();
}

/// The memory that waiting requests pin is bounded apart from their number. One that is larger than the bound is executed
/// at once or not at all.
#[tokio::test]
async fn story_19_a_queue_full_of_bytes_refuses() {
    const MIB: usize = 1 << 20;
    let _turn = Turn::shared();
    let mut busy = Busy::with(1, "queue = { max_bytes = \"4MiB\" }", "").await;
    let waiting = (0..3).map(|_| large(MIB)).chain([Act::echo(1)]);
    let waiting: Vec<_> = waiting.map(|act| sent(busy.client.request(act))).collect();
    queued(&busy.broker, 4).await;
    let pinned = busy.broker.metrics().await.count("queue_bytes", &[("pool", "p")]);
    assert!((3 * MIB as u64..4 * MIB as u64).contains(&pinned), "{pinned} bytes");
    busy.refuses(large(MIB), RejectWhy::QueueFull).await;
    busy.refuses(large(5 * MIB), RejectWhy::QueueFull).await;
    busy.has_refused("queue_full", 2).await;
    busy.go_on(waiting).await;
    assert_eq!(busy.broker.metrics().await.count("queue_bytes", &[("pool", "p")]), 0);
    busy.client.call(large(5 * MIB)).await.expect("nobody is before it");
    busy.broker.stop();
}

#[tokio::test]
async fn story_37_a_pool_that_does_not_queue_refuses_when_all_are_busy() {
    let _turn = Turn::shared();
    let mut busy = Busy::with(2, "on_busy = \"reject\"", "").await;
    for _ in 0..5 {
        busy.refuses(Act::echo(1), RejectWhy::AllWorkersBusy).await;
    }
    busy.has_refused("all_workers_busy", 5).await;
    assert_eq!(busy.broker.page("/readyz").await.expect("an answer").status, 200, "busy is not unready");
    busy.go_on(Vec::new()).await;
    echo(&busy.client, 2).await;
    busy.broker.stop();
}

/// So it does while no process is ready yet; when one will be, nobody knows.
#[tokio::test]
async fn a_pool_that_does_not_queue_refuses_while_it_starts() {
    let _turn = Turn::shared();
    let keys = "on_busy = \"reject\"\nstart_timeout = \"1m\"";
    let broker = Broker::start(config("never-ready", 1, keys, "")).await;
    let error = broker.client().await.call(Act::echo(1)).await.expect_err("nobody is ready");
    let CallError::Rejected { why, retry_after, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*why, *retry_after), (RejectWhy::AllWorkersBusy, None));
    broker.stop();
}

#[tokio::test]
async fn waiting_has_a_limit_of_its_own() {
    const WAIT: Duration = Duration::from_millis(200);
    let _turn = Turn::shared();
    let policy = r#"
queue_timeout = "200ms"
retry = { max_attempts = 2, backoff = { first = "500ms", jitter = "none" } }
"#;
    let mut busy = Busy::with(1, "", policy).await;
    let (result, took) = timed(busy.client.call(Act::echo(1))).await;
    let error = result.expect_err("the only worker is busy");
    let CallError::TimedOut { which, limit, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*which, *limit, attempts.len()), (TimeoutWhich::Queue, Some(WAIT), 0));
    assert!(!error.may_have_executed(), "{error:?}");
    within(took, WAIT, WAIT + SLACK);
    let metrics = busy.broker.metrics().await;
    assert_eq!(metrics.count("timeouts_total", &[("method", "act"), ("which", "queue")]), 1);
    // A client may tighten it.
    let tight = WAIT / 2;
    let (result, took) = timed(busy.client.request(Act::echo(2)).queue_timeout(tight)).await;
    let told = matches!(result, Err(CallError::TimedOut { limit: Some(limit), .. }) if limit == tight);
    assert!(told, "{result:?}");
    within(took, tight, tight + SLACK);
    busy.go_on(Vec::new()).await;
    // Who has run before waits for its deadline alone.
    let (reply, took) = timed(busy.client.request(Act::new(Deed::Exit(1)).until(1))).await;
    assert_eq!(reply.expect("the second attempt answers").attempts(), 2);
    assert!(took > 2 * WAIT, "it waited for {took:?}");
    busy.broker.stop();
}

/// One client floods; whoever else asks has a turn before the flood has its second.
#[tokio::test]
async fn clients_take_turns() {
    const FLOOD: u64 = 500;
    const OTHERS: u64 = 3;
    let _turn = Turn::shared();
    let mut busy = Busy::with(1, "", "").await;
    let trace = busy.broker.room().path().join("trace");
    let send = |client: &Client, tag| sent(client.request(Act::echo(tag).traced(&trace)));
    let mut waiting: Vec<_> = (0..FLOOD).map(|tag| send(&busy.client, tag)).collect();
    queued(&busy.broker, FLOOD).await;
    let mut others = Vec::new();
    for other in 0..OTHERS {
        let client = busy.broker.client().await;
        // The first of each of them, and a second one behind it.
        waiting.extend([0, OTHERS].map(|turn| send(&client, FLOOD + other + turn)));
        others.push(client);
    }
    queued(&busy.broker, FLOOD + 2 * OTHERS).await;

    busy.go_on(waiting).await;

    let order: Vec<u64> = executions(&trace).iter().map(|execution| execution.tag).collect();
    let at = |tag| order.iter().position(|other| *other == tag).expect("all were executed") as u64;
    for other in FLOOD..FLOOD + OTHERS {
        assert!(at(other) <= OTHERS, "{other} waited for {} others", at(other));
        let second = at(other + OTHERS);
        assert!(second <= 2 * OTHERS + 1, "{} waited for {second} others", other + OTHERS);
    }
    assert!((1..FLOOD).all(|tag| at(tag - 1) < at(tag)), "each client's requests keep their order");
    drop(others);
    busy.broker.stop();
}

/// Two of the largest answers may come at once to whoever does not read for a moment; one more, and be it small, closes the
/// connection.
#[tokio::test]
async fn the_two_largest_answers_pass_unread() {
    const LARGEST: usize = 8 << 20;
    let _turn = Turn::shared();
    let pool = config("raw", 3, "", "");
    let broker =
        Broker::start(format!("[broker]\nmax_body = \"8MiB\"\nclient_backlog = \"8MiB\"\n{pool}")).await;
    broker.ready().await.all_idle().await;
    let gate = broker.room().path().join("gate");
    let largest = Act::new(Deed::AnswerOfSize { header: ROUTE_END, body: LARGEST });
    let mut slow = RawClient::greeted(broker.socket()).await;
    let mut deaf = RawClient::greeted(broker.socket()).await;
    let frames = |acts: &[&Act]| {
        let frames = (1..).zip(acts.iter().copied()).map(|(id, act)| request_frame::<Act>(id, act));
        frames.collect::<Vec<_>>().concat()
    };
    // In one write each: nothing more is read of a client with half of the backlog unread.
    slow.send(&frames(&[&largest, &largest])).await;
    deaf.send(&frames(&[&Act::when(&gate, Deed::Echo), &largest, &largest])).await;
    eventually(LIMIT, "all but one are answered", async || {
        broker.metrics().await.count("requests_total", &[("pool", "p"), ("outcome", "ok")]) == 4
    })
    .await;
    for _ in 0..2 {
        let answer = slow.receive().await.expect("it has not been closed");
        assert_eq!((answer.message_type, answer.body.len()), (MessageType::Answer, LARGEST));
    }
    let told = "a client does not read its answers; closed limit=8388608";
    assert!(!broker.log().contains(told), "two may be unread");
    open(&gate);
    eventually(LIMIT, "it is closed, and the log says why", async || broker.log().contains(told)).await;
    let mut whole = 0;
    while deaf.receive().await.is_some() {
        whole += 1;
    }
    assert!(whole < 2, "what was unread is dropped: {whole} came");
    slow.request::<Act>(4, &Act::echo(1)).await;
    assert!(slow.receive().await.is_some(), "nobody else is closed");
    broker.stop();
}
