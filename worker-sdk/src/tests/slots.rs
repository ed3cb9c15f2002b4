//! Several slots: each its own line and its own thread.

use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use lifeboat_protocol::{Assignment, MessageType, Refused, RefusedCode, decode_body};

use super::Number;
use super::broker::{Broker, LIMIT, cancel_in, drain, hello, request_in};
use super::doors::doors;
use crate::prelude::*;

#[test]
fn slots_run_at_the_same_time_and_each_line_in_order() {
    let (doors, visitors) = doors();
    let mut broker = Broker::with_slots(3, || visitors.worker());
    let all: Vec<u8> =
        (0..9).flat_map(|id| request_in((id % 3) as u8, 1 + id, "number", &(1 + id))).collect();
    broker.send(&all);
    doors.wait_started([(0, 1), (1, 2), (2, 3)]);
    doors.nothing_started();
    doors.open(2);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 2), 2);
    doors.wait_started([(1, 5)]);
    doors.open(5);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 5), 5);
    doors.wait_started([(1, 8)]);
    (1..=9).for_each(|number| doors.open(number));
    let mut rest: Vec<u64> = (0..7).map(|_| broker.next().route.unwrap().id).collect();
    let place = |id| rest.iter().position(|other| *other == id);
    assert!(place(1) < place(4) && place(4) < place(7) && place(3) < place(6) && place(6) < place(9));
    rest.sort_unstable();
    assert_eq!(rest, [1, 3, 4, 6, 7, 8, 9]);
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn a_slot_keeps_its_thread_and_shares_it_with_nobody() {
    let (tell, told) = channel();
    let mut broker = Broker::with_slots(4, move || {
        let async_tell = tell.clone();
        Worker::new()
            .handle_raw_blocking("blocking", move |body, context| {
                tell.send((context.slot(), std::thread::current().id()))?;
                Ok::<_, HandlerError>(body)
            })
            .handle_raw("async", move |body, context| {
                let tell = async_tell.clone();
                async move {
                    tokio::task::yield_now().await;
                    tell.send((context.slot(), std::thread::current().id()))?;
                    Ok::<_, HandlerError>(body)
                }
            })
    });
    let mut threads = HashMap::<u8, ThreadId>::new();
    for id in 1..=80 {
        let method = if id % 3 == 0 { "blocking" } else { "async" };
        broker.send(&request_in((id * 7 % 4) as u8, id, method, &id));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, id), id);
        let (slot, thread) = told.recv_timeout(LIMIT).unwrap();
        assert_eq!(u64::from(slot), id * 7 % 4);
        assert_eq!(*threads.entry(slot).or_insert(thread), thread);
    }
    let different: std::collections::HashSet<_> = threads.values().collect();
    assert_eq!(different.len(), 4);
}

#[test]
fn a_request_for_a_slot_that_is_not_served_is_refused() {
    for (slots, slot) in [(1, 1), (3, 3), (3, 255)] {
        let (doors, visitors) = doors();
        let mut broker = Broker::with_slots(slots, || visitors.worker());
        broker.send(&request_in(slot, 1, "number", &1));
        let got = broker.next();
        assert_eq!(got.kind, MessageType::Refused);
        let Refused { code, message } = decode_body(&got.body).unwrap();
        assert_eq!(code, RefusedCode::Unexpected);
        assert!(message.contains(&format!("slot {slot}")), "{message}");
        assert_eq!(broker.end().unwrap_err().exit_code(), 76);
        doors.nothing_started();
    }
}

#[test]
fn a_slot_holds_no_more_than_agreed_whatever_the_others_hold() {
    let (doors, visitors) = doors();
    let mut broker = Broker::with_slots(2, || visitors.worker());
    broker.send(&request_in(1, 1, "number", &1));
    doors.wait_started([(1, 1)]);
    let four: Vec<u8> = (2..=5).flat_map(|id| request_in(1, id, "number", &id)).collect();
    broker.send(&four);
    broker.wait_read();
    doors.open(1);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    let got = broker.next();
    assert_eq!(decode_body::<Refused>(&got.body).unwrap().code, RefusedCode::Unexpected);
    assert_eq!(broker.end().unwrap_err().exit_code(), 76);
    doors.nothing_started();
}

#[test]
fn numbers_of_slots_that_no_process_has_are_refused() {
    for slots in [0, 257] {
        let mut broker = Broker::silent(|| doors().1.worker());
        broker.greet(&hello(Assignment { slots, ..Assignment::default() }));
        let got = broker.next();
        assert_eq!(decode_body::<Refused>(&got.body).unwrap().code, RefusedCode::Malformed);
        assert_eq!(broker.end().unwrap_err().exit_code(), 76);
    }
}

#[test]
fn as_many_slots_as_a_process_can_have() {
    let (doors, visitors) = doors();
    let mut broker = Broker::with_slots(256, || visitors.worker());
    for slot in 0..=255 {
        broker.send(&request_in(slot, u64::from(slot) + 1, "number", &slot));
    }
    let mut started: Vec<u8> = (0..256).map(|_| doors.started.recv_timeout(LIMIT).unwrap().slot).collect();
    started.sort_unstable();
    assert_eq!(started, (0..=255).collect::<Vec<u8>>());
    (0..256).for_each(|number| doors.open(number));
    for _ in 0..256 {
        assert_eq!(broker.next().kind, MessageType::Answer);
    }
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn a_program_may_offer_fewer_slots_than_the_broker_asks_for() {
    let mut broker = Broker::silent(|| doors().1.worker().max_slots(2));
    broker.greet(&hello(Assignment { slots: 4, ..Assignment::default() }));
    let got = broker.next();
    let hello: lifeboat_protocol::Hello = decode_body(&got.body).unwrap();
    assert_eq!(hello.worker.unwrap().slots, 2);
    broker.send(&request_in(2, 1, "number", &1));
    assert_eq!(broker.next().kind, MessageType::Refused);
    assert_eq!(broker.end().unwrap_err().exit_code(), 76);
}

#[test]
fn cancels_reach_their_slot_while_others_are_idle_and_while_none_is() {
    let (doors, visitors) = doors();
    let handler = move |number: Number, context: Context| -> Result<Number, HandlerError> {
        visitors.start(number.0, &context);
        loop {
            context.check_cancel()?;
            std::thread::yield_now();
        }
    };
    let mut broker = Broker::with_slots(3, || Worker::new().handle_blocking::<Number>(handler));
    broker.send(&request_in(1, 1, "number", &1));
    doors.wait_started([(1, 1)]);
    // A cancel for another slot, or of another attempt, is nobody's.
    broker.send(&[cancel_in(0, 1), cancel_in(1, 9), cancel_in(77, 1)].concat());
    broker.send(&[request_in(0, 2, "number", &2), request_in(2, 3, "number", &3)].concat());
    doors.wait_started([(0, 2), (2, 3)]);
    broker.send(&[request_in(2, 4, "number", &4), request_in(2, 5, "number", &5), cancel_in(2, 4)].concat());
    broker.wait_read();
    for (slot, id) in [(1, 1), (2, 3)] {
        broker.send(&cancel_in(slot, id));
        broker.next().expect::<()>(MessageType::Cancelled, id);
    }
    broker.next().expect::<()>(MessageType::Cancelled, 4);
    doors.wait_started([(2, 5)]);
    broker.send(&[cancel_in(0, 2), cancel_in(2, 5)].concat());
    let mut last = [broker.next(), broker.next()].map(|got| (got.kind, got.route.unwrap().id));
    last.sort_by_key(|(_, id)| *id);
    assert_eq!(last, [(MessageType::Cancelled, 2), (MessageType::Cancelled, 5)]);
    doors.nothing_started();
}

#[test]
fn tasks_of_every_slot_go_on_between_requests() {
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let mut broker = Broker::with_slots(3, move || {
        Worker::new().handle::<Number>(move |number: Number, context: Context| {
            let tell = Arc::clone(&tell);
            async move {
                tokio::spawn(async move {
                    for _ in 0..20 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    tell.lock().unwrap().send((context.slot(), number.0)).unwrap();
                });
                Ok::<_, HandlerError>(Number(0))
            }
        })
    });
    for round in 0..4 {
        // While tasks are alive in all slots, requests come to each.
        for slot in [2, 0, 1] {
            let id = round * 3 + u64::from(slot) + 1;
            broker.send(&request_in(slot, id, "number", &id));
            broker.next().expect::<u64>(MessageType::Answer, id);
        }
    }
    let mut done: Vec<(u8, u64)> = (0..12).map(|_| told.recv_timeout(LIMIT).unwrap()).collect();
    done.sort_unstable_by_key(|(_, id)| *id);
    assert!(
        done.iter().zip(1..).all(|(&(slot, id), expected)| id == expected && u64::from(slot) == (id - 1) % 3)
    );
    broker.send(&drain());
    assert!(broker.end().is_ok());
}
