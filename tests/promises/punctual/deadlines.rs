//! The deadline of what runs, seen by the death of its process.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lifeboat_client::{CallError, Client, TimeoutWhich};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::clock::now;
use lifeboat_tests::harness::Broker;
use rustix::process::Pid;
use tokio::task::JoinSet;

use super::lateness::Firing;
use super::lives::death_of;
use super::{TIMED, millis, nanos};

/// `each` firings by half as many callers as there are workers.
pub(super) async fn fire(broker: &Broker, client: &Client, each: usize) -> Vec<Firing> {
    let mut tasks = JoinSet::new();
    for task in 0..TIMED / 2 {
        let (client, room) = (client.clone(), broker.room().path().to_owned());
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task as u64);
            let mut firings = Vec::new();
            for number in 0..each {
                let trace = room.join(format!("trace-{task}-{number}-{}", now()));
                let deadline = Duration::from_millis(100) + millis(&mut random);
                let request = client.request(Act::new(Deed::Hang).traced(&trace)).timeout(deadline);
                let sent = now();
                let over = Arc::new(AtomicBool::new(false));
                let seen_over = Arc::clone(&over);
                let death = tokio::task::spawn_blocking(move || death_of(begun(&trace, &seen_over)?));
                let error = request.await.expect_err("it hangs");
                over.store(true, Ordering::Relaxed);
                let timed_out = matches!(error, CallError::TimedOut { which: TimeoutWhich::Deadline, .. });
                assert!(timed_out, "{error:?}");
                // Where the machine stood still for that long, it has never begun.
                if let Some(seen) = death.await.expect("no panic") {
                    assert_eq!(error.attempts().len(), 1, "{error:?}");
                    firings.push(Firing::at(sent + nanos(deadline), seen));
                }
            }
            firings
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// The process that leaves its trace in this file; `None` when the request is over before. Blocks.
fn begun(trace: &Path, over: &AtomicBool) -> Option<Pid> {
    while !over.load(Ordering::Relaxed) {
        let line = fs::read_to_string(trace).unwrap_or_default();
        if let Some(pid) = line.split(' ').nth(1).and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw) {
            return Some(pid);
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}
