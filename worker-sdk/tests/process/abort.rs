//! Panics that end the process: told before it aborts.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use lifeboat_protocol::{Assignment, MessageType, OnPanic, Panicked, decode_body};

use super::LIMIT;
use super::broker::{Started, end_by_itself};

const SIGABRT: Option<i32> = Some(6);

/// The panic that the next message tells of.
fn panicked(started: &mut Started) -> Panicked {
    let (kind, body) = started.next();
    assert_eq!(kind, MessageType::Panicked);
    decode_body(&body).unwrap()
}

fn ends_silently_by_sigabrt(mut started: Started) {
    assert_eq!(started.socket.read(&mut [0]).unwrap(), 0, "nothing more is said");
    assert_eq!(started.end().0.signal(), SIGABRT);
}

#[test]
fn a_panic_that_cannot_be_caught_is_told_with_its_place() {
    for (order, message) in [
        ("abort in a drop", "as told, while it dropped; panic in a destructor during cleanup"),
        ("abort across C", "as told, across C; panic in a function that cannot unwind"),
        ("abort in a hook", "as told, into a hook"),
    ] {
        let mut started = Started::new(Assignment { on_panic: OnPanic::Keep, ..Assignment::default() });
        started.order(order);
        let panicked = panicked(&mut started);
        assert_eq!(panicked.message, message);
        let location = panicked.location.unwrap();
        assert!(
            location.contains("worker.rs:"),
            "where it began, not where it could go no further: {location}"
        );
        assert!(!panicked.kept, "whatever the pool wants, nothing of this process goes on");
        ends_silently_by_sigabrt(started);
    }
}

#[test]
fn an_abort_beside_a_panic_that_was_caught_is_only_an_abort() {
    let mut started = Started::new(Assignment::default());
    started.order("abort");
    ends_silently_by_sigabrt(started);
}

#[test]
fn what_another_slot_has_begun_to_write_is_finished_first() {
    let mut started = with_a_stuck_answer();
    started.order("abort across C");
    assert_eq!(started.answer().len(), 900_000);
    assert!(panicked(&mut started).message.starts_with("as told"));
    ends_silently_by_sigabrt(started);
}

#[test]
fn a_broker_that_does_not_read_is_not_waited_for_long() {
    let mut started = with_a_stuck_answer();
    started.order("abort across C");
    assert_eq!(end_by_itself(&mut started).signal(), SIGABRT);
}

/// A worker of two slots, the second of which has written a part of its answer, for which there is no more room.
fn with_a_stuck_answer() -> Started {
    let mut started = Started::new(Assignment { slots: 2, ..Assignment::default() });
    started.order_in(1, "say much");
    let limit = Instant::now() + LIMIT;
    while rustix::io::ioctl_fionread(&started.socket).unwrap() == 0 {
        assert!(Instant::now() < limit, "nothing is written");
        std::thread::yield_now();
    }
    started
}
