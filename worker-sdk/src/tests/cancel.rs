//! Cancels, before and during a handler.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeboat_protocol::{Failure, MessageType};

use super::broker::{Broker, LIMIT, cancel, request};
use super::{Number, gated, meddling};
use crate::Cancelled;
use crate::prelude::*;

/// Tells when it is dropped.
struct Drops(Sender<&'static str>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.send("dropped").unwrap();
    }
}

#[test]
fn an_asynchronous_handler_is_dropped_at_its_next_await() {
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let mut broker = Broker::start(move || {
        Worker::new().handle::<Number>(move |number: Number, context: Context| {
            let tell = tell.lock().unwrap().clone();
            async move {
                if number.0 == 0 {
                    let _drops = Drops(tell.clone());
                    tell.send("started").unwrap();
                    std::future::pending::<()>().await;
                }
                assert!(!context.is_cancelled());
                Ok::<_, HandlerError>(number)
            }
        })
    });
    for id in [1, 3] {
        broker.send(&request(id, "number", &0));
        assert_eq!(told.recv_timeout(LIMIT), Ok("started"));
        broker.send(&cancel(id));
        broker.next().expect::<()>(MessageType::Cancelled, id);
        assert_eq!(told.recv_timeout(LIMIT), Ok("dropped"));
        // A cancel that comes too late is nobody's.
        broker.send(&cancel(id));
        broker.send(&request(id + 1, "number", &8));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, id + 1), 8);
    }
}

/// Uses the runtime when it is dropped, as connections of pools do.
struct Returns(Sender<&'static str>);

impl Drop for Returns {
    fn drop(&mut self) {
        let tell = self.0.clone();
        let timer = tokio::time::sleep(Duration::from_millis(1));
        tokio::spawn(async move {
            timer.await;
            tell.send("returned").unwrap();
        });
    }
}

#[test]
fn what_a_dropped_handler_owned_may_use_the_runtime() {
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    let mut broker = Broker::start(move || {
        Worker::new().handle::<Number>(move |number: Number| {
            let tell = tell.lock().unwrap().clone();
            async move {
                let _returns = Returns(tell.clone());
                tell.send("started").unwrap();
                std::future::pending::<()>().await;
                Ok::<_, HandlerError>(number)
            }
        })
    });
    for id in 1..=2 {
        broker.send(&request(id, "number", &0));
        assert_eq!(told.recv_timeout(LIMIT), Ok("started"));
        broker.send(&cancel(id));
        broker.next().expect::<()>(MessageType::Cancelled, id);
        assert_eq!(told.recv_timeout(LIMIT), Ok("returned"));
    }
}

#[test]
fn a_blocking_handler_sees_the_cancel_and_decides() {
    let (start, started) = channel();
    let stubborn = move |Number(number): Number, context: Context| -> Result<Number, HandlerError> {
        start.send(number)?;
        match number {
            // Gives up.
            0 => loop {
                context.check_cancel()?;
                std::thread::yield_now();
            },
            // Answers all the same.
            1 => {
                while !context.is_cancelled() {
                    std::thread::yield_now();
                }
                Ok(Number(11))
            }
            // Claims a cancel that nobody asked for.
            _ => Err(Cancelled.into()),
        }
    };
    let mut broker = Broker::start(|| Worker::new().handle_blocking::<Number>(stubborn));
    broker.send(&request(1, "number", &0));
    assert_eq!(started.recv_timeout(LIMIT), Ok(0));
    broker.send(&cancel(1));
    broker.next().expect::<()>(MessageType::Cancelled, 1);

    broker.send(&request(2, "number", &1));
    assert_eq!(started.recv_timeout(LIMIT), Ok(1));
    broker.send(&cancel(2));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 2), 11);

    broker.send(&request(3, "number", &2));
    let failure: Failure = broker.next().expect(MessageType::Failure, 3);
    assert_eq!(failure.code, "cancelled");
}

#[test]
fn a_request_cancelled_before_it_started_never_starts() {
    let started = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&started);
    let mut broker = Broker::start(move || {
        Worker::new().handle_blocking::<Number>(move |number: Number| -> Result<Number, HandlerError> {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(number)
        })
    });
    let both = [request(1, "number", &1), request(2, "number", &2), cancel(2)].concat();
    broker.send(&both);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    broker.next().expect::<()>(MessageType::Cancelled, 2);
    broker.send(&request(3, "number", &3));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 3), 3);
    assert_eq!(started.load(Ordering::SeqCst), 2);
}

#[test]
fn a_held_request_is_cancelled_while_another_runs_long() {
    let (gate, handler) = gated();
    let mut broker = Broker::start(|| Worker::new().handle_blocking::<Number>(handler));
    broker.send(&request(1, "number", &1));
    gate.wait_started(1);
    broker.send(&[request(2, "number", &2), cancel(2)].concat());
    broker.wait_read();
    gate.release.send(()).unwrap();
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    broker.next().expect::<()>(MessageType::Cancelled, 2);
    assert!(gate.started.try_recv().is_err(), "it never started");
}

#[test]
fn a_cancel_that_lies_in_the_socket_stops_a_held_request() {
    let (meddle, handler) = meddling(cancel(2));
    let mut broker = Broker::start(|| Worker::new().handle_blocking::<Number>(handler));
    meddle.send(broker.socket.try_clone().unwrap()).unwrap();
    let three: Vec<u8> = (1..=3).flat_map(|id| request(id, "number", &id)).collect();
    broker.send(&three);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    broker.next().expect::<()>(MessageType::Cancelled, 2);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 3), 3);
}
