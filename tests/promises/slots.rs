//! Who pays for a death: what the process executed, in whichever of its slots, and nothing that it held besides.

use std::path::{Path, PathBuf};

use lifeboat_client::{CallError, Client};
use lifeboat_tests::act::{Act, Deed, PANIC};
use lifeboat_tests::harness::{Broker, Turn};
use rustix::process::Signal;

use crate::calls::{Calling, Execution, all_begun, ended, executions, open, queued, sent, signal};
use crate::common::{config, crashes, echo, failing};

const WORKERS: u64 = 2;

/// Requests beyond all that processes hold.
const BEYOND: u64 = 10;

/// How the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// One of its handlers exits.
    Exit,
    /// Somebody kills it.
    Kill,
}

/// Two workers, full of requests.
struct Full {
    broker: Broker,
    client: Client,
    slots: u64,
    prefetch: u64,
    trace: PathBuf,
    /// What lets the handlers go on.
    gate: PathBuf,
    /// What makes the first one exit.
    exit: PathBuf,
    /// By tag: first those that execute, then those behind them.
    calls: Vec<Calling>,
}

impl Full {
    /// Fills both workers: every slot executes one request and holds `prefetch - 1` behind it, and some wait in the queue.
    /// Every other one of those that execute may be tried again, beginning with the first if the process is killed.
    async fn of(slots: u64, prefetch: u64, death: Death) -> Self {
        let keys = format!("slots = {slots}\nprefetch = {prefetch}");
        let broker = Broker::start(config("sdk", 2, &keys, "retry = { max_attempts = 2 }")).await;
        broker.ready().await.all_idle().await;
        let client = broker.client().await;
        let at = |name: &str| broker.room().path().join(name);
        let (trace, gate, exit) = (at("trace"), at("gate"), at("exit"));
        let mut full = Self { client, slots, prefetch, trace, gate, exit, calls: Vec::new(), broker };
        for tag in 0..full.executing() {
            let act = if tag == 0 && death == Death::Exit {
                Act::when(&full.exit, Deed::Exit(3))
            } else {
                Act::when(&full.gate, Deed::Echo)
            };
            let request = full.client.request(act.tag(tag).traced(&full.trace));
            full.calls.push(sent(if may_retry(tag, death) { request } else { request.retry(1) }));
        }
        all_begun(&full.trace, full.calls.len()).await;
        for tag in full.executing()..full.executing() * prefetch + BEYOND {
            full.calls.push(sent(full.client.request(Act::echo(tag).traced(&full.trace)).retry(1)));
        }
        queued(&full.broker, BEYOND).await;
        full
    }

    const fn executing(&self) -> u64 {
        WORKERS * self.slots
    }

    /// Ends the process of the first request; gives what it executed.
    async fn die(&self, death: Death) -> Vec<Execution> {
        let mut executing = executions(&self.trace);
        let victim = executing.iter().find(|execution| execution.tag == 0).expect("it has begun").pid;
        executing.retain(|execution| execution.pid == victim);
        match death {
            Death::Exit => open(&self.exit),
            Death::Kill => signal(victim, Signal::KILL),
        }
        crashes(&self.broker, death.reason(), 1).await;
        executing
    }

    /// Every request ends as it must, and was executed as often as it must.
    async fn check(self, death: Death, charged: &[Execution]) {
        let mut again = 0;
        for (tag, call) in (0..).zip(self.calls) {
            let paid = charged.iter().any(|execution| execution.tag == tag);
            let retried = paid && may_retry(tag, death);
            again += u64::from(retried);
            match ended(call).await {
                Err(CallError::WorkerCrashed { reason, attempts, .. }) if paid && !retried => {
                    assert_eq!((reason.label(), attempts.len()), (death.reason(), 1), "{tag}: {reason:?}");
                }
                Ok(reply) if !paid || retried => {
                    assert_eq!((reply.tag, reply.attempts()), (tag, 1 + u16::from(retried)));
                }
                other => panic!("{tag}, charged: {paid}, retried: {retried}: {other:?}"),
            }
            assert_eq!(attempts_at(&self.trace, tag), if retried { vec![1, 2] } else { vec![1] }, "{tag}");
        }
        let metrics = self.broker.metrics().await;
        let (slots, held) = (self.slots, self.slots * (self.prefetch - 1));
        assert_eq!(metrics.count("requeues_free_total", &[("pool", "p")]), held, "who was behind");
        assert_eq!(metrics.count("attempts_total", &[("end", "crashed")]), slots, "who executed");
        assert_eq!(metrics.count("retries_total", &[("reason", death.reason())]), again);
        assert_eq!(metrics.count("requests_total", &[("outcome", "crashed")]), slots - again);
        self.broker.stop();
    }
}

impl Death {
    const fn reason(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Kill => "killed_from_outside",
        }
    }
}

/// Whether a request that executes has another attempt.
const fn may_retry(tag: u64, death: Death) -> bool {
    tag.is_multiple_of(2) == matches!(death, Death::Kill)
}

/// The attempts at which a request was executed.
fn attempts_at(trace: &Path, tag: u64) -> Vec<u16> {
    let of_it = executions(trace).into_iter().filter(|execution| execution.tag == tag);
    of_it.map(|execution| execution.attempt).collect()
}

/// With any number of slots and any prefetch: who executes is charged, and tried again where that was asked for; who was
/// held behind them, ran beside them in another process or waited is executed once and answered.
#[tokio::test]
async fn story_20_what_executes_pays_and_nothing_else() {
    let _turn = Turn::shared();
    for (slots, prefetch) in [(1, 1), (1, 2), (1, 32), (4, 1), (4, 2), (4, 32)] {
        for death in [Death::Exit, Death::Kill] {
            let full = Full::of(slots, prefetch, death).await;
            let charged = full.die(death).await;
            assert_eq!(charged.len() as u64, slots, "each slot executes one: {charged:?}");
            open(&full.gate);
            full.check(death, &charged).await;
        }
    }
}

/// The caller of a handler that panicked is told so.
async fn panicked(call: Calling) {
    let error = ended(call).await.expect_err("its handler panicked");
    let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((reason.label(), reason.message(), attempts.len()), ("slot_panicked", Some(PANIC), 1));
}

/// A panic costs its own slot and nothing else: what was held behind it runs in another slot of the same process.
#[tokio::test]
async fn story_02_a_panic_retires_its_slot_alone() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "slots = 4\nprefetch = 2", "")).await;
    let client = broker.client().await;
    let pid = echo(&client, 99).await.pid;
    let at = |name: String| broker.room().path().join(name);
    let (trace, gate) = (at("trace".into()), at("gate".into()));
    let send = |act: Act, tag| sent(client.request(act.tag(tag).traced(&trace)));
    let panicking: Vec<_> = (0..3)
        .map(|tag| {
            let panic = at(format!("panic-{tag}"));
            let call = send(Act::when(&panic, Deed::Panic), tag);
            (panic, call)
        })
        .collect();
    let steady = send(Act::when(&gate, Deed::Echo), 3);
    all_begun(&trace, 4).await;
    // One behind each slot, and four that wait.
    let others: Vec<_> = (4..12).map(|tag| send(Act::new(Deed::Echo), tag)).collect();
    queued(&broker, 4).await;
    for (failed, (panic, call)) in (1..).zip(panicking) {
        open(&panic);
        panicked(call).await;
        has_failed(&broker, failed).await;
    }
    open(&gate);
    assert_eq!(ended(steady).await.expect("its slot goes on").pid, pid);
    for (tag, call) in (4..).zip(others) {
        let reply = ended(call).await.expect("it only waited");
        assert_eq!((reply.tag, reply.pid, reply.attempts()), (tag, pid, 1), "the last slot answers all");
        assert_eq!(attempts_at(&trace, tag), [1]);
    }
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty(), "the process lives");
    broker.stop();
}

/// The worker has lost so many slots, and who was behind them went back free.
async fn has_failed(broker: &Broker, slots: usize) {
    let health = broker.health().await;
    let worker = &health["workers"]["p-0"];
    assert_eq!(worker["state"], "degraded", "{worker}");
    let states = worker["slots"].as_array().expect("health has slots").iter().map(|slot| &slot["state"]);
    assert_eq!(states.filter(|state| *state == "failed").count(), slots, "{worker}");
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("slots", &[("pool", "p"), ("state", "failed")]), slots as u64);
    assert_eq!(metrics.count("workers", &[("pool", "p"), ("state", "degraded")]), 1);
    assert_eq!(metrics.count("requeues_free_total", &[("pool", "p")]), slots as u64);
}

/// The panic of the last slot ends the process, which says why; what it held goes to the next one.
#[tokio::test]
async fn story_03_the_last_panic_ends_the_process() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "slots = 2\nprefetch = 2", "")).await;
    let client = broker.client().await;
    let before = echo(&client, 99).await;
    let at = |name: &str| broker.room().path().join(name);
    let (trace, last) = (at("trace"), at("last"));
    let send = |act: Act, tag| sent(client.request(act.tag(tag).traced(&trace)));
    panicked(send(Act::new(Deed::Panic), 0)).await;
    let panicking = send(Act::when(&last, Deed::Panic), 1);
    all_begun(&trace, 2).await;
    let others: Vec<_> = (2..5).map(|tag| send(Act::new(Deed::Echo), tag)).collect();
    queued(&broker, 2).await;

    open(&last);

    panicked(panicking).await;
    for (tag, call) in (2..).zip(others) {
        let reply = ended(call).await.expect("it only waited");
        assert_eq!((reply.tag, reply.attempts()), (tag, 1));
        assert_eq!((reply.incarnation, attempts_at(&trace, tag)), (before.incarnation + 1, vec![1]));
    }
    crashes(&broker, "slots_exhausted", 1).await;
    let log = broker.log();
    let death = log.lines().find(|line| line.contains("worker crashed")).expect("a death is logged");
    let (told, _) = death.split_once(" confidence=").expect("a death is logged with its confidence");
    assert_eq!(told.matches(PANIC).count(), 2, "the process says why each slot failed: {told}");
    let metrics = broker.metrics().await;
    assert_eq!(metrics.by("worker_crashes_total", "reason").len(), 1, "one death, counted once");
    assert_eq!(metrics.count("requeues_free_total", &[("pool", "p")]), 1, "who was behind the last");
    let failed = metrics.count("slots", &[("pool", "p"), ("state", "failed")]);
    assert_eq!(failed, 0, "the next process has all its slots");
    broker.stop();
}

#[tokio::test]
async fn a_panic_leaves_a_slot_that_is_kept_in_service() {
    let _turn = Turn::shared();
    let keys = "slots = 2\nprefetch = 2\non_panic = \"keep\"";
    let broker = Broker::start(config("sdk", 1, keys, "")).await;
    let client = broker.client().await;
    let pid = echo(&client, 1).await.pid;
    for _ in 0..20 {
        let error = failing(&client, Deed::Panic).await;
        let reason = error.crash_reason().expect("it is a crash of the attempt");
        assert_eq!((reason.label(), reason.message()), ("slot_panicked", Some(PANIC)), "{error:?}");
        assert_eq!(echo(&client, 2).await.pid, pid, "the same process answers");
    }
    let health = broker.health().await;
    let slots = health["workers"]["p-0"]["slots"].as_array().expect("it has slots").clone();
    assert!(slots.len() == 2 && slots.iter().all(|slot| slot["status"] != "failed"), "{health}");
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("attempts_total", &[("end", "crashed")]), 20);
    assert_eq!(metrics.count("slot_panics_total", &[("pool", "p")]), 20);
    assert!(metrics.by("worker_crashes_total", "reason").is_empty(), "no process has ended");
    broker.stop();
}
