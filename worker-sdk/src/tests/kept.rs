//! Panics where the broker wants slots kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat_protocol::{Assignment, MessageType, OnPanic, Panicked};

use super::broker::{Broker, drain, request, request_in};
use super::{Number, Text};
use crate::prelude::*;

/// Panics at odd numbers and at empty texts. A task that a text leaves behind counts on.
fn worker(turns: Arc<AtomicU64>) -> Worker {
    Worker::new()
        .handle_blocking::<Number>(|Number(number): Number| -> Result<Number, HandlerError> {
            assert_eq!(number % 2, 0, "odd");
            Ok(Number(number))
        })
        .handle::<Text>(move |Text(text): Text| {
            let turns = Arc::clone(&turns);
            async move {
                if text == "spawn" {
                    tokio::spawn(async move {
                        loop {
                            turns.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                        }
                    });
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                assert!(!text.is_empty(), "no text");
                Ok::<_, HandlerError>(Text(text))
            }
        })
}

fn keeping(slots: u32) -> (Broker, Arc<AtomicU64>) {
    let assignment = Assignment { slots, prefetch: 3, on_panic: OnPanic::Keep, ..Assignment::default() };
    let turns = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&turns);
    (Broker::start_with(assignment, move || worker(seen)), turns)
}

#[test]
fn the_slot_goes_on_and_says_so() {
    let (mut broker, _) = keeping(1);
    for round in 0..20 {
        let (panics, answers, text) = (3 * round, 3 * round + 1, 3 * round + 2);
        let three =
            [request(panics, "number", &1), request(answers, "number", &2), request(text, "text", &"")];
        broker.send(&three.concat());
        let panicked: Panicked = broker.next().expect(MessageType::Panicked, panics);
        assert!(panicked.kept && panicked.message.contains("odd"), "{panicked:?}");
        assert!(panicked.location.unwrap().contains("kept.rs:"));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, answers), 2, "what it held is executed");
        let panicked: Panicked = broker.next().expect(MessageType::Panicked, text);
        assert!(panicked.kept && panicked.message.contains("no text"), "{panicked:?}");
    }
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn tasks_of_the_slot_live_through_a_panic() {
    let (mut broker, turns) = keeping(1);
    broker.send(&request(1, "text", &"spawn"));
    assert_eq!(broker.next().expect::<String>(MessageType::Answer, 1), "spawn");
    broker.send(&request(2, "text", &""));
    assert_eq!(broker.next().kind, MessageType::Panicked);
    let before = turns.load(Ordering::SeqCst);
    super::broker::wait_until(|| turns.load(Ordering::SeqCst) > before + 2);
    broker.send(&request(3, "text", &"on"));
    assert_eq!(broker.next().expect::<String>(MessageType::Answer, 3), "on");
}

#[test]
fn each_of_several_slots_is_kept() {
    let (mut broker, _) = keeping(2);
    for id in 0..20 {
        broker.send(&request_in((id % 2) as u8, id, "number", &1));
        assert!(broker.next().expect::<Panicked>(MessageType::Panicked, id).kept);
    }
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn a_panic_retires_the_slot_where_nobody_says_otherwise() {
    let mut broker = Broker::start(|| worker(Arc::default()));
    broker.send(&request(1, "number", &1));
    assert!(!broker.next().expect::<Panicked>(MessageType::Panicked, 1).kept);
    assert_eq!(broker.next().kind, MessageType::WorkersFailed);
}
