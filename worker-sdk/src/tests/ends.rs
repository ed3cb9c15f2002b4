//! How serving ends: drains, panics, and brokers that go away.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lifeboat_protocol::{Assignment, MessageType, Panicked, WorkersFailed, decode_body, put_control};

use super::broker::{Broker, LIMIT, drain, hello, request, wait_until};
use super::{Number, double, gated, meddling};
use crate::WorkerError;
use crate::prelude::*;

#[test]
fn a_drain_finishes_what_runs_and_leaves_the_rest() {
    let (gate, handler) = gated();
    let mut broker = Broker::start(|| Worker::new().handle_blocking::<Number>(handler));
    broker.send(&request(1, "number", &1));
    gate.wait_started(1);
    broker.send(&[request(2, "number", &2), drain()].concat());
    broker.wait_read();
    gate.release.send(()).unwrap();
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    assert!(broker.end().is_ok());
}

#[test]
fn a_panic_that_a_handler_catches_does_not_keep_the_connection_open() {
    let (mut socket, theirs) = UnixStream::pair().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let (test_ends, ended) = channel::<()>();
    let (caught, was_caught) = channel();
    std::thread::spawn(move || {
        let worker = Worker::new().handle_blocking::<Number>(move |number: Number| {
            std::panic::catch_unwind(|| panic!("caught")).unwrap_err();
            caught.send(()).unwrap();
            Ok::<_, HandlerError>(number)
        });
        worker.serve(theirs).unwrap();
        // A program may do more when it no longer serves.
        let _ = ended.recv();
    });
    let mut all = Vec::new();
    put_control(&mut all, MessageType::Hello, None, &hello(Assignment::default())).unwrap();
    all.extend(request(1, "number", &1));
    socket.write_all(&all).unwrap();
    was_caught.recv_timeout(LIMIT).unwrap();
    socket.write_all(&drain()).unwrap();
    socket.read_to_end(&mut Vec::new()).expect("it is closed");
    drop(test_ends);
}

#[test]
fn a_drain_with_nothing_running_ends_at_once() {
    let mut broker = Broker::start(|| Worker::new().handle::<Number>(double));
    broker.send(&[request(1, "number", &1), drain()].concat());
    assert!(broker.end().is_ok());
}

#[test]
fn a_drain_that_lies_in_the_socket_leaves_held_requests_to_the_broker() {
    let (meddle, handler) = meddling(drain());
    let mut broker = Broker::start(|| Worker::new().handle_blocking::<Number>(handler));
    meddle.send(broker.socket.try_clone().unwrap()).unwrap();
    let three: Vec<u8> = (1..=3).flat_map(|id| request(id, "number", &id)).collect();
    broker.send(&three);
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    assert!(broker.end().is_ok());
}

#[test]
fn the_end_does_not_wait_for_blocking_tasks() {
    let (_release, released) = channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let mut broker = Broker::start(move || {
        Worker::new().handle::<Number>(move |number: Number| {
            let released = Arc::clone(&released);
            async move {
                let (start, started) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    start.send(()).unwrap();
                    // Far longer than the test.
                    released.lock().unwrap().recv_timeout(10 * LIMIT)
                });
                started.await?;
                Ok::<_, HandlerError>(number)
            }
        })
    });
    broker.send(&request(1, "number", &1));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 1);
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn a_panic_is_told_and_ends_the_worker() {
    fn built(Number(number): Number) -> std::future::Ready<Result<Number, HandlerError>> {
        assert_ne!(number, 1, "built badly");
        std::future::ready(Ok(Number(number)))
    }
    async fn polled(Number(number): Number) -> Result<Number, HandlerError> {
        tokio::task::yield_now().await;
        assert_ne!(number, 1, "polled badly");
        Ok(Number(number))
    }
    fn blocking(Number(number): Number) -> Result<Number, HandlerError> {
        assert_ne!(number, 1, "blocked badly");
        Ok(Number(number))
    }
    type Case = (&'static str, fn() -> Worker);
    let workers: [Case; 3] = [
        ("built badly", || Worker::new().handle::<Number>(built)),
        ("polled badly", || Worker::new().handle::<Number>(polled)),
        ("blocked badly", || Worker::new().handle_blocking::<Number>(blocking)),
    ];
    for (message, worker) in workers {
        let mut broker = Broker::start(worker);
        let three = [request(1, "number", &0), request(2, "number", &1), request(3, "number", &0)].concat();
        broker.send(&three);
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 0);
        let panicked: Panicked = broker.next().expect(MessageType::Panicked, 2);
        assert!(panicked.message.contains(message), "{panicked:?}");
        assert!(panicked.location.unwrap().contains("ends.rs:"));
        let got = broker.next();
        assert_eq!(got.kind, MessageType::WorkersFailed);
        let WorkersFailed { reasons } = decode_body(&got.body).unwrap();
        assert!(
            matches!(&*reasons, [one] if one.contains(message) && one.contains("`number`")),
            "{reasons:?}"
        );
        let error = broker.end().unwrap_err();
        assert_eq!(error.exit_code(), 70);
        assert!(matches!(error, WorkerError::SlotsFailed { reasons: told } if told == reasons));
    }
}

#[test]
fn an_idle_worker_ends_at_once_when_the_broker_goes() {
    let broker = Broker::start(|| Worker::new().handle::<Number>(double));
    broker.socket.shutdown(Shutdown::Both).unwrap();
    let error = broker.result().unwrap_err();
    assert_eq!(error.exit_code(), 69);
    assert!(broker.abandoned.try_recv().is_err());
}

#[test]
fn half_a_frame_is_no_request() {
    let whole = request(1, "number", &1);
    for cut in [1, 4, whole.len() - 1] {
        let mut broker = Broker::start(|| Worker::new().handle::<Number>(double));
        broker.send(&whole[..cut]);
        broker.socket.shutdown(Shutdown::Both).unwrap();
        let error = broker.result().unwrap_err().to_string();
        assert!(error.contains(&format!("ended after {cut} of a frame's")), "{error}");
    }
}

#[test]
fn a_handler_that_notices_the_loss_of_its_broker_has_its_time() {
    fn blocking(number: Number, context: Context) -> Result<Number, HandlerError> {
        wait_until(|| context.is_cancelled());
        Ok(number)
    }
    async fn asynchronous(number: Number, context: Context) -> Result<Number, HandlerError> {
        context.cancelled().await;
        // Not dropped here, as it would be after a cancel.
        tokio::task::yield_now().await;
        context.metadata().is_empty().then_some(number).ok_or_else(|| "never".into())
    }
    let workers: [fn() -> Worker; 2] = [
        || Worker::new().handle_blocking::<Number>(blocking),
        || Worker::new().handle::<Number>(asynchronous),
    ];
    for worker in workers {
        let mut broker = Broker::start(worker);
        broker.send(&request(1, "number", &1));
        broker.wait_read();
        broker.socket.shutdown(Shutdown::Both).unwrap();
        assert_eq!(broker.result().unwrap_err().exit_code(), 69);
        assert!(broker.abandoned.try_recv().is_err(), "it ended in time");
    }
}

#[test]
fn a_handler_that_ignores_the_loss_of_its_broker_is_abandoned_after_the_grace() {
    let (gate, handler) = gated();
    let assignment = Assignment { stop_grace_ms: 30, ..Assignment::default() };
    let mut broker = Broker::start_with(assignment, || Worker::new().handle_blocking::<Number>(handler));
    broker.send(&request(1, "number", &1));
    gate.wait_started(1);
    let begin = Instant::now();
    broker.socket.shutdown(Shutdown::Both).unwrap();
    assert_eq!(broker.abandoned.recv_timeout(LIMIT), Ok(69));
    assert!(begin.elapsed() >= Duration::from_millis(30));
    // The real one has no way back; here the handler goes on and the worker ends in its own way.
    gate.release.send(()).unwrap();
    assert_eq!(broker.result().unwrap_err().exit_code(), 69);
}
