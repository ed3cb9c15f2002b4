//! Handlers that want their process replaced.

use lifeboat_protocol::{Assignment, Failure, Hello, MessageType, RETIRE_FEATURE};

use super::broker::{Broker, drain, hello, request};
use super::{Number, Text};
use crate::prelude::*;

/// Wants it at even numbers: at 2 with an answer, at 4 with a failure, at 6 with a panic, at 8 on its way through `?`.
fn worker() -> Worker {
    let wishing = |Number(number): Number, context: Context| -> Result<Number, HandlerError> {
        if number % 4 == 2 {
            context.recycle();
        }
        assert_ne!(number, 6, "unlucky");
        match number {
            4 => Err(HandlerError::new("device_lost", "reset").and_recycle()),
            8 => Err(HandlerError::new("device_lost", "reset").retryable().and_recycle())?,
            number => Ok(Number(number)),
        }
    };
    Worker::new().handle_blocking::<Number>(wishing).handle::<Text>(async |text: Text, context: Context| {
        context.recycle();
        Ok::<_, HandlerError>(text)
    })
}

fn broker(features: &[&str]) -> Broker {
    let mut broker = Broker::silent(worker);
    let features = features.iter().map(|feature| (*feature).to_owned()).collect();
    broker.greet(&Hello { features, ..hello(Assignment::default()) });
    assert_eq!(broker.next().kind, MessageType::Hello);
    broker
}

#[test]
fn it_is_told_once_before_the_answer() {
    for (number, answer) in [
        (2, MessageType::Answer),
        (4, MessageType::Failure),
        (6, MessageType::Panicked),
        (8, MessageType::Failure),
    ] {
        let mut broker = broker(&[RETIRE_FEATURE]);
        broker.send(&request(1, "number", &1));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
        broker.send(&request(2, "number", &number));
        let told = broker.next();
        assert_eq!((told.kind, told.route), (MessageType::Retire, None), "{number}");
        assert_eq!(broker.next().kind, answer, "{number}");
        if answer != MessageType::Panicked {
            broker.send(&request(3, "number", &2));
            assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 3), 2, "once is enough");
            broker.send(&drain());
            assert!(broker.end().is_ok());
        }
    }
}

#[test]
fn an_asynchronous_handler_may_want_it_too() {
    let mut broker = broker(&["telepathy", RETIRE_FEATURE]);
    broker.send(&request(1, "text", &"a"));
    assert_eq!(broker.next().kind, MessageType::Retire);
    assert_eq!(broker.next().expect::<String>(MessageType::Answer, 1), "a");
}

#[test]
fn a_broker_that_does_not_know_the_message_is_not_sent_it() {
    let mut broker = broker(&[]);
    broker.send(&request(1, "number", &2));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 2);
    broker.send(&request(2, "number", &4));
    let failure: Failure = broker.next().expect(MessageType::Failure, 2);
    assert_eq!(failure, Failure::new("device_lost", "reset"));
    broker.send(&drain());
    assert!(broker.end().is_ok());
}
