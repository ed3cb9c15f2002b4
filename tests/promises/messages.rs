//! The three texts of a crash, letter by letter.

use lifeboat_client::{CallError, Client};
use lifeboat_protocol::{
    AttemptBody, AttemptEndLabel, ConfidenceLabel, DEFAULT_MAX_BODY, ErrorBody, Header, Hello, MessageType,
    OutcomeLabel, ReasonBody, Role, Service, decode, put_control,
};
use lifeboat_tests::act::Deed;
use lifeboat_tests::harness::{Broker, Room, Turn, hello};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::common::{config, failing};

#[tokio::test]
async fn story_23_with_details() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let error = failing(&broker.client().await, Deed::Segfault).await;
    assert_eq!(error.to_string(), "Worker crashed (signal SIGSEGV) while processing 'act'");
    broker.stop();
}

#[tokio::test]
async fn story_23_after_several_attempts() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 2, "", r#"retry = { max_attempts = 3 }"#)).await;
    let error = failing(&broker.client().await, Deed::Segfault).await;
    assert_eq!(error.to_string(), "Worker crashed after 3 attempts while processing 'act'");
    broker.stop();
}

/// A wait status that nobody can tell cannot be made from outside the broker: this one is played, with the message
/// that the broker sends for it.
#[tokio::test]
async fn story_23_where_the_evidence_says_nothing() {
    let room = Room::new();
    let listener = UnixListener::bind(room.socket()).expect("a fresh directory");
    let playing = async {
        let (mut stream, _) = listener.accept().await.expect("the client connects");
        play(&mut stream).await;
        stream
    };
    let calling = async {
        let client = Client::connect(room.socket()).await.expect("somebody listens");
        failing(&client, Deed::Echo).await
    };
    let (_stream, error) = tokio::join!(playing, calling);
    assert_eq!(error.to_string(), "Worker crashed unexpectedly while processing 'act'");
    let CallError::WorkerCrashed { reason, .. } = error else { panic!("{error:?}") };
    assert_eq!(reason.confidence(), ConfidenceLabel::Unknown);
}

async fn play(stream: &mut UnixStream) {
    next_frame(stream).await;
    let service = Service { max_in_flight: 16, ..Service::default() };
    let greeting = Hello { service: Some(service), ..Hello::new(Role::Broker, DEFAULT_MAX_BODY, "played") };
    stream.write_all(&hello(&greeting)).await.expect("the client reads");
    let request = next_frame(stream).await;
    let Header::Request { mut route, method, .. } = decode(&request).expect("a client's frame").header else {
        panic!("a client sends requests")
    };
    let reason = ReasonBody { code: Some(-1), ..ReasonBody::new("exit", ConfidenceLabel::Unknown) };
    let attempt = AttemptBody {
        number: 1,
        worker: "p-0".into(),
        incarnation: 1,
        pid: Some(4711),
        start_ms: 0,
        duration_ms: 1,
        end: AttemptEndLabel::Crashed,
        reason: Some(reason.clone()),
        stderr_tail: None,
    };
    let body = ErrorBody {
        reason: Some(reason),
        max_attempts: Some(1),
        attempts: vec![attempt],
        ..ErrorBody::new(OutcomeLabel::Crashed, method)
    };
    route.attempt = 1;
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Error, Some(route), &body).expect("an error can be encoded");
    stream.write_all(&out).await.expect("the client reads");
}

async fn next_frame(stream: &mut UnixStream) -> Vec<u8> {
    let length = stream.read_u32().await.expect("the client writes");
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.expect("the client writes whole frames");
    frame
}
