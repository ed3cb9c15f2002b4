//! Progress, as the broker sees it.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use lifeboat_protocol::{Amount, MAX_PROGRESS_TEXT, MessageType};

use super::Number;
use super::broker::{Broker, LIMIT, drain, request, request_in};
use super::doors::doors;
use crate::prelude::*;

type Told = lifeboat_protocol::Progress;

#[test]
fn a_tight_loop_sends_the_first_at_once_and_one_per_tenth_of_a_second() {
    let (stop, stopped) = channel::<()>();
    let (note, noted) = channel();
    let stopped = Mutex::new(stopped);
    let mut broker = Broker::start(move || {
        Worker::new().handle_blocking::<Number>(move |number: Number, context: Context| {
            let begin = Instant::now();
            let mut times = Vec::new();
            while stopped.lock().unwrap().try_recv().is_err() {
                let call = times.len() as u64;
                times.push(begin.elapsed());
                context.progress(Progress::done(call).text(&format_args!("call {call}")));
                assert!(begin.elapsed() < LIMIT);
            }
            times.push(begin.elapsed());
            note.send(times)?;
            Ok::<_, HandlerError>(number)
        })
    });
    broker.send(&request(1, "number", &1));
    let mut calls = Vec::new();
    for _ in 0..4 {
        let told: Told = broker.next().expect(MessageType::Progress, 1);
        let Some(Amount::Whole(call)) = told.done else { panic!("{told:?}") };
        assert_eq!(told.text, Some(format!("call {call}")));
        calls.push(usize::try_from(call).unwrap());
    }
    assert_eq!(calls[0], 0, "the first call, at once");
    stop.send(()).unwrap();
    let times = noted.recv_timeout(LIMIT).unwrap();
    assert!(times.len() > 1_000, "{} calls", times.len());
    for pair in calls.windows(2) {
        // A call took place between its own time and that of the next.
        let apart = times[pair[1] + 1] - times[pair[0]];
        assert!(apart >= Duration::from_millis(100), "{apart:?}");
    }
}

#[test]
fn each_attempt_has_its_own_pace_and_says_nothing_after_its_end() {
    let (keep, kept) = channel();
    let mut broker = Broker::with_slots(2, move || {
        Worker::new().handle_blocking::<Number>(
            move |number: Number, context: Context| -> Result<Number, HandlerError> {
                context.progress(Progress::done(number.0 as f64 / 2.0));
                keep.send(context)?;
                Ok(number)
            },
        )
    });
    for id in 1..=20 {
        broker.send(&request_in((id % 2) as u8, id, "number", &id));
        let told: Told = broker.next().expect(MessageType::Progress, id);
        assert_eq!((told.done, told.total, told.text), (Some(Amount::Real(id as f64 / 2.0)), None, None));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, id), id);
        let context: Context = kept.recv_timeout(LIMIT).unwrap();
        std::thread::spawn(move || context.progress(Progress::new())).join().unwrap();
    }
    broker.send(&drain());
    assert!(broker.end().is_ok(), "and nothing else was written");
}

#[test]
fn a_long_text_is_cut() {
    let mut broker = Broker::start(|| {
        Worker::new().handle_blocking::<Number>(
            |number: Number, context: Context| -> Result<Number, HandlerError> {
                context.progress(Progress::new().text(&"ä".repeat(4_000)));
                Ok(number)
            },
        )
    });
    broker.send(&request(1, "number", &1));
    let told: Told = broker.next().expect(MessageType::Progress, 1);
    assert_eq!(told.text.unwrap(), "ä".repeat(MAX_PROGRESS_TEXT / 2));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
}

#[test]
fn progress_never_waits_for_a_broker_that_does_not_read() {
    let (doors, visitors) = doors();
    let (tell, told) = channel();
    let mut broker = Broker::with_slots(2, move || {
        Worker::new()
            .handle_raw_blocking("flood", move |body, context| {
                visitors.start(0, &context);
                // More than a socket holds, so that nothing gets past it.
                context.partial_blocking(&"x".repeat(15 << 20))?;
                Ok::<_, HandlerError>(body)
            })
            .handle_blocking::<Number>(
                move |number: Number, context: Context| -> Result<Number, HandlerError> {
                    // Far longer than the pace, so that it would be sent were there room.
                    let begin = Instant::now();
                    while begin.elapsed().as_millis() < 250 {
                        context.progress(Progress::new());
                    }
                    tell.send(number.0)?;
                    Ok(number)
                },
            )
    });
    broker.send(&request_in(0, 1, "flood", &1));
    doors.wait_started([(0, 0)]);
    broker.wait_full();
    broker.send(&request_in(1, 2, "number", &2));
    assert_eq!(told.recv_timeout(LIMIT), Ok(2), "it went through without the broker's reading");
    let kinds: Vec<_> = (0..3).map(|_| broker.next().kind).collect();
    assert!(!kinds.contains(&MessageType::Progress), "{kinds:?}");
    broker.send(&drain());
    assert!(broker.end().is_ok());
}
