//! Heartbeats.

use std::time::{Duration, Instant};

use lifeboat_protocol::{Assignment, MessageType};

use super::Number;
use super::broker::{Broker, LIMIT, drain, request, request_in};
use super::doors::doors;
use crate::prelude::*;

const INTERVAL: Duration = Duration::from_millis(30);

fn assignment(slots: u32) -> Assignment {
    let heartbeat_ms = INTERVAL.as_millis().try_into().unwrap();
    Assignment { slots, prefetch: 3, heartbeat_ms, ..Assignment::default() }
}

/// Heartbeats, counted from before the worker's start.
struct Beats {
    begin: Instant,
    count: u32,
}

impl Beats {
    fn new() -> Self {
        Self { begin: Instant::now(), count: 0 }
    }

    /// The next few; nothing else may come.
    #[track_caller]
    fn read(&mut self, broker: &mut Broker, count: u32) {
        for _ in 0..count {
            assert_eq!(broker.next().kind, MessageType::Heartbeat);
            self.count += 1;
            // However late this side reads, they are no closer.
            let elapsed = self.begin.elapsed();
            assert!(elapsed >= INTERVAL * self.count, "{} in {elapsed:?}", self.count);
        }
    }
}

/// The next message that is no heartbeat.
#[track_caller]
fn next(broker: &mut Broker) -> super::broker::Got {
    loop {
        let got = broker.next();
        if got.kind != MessageType::Heartbeat {
            return got;
        }
    }
}

#[test]
fn they_come_while_nothing_runs_and_while_every_slot_does() {
    for slots in [1, 3] {
        let (doors, visitors) = doors();
        let mut beats = Beats::new();
        let mut broker = Broker::start_with(assignment(slots), || visitors.worker());
        beats.read(&mut broker, 4);
        for slot in 0..slots as u8 {
            broker.send(&request_in(slot, u64::from(slot) + 1, "number", &(slot + 1)));
            assert!(doors.started.recv_timeout(LIMIT).is_ok());
        }
        beats.read(&mut broker, 6);
        // Also while the process is drained.
        broker.send(&drain());
        broker.wait_read();
        beats.read(&mut broker, 6);
        (1..=3).for_each(|number| doors.open(number));
        for _ in 0..slots {
            assert_eq!(next(&mut broker).kind, MessageType::Answer);
        }
        assert!(broker.result().is_ok());
    }
}

#[test]
fn none_come_where_none_are_wanted() {
    let (doors, visitors) = doors();
    let mut broker = Broker::with_slots(2, || visitors.worker());
    let begin = Instant::now();
    while begin.elapsed() < 5 * INTERVAL {
        let id = u64::try_from(begin.elapsed().as_nanos()).unwrap();
        doors.open(id);
        broker.send(&request_in(1, id, "number", &id));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, id), id);
    }
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn any_message_stands_for_one() {
    let mut broker = Broker::start_with(assignment(1), || Worker::new().handle::<Number>(super::double));
    let begin = Instant::now();
    let (mut id, mut beats) = (1, 0);
    while begin.elapsed() < 20 * INTERVAL {
        // Before the worker can have written the answer.
        let asked = Instant::now();
        broker.send(&request(id, "number", &id));
        assert_eq!(next(&mut broker).kind, MessageType::Answer);
        id += 1;
        // Whatever comes now is a heartbeat, and comes an interval after the answer.
        if id % 64 == 0 {
            assert_eq!(broker.next().kind, MessageType::Heartbeat);
            assert!(asked.elapsed() >= INTERVAL, "{:?} after an answer", asked.elapsed());
            beats += 1;
        }
    }
    assert!(beats > 0);
}

#[test]
fn they_go_on_beside_a_handler_that_floods_the_socket() {
    const PARTS: u64 = 400;
    let (doors, visitors) = doors();
    let mut broker = Broker::start_with(assignment(2), move || {
        Worker::new().handle_blocking::<Number>(
            move |number: Number, context: Context| -> Result<Number, HandlerError> {
                for _ in 0..PARTS {
                    context.partial_blocking(&"x".repeat(100_000))?;
                }
                visitors.enter(number.0, &context);
                Ok(number)
            },
        )
    });
    broker.send(&request(1, "number", &1));
    // For longer than the interval nothing is read: the heartbeats wait for nobody, and the stream stays whole.
    broker.wait_full();
    let begin = Instant::now();
    while begin.elapsed() < 3 * INTERVAL {
        assert!(!broker.has_room(), "nobody reads");
    }
    for _ in 0..PARTS {
        assert_eq!(next(&mut broker).expect::<String>(MessageType::Partial, 1).len(), 100_000);
    }
    doors.wait_started([(0, 1)]);
    for _ in 0..4 {
        assert_eq!(broker.next().kind, MessageType::Heartbeat);
    }
    doors.open(1);
    assert_eq!(next(&mut broker).expect::<u64>(MessageType::Answer, 1), 1);
}
