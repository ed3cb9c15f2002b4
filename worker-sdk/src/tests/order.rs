//! Requests and their answers.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifeboat_protocol::{Assignment, Ext, Failure, Limits, MessageType, encode_body, put_request};

use super::broker::{Broker, LIMIT, drain, request, route};
use super::{Number, Text, double};
use crate::Bytes;
use crate::prelude::*;

#[test]
fn answers_come_in_order_and_a_drain_ends_well() {
    let mut broker = Broker::start(|| Worker::new().handle::<Number>(double));
    for id in 1..=100 {
        broker.send(&request(id, "number", &id));
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, id), 2 * id);
    }
    broker.send(&drain());
    assert!(broker.end().is_ok());
}

#[test]
fn each_answer_is_written_before_the_next_request_starts() {
    let (send_peer, peer) = channel();
    let (send_seen, seen) = channel();
    let peer = Mutex::new((peer, None));
    let mut broker = Broker::start(move || {
        Worker::new().handle_blocking::<Number>(move |number: Number| -> Result<Number, HandlerError> {
            let (receive, socket) = &mut *peer.lock().unwrap();
            let socket: &std::os::unix::net::UnixStream =
                socket.get_or_insert_with(|| receive.recv_timeout(LIMIT).unwrap());
            // What the broker could read at this moment.
            let written = rustix::io::ioctl_fionread(socket).unwrap();
            send_seen.send(written).unwrap();
            Ok(number)
        })
    });
    let three: Vec<u8> = (1..=3).flat_map(|id| request(id, "number", &7)).collect();
    broker.send(&three);
    send_peer.send(broker.socket.try_clone().unwrap()).unwrap();
    let seen: Vec<u64> = (0..3).map(|_| seen.recv_timeout(LIMIT).unwrap()).collect();
    let answer = request(1, "", &7).len() as u64 - 1;
    assert_eq!(seen, [0, answer, 2 * answer]);
    for id in 1..=3 {
        assert_eq!(broker.next().expect::<u64>(MessageType::Answer, id), 7);
    }
}

#[test]
fn every_form_of_handler_gets_what_it_asks_for() {
    type Seen = State<Mutex<Vec<String>>>;
    async fn with_both(request: Text, context: Context, seen: Seen) -> Result<Text, std::fmt::Error> {
        seen.lock().unwrap().push(format!("{} {}", context.method(), request.0));
        let left = context.remaining().ok_or(std::fmt::Error)?;
        let told = (context.worker(), context.incarnation(), context.attempt(), context.request_id());
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60));
        let key = context.idempotency_key();
        Ok(Text(format!("{told:?} {:?} {:?} {key:?}", context.metadata(), context.traceparent())))
    }
    fn with_state(Number(number): Number, seen: Seen) -> Result<Number, String> {
        assert!(tokio::runtime::Handle::try_current().is_err(), "blocking handlers run outside the runtime");
        let seen = seen.lock().map_err(|error| error.to_string())?;
        Ok(Number(number + seen.len() as u64))
    }
    let assignment = Assignment { worker: "images-0".to_owned(), incarnation: 4, ..Assignment::default() };
    let mut broker = Broker::start_with(assignment, || {
        Worker::new()
            .handle::<Text>(with_both)
            .handle_blocking::<Number>(with_state)
            .state(Mutex::new(Vec::<String>::new()))
    });
    let ext = Ext {
        traceparent: Some("00-1".to_owned()),
        limits: Limits { attempt_timeout_ms: Some(1), ..Limits::default() },
        metadata: vec![("user".to_owned(), "ann".to_owned())],
        idempotency_key: Some("order-17".to_owned()),
        ..Ext::default()
    };
    let mut out = Vec::new();
    put_request(&mut out, route(5), "text", &ext, &encode_body(&"hi").unwrap());
    broker.send(&out);
    let told: String = broker.next().expect(MessageType::Answer, 5);
    assert_eq!(told, r#"("images-0", 4, 1, 5) [("user", "ann")] Some("00-1") Some("order-17")"#);
    broker.send(&request(6, "number", &10));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 6), 11);
}

#[test]
fn errors_are_answers_and_the_process_goes_on() {
    async fn pick(Number(number): Number) -> Result<Number, HandlerError> {
        match number {
            0 => Err(HandlerError::new("zero", "not this one").retryable().details([1, 2])),
            1 => Ok("x".parse().map(Number)?),
            _ => Ok(Number(number)),
        }
    }
    let mut broker = Broker::start(|| Worker::new().handle::<Number>(pick));
    broker.send(&request(1, "number", &0));
    let failure: Failure = broker.next().expect(MessageType::Failure, 1);
    assert_eq!((&*failure.code, &*failure.message, failure.retryable), ("zero", "not this one", true));
    assert_eq!(failure.details.as_array().unwrap().len(), 2);

    broker.send(&request(2, "number", &1));
    let failure: Failure = broker.next().expect(MessageType::Failure, 2);
    assert_eq!((&*failure.code, failure.retryable), ("error", false));

    broker.send(&request(3, "number", &"no number"));
    let failure: Failure = broker.next().expect(MessageType::Failure, 3);
    assert_eq!((&*failure.code, failure.retryable), ("bad_request", false));
    assert!(failure.message.starts_with("not a request of `number`: "), "{}", failure.message);

    broker.send(&request(4, "unheard", &1));
    let failure: Failure = broker.next().expect(MessageType::Failure, 4);
    assert_eq!((&*failure.code, failure.retryable), ("unknown_method", false));

    broker.send(&request(5, "number", &5));
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 5), 5);
}

#[test]
fn raw_bodies_of_every_size_come_back_unchanged() {
    let mut broker = Broker::start(|| {
        Worker::new()
            .handle_raw("async", |body: Bytes, _| async { Ok::<_, HandlerError>(body) })
            .handle_raw_blocking("blocking", |body, _| Ok::<_, HandlerError>(body))
            .handle_raw("huge", |_, _| async { Ok::<_, HandlerError>(vec![0; 17 << 20].into()) })
    });
    let writer = broker.socket.try_clone().unwrap();
    let lengths = [0, 1, 4_000, 5_000, 300_000, 1 << 20, 3, 4 << 20];
    for (id, length) in (1..).zip(lengths) {
        let text = "é".repeat(length / 2);
        for method in ["async", "blocking"] {
            let bytes = request(id, method, &text);
            // A large answer is written while the request is still being sent by nobody else.
            let mut writer = writer.try_clone().unwrap();
            let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
            assert_eq!(broker.next().expect::<String>(MessageType::Answer, id), text);
            sending.join().unwrap();
        }
    }
    broker.send(&request(99, "huge", &0));
    let failure: Failure = broker.next().expect(MessageType::Failure, 99);
    assert_eq!(failure.code, "reply_too_large");
}

#[test]
fn spawned_tasks_go_on_between_requests() {
    let (done, is_done) = channel();
    let done = Arc::new(Mutex::new(done));
    let mut broker = Broker::start(move || {
        Worker::new().handle::<Number>(move |number: Number| {
            let done = Arc::clone(&done);
            async move {
                tokio::spawn(async move {
                    for _ in 0..3 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    done.lock().unwrap().send(number.0).unwrap();
                });
                Ok::<_, HandlerError>(Number(0))
            }
        })
    });
    for id in 1..=3 {
        broker.send(&request(id, "number", &id));
        broker.next().expect::<u64>(MessageType::Answer, id);
        assert_eq!(is_done.recv_timeout(LIMIT), Ok(id));
    }
    // While a task is alive, requests are read through the runtime.
    broker.send(&request(4, "number", &4));
    broker.next().expect::<u64>(MessageType::Answer, 4);
    broker.send(&request(5, "number", &5));
    broker.next().expect::<u64>(MessageType::Answer, 5);
    broker.send(&drain());
    assert!(broker.end().is_ok());
}
