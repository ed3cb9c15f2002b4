//! How serving ends with several slots: drains and brokers that go away.

use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lifeboat_protocol::{Assignment, MessageType};

use super::Number;
use super::broker::{Broker, LIMIT, cancel_in, drain, request_in, wait_until};
use super::doors::doors;
use crate::WorkerError;
use crate::prelude::*;

/// One request per slot, numbered from 1.
fn fill(slots: u8) -> Vec<u8> {
    (0..slots).flat_map(|slot| request_in(slot, u64::from(slot) + 1, "number", &(slot + 1))).collect()
}

#[test]
fn a_drain_lets_every_slot_finish_and_leaves_the_rest() {
    // All slots busy, and one idle that sees the drain at once.
    for busy in [4, 3] {
        let (doors, visitors) = doors();
        let mut broker = Broker::with_slots(4, || visitors.worker());
        broker.send(&fill(busy));
        let mut started: Vec<u8> = (0..busy).map(|_| doors.started.recv().unwrap().slot).collect();
        started.sort_unstable();
        assert_eq!(started, (0..busy).collect::<Vec<u8>>());
        let held: Vec<u8> =
            (0..busy).flat_map(|slot| request_in(slot, 20 + u64::from(slot), "number", &9)).collect();
        let late: Vec<u8> =
            (0..4).flat_map(|slot| request_in(slot, 30 + u64::from(slot), "number", &9)).collect();
        broker.send(&[held, drain(), late].concat());
        broker.wait_read();
        doors.open(9);
        for number in (1..=u64::from(busy)).rev() {
            doors.open(number);
            assert_eq!(broker.next().expect::<u64>(MessageType::Answer, number), number);
        }
        assert!(broker.end().is_ok());
        doors.nothing_started();
    }
}

#[test]
fn a_drain_with_nothing_running_ends_every_slot_at_once() {
    let (_doors, visitors) = doors();
    let mut broker = Broker::with_slots(16, || visitors.worker());
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn what_runs_after_a_drain_is_cancelled_and_loses_its_broker_as_ever() {
    for (slots, busy) in [(1, 0), (2, 1), (4, 2)] {
        for lost in [false, true] {
            let (doors, visitors) = doors();
            let mut broker = Broker::with_slots(slots, move || {
                Worker::new().handle_blocking::<Number>(
                    move |number: Number, context: Context| -> Result<Number, HandlerError> {
                        visitors.start(number.0, &context);
                        wait_until(|| context.is_cancelled());
                        Err(crate::Cancelled.into())
                    },
                )
            });
            broker.send(&request_in(busy, 1, "number", &1));
            doors.wait_started([(busy, 1)]);
            broker.send(&drain());
            // Whoever read it has left, and so have the other slots that were idle.
            broker.wait_read();
            if lost {
                broker.socket.shutdown(Shutdown::Both).unwrap();
                assert_eq!(broker.result().unwrap_err().exit_code(), 69, "its answer cannot be written");
            } else {
                broker.send(&cancel_in(busy, 1));
                broker.next().expect::<()>(MessageType::Cancelled, 1);
                assert!(broker.end().is_ok());
            }
        }
    }
}

#[test]
fn idle_slots_end_at_once_when_the_broker_goes() {
    let (_doors, visitors) = doors();
    let broker = Broker::with_slots(5, || visitors.worker());
    broker.socket.shutdown(Shutdown::Both).unwrap();
    assert!(matches!(broker.result(), Err(WorkerError::BrokerLost { .. })));
    assert!(broker.abandoned.try_recv().is_err());
}

#[test]
fn handlers_of_every_slot_notice_the_loss_of_their_broker() {
    // With and without an idle slot that reads the end of the stream.
    for slots in [2, 3] {
        let (tell, told) = channel();
        let for_async = tell.clone();
        let mut broker = Broker::with_slots(slots, move || {
            Worker::new()
                .handle_raw_blocking("blocking", move |body, context| {
                    tell.send("started")?;
                    wait_until(|| context.is_cancelled());
                    tell.send("noticed")?;
                    Ok::<_, HandlerError>(body)
                })
                .handle_raw("async", move |body, context| {
                    let tell = for_async.clone();
                    async move {
                        tell.send("started")?;
                        context.cancelled().await;
                        // Not dropped here, as it would be after a cancel.
                        tokio::task::yield_now().await;
                        tell.send("noticed")?;
                        Ok::<_, HandlerError>(body)
                    }
                })
        });
        broker.send(&[request_in(0, 1, "blocking", &1), request_in(1, 2, "async", &1)].concat());
        (0..2).for_each(|_| assert_eq!(told.recv_timeout(LIMIT), Ok("started")));
        broker.socket.shutdown(Shutdown::Both).unwrap();
        (0..2).for_each(|_| assert_eq!(told.recv_timeout(LIMIT), Ok("noticed")));
        assert_eq!(broker.result().unwrap_err().exit_code(), 69);
        assert!(broker.abandoned.try_recv().is_err(), "they ended in time");
    }
}

#[test]
fn handlers_that_ignore_the_loss_of_their_broker_are_abandoned_once_after_the_grace() {
    for (slots, busy) in [(2, 2), (3, 1)] {
        let (doors, visitors) = doors();
        let assignment = Assignment { slots, stop_grace_ms: 30, ..Assignment::default() };
        let mut broker = Broker::start_with(assignment, || visitors.worker());
        broker.send(&fill(busy));
        (0..busy).for_each(|_| assert!(doors.started.recv_timeout(LIMIT).is_ok()));
        let begin = Instant::now();
        broker.socket.shutdown(Shutdown::Both).unwrap();
        assert_eq!(broker.abandoned.recv_timeout(LIMIT), Ok(69));
        assert!(begin.elapsed() >= Duration::from_millis(30));
        // The real one has no way back; here the handlers go on and the worker ends in its own way.
        (1..=2).for_each(|number| doors.open(number));
        assert_eq!(broker.result().unwrap_err().exit_code(), 69);
        assert!(broker.abandoned.try_recv().is_err());
    }
}

#[test]
fn an_answer_that_cannot_be_written_ends_every_slot() {
    for stubborn in [false, true] {
        let (doors, visitors) = doors();
        let assignment = Assignment { slots: 3, stop_grace_ms: 30, ..Assignment::default() };
        let mut broker = Broker::start_with(assignment, || visitors.worker());
        broker.send(&fill(2));
        doors.wait_started([(0, 1), (1, 2)]);
        // The broker reads no more, and still could write.
        broker.socket.shutdown(Shutdown::Read).unwrap();
        doors.open(1);
        // The other one has its bounded time.
        if stubborn {
            assert_eq!(broker.abandoned.recv_timeout(LIMIT), Ok(69));
        }
        doors.open(2);
        assert!(
            matches!(broker.result(), Err(WorkerError::BrokerLost { why }) if why.starts_with("writing"))
        );
    }
}
