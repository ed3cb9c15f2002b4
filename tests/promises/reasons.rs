//! The true reason: each way to die in a handler leads to its own typed error, with the evidence beside it.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;

use lifeboat_client::{AttemptEndLabel, AttemptReport, CallError, Client, ConfidenceLabel, CrashReason};
use lifeboat_tests::act::{Act, Deed, LAST_LINE, PANIC, Uncaught};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually, is_alive};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{begun, config, crashes, echo, failing, has_cgroups, plain};

/// What a crash must look like.
struct Expected {
    label: &'static str,
    code: Option<i32>,
    signal: Option<u32>,
    text: &'static str,
    stderr: Option<&'static str>,
}

impl Expected {
    const fn new(label: &'static str, text: &'static str) -> Self {
        Self { label, code: None, signal: None, text, stderr: None }
    }

    const fn code(self, code: i32) -> Self {
        Self { code: Some(code), ..self }
    }

    const fn signal(self, signal: u32) -> Self {
        Self { signal: Some(signal), ..self }
    }

    const fn stderr(self, text: &'static str) -> Self {
        Self { stderr: Some(text), ..self }
    }
}

/// Checks an error against what its death must look like, and gives the attempt's report.
fn check(error: &CallError, expected: &Expected) -> AttemptReport {
    let CallError::WorkerCrashed { reason, method, attempt, max_attempts, attempts, report_id } = error
    else {
        panic!("{} must be a crash: {error:?}", expected.label);
    };
    assert_eq!(reason.label(), expected.label, "{error:?}");
    assert_eq!((reason.exit_code(), reason.signal()), (expected.code, expected.signal), "{error:?}");
    assert!(!reason.core_dumped(), "core dumps are off unless asked for");
    assert_eq!(error.to_string(), expected.text);
    assert_eq!((method.as_str(), *attempt, *max_attempts), ("act", 1, 1));
    assert!(report_id.as_ref().is_some_and(|id| !id.is_empty()), "{error:?}");
    assert!(error.may_have_executed() && error.is_retryable());
    let source = error.source().and_then(|source| source.downcast_ref::<CrashReason>());
    assert_eq!(source, Some(reason), "the reason is the error's source");
    let [report] = &attempts[..] else { panic!("one attempt: {attempts:?}") };
    assert_eq!((report.number, report.end), (1, AttemptEndLabel::Crashed));
    assert_eq!(report.reason.as_ref(), Some(reason));
    let stderr = report.stderr_tail.as_deref().unwrap_or_default();
    assert!(stderr.contains(expected.stderr.unwrap_or_default()), "stderr: {stderr:?}");
    report.clone()
}

/// Has a fresh worker do a deed; the report must name the very process that did it.
async fn dies(broker: &Broker, client: &Client, deed: Deed, expected: Expected) -> CallError {
    let before = echo(client, 1).await;
    let error = failing(client, deed).await;
    let report = check(&error, &expected);
    assert_eq!(report.worker, before.worker);
    assert_eq!((report.pid, report.incarnation), (Some(before.pid), before.incarnation));
    assert!(!is_alive(before.pid), "the process of a crash is dead when the crash is told");
    crashes(broker, expected.label, 1).await;
    let after = echo(client, 2).await;
    assert_eq!(after.incarnation, before.incarnation + 1, "one death, one replacement");
    error
}

fn confidence(error: &CallError) -> Option<ConfidenceLabel> {
    error.crash_reason().map(CrashReason::confidence)
}

#[tokio::test]
async fn an_exit() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let expected = Expected::new("exit", "Worker crashed (exit code 7) while processing 'act'");
    let error = dies(&broker, &client, Deed::Exit(7), expected.code(7).stderr("exiting with 7")).await;
    assert_eq!(confidence(&error), Some(ConfidenceLabel::Proven));
    broker.stop();
}

#[tokio::test]
async fn an_exit_with_code_0_is_a_crash_too() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let expected = Expected::new("exit", "Worker crashed (exit code 0) while processing 'act'").code(0);
    let error = dies(&broker, &client, Deed::Exit(0), expected).await;
    assert_eq!(confidence(&error), Some(ConfidenceLabel::Proven));
    broker.stop();
}

#[tokio::test]
async fn an_abort() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let expected = Expected::new("signal", "Worker crashed (signal SIGABRT) while processing 'act'");
    let error = dies(&broker, &client, Deed::Abort, expected.signal(6).stderr("aborting")).await;
    assert_eq!(confidence(&error), Some(ConfidenceLabel::Proven));
    broker.stop();
}

#[tokio::test]
async fn a_segmentation_fault() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let expected = Expected::new("signal", "Worker crashed (signal SIGSEGV) while processing 'act'");
    let error = dies(&broker, &client, Deed::Segfault, expected.signal(11)).await;
    assert_eq!(confidence(&error), Some(ConfidenceLabel::Proven));
    broker.stop();
}

#[tokio::test]
async fn a_stack_overflow_is_told_apart_by_its_stderr() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let expected = Expected::new("signal", "Worker crashed (signal SIGABRT) while processing 'act'");
    dies(&broker, &client, Deed::StackOverflow, expected.signal(6).stderr("has overflowed its stack")).await;
    broker.stop();
}

#[tokio::test]
async fn limits_of_the_kernel() {
    let _turn = Turn::shared();
    for (signal, label, text) in [
        (24, "cpu_limit", "Worker crashed (CPU time limit exceeded) while processing 'act'"),
        (25, "file_size_limit", "Worker crashed (file size limit exceeded) while processing 'act'"),
        (31, "sandbox_violation", "Worker crashed (forbidden system call) while processing 'act'"),
    ] {
        let broker = Broker::start(plain()).await;
        let client = broker.client().await;
        let error = dies(&broker, &client, Deed::Signal(signal), Expected::new(label, text)).await;
        assert_eq!(confidence(&error), Some(ConfidenceLabel::Proven));
        broker.stop();
    }
}

#[tokio::test]
async fn a_kill_that_nobody_here_sent() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let trace = broker.room().path().join("trace");
    let hanging = client.call(Act::new(Deed::Hang).traced(&trace));
    let killing = async {
        // What a process has not read when it dies is not its crash: the next one would do it.
        begun(&trace).await;
        let pid = i32::try_from(before.pid).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::KILL).expect("the worker lives");
    };
    let (error, ()) = tokio::join!(hanging, killing);
    let error = error.expect_err("its process was killed");
    let report = check(&error, &Expected::new("killed_from_outside", killed_text(&error)));
    assert_eq!(report.pid, Some(before.pid));
    crashes(&broker, "killed_from_outside", 1).await;
    assert_eq!(
        broker.metrics().await.sum("worker_kills_total", &[("pool", "p")]),
        0.0,
        "the broker killed nobody"
    );
    echo(&client, 2).await;
    broker.stop();
}

#[tokio::test]
async fn a_worker_that_kills_itself() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let error = failing(&client, Deed::Signal(9)).await;
    check(&error, &Expected::new("killed_from_outside", killed_text(&error)));
    crashes(&broker, "killed_from_outside", 1).await;
    echo(&client, 1).await;
    broker.stop();
}

/// Where the counters cannot be read, the reason is inferred and says so.
fn killed_text(error: &CallError) -> &'static str {
    match confidence(error) {
        Some(ConfidenceLabel::Proven) => "Worker crashed (killed from outside) while processing 'act'",
        Some(ConfidenceLabel::Inferred) => {
            "Worker crashed (killed from outside (inferred)) while processing 'act'"
        }
        other => panic!("who did not do it is known: {other:?}"),
    }
}

#[tokio::test]
async fn a_stop_that_nobody_here_sent() {
    let _turn = Turn::shared();
    // On the raw protocol, since the SDK takes SIGTERM for a drain.
    let broker = Broker::start(config("raw", 1, "", "")).await;
    let client = broker.client().await;
    let text = "Worker crashed (stopped from outside) while processing 'act'";
    let expected = Expected::new("stopped_from_outside", text).signal(15);
    dies(&broker, &client, Deed::Signal(15), expected).await;
    broker.stop();
}

#[tokio::test]
async fn a_panic_is_the_slots_and_the_process_counts_once() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;

    let error = failing(&client, Deed::Panic).await;

    let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((reason.label(), reason.message()), ("slot_panicked", Some(PANIC)));
    assert_eq!(reason.confidence(), ConfidenceLabel::Proven);
    let location = reason.location().expect("a panic knows where it was");
    assert!(location.contains("panic.rs:"), "{location}");
    let text = error.to_string();
    let expected = format!("Worker crashed (panicked at {location}: {PANIC}) while processing 'act'");
    assert_eq!(text, expected);
    assert_eq!(attempts[0].pid, Some(before.pid));
    crashes(&broker, "slots_exhausted", 1).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.by("worker_crashes_total", "reason").len(), 1, "counted once: {metrics:?}");
    assert_eq!(metrics.count("attempts_total", &[("end", "crashed")]), 1);
    let after = echo(&client, 2).await;
    assert_ne!(after.pid, before.pid, "the process of a panic is replaced");
    broker.stop();
}

#[tokio::test]
async fn a_memory_hog_is_killed_at_its_limit() {
    let _turn = Turn::shared();
    let text = config("sdk", 1, r#"limits = { memory = "96MiB" }"#, "");
    let broker = Broker::start(format!("broker.cgroups = \"off\"\n{text}")).await;
    let client = broker.client().await;
    let text = "Worker crashed (killed by the broker: memory limit) while processing 'act'";
    let error = dies(&broker, &client, Deed::Memory, Expected::new("memory_limit", text)).await;
    assert_eq!(confidence(&error), Some(ConfidenceLabel::Proven));
    assert_eq!(broker.metrics().await.count("worker_kills_total", &[("reason", "memory_limit")]), 1);
    broker.stop();
}

/// A broker whose worker has a cgroup of its own with a limit on memory, if that is possible.
async fn bounded_by_a_cgroup() -> Option<(Broker, Client)> {
    let broker = Broker::start(config("sdk", 1, r#"limits = { memory = "96MiB" }"#, "")).await;
    let client = broker.client().await;
    has_cgroups(&broker).then_some((broker, client))
}

/// The kernel acts in the worker's own cgroup, and its counter proves it.
#[tokio::test]
async fn story_12_the_kernel_kills_it_for_want_of_memory() {
    let _turn = Turn::shared();
    let Some((broker, client)) = bounded_by_a_cgroup().await else { return };
    let text = "Worker crashed (out of memory) while processing 'act'";
    let error = dies(&broker, &client, Deed::Memory, Expected::new("oom", text)).await;
    assert_eq!(confidence(&error), Some(ConfidenceLabel::Proven));
    assert_eq!(broker.metrics().await.count("worker_kills_total", &[]), 0, "the broker has killed nobody");
    broker.stop();
}

/// A descendant that the kernel kills for want of memory is told of, and does not name its worker's own death.
#[tokio::test]
async fn what_the_kernel_does_to_a_descendant_does_not_name_the_next_death() {
    let _turn = Turn::shared();
    let Some((broker, client)) = bounded_by_a_cgroup().await else { return };
    let before = client.call(Act::new(Deed::MemoryOfAChild)).await.expect("it outlives its child");
    let told = "a descendant was killed by the OOM killer";
    eventually(LIMIT, told, async || broker.log().contains(told)).await;
    let error = failing(&client, Deed::Signal(9)).await;
    let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!(attempts[0].pid, Some(before.pid));
    assert_eq!((reason.label(), reason.confidence()), ("killed_from_outside", ConfidenceLabel::Proven));
    broker.stop();
}

#[tokio::test]
async fn a_flood_on_stderr_keeps_its_end_and_hurts_nobody() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", "")).await;
    let (client, other) = (broker.client().await, broker.client().await);
    for tag in 0..2 {
        echo(&client, tag).await;
    }
    let flood = async {
        let error = failing(&client, Deed::Flood(64)).await;
        let text = "Worker crashed (exit code 9) while processing 'act'";
        check(&error, &Expected::new("exit", text).code(9).stderr(LAST_LINE))
    };
    let beside = async {
        for tag in 0..50 {
            let echoed = tokio::time::timeout(Duration::from_secs(2), echo(&other, tag)).await;
            echoed.expect("the other worker answers while the flood runs");
        }
    };
    let (report, ()) = tokio::join!(flood, beside);
    let tail = report.stderr_tail.expect("the end of stderr is kept");
    assert!(tail.len() <= 64 << 10, "the tail is bounded: {} bytes", tail.len());
    assert!(tail.trim_end().ends_with(LAST_LINE), "the end is the last line");
    broker.stop();
}

/// Nothing can catch them, and the process aborts. The caller is told of the panic all the same.
#[tokio::test]
async fn a_panic_that_ends_the_process() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    for (deaths, how) in (1..).zip([Uncaught::InDrop, Uncaught::AcrossC, Uncaught::InHook]) {
        let before = echo(&client, 1).await;
        let error = failing(&client, Deed::AbortingPanic(how)).await;
        let reason = error.crash_reason().expect("it is a crash");
        assert_eq!(reason.label(), "slot_panicked", "{how:?}: {error:?}");
        assert!(reason.message().is_some_and(|message| message.starts_with(PANIC)), "{reason:?}");
        assert!(reason.location().is_some_and(|place| place.contains("aborting_panic.rs:")), "{reason:?}");
        crashes(&broker, "signal", deaths).await;
        eventually(LIMIT, "the worker is replaced", async || echo(&client, 2).await.pid != before.pid).await;
    }
    let metrics = broker.metrics().await;
    assert_eq!(metrics.sum("worker_crashes_total", &[("pool", "p")]), 3.0, "each death counts once");
    broker.stop();
}

#[tokio::test]
async fn a_failure_is_no_crash() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;

    let error = failing(&client, Deed::Fail { retryable: false }).await;

    let CallError::Failed { method, code, message, retryable, retry_after: None, details, attempts } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((method.as_str(), code.as_str(), *retryable), ("act", "asked_to_fail", false));
    assert_eq!(message, "this handler was asked to say no");
    assert_eq!(details.as_array().map(Vec::len), Some(2), "{details:?}");
    assert_eq!(attempts.len(), 1);
    assert_eq!(echo(&client, 2).await.pid, before.pid, "the process lives on");
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}

#[tokio::test]
async fn an_idle_death_is_counted_and_replaced() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    let pid = i32::try_from(before.pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::KILL).expect("the worker lives");
    crashes(&broker, "killed_from_outside", 1).await;
    eventually(LIMIT, "the worker is replaced", async || echo(&client, 2).await.pid != before.pid).await;
    assert_eq!(broker.metrics().await.by("requests_total", "outcome").len(), 1, "all requests were ok");
    broker.stop();
}

/// The caller and the log call a crash's report alike. No other crash has that name, in this start of the broker or another.
#[tokio::test]
async fn a_crash_has_one_report_for_its_caller_and_the_log() {
    let _turn = Turn::shared();
    let mut names = BTreeSet::new();
    for _ in 0..2 {
        let broker = Broker::start(plain()).await;
        let client = broker.client().await;
        for (number, deed) in [(1, Deed::Exit(3)), (2, Deed::Abort)] {
            let error = failing(&client, deed).await;
            let CallError::WorkerCrashed { report_id: Some(name), .. } = error else { panic!("{error:?}") };
            assert!(name.ends_with(&format!("-{number}")), "{name}: they are counted");
            let logged = format!("report={name:?}");
            eventually(LIMIT, "it is logged", async || broker.log().contains(&logged)).await;
            names.insert(name);
        }
        broker.stop();
    }
    assert_eq!(names.len(), 4, "{names:?}");
}
