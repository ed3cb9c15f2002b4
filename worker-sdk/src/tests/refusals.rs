//! Brokers that a worker refuses, and one that refuses it.

use lifeboat_protocol::{
    Assignment, Hello, MessageType, Refused, RefusedCode, Role, decode_body, put_control,
};

use super::broker::{Broker, empty, hello, request};
use super::{Number, double, gated};
use crate::WorkerError;
use crate::prelude::*;

fn worker() -> Worker {
    Worker::new().handle::<Number>(double)
}

/// The worker must refuse with this code, and end with 76.
#[track_caller]
fn refuses(mut broker: Broker, code: RefusedCode) -> WorkerError {
    let got = broker.next();
    assert_eq!(got.kind, MessageType::Refused);
    assert_eq!(decode_body::<Refused>(&got.body).unwrap().code, code);
    let error = broker.result().unwrap_err();
    assert_eq!(error.exit_code(), 76);
    error
}

#[test]
fn a_broker_of_another_version() {
    let mut broker = Broker::silent(worker);
    broker.greet(&Hello { versions: vec![7, 8], ..hello(Assignment::default()) });
    let error = refuses(broker, RefusedCode::UnsupportedVersion);
    assert!(matches!(error, WorkerError::UnsupportedVersion { theirs } if theirs == [7, 8]));
}

#[test]
fn a_peer_that_is_no_broker() {
    let mut broker = Broker::silent(worker);
    broker.greet(&Hello { role: Role::Client, ..hello(Assignment::default()) });
    refuses(broker, RefusedCode::NotAllowed);
}

#[test]
fn a_request_before_the_hello() {
    let mut broker = Broker::silent(worker);
    broker.send(&request(1, "number", &1));
    refuses(broker, RefusedCode::Unexpected);
}

#[test]
fn an_oversized_frame() {
    // The broker's own limit holds where the worker names none, and the worker's where it does.
    for (limit, worker) in [(16 << 20, worker as fn() -> Worker), (1000, || worker().max_body(1000))] {
        let mut broker = Broker::start(worker);
        broker.send(&(limit + 65_537_u32).to_be_bytes());
        refuses(broker, RefusedCode::TooLarge);
    }
}

#[test]
fn bytes_that_are_no_message() {
    let cases: [(&[u8], RefusedCode); 4] = [
        (&[0, 0, 0, 0], RefusedCode::Malformed),
        (&[0, 0, 0, 3, 0xff, 0xff, 0xff], RefusedCode::Malformed),
        (&[0, 0, 0, 3, 0x81, 0x17, 0xf6], RefusedCode::UnknownMessage),
        (&[0, 0, 0, 3, 0x81, 0x09, 0xf6], RefusedCode::Unexpected),
    ];
    for (bytes, code) in cases {
        let mut broker = Broker::start(worker);
        broker.send(bytes);
        refuses(broker, code);
    }
}

#[test]
fn more_requests_than_agreed() {
    let (gate, handler) = gated();
    let assignment = Assignment { prefetch: 2, ..Assignment::default() };
    let mut broker = Broker::start_with(assignment, || Worker::new().handle_blocking::<Number>(handler));
    let four: Vec<u8> = (1..=4).flat_map(|id| request(id, "number", &1)).collect();
    broker.send(&four[..four.len() / 4]);
    gate.wait_started(1);
    broker.send(&four[four.len() / 4..]);
    broker.wait_read();
    gate.release.send(()).unwrap();
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    refuses(broker, RefusedCode::Unexpected);
}

#[test]
fn a_second_hello() {
    let mut broker = Broker::start(worker);
    broker.greet(&hello(Assignment::default()));
    refuses(broker, RefusedCode::Unexpected);
    let mut broker = Broker::start(worker);
    broker.send(&empty(MessageType::Panicked, Some(1)));
    refuses(broker, RefusedCode::Unexpected);
}

#[test]
fn being_refused() {
    let mut broker = Broker::start(worker);
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Refused, None, &Refused::new(RefusedCode::NotAllowed, "go away"))
        .unwrap();
    broker.send(&out);
    let error = broker.end().unwrap_err();
    assert_eq!(error.exit_code(), 76);
    assert!(error.to_string().contains("go away"));
}
