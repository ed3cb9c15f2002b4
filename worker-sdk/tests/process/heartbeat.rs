//! Heartbeats of processes.

use std::time::{Duration, Instant};

use lifeboat_protocol::{Assignment, MessageType};

use super::LIMIT;
use super::broker::Started;

const INTERVAL: Duration = Duration::from_millis(50);

fn beating(slots: u32) -> Started {
    let heartbeat_ms = INTERVAL.as_millis().try_into().unwrap();
    Started::new(Assignment { slots, heartbeat_ms, ..Assignment::default() })
}

#[track_caller]
fn heartbeats(started: &mut Started, count: u32) {
    for _ in 0..count {
        assert_eq!(started.next().0, MessageType::Heartbeat);
    }
}

/// How often the process's threads went to sleep so far, all together.
fn sleeps(started: &Started) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", started.child.id())).unwrap();
    let sleeps = tasks.map(|task| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    });
    sleeps.sum()
}

#[test]
fn an_idle_process_wakes_once_per_heartbeat() {
    for slots in [1, 4] {
        let mut started = beating(slots);
        started.order("say");
        assert_eq!(started.answer(), "said");
        // The ticks that look for handlers that run long stop by themselves.
        let limit = Instant::now() + LIMIT;
        loop {
            let before = sleeps(&started);
            heartbeats(&mut started, 5);
            let woke = sleeps(&started) - before;
            // What is read here may be one beat behind what was written.
            if woke <= 6 {
                break;
            }
            assert!(Instant::now() < limit, "{woke} times for 5 heartbeats");
        }
    }
}

#[test]
fn they_go_on_while_every_slot_computes_or_sleeps() {
    for orders in [&["spin for ever"][..], &["for ever"], &["spin for ever", "for ever", "spin for ever"]] {
        let begin = Instant::now();
        let mut started = beating(orders.len() as u32);
        for (slot, order) in (0..).zip(orders) {
            started.order_in(slot, order);
        }
        heartbeats(&mut started, 8);
        assert!(begin.elapsed() >= 8 * INTERVAL, "{:?}", begin.elapsed());
        started.child.kill().unwrap();
        started.end();
    }
}
