//! What attempts leave for the next ones, and what they are told.

use std::sync::mpsc::channel;

use lifeboat_protocol::{
    Assignment, AttemptEndLabel, Ext, HISTORY_FEATURE, Hello, History, MAX_SAVED, MessageType,
    PreviousAttempt, RefusedCode, Route, SavedItem, decode_body, encode_body, put_control, put_request,
};

use super::Number;
use super::broker::{Broker, cancel, empty, hello, request, route};
use crate::prelude::*;
use crate::{Bytes, SaveError, WorkerError};

fn second(id: u64) -> Route {
    Route { attempt: 2, ..route(id) }
}

fn history(id: u64, saved: Option<u64>) -> Vec<u8> {
    let previous = vec![PreviousAttempt {
        number: 1,
        worker: "images-0".into(),
        incarnation: 7,
        end: AttemptEndLabel::Crashed,
        reason: Some("signal".into()),
        duration_ms: 345,
    }];
    let saved = saved.map(|number| SavedItem(encode_body(&number).unwrap()));
    let mut out = Vec::new();
    put_control(&mut out, MessageType::History, Some(second(id)), &History { previous, saved }).unwrap();
    out
}

fn again(id: u64, method: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_request(&mut out, second(id), method, &Ext::default(), &encode_body(&0_u64).unwrap());
    out
}

/// Answers with what was saved, plus how many attempts there were; 1000 for nothing.
fn remembering() -> Worker {
    Worker::new().handle_blocking::<Number>(|_: Number, context: Context| {
        let saved = context.last_saved::<u64>()?.unwrap_or(1000);
        Ok::<_, HandlerError>(Number(saved + context.previous_attempts().len() as u64))
    })
}

#[test]
fn values_are_saved_in_order_and_before_the_answer() {
    for method in ["blocking", "async"] {
        let mut broker = Broker::start(|| {
            Worker::new()
                .handle_raw_blocking("blocking", |body, context| {
                    (0..20).try_for_each(|value: u64| context.save_blocking(&value))?;
                    Ok::<_, HandlerError>(body)
                })
                .handle_raw("async", |body: Bytes, context: Context| async move {
                    for value in 0..20_u64 {
                        context.save(&value).await?;
                    }
                    Ok::<_, HandlerError>(body)
                })
        });
        broker.send(&request(1, method, &7_u64));
        for value in 0..20 {
            assert_eq!(broker.next().expect::<u64>(MessageType::Save, 1), value, "{method}");
        }
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 7);
    }
}

#[test]
fn a_further_attempt_is_told_and_nobody_else_is() {
    let mut broker = Broker::start(remembering);
    let mut bytes = history(1, Some(40));
    bytes.extend(again(1, "number"));
    bytes.extend(request(2, "number", &0_u64));
    broker.send(&bytes);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 41);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 2), 1000, "a first attempt");
    // An attempt that saved nothing; one whose request never comes; a broker that tells nothing.
    let mut bytes = history(3, None);
    bytes.extend(again(3, "number"));
    bytes.extend(history(4, Some(1)));
    bytes.extend(again(5, "number"));
    broker.send(&bytes);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 3), 1001);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 5), 1000);
}

#[test]
fn a_value_of_another_type_is_the_handlers_error() {
    let mut broker = Broker::start(|| {
        Worker::new().handle_blocking::<Number>(|_: Number, context: Context| {
            let saved: Option<String> = context.last_saved()?;
            Ok::<_, HandlerError>(Number(saved.map_or(0, |text| text.len() as u64)))
        })
    });
    let mut bytes = history(1, Some(40));
    bytes.extend(again(1, "number"));
    broker.send(&bytes);
    let failure: lifeboat_protocol::Failure = broker.next().expect(MessageType::Failure, 1);
    assert!(failure.message.contains("saved"), "{}", failure.message);
}

#[test]
fn what_cannot_be_saved_is_told_and_what_is_too_late_is_not_sent() {
    let (tell, told) = channel();
    let mut broker = Broker::start(move || {
        Worker::new().handle_blocking::<Number>(move |number: Number, context: Context| {
            if number.0 == 1 {
                tell.send((context.save_blocking(&"x".repeat(MAX_SAVED)), None))?;
            } else {
                tell.send((Ok(()), None))?;
                while !context.is_cancelled() {
                    std::thread::yield_now();
                }
                tell.send((context.save_blocking(&1), Some(context)))?;
            }
            Ok::<_, HandlerError>(number)
        })
    });
    broker.send(&request(1, "number", &1_u64));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1, "nothing was sent before");
    let (result, _) = told.recv().unwrap();
    assert_eq!(result, Err(SaveError::TooLarge { len: MAX_SAVED + 5, limit: MAX_SAVED }));
    broker.send(&request(2, "number", &2_u64));
    assert!(told.recv().unwrap().0.is_ok(), "it has begun");
    broker.send(&cancel(2));
    let (result, context) = told.recv().unwrap();
    assert_eq!(result, Err(crate::Cancelled.into()));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 2), 2);
    drop(context);
}

#[test]
fn after_the_handler_nothing_is_saved() {
    let (give, given) = channel();
    let mut broker = Broker::start(move || {
        Worker::new().handle_blocking::<Number>(move |number: Number, context: Context| {
            give.send(context)?;
            Ok::<_, HandlerError>(number)
        })
    });
    broker.send(&request(1, "number", &1_u64));
    let context = given.recv().unwrap();
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    assert_eq!(context.save_blocking(&1), Err(SaveError::Ended));
}

#[test]
fn to_a_broker_that_keeps_nothing_nothing_is_sent() {
    let mut broker = Broker::silent(|| {
        Worker::new().handle::<Number>(async |number: Number, context: Context| {
            let results = [context.save(&1).await, context.save_blocking(&2)];
            assert_eq!(results, [Err(SaveError::Unsupported), Err(SaveError::Unsupported)]);
            Ok::<_, HandlerError>(number)
        })
    });
    broker.greet(&Hello { features: vec![], ..hello(Assignment::default()) });
    assert_eq!(broker.next().kind, MessageType::Hello);
    broker.send(&request(1, "number", &1_u64));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
}

#[test]
fn the_hello_says_that_histories_are_read() {
    let mut broker = Broker::silent(remembering);
    broker.greet(&hello(Assignment::default()));
    let hello: Hello = decode_body(&broker.next().body).unwrap();
    assert!(hello.has_feature(HISTORY_FEATURE));
}

#[test]
fn what_is_no_history_is_refused() {
    let broker = {
        let mut broker = Broker::start(remembering);
        broker.send(&empty(MessageType::History, Some(1)));
        broker
    };
    let error = broker.result().unwrap_err();
    assert!(matches!(error, WorkerError::Protocol { code: RefusedCode::Malformed, .. }), "{error}");
}
