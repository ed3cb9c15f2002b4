//! A worker's frames at each limit, and hellos that cannot be accepted: the process pays, and nobody else notices.

use lifeboat_client::{CallError, Client, TimeoutWhich};
use lifeboat_protocol::{FRAME_OVERHEAD, Method as _, ROUTE_END, encode_body};
use lifeboat_tests::act::{Act, Deed, Words};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually, is_alive};
use lifeboat_tests::sized::bytes_of;

use crate::common::{config, crashes, echo, failing};
use crate::scene::{Beside, says};

/// `broker.max_body` here: small, so that frames at the limit are.
const MAX_BODY: usize = 64 << 10;

/// A body of no particular size.
const BODY: usize = 100;

/// A broker whose pool `p` misbehaves, while calls of the pool `beside` go on.
struct Stage {
    broker: Broker,
    client: Client,
    beside: Beside,
}

impl Stage {
    async fn set(kind: &str, policy: &str) -> Self {
        // The misbehaving pool serves `act` alone, so that `wait` can be another's.
        let p = config(kind, 1, "", policy).replace("[pools.p.methods.wait]", "");
        let text = format!(
            r#"
[broker]
max_body = "64KiB"
{p}
[pools.beside]
command = ["misbehave", "sdk"]
[pools.beside.methods.wait]
"#
        );
        let broker = Broker::start(text).await;
        let (client, beside) = (broker.client().await, Beside::start(broker.client().await));
        Self { broker, client, beside }
    }

    async fn undisturbed(self) {
        self.beside.undisturbed().await;
        self.broker.stop();
    }

    /// An answer of this size, which must come through whole.
    async fn answers(&self, header: usize, body: usize) {
        let act = Act::new(Deed::AnswerOfSize { header, body });
        let request = encode_body(&act).expect("an act can be encoded");
        let answer = self.client.call_raw(Act::NAME, request).await.expect("an answer within the limits");
        assert!(answer == bytes_of(body), "the body is the one that was sent");
    }

    /// A deed for which the process is killed; the reason's text says all these words.
    async fn violates(&self, deed: Deed, words: &[&str]) {
        let before = echo(&self.client, 1).await;
        let error = failing(&self.client, deed).await;
        let CallError::WorkerCrashed { reason, .. } = &error else { panic!("{error:?}") };
        assert_eq!(reason.label(), "protocol_violation", "{error:?}");
        says(reason.message().unwrap_or_default(), words);
        assert!(!is_alive(before.pid), "it would have lived on, had the broker not killed it");
        echo(&self.client, 2).await;
    }
}

const fn of_size(header: usize, body: usize) -> Deed {
    Deed::AnswerOfSize { header, body }
}

#[tokio::test]
async fn an_answer_at_each_limit() {
    let _turn = Turn::shared();
    let stage = Stage::set("raw", "").await;
    for (header, body) in [
        (ROUTE_END, MAX_BODY - 1),
        (ROUTE_END, MAX_BODY),
        (FRAME_OVERHEAD - 1, BODY),
        (FRAME_OVERHEAD, BODY),
        (FRAME_OVERHEAD - 1, MAX_BODY),
        (FRAME_OVERHEAD, MAX_BODY),
    ] {
        stage.answers(header, body).await;
    }
    stage.violates(of_size(ROUTE_END, MAX_BODY + 1), &["a body of 65537 bytes", "limit of 65536"]).await;
    stage.violates(of_size(FRAME_OVERHEAD + 1, BODY), &["a header of 65537 bytes", "65536 allowed"]).await;
    let too_long = of_size(FRAME_OVERHEAD, MAX_BODY + 1);
    stage.violates(too_long, &["a frame of 131073 bytes", "131072 accepted", "max_body"]).await;
    crashes(&stage.broker, "protocol_violation", 3).await;
    stage.undisturbed().await;
}

#[tokio::test]
async fn messages_that_a_worker_may_not_send() {
    let _turn = Turn::shared();
    let stage = Stage::set("raw", "").await;
    let frame = |bytes: &[u8]| {
        let len = u8::try_from(bytes.len()).expect("a short frame");
        Deed::Say([&[0, 0, 0, len][..], bytes].concat())
    };
    stage.violates(frame(b""), &["length 0"]).await;
    stage.violates(frame(b"hello"), &["malformed header", "at byte 0"]).await;
    stage.violates(frame(&[0x81, 23, 0xf6]), &["unknown message type 23"]).await;
    stage.violates(frame(&[0x81, 8, 0xf6]), &["a worker may not send a drain"]).await;
    stage.violates(frame(&[0x81, 0, 0xf6]), &["a worker may not send a hello"]).await;
    // A route without a body, and a failure that says nothing.
    stage.violates(frame(&[0x82, 2, 0x50]), &["malformed header"]).await;
    let failure = [&[0x82, 3, 0x50][..], &[0; 16], &[0xf6]].concat();
    stage.violates(frame(&failure), &["the body of a failure message cannot be read"]).await;
    crashes(&stage.broker, "protocol_violation", 7).await;
    stage.undisturbed().await;
}

/// A worker that stays in the middle of a frame is one that hangs.
#[tokio::test]
async fn half_a_frame_and_stay() {
    let _turn = Turn::shared();
    let stage = Stage::set("raw", "attempt_timeout = \"300ms\"").await;
    let before = echo(&stage.client, 1).await;
    let error = failing(&stage.client, Deed::Say(vec![0, 0, 1, 0, 0x82])).await;
    assert!(matches!(error, CallError::TimedOut { which: TimeoutWhich::Attempt, .. }), "{error:?}");
    assert!(!is_alive(before.pid));
    crashes(&stage.broker, "attempt_timeout", 1).await;
    echo(&stage.client, 2).await;
    stage.undisturbed().await;
}

/// What a worker says of its failures goes to the caller as far as it fits; it never costs the caller its connection.
#[tokio::test]
async fn words_without_end() {
    let _turn = Turn::shared();
    let retry = r#"retry = { on = ["crash", "failed"], max_attempts = 5, backoff = { then = "0ms" } }"#;
    let stage = Stage::set("raw", retry).await;
    let ends = |words, len| failing(&stage.client, Deed::LongWords(words, len));

    let error = ends(Words::Failure, MAX_BODY - 200).await;
    let CallError::Failed { message, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((message.len(), attempts.len()), (MAX_BODY - 200, 5), "a handler's own words are not cut");
    for words in [Words::Panicked, Words::WorkersFailed] {
        let error = ends(words, MAX_BODY / 4).await;
        let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
        let label = if words == Words::Panicked { "slot_panicked" } else { "slots_exhausted" };
        assert_eq!((reason.label(), attempts.len()), (label, 5));
        assert!(reason.message().is_some_and(|text| text.starts_with("www") && text.len() < 8 << 10));
    }
    let metrics = stage.broker.metrics().await;
    assert_eq!(metrics.sum("client_connections", &[]), 2.0, "nobody lost a connection");
    let before = echo(&stage.client, 1).await;
    let error = ends(Words::Failure, MAX_BODY + 1).await;
    let CallError::WorkerCrashed { reason, .. } = &error else { panic!("{error:?}") };
    says(reason.message().unwrap_or_default(), &["a failure message with a body of", "limit of 65536"]);
    assert!(!is_alive(before.pid));
    stage.undisturbed().await;
}

/// A worker whose hello is this is never ready; the log says why.
async fn is_refused(hello: &str, words: &[&str]) {
    let stage = Stage::set(&format!("bad-hello\", \"{hello}"), "").await;
    let labels = [("pool", "p"), ("reason", "start_failed")];
    eventually(LIMIT, "it was started and refused more than once", async || {
        stage.broker.metrics().await.count("worker_crashes_total", &labels) >= 2
    })
    .await;
    let log = stage.broker.log();
    let line = log.lines().find(|line| line.contains("start_failed")).expect("a death is logged");
    says(line, words);
    let deaths = stage.broker.metrics().await.by("worker_crashes_total", "reason");
    assert_eq!(deaths.keys().collect::<Vec<_>>(), ["start_failed"], "{deaths:?}");
    stage.undisturbed().await;
}

#[tokio::test]
async fn a_hello_that_does_not_fit() {
    let _turn = Turn::shared();
    is_refused("version", &["versions [999]", "this broker [1]", "use a matching SDK"]).await;
    is_refused("role", &["it says that it is a Client, not a worker"]).await;
    is_refused("max-body", &["at most 1000 bytes", "max_body is 65536", "make them agree"]).await;
    let missing = ["it has no handler for 'act'", "its pool's configuration names"];
    is_refused("no-methods", &missing).await;
    is_refused("a-method-missing", &missing).await;
}

#[tokio::test]
async fn a_hello_that_is_none() {
    let _turn = Turn::shared();
    is_refused("unreadable", &["its hello cannot be read"]).await;
    is_refused("not-cbor", &["malformed header"]).await;
    is_refused("unknown-type", &["unknown message type 23"]).await;
    is_refused("answer-first", &["the first message must be a hello, not cancelled"]).await;
    is_refused("refusal", &["unsupported_version: this worker speaks version 999"]).await;
}
