//! Workers that never stop writing to stderr: their answers are as quick as others', and the broker keeps its size.

use std::fs;
use std::time::Duration;

use lifeboat_tests::act::Wait;
use lifeboat_tests::harness::{Broker, LIMIT, Turn, until_some, usage};

use crate::common::config;
use crate::steady::{LONGER, ROUNDS, measure, show};

/// How long each measurement takes.
const MEASURED: Duration = Duration::from_secs(2);

/// What a worker has written at least when it is said to flood.
const FLOOD: u64 = 16 << 20;

/// What all that is written may leave in the broker, in KiB: the tails and what a look reads, and a little.
const LEFT: usize = 2048;

/// What a process has written so far, in bytes.
fn written(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("the process lives");
    let count = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    count.and_then(|count| count.parse().ok()).expect("a number of bytes")
}

/// Waits until the pool's one process, which must be its first, has written so much.
async fn has_written(broker: &Broker, bytes: u64) {
    let pid = broker.health().await["workers"]["p-0"]["pid"].as_u64();
    let pid = pid.and_then(|pid| u32::try_from(pid).ok()).expect("it has a process");
    until_some(LIMIT, "it floods", async || (written(pid) >= bytes).then_some(())).await;
}

#[tokio::test]
async fn a_worker_that_floods_answers_as_quickly_as_others() {
    let _turn = Turn::alone();
    let dry = Broker::start(config("sdk", 1, "", "")).await;
    let wet = Broker::start(config("sdk-flooding", 1, "", "")).await;
    let (of_dry, of_wet) = (dry.client().await, wet.client().await);
    of_dry.call(Wait { millis: 0 }).await.expect("it answers");
    of_wet.call(Wait { millis: 0 }).await.expect("it answers in its flood");
    has_written(&wet, FLOOD).await;
    let before = usage(wet.pid()).resident_kib;

    let mut longest = Vec::new();
    loop {
        let usual = measure(&of_dry, tokio::time::sleep(MEASURED)).await;
        let flooding = measure(&of_wet, tokio::time::sleep(MEASURED)).await;
        let (usual, _) = show("usual", &usual);
        let (flooding, _) = show("flooding", &flooding);
        longest.push(flooding.saturating_sub(usual));
        if longest.last() <= Some(&LONGER) {
            break;
        }
        assert!(longest.len() < ROUNDS, "in every round one answer in a hundred took longer: {longest:?}");
    }

    has_written(&wet, 2 * FLOOD).await;
    let after = usage(wet.pid()).resident_kib;
    assert!(after <= before + LEFT, "the broker grew from {before} to {after} KiB");
    let log = wet.log();
    let lines = log.lines().filter(|line| line.contains("stream=\"stderr\"")).count() as u64;
    assert!(lines > 0 && lines < FLOOD / 1024, "some of it is logged, and not all: {lines} lines");
    assert!(log.contains(" dropped="), "what is not logged is counted");
    assert_eq!(wet.metrics().await.by("worker_crashes_total", "reason").len(), 0, "nobody died");
    dry.stop();
    wet.stop();
}
