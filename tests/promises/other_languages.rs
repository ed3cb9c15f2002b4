//! A client and a worker in Python, written from `docs/protocol.md` alone, beside those on the SDKs: nobody can tell which
//! language the other side is written in.

mod played;
pub(crate) mod python;

use std::sync::Arc;

use lifeboat_client::{CallError, Client, Event, Value as Details};
use lifeboat_protocol::{decode_body, encode_body};
use lifeboat_tests::act::{Act, Deed, Wait};
use lifeboat_tests::harness::{Broker, LIMIT, Room, Start, Turn, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::calls::signal;
use crate::common::{crashes, plain};
use python::{PythonClient, command, config, config_of};

/// A broker with one Python worker that has answered, the client in Python that asked it, and the worker's process.
async fn both(keys: &str) -> (Broker, PythonClient, u32) {
    let broker = Broker::start(config(keys)).await;
    let mut client = PythonClient::greeted(broker.room()).await;
    assert_eq!(client.answered("echo", json!("first")).await, "first");
    let pid = broker.worker_pid("p-0").await;
    (broker, client, pid)
}

fn body<T: serde::Serialize>(request: &T) -> Value {
    serde_json::to_value(request).expect("requests of tests are JSON too")
}

/// A map that the Python client has shown has these values, whatever else it has.
#[track_caller]
fn has(shown: &Value, wanted: &Value) {
    for (key, value) in wanted.as_object().expect("a map is wanted") {
        assert_eq!(&shown[key], value, "{key} of {shown}");
    }
}

#[tokio::test]
async fn a_python_client_of_a_worker_on_the_sdk() {
    let _turn = Turn::shared();
    let broker = Broker::start(plain()).await;
    let mut client = PythonClient::start(broker.room());
    let greeting = client.says("hello").await;
    has(&greeting, &json!({ "role": "broker", "versions": [1], "pid": broker.pid() }));
    let acted = client.answered("act", body(&Act::echo(7))).await;
    let pid = broker.worker_pid("p-0").await;
    has(&acted, &json!({ "tag": 7, "pid": pid }));

    let failed = client.fails("act", body(&Act::new(Deed::Fail { retryable: true }))).await;
    has(&failed, &json!({ "outcome": "failed", "executed": true }));
    has(&failed["failure"], &json!({ "retryable": true }));
    let unknown = client.fails("nothing", json!(null)).await;
    let wanted = json!({ "outcome": "rejected", "why": "unknown_method", "method": "", "executed": false });
    has(&unknown, &wanted);

    client.order(&json!({ "call": "wait", "body": body(&Wait { millis: 60_000 }), "time_left": 300 }));
    let late = client.says("error").await;
    let wanted = json!({ "outcome": "timed_out", "which": "deadline", "limit_ms": 300, "executed": true });
    has(&late, &wanted);

    let pid = broker.worker_pid("p-0").await;
    let crashed = client.fails("act", body(&Act::new(Deed::Segfault))).await;
    let reason = json!({ "label": "signal", "signal": 11, "core_dumped": false, "confidence": "proven" });
    has(&crashed, &json!({ "outcome": "crashed", "method": "act", "max_attempts": 1, "reason": reason }));
    has(&crashed["attempts"][0], &json!({ "number": 1, "pid": pid, "end": "crashed", "reason": reason }));
    assert_eq!(client.answered("act", body(&Act::echo(8))).await["tag"], 8);
    broker.stop();
}

/// What the Rust client gets for a request to the Python worker.
async fn asked<T: serde::Serialize>(
    client: &Client,
    method: &'static str,
    request: &T,
) -> Result<Value, CallError> {
    let body = encode_body(request).expect("requests of tests can be encoded");
    let reply = client.call_raw(method, body).await?;
    Ok(decode_body(&reply).expect("the Python worker answers with CBOR"))
}

#[tokio::test]
async fn a_rust_client_of_a_python_worker() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("")).await;
    let client = broker.client().await;
    let sent = json!({ "größe": [1, -2, 1.5, null, true], "text": "ä".repeat(1000), "empty": {} });
    assert_eq!(asked(&client, "echo", &sent).await.expect("it echoes"), sent);

    let error = asked(&client, "fail", &17).await.expect_err("it says no");
    let CallError::Failed { code, details, retryable: false, .. } = &error else { panic!("{error:?}") };
    assert_eq!((code.as_str(), details.as_ref()), ("said_no", &Details::from(17)));
    for (method, bytes) in [("echo", &b"\xa1"[..]), ("sleep", &b"\x61x"[..])] {
        let error = client.call_raw(method, bytes).await.expect_err("the body cannot be read");
        assert!(matches!(&error, CallError::Failed { code, .. } if code == "bad_request"), "{error:?}");
    }

    let mut stream = client.request_raw("parts", encode_body(&2).expect("a number")).stream();
    let mut told = Vec::new();
    while let Some(event) = stream.next().await {
        told.push(match event {
            Event::Accepted(_) => continue,
            Event::Progress(progress) => progress.text.unwrap_or_default(),
            Event::Partial(partial) => partial.decode::<Value>().expect("a part is CBOR").to_string(),
            Event::Done(reply) => {
                decode_body::<Value>(&reply.expect("it answers")).expect("it is CBOR").to_string()
            }
            other @ (Event::AttemptFailed(_) | _) => panic!("{other:?}"),
        });
    }
    let wanted = ["part 0 of 2", r#"{"number":0}"#, "part 1 of 2", r#"{"number":1}"#, r#"{"parts":2}"#];
    assert_eq!(told, wanted);

    let error = asked(&client, "broken", &json!({})).await.expect_err("its handler has a bug");
    let CallError::WorkerCrashed { reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!(
        (reason.label(), reason.to_string().contains("KeyError")),
        ("slot_panicked", true),
        "{reason}"
    );
    crashes(&broker, "slots_exhausted", 1).await;
    assert_eq!(asked(&client, "echo", &1).await.expect("it was replaced"), 1);
    broker.stop();
}

#[tokio::test]
async fn a_killed_python_worker_is_replaced_and_its_caller_told_why() {
    let _turn = Turn::shared();
    let (broker, mut client, pid) = both("").await;
    client.begins("sleep", json!(60_000)).await;
    signal(pid, Signal::KILL);
    let (what, attempts, error) = client.told().await;
    assert_eq!((what.as_str(), attempts), ("ERROR", 1));
    has(&error, &json!({ "outcome": "crashed", "method": "sleep" }));
    has(&error["reason"], &json!({ "label": "killed_from_outside" }));
    has(
        &error["attempts"][0],
        &json!({ "worker": "p-0", "incarnation": 1, "pid": pid, "reason": error["reason"] }),
    );
    assert_eq!(client.answered("echo", json!("again")).await, "again");
    assert_ne!(broker.worker_pid("p-0").await, pid);
    crashes(&broker, "killed_from_outside", 1).await;
    broker.stop();
}

/// A part that was told stands in the way of a retry, unless its client says that it can drop it.
#[tokio::test]
async fn a_python_client_is_told_of_every_attempt() {
    let _turn = Turn::shared();
    let (broker, mut client, _) = both("").await;
    assert_eq!(client.answered("crash", json!(1)).await["attempt"], 2, "what is not streamed is retried");
    let error = client.fails("crash", json!(3)).await;
    has(&error, &json!({ "outcome": "crashed", "max_attempts": 3 }));
    for number in 1..=3 {
        has(&error["attempts"][number - 1], &json!({ "number": number, "end": "crashed" }));
    }

    client.order(&json!({ "request": "crash", "body": 1 }));
    client.says("request").await;
    let told = [client.told().await, client.told().await];
    let [(partial, 1, _), (end, 1, error)] = &told else { panic!("{told:?}") };
    assert_eq!((partial.as_str(), end.as_str()), ("PARTIAL", "ERROR"));
    has(error, &json!({ "outcome": "crashed", "max_attempts": 3 }));

    client.order(&json!({ "request": "crash", "body": 1, "restartable": true }));
    client.says("request").await;
    let told = [client.told().await, client.told().await, client.told().await, client.told().await];
    let order: Vec<_> = told.iter().map(|(what, attempt, _)| (what.as_str(), *attempt)).collect();
    assert_eq!(order, [("PARTIAL", 1), ("ATTEMPT_FAILED", 1), ("PARTIAL", 2), ("ANSWER", 2)]);
    has(&told[1].2, &json!({ "number": 1, "end": "crashed" }));
    has(&told[1].2["reason"], &json!({ "label": "signal", "signal": 11 }));
    broker.stop();
}

#[tokio::test]
async fn a_python_worker_goes_on_where_it_has_saved() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("prefetch = 2")).await;
    let mut client = PythonClient::greeted(broker.room()).await;
    let stepped = client.answered("steps", json!({ "steps": 5, "dies": [2, 3] })).await;
    assert_eq!(stepped["steps"], json!([1, 1, 2, 3, 3]));
    for number in 1..=2 {
        let one = &stepped["previous"][number - 1];
        has(one, &json!({ "number": number, "worker": "p-0", "incarnation": number }));
        has(one, &json!({ "end": "crashed", "reason": "killed_from_outside" }));
    }
    let stepped = client.answered("steps", json!({ "steps": 1, "dies": [] })).await;
    assert_eq!(stepped, json!({ "steps": [1], "previous": [] }), "nothing of another request");
    broker.stop();
}

#[tokio::test]
async fn a_stream_between_a_python_client_and_a_python_worker() {
    let _turn = Turn::shared();
    let (broker, mut client, _) = both("").await;
    client.begins("parts", json!(3)).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|(what, _)| what != "ANSWER") {
        let (what, attempt, body) = client.told().await;
        assert_eq!(attempt, 1);
        told.push((what, body));
    }
    let part = |number: u64| ("PARTIAL".to_owned(), json!({ "number": number }));
    let progress = |done: u64| {
        ("PROGRESS".to_owned(), json!({ "done": done, "total": 3, "text": format!("part {done} of 3") }))
    };
    let answer = ("ANSWER".to_owned(), json!({ "parts": 3 }));
    assert_eq!(told, [part(0), progress(1), part(1), progress(2), part(2), answer]);
    broker.stop();
}

/// A handler that heeds its cancel, and a request that is cancelled before its turn has come: the process serves on.
#[tokio::test]
async fn a_cancel_between_a_python_client_and_a_python_worker() {
    let _turn = Turn::shared();
    let (broker, mut client, pid) = both("prefetch = 2\ncancel_grace = \"10s\"").await;
    let running = client.begins("sleep", json!(60_000)).await;
    // Executed, it would cost the process.
    client.order(&json!({ "request": "broken", "body": {} }));
    let held = client.says("request").await;
    for id in [held, running] {
        client.order(&json!({ "cancel": id }));
        let (what, _, error) = client.told().await;
        assert_eq!(what, "ERROR");
        has(&error, &json!({ "outcome": "cancelled" }));
    }
    assert_eq!(client.answered("echo", json!("again")).await, "again");
    assert_eq!(broker.worker_pid("p-0").await, pid, "the process survives a cancel that it heeds");
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}

#[tokio::test]
async fn a_python_worker_finishes_and_exits_with_0_when_it_is_drained() {
    let _turn = Turn::shared();
    let room = Arc::new(Room::new());
    let file = room.path().join("exit-code");
    let mut words = ["sh", "-c", r#""$@"; echo $? > "$0""#].map(str::to_owned).to_vec();
    words.push(file.to_str().expect("temporary paths are UTF-8").to_owned());
    words.extend(command("worker.py"));
    let broker = Start::new(config_of(&words, "cancel_grace = \"10s\"")).in_room(&room).start().await;
    let mut client = PythonClient::greeted(&room).await;
    client.begins("sleep", json!(2_000)).await;
    broker.terminate();
    let (what, _, _) = client.told().await;
    assert_eq!(what, "DRAIN");
    let refused = client.fails("echo", json!(1)).await;
    has(&refused, &json!({ "outcome": "rejected", "why": "draining", "executed": false }));
    let (what, _, body) = client.told().await;
    assert_eq!((what.as_str(), body), ("ANSWER", json!({ "slept": 2_000 })), "what runs is finished");
    client.says("end").await;
    assert_eq!(client.exit_code(), Some(0));
    broker.ended();
    assert_eq!(std::fs::read_to_string(&file).expect("the worker has ended").trim(), "0");
}

#[tokio::test]
async fn a_python_worker_finishes_and_exits_with_0_on_sigterm() {
    let _turn = Turn::shared();
    let (broker, mut client, pid) = both("").await;
    client.begins("sleep", json!(500)).await;
    signal(pid, Signal::TERM);
    let (what, _, body) = client.told().await;
    assert_eq!((what.as_str(), body), ("ANSWER", json!({ "slept": 500 })), "what runs is finished");
    // The broker asked for no end: it calls it by its name.
    crashes(&broker, "exit", 1).await;
    eventually(LIMIT, "the log says its exit code", async || broker.log().contains("exit code 0")).await;
    assert_eq!(client.answered("echo", json!("again")).await, "again");
    broker.stop();
}

/// A process that sends heartbeats lives, however silent its handler is; once it cannot, it is found.
#[tokio::test]
async fn a_python_worker_sends_heartbeats() {
    let _turn = Turn::shared();
    let (broker, mut client, pid) = both("heartbeat = { interval = \"100ms\", missed = 10 }").await;
    assert_eq!(client.answered("sleep", json!(2_500)).await["slept"], 2_500);
    assert_eq!(broker.worker_pid("p-0").await, pid);
    signal(pid, Signal::STOP);
    crashes(&broker, "unresponsive", 1).await;
    assert_eq!(client.answered("echo", json!("again")).await, "again");
    broker.stop();
}

#[tokio::test]
async fn the_largest_bodies_are_those_of_the_hellos() {
    let _turn = Turn::shared();
    let broker = Broker::start(format!("[broker]\nmax_body = \"64KiB\"\n{}", config(""))).await;
    let mut client = PythonClient::taking(broker.room(), 1_000);
    assert_eq!(client.says("hello").await["max_body"], 65_536);
    let long = "x".repeat(2_000);

    // An answer that is too large for the client, a failure that is, and both when they are for the broker.
    let error = client.fails("echo", json!(long)).await;
    has(&error["failure"], &json!({ "code": "too_large", "retryable": false }));
    let error = client.fails("fail", json!(long)).await;
    has(&error["failure"], &json!({ "code": "said_no", "details": null }));
    let error = client.fails("double", json!("x".repeat(40_000))).await;
    has(&error["failure"], &json!({ "code": "reply_too_large", "retryable": false }));
    let mut larger = PythonClient::greeted(broker.room()).await;
    let error = larger.fails("fail", json!("x".repeat(65_500))).await;
    has(&error["failure"], &json!({ "code": "said_no", "details": null }));

    client.order(&json!({ "call": "echo", "body": "x".repeat(65_536) }));
    client.says("invalid").await;
    assert_eq!(client.answered("echo", json!("still here")).await, "still here");
    assert!(broker.metrics().await.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}
