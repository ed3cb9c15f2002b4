//! Processes with several slots.

use std::io::{Read, Write};
use std::net::Shutdown;

use lifeboat_protocol::{Assignment, MessageType, WorkersFailed, decode_body};

use super::broker::{Started, end_by_itself, running_in, wait_until_delivered};

fn with_slots(slots: u32) -> Started {
    Started::new(Assignment { slots, ..Assignment::default() })
}

#[test]
fn an_idle_worker_ends_with_0_on_sigterm() {
    let mut started = with_slots(4);
    for slot in [3, 0] {
        started.order_in(slot, "say");
        assert_eq!(started.answer(), "said");
    }
    started.terminate();
    assert_eq!(end_by_itself(&mut started).code(), Some(0));
}

#[test]
fn sigterm_lets_the_requests_of_every_slot_finish() {
    // All slots busy, and one idle.
    for slots in [2, 3] {
        let mut started = with_slots(slots);
        let files = [0, 1].map(|slot| (slot, running_in(&mut started, slot)));
        started.terminate();
        wait_until_delivered(started.child.id());
        for (slot, mut file) in files.into_iter().rev() {
            write!(file, "slot {slot}").unwrap();
            drop(file);
            let (kind, told, body) = started.next_routed();
            assert_eq!((kind, told), (MessageType::Answer, slot));
            assert_eq!(decode_body::<String>(&body).unwrap(), format!("slot {slot}"));
        }
        assert_eq!(end_by_itself(&mut started).code(), Some(0));
    }
}

#[test]
fn story_03_panics_retire_slots_and_the_last_ends_with_70() {
    let mut started = with_slots(3);
    let file = running_in(&mut started, 1);
    for slot in [2, 0] {
        started.order_in(slot, "panic");
        let (kind, told, _) = started.next_routed();
        assert_eq!((kind, told), (MessageType::Panicked, slot));
    }
    drop(file);
    assert_eq!(started.answer(), "");
    started.order_in(1, "say");
    assert_eq!(started.answer(), "said");
    started.order_in(1, "panic");
    assert_eq!(started.next().0, MessageType::Panicked);
    let (kind, body) = started.next();
    assert_eq!(kind, MessageType::WorkersFailed);
    let WorkersFailed { reasons } = decode_body(&body).unwrap();
    let slots: Vec<_> = reasons.iter().map(|reason| reason.split(':').next().unwrap()).collect();
    assert_eq!(slots, ["slot 2", "slot 0", "slot 1"]);
    assert_eq!(started.socket.read(&mut [0]).unwrap(), 0);
    let (status, told) = started.end();
    assert_eq!(status.code(), Some(70));
    assert!(reasons.iter().all(|reason| told.contains(reason)), "{told}");
}

#[test]
fn the_loss_of_the_broker_ends_with_69_whatever_the_slots_do() {
    let orders: [&[&str]; 4] = [
        &[],
        &["until cancelled"],
        &["until cancelled", "until cancelled", "until cancelled"],
        &["for ever", "until cancelled", "spin for ever"],
    ];
    for orders in orders {
        let mut started = Started::new(Assignment { slots: 3, stop_grace_ms: 20, ..Assignment::default() });
        for (slot, order) in (0..).zip(orders) {
            started.order_in(slot, order);
        }
        let (status, told) = started.end();
        assert_eq!(status.code(), Some(69), "{orders:?}");
        assert!(told.contains("the broker is gone"), "{told}");
    }
}

/// Whether it cannot receive or cannot send any more: the process ends by itself, though its broker lives. Slots that finish
/// within the grace do so; who does not is cut, and said to be.
#[test]
fn story_06_a_connection_that_fails_ends_the_process_after_a_grace() {
    for (direction, finishes) in
        [(Shutdown::Write, true), (Shutdown::Write, false), (Shutdown::Read, true), (Shutdown::Read, false)]
    {
        let mut started = Started::new(Assignment { slots: 3, stop_grace_ms: 300, ..Assignment::default() });
        let [first, _kept_open] = [0, 1].map(|slot| running_in(&mut started, slot));
        started.socket.shutdown(direction).unwrap();
        if direction == Shutdown::Read {
            // Its answer is what cannot be sent.
            started.order_in(2, "say");
        }
        let first = (!finishes).then_some(first);
        assert_eq!(end_by_itself(&mut started).code(), Some(69), "{direction:?}");
        drop(first);
        let (_, told) = started.end();
        assert!(told.contains("cut 300ms after the end: "), "{told}");
        assert!(told.contains("`do` (request 2, attempt 1, slot 1)"), "{told}");
        assert_eq!(told.contains("`do` (request 1, attempt 1, slot 0)"), !finishes, "{direction:?}: {told}");
    }
}
