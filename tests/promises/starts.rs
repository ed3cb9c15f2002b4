//! Workers that never get as far as a request.

use std::time::{Duration, Instant};

use lifeboat_client::{CallError, TimeoutWhich};
use lifeboat_tests::act::Act;
use lifeboat_tests::harness::{Broker, LIMIT, SLACK, Turn, eventually, until_some};

use crate::common::{timed, within};
use crate::scene::logs;

/// A pool that can never serve.
fn hopeless(command: &str, keys: &str) -> String {
    format!(
        r#"
[pools.p]
command = {command}
workers = 2
restart = {{ initial = "10ms", max = "50ms", max_restarts = "unlimited" }}
{keys}
[pools.p.methods.act]
"#
    )
}

/// The pool's processes fail to start, over and over, and a request that waits for them ends at its deadline, never having
/// run. Gives the log.
async fn never_serves(command: &str, keys: &str) -> String {
    let broker = Broker::start(hopeless(command, keys)).await;
    let client = broker.client().await;
    let deadline = Duration::from_millis(600);

    let (result, took) = timed(client.request(Act::echo(1)).timeout(deadline)).await;

    within(took, deadline, deadline + SLACK);
    let error = result.expect_err("nobody can answer");
    assert!(!error.may_have_executed(), "{error:?}");
    let CallError::TimedOut { which: TimeoutWhich::Deadline, attempts, unanswered: false, .. } = error else {
        panic!("{error:?}")
    };
    assert!(attempts.is_empty());
    eventually(LIMIT, "failed starts are counted", async || {
        broker.metrics().await.count("worker_crashes_total", &[("pool", "p"), ("reason", "start_failed")])
            >= 4
    })
    .await;
    let reasons = broker.metrics().await.by("worker_crashes_total", "reason");
    assert_eq!(reasons.keys().collect::<Vec<_>>(), ["start_failed"]);
    let page = broker.page("/readyz").await.expect("/readyz answers");
    assert_eq!(page.status, 503, "a pool that cannot serve is not ready: {}", page.body);
    assert_eq!(broker.page("/livez").await.expect("/livez answers").status, 200);
    let log = broker.log();
    broker.stop();
    log
}

#[tokio::test]
async fn a_worker_that_exits_before_it_is_ready() {
    let _turn = Turn::shared();
    let log = never_serves(r#"["misbehave", "fail-start"]"#, "").await;
    assert!(log.contains("no model found"), "the log has the last line of its stderr:\n{log}");
}

#[tokio::test]
async fn a_worker_that_is_never_ready() {
    let _turn = Turn::shared();
    never_serves(r#"["misbehave", "never-ready"]"#, r#"start_timeout = "100ms""#).await;
}

#[tokio::test]
async fn programs_that_are_no_workers() {
    let _turn = Turn::shared();
    never_serves(r#"["true"]"#, "").await;
    never_serves(r#"["cat"]"#, "").await;
    never_serves(r#"["sleep", "1000"]"#, r#"start_timeout = "100ms""#).await;
    never_serves(r#"["sh", "-c", "echo hello >&3; sleep 1000"]"#, "").await;
}

/// The file is there when the broker looks and gone when it starts the next process.
#[tokio::test]
async fn a_program_that_vanishes() {
    let _turn = Turn::shared();
    let room = tempfile::tempdir().expect("a temporary directory");
    let program = room.path().join("vanishing");
    std::fs::copy(lifeboat_tests::harness::misbehave(), &program).expect("a copy");
    let broker =
        Broker::start(hopeless(&format!("[{:?}, \"sdk\"]", program.display().to_string()), "")).await;
    // Both of its processes run the program already.
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let acted = client.call(Act::echo(1)).await.expect("it serves while it is there");
    std::fs::remove_file(&program).expect("it is there");
    let killed = client.call(Act::new(lifeboat_tests::act::Deed::Exit(1))).await;
    assert!(killed.is_err());
    eventually(LIMIT, "the worker cannot be started again", async || {
        let metrics = broker.metrics().await;
        let failed = |reason| metrics.count("worker_crashes_total", &[("pool", "p"), ("reason", reason)]);
        failed("start_failed") + failed("spawn_failed") > 0
    })
    .await;
    // The other worker of the pool has a process still, and serves.
    let other = client.call(Act::echo(2)).await.expect("the other process lives");
    logs(&broker, &["vanishing"]).await;
    assert_ne!((other.worker, other.incarnation), (acted.worker, 0));
    broker.stop();
}

/// Failed starts are not repeated without a pause: twice as long each time, up to the limit.
#[tokio::test]
async fn story_26_a_crash_loop_backs_off() {
    let _turn = Turn::shared();
    let config = r#"
[pools.p]
command = ["misbehave", "fail-start"]
restart = { initial = "100ms", max = "10s" }
[pools.p.methods.act]
"#;
    let began = Instant::now();
    let broker = Broker::start(config).await;
    let waits = until_some(LIMIT, "four starts have failed", async || {
        let waits = waits(&broker.log());
        (waits.len() >= 4).then_some(waits)
    })
    .await;
    for (number, wait) in (0..4).zip(&waits) {
        // Half of each wait is chance.
        let most = Duration::from_millis(100) * 2_u32.pow(number);
        assert!(most / 2 <= *wait && *wait <= most, "wait {number}: {waits:?}");
    }
    // What is told is waited: the fourth failure comes when three waits are over.
    assert!(began.elapsed() >= waits[..3].iter().sum(), "{waits:?}");
    broker.stop();
}

/// The waits that the log tells of, in order.
pub(crate) fn waits(log: &str) -> Vec<Duration> {
    let lines = log.lines().filter(|line| line.contains("waits before its next incarnation"));
    let wait = |line: &str| {
        let wait = line.split_whitespace().find_map(|word| word.strip_prefix("wait="));
        let wait = wait.unwrap_or_else(|| panic!("no wait is told: {line}"));
        let (number, unit) = match wait.strip_suffix("ms") {
            Some(number) => (number, 1e-3),
            None => (wait.trim_end_matches('s'), 1.0),
        };
        Duration::from_secs_f64(number.parse::<f64>().expect("milliseconds or seconds") * unit)
    };
    lines.map(wait).collect()
}
