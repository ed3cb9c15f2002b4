//! Peers of before are served as then: what they say is understood, and nothing comes that they do not know.

use std::sync::Arc;

use lifeboat_client::{Client, Event, RawRequestBuilder};
use lifeboat_protocol::{ErrorBody, MessageType, OutcomeLabel, decode};
use lifeboat_tests::harness::{Broker, LIMIT, RawClient, Received, Room, Turn};
use lifeboat_tests::recorded::{BROKER, CLIENT, frame, knows};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use crate::commands::lifeboat_at;

/// A pool `p` of one worker of this kind, for these methods.
fn pool(kind: &str, methods: &[&str]) -> String {
    let methods = methods.iter().map(|method| {
        let retry = r#"retry = { on = ["crash", "failed"], max_attempts = 2, backoff = { first = "0ms" } }"#;
        format!("\n[pools.p.methods.{method}]\n{retry}\n")
    });
    format!(
        r#"
[pools.p]
command = ["misbehave", "{kind}"]
on_panic = "keep"
restart = {{ initial = "1ms", max = "10ms", max_restarts = "unlimited" }}
heartbeat = {{ interval = "10s", missed = 3 }}

[pools.p.defaults]
deadline = "60s"
{}"#,
        methods.collect::<String>()
    )
}

/// The broker's next message to a client of then.
async fn next(client: &mut RawClient) -> Received {
    let received = client.receive().await.expect("the broker keeps the connection");
    assert!(knows(received.message_type), "a client of then does not know {received:?}");
    received
}

/// All that comes for a request up to its end: each message's type and attempt. Gives the end's body too.
async fn conversation(client: &mut RawClient, id: u64) -> (Vec<(MessageType, u16)>, Received) {
    let mut told = Vec::new();
    loop {
        let received = next(client).await;
        let route = received.route.expect("nothing but what is about the request");
        assert_eq!(route.id, id, "{received:?}");
        told.push((received.message_type, route.attempt));
        if matches!(received.message_type, MessageType::Answer | MessageType::Error) {
            return (told, received);
        }
    }
}

#[tokio::test]
async fn a_client_of_before_is_served_by_todays_broker_and_worker() {
    use MessageType::{Answer, AttemptFailed, Error, Partial, Progress};
    let _turn = Turn::shared();
    let broker = Broker::start(pool("new-words", &["retried", "waits"])).await;
    let mut client = RawClient::connect(broker.socket()).await;
    client.send(&frame(CLIENT, "hello")).await;
    assert_eq!(next(&mut client).await.message_type, MessageType::Hello);

    let plain = vec![(Answer, 2)];
    let streamed = [Progress, AttemptFailed, Progress, Partial, Answer];
    let streamed: Vec<_> = streamed.into_iter().zip([1, 1, 2, 2, 2]).collect();
    let requests = [("request", &plain), ("request_with_ext", &plain), ("request_streamed", &streamed)];
    for (id, (name, expected)) in (1..).zip(requests) {
        let request = frame(CLIENT, name);
        client.send(&request).await;
        let (told, answer) = conversation(&mut client, id).await;
        assert_eq!(&told, expected, "{name}");
        let sent = decode(&request[lifeboat_protocol::LENGTH_PREFIX..]).expect("recordings can be read");
        assert_eq!(answer.body, sent.body, "{name}");
    }

    client.send(&frame(CLIENT, "request_to_cancel")).await;
    assert_eq!(next(&mut client).await.message_type, Progress, "it runs");
    client.send(&frame(CLIENT, "cancel")).await;
    let (told, end) = conversation(&mut client, 4).await;
    assert_eq!(told, [(Error, 1)]);
    assert_eq!(end.read::<ErrorBody>().outcome, OutcomeLabel::Cancelled);
    assert_eq!(broker.metrics().await.count("saves_total", &[("pool", "p")]), 4, "the new words were said");
    broker.stop();
}

/// A request as clients make it today, with what came since.
fn request(client: &Client, method: &'static str) -> RawRequestBuilder {
    client.request_raw(method, vec![0xf6]).pool("p").timeout(LIMIT)
}

/// What a stream tells, up to a good end.
async fn told(client: &Client, method: &'static str) -> Vec<&'static str> {
    let (mut events, mut told) = (request(client, method).stream(), Vec::new());
    while let Some(event) = events.next().await {
        told.push(match event {
            Event::Accepted(_) => "accepted",
            Event::Progress(progress) => {
                assert_eq!(progress.text.as_deref(), Some("page 3 of 10"));
                "progress"
            }
            Event::Partial(part) => {
                assert_eq!(part.decode::<String>().expect("a text"), "half");
                "partial"
            }
            Event::AttemptFailed(attempt) => match attempt.reason {
                Some(reason) if reason.label() == "slot_panicked" => "panicked",
                None => "failed",
                reason => panic!("{reason:?}"),
            },
            Event::Done(reply) => {
                let reply = reply.expect("the last attempt answers");
                assert_eq!(reply.decode::<String>().expect("a text"), "whole");
                "done"
            }
            other => panic!("{other:?}"),
        });
    }
    told
}

#[tokio::test]
async fn a_worker_of_before_serves_todays_broker_and_client() {
    let _turn = Turn::shared();
    let broker = Broker::start(pool("old", &["answer", "failure", "panicked", "cancelled"])).await;
    let client = broker.client().await;
    let answered = ["progress", "partial", "done"];
    let crashed = async || broker.metrics().await.by("worker_crashes_total", "reason");
    for (method, before) in [("answer", &["accepted"][..]), ("failure", &["accepted", "failed"])] {
        assert_eq!(told(&client, method).await, [before, &answered].concat(), "{method}");
    }

    let mut events = request(&client, "cancelled").stream();
    while !matches!(events.next().await.expect("it does not end"), Event::Progress(_)) {}
    drop(events);
    assert_eq!(told(&client, "answer").await, [&["accepted"], &answered[..]].concat());
    assert!(crashed().await.is_empty(), "its slot is free because it said so");

    assert_eq!(told(&client, "panicked").await, [&["accepted", "panicked"], &answered[..]].concat());
    let crashed = crashed().await;
    assert_eq!(crashed.keys().map(String::as_str).collect::<Vec<_>>(), ["slots_exhausted"]);
    broker.stop();
}

/// It would pass the pool over, and have the request served wherever the method is.
#[tokio::test]
async fn a_broker_of_before_is_sent_nothing_for_one_pool() {
    let _turn = Turn::shared();
    let room = Arc::new(Room::new());
    let listener = UnixListener::bind(room.socket()).expect("a fresh directory");
    let play = async {
        let (mut stream, _) = listener.accept().await.expect("the command connects");
        stream.write_all(&frame(BROKER, "hello")).await.expect("the client reads");
        let mut sent = Vec::new();
        stream.read_to_end(&mut sent).await.expect("the command ends");
        sent
    };
    let words = ["call", "act", "{}", "--pool", "sandbox"];
    let socket = room.socket();
    let (said, sent) = tokio::join!(lifeboat_at(Arc::clone(&room), &socket, &words), play);
    said.not_done(1, &["only the pool 'sandbox' may serve it", "upgrade the broker"]);
    let hello = 4 + u32::from_be_bytes(sent[..4].try_into().expect("four bytes")) as usize;
    assert_eq!(sent.len(), hello, "its hello, and nothing else");
}
