//! Panics: they retire a slot and leave the others alone.

use lifeboat_protocol::{MessageType, Panicked, WorkersFailed, decode_body};

use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize, Serializer};

use super::Number;
use super::broker::{Broker, Got, cancel_in, drain, request_in};
use super::doors::{Visitors, doors};
use crate::WorkerError;
use crate::prelude::*;

/// Panics at numbers from 100, behind the door.
fn worker(visitors: Visitors) -> Worker {
    let for_async = visitors.clone();
    Worker::new()
        .handle_blocking::<Number>(move |number: Number, context: Context| -> Result<Number, HandlerError> {
            visitors.enter(number.0, &context);
            assert!(number.0 < 100, "unlucky {}", number.0);
            Ok(number)
        })
        .handle_raw("async", move |body, context| {
            let visitors = for_async.clone();
            async move {
                let number: u64 = decode_body(&body)?;
                visitors.start(number, &context);
                tokio::task::yield_now().await;
                assert!(number < 100, "unlucky {number}");
                Ok::<_, HandlerError>(body)
            }
        })
}

#[track_caller]
fn reasons(got: &Got) -> Vec<String> {
    assert_eq!(got.kind, MessageType::WorkersFailed);
    decode_body::<WorkersFailed>(&got.body).unwrap().reasons
}

#[test]
fn a_panic_retires_its_slot_and_drops_what_it_held() {
    for slot in 0..3 {
        let (doors, visitors) = doors();
        let mut broker = Broker::with_slots(3, || worker(visitors));
        let other = (slot + 1) % 3;
        broker.send(&[request_in(slot, 1, "number", &101), request_in(other, 2, "number", &2)].concat());
        let mut expected = [(slot, 101), (other, 2)];
        expected.sort_unstable();
        doors.wait_started(expected);
        broker.send(&[request_in(slot, 3, "number", &3), request_in(slot, 4, "number", &4)].concat());
        broker.wait_read();
        (2..6).for_each(|number| doors.open(number));
        broker.next().expect::<u64>(MessageType::Answer, 2);
        doors.open(101);
        let panicked: Panicked = broker.next().expect(MessageType::Panicked, 1);
        assert!(panicked.message.contains("unlucky 101"), "{panicked:?}");
        assert!(panicked.location.unwrap().contains("retired.rs:"));
        // These crossed with the news; they are dropped, however many.
        let crossing: Vec<u8> = (10..20).flat_map(|id| request_in(slot, id, "number", &5)).collect();
        broker.send(&[crossing, cancel_in(slot, 10)].concat());
        // The others go on, in every way.
        broker.send(&request_in(other, 30, "number", &5));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 30), 5);
        broker.send(&request_in((slot + 2) % 3, 31, "async", &5));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 31), 5);
        let started: Vec<_> = doors.started.try_iter().map(|started| started.slot).collect();
        assert!(!started.contains(&slot), "{started:?}");
        broker.send(&drain());
        assert!(broker.end().is_ok(), "degraded, and drained");
    }
}

#[test]
fn the_last_panic_ends_the_worker_with_every_reason() {
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let (doors, visitors) = doors();
        let mut broker = Broker::with_slots(3, || worker(visitors));
        for (id, slot) in (1..).zip(order) {
            let method = if slot == 1 { "async" } else { "number" };
            doors.open(100 + id);
            broker.send(&request_in(slot, id, method, &(100 + id)));
            broker.next().expect::<Panicked>(MessageType::Panicked, id);
        }
        let reasons = reasons(&broker.next());
        for ((id, slot), reason) in (1..).zip(order).zip(&reasons) {
            let begins = format!("slot {slot}: the handler of ");
            assert!(
                reason.starts_with(&begins) && reason.ends_with(&format!("unlucky {}", 100 + id)),
                "{reason}"
            );
        }
        let error = broker.end().unwrap_err();
        assert_eq!((error.exit_code(), reasons.len()), (70, 3));
        assert!(matches!(error, WorkerError::SlotsFailed { reasons: told } if told == reasons));
    }
}

#[test]
fn panics_at_the_same_time_are_all_told_before_the_end() {
    for round in 0..20 {
        let (doors, visitors) = doors();
        let mut broker = Broker::with_slots(8, || worker(visitors));
        let all: Vec<u8> =
            (0..8).flat_map(|slot| request_in(slot, u64::from(slot) + 1, "number", &(100 + round))).collect();
        broker.send(&all);
        for _ in 0..8 {
            assert_eq!(doors.started.recv().unwrap().number, 100 + round);
        }
        doors.open(100 + round);
        let mut told: Vec<u64> = (0..8)
            .map(|_| broker.next())
            .map(|got| {
                assert_eq!(got.kind, MessageType::Panicked);
                got.route.unwrap().id
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, (1..=8).collect::<Vec<u64>>());
        assert_eq!(reasons(&broker.next()).len(), 8);
        assert_eq!(broker.end().unwrap_err().exit_code(), 70);
    }
}

#[test]
fn a_cancel_is_noticed_when_the_slots_that_could_read_are_retired() {
    let (doors, visitors) = doors();
    let mut broker = Broker::with_slots(2, move || {
        Worker::new().handle_blocking::<Number>(move |number: Number, context: Context| {
            visitors.start(number.0, &context);
            assert!(number.0 < 100, "unlucky");
            loop {
                context.check_cancel()?;
                std::thread::yield_now();
            }
            #[expect(unreachable_code, reason = "names the handler's types")]
            Ok::<_, HandlerError>(number)
        })
    });
    broker.send(&request_in(0, 1, "number", &1));
    doors.wait_started([(0, 1)]);
    broker.send(&request_in(1, 2, "number", &100));
    broker.next().expect::<Panicked>(MessageType::Panicked, 2);
    broker.send(&cancel_in(0, 1));
    broker.next().expect::<()>(MessageType::Cancelled, 1);
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

/// A reply that panics in the middle of being encoded.
#[derive(Deserialize)]
struct Torn(u64);

impl Serialize for Torn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element("the first half")?;
        panic!("torn at {}", self.0);
    }
}

method!(struct Tear = "tear": u64 => Torn);

#[test]
fn half_a_reply_is_never_sent() {
    let mut broker = Broker::with_slots(2, || {
        Worker::new()
            .handle_blocking::<Tear>(|number: u64| -> Result<Torn, HandlerError> { Ok(Torn(number)) })
    });
    for slot in [1, 0] {
        broker.send(&request_in(slot, u64::from(slot) + 1, "tear", &7));
        let panicked: Panicked = broker.next().expect(MessageType::Panicked, u64::from(slot) + 1);
        assert_eq!(panicked.message, "torn at 7");
    }
    assert_eq!(reasons(&broker.next()).len(), 2);
    assert_eq!(broker.end().unwrap_err().exit_code(), 70);
}
