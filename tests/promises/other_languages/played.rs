//! Python programs of which no real broker hears: one that is refused, one whose broker cannot be understood, and one that
//! nobody started.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};

use lifeboat_protocol::{
    DEFAULT_MAX_BODY, Hello, MessageType, Refused, RefusedCode, Role, decode, decode_body, put_control,
    put_empty,
};
use lifeboat_tests::harness::{LIMIT, Room, Turn, hello};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

use super::python::{PythonClient, outside};

fn refusal(code: RefusedCode, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Refused, None, &Refused::new(code, message))
        .expect("a refusal can be encoded");
    out
}

/// A broker refuses for reasons that no test can bring about in a good client: here it is played.
#[tokio::test]
async fn a_python_client_tells_why_it_is_refused() {
    let _turn = Turn::shared();
    let room = Room::new();
    let listener = UnixListener::bind(room.socket()).expect("a fresh directory");
    let mut client = PythonClient::start(&room);
    let (mut stream, _) = listener.accept().await.expect("the client connects");
    let refused = refusal(RefusedCode::TooManyConnections, "come back later");
    stream.write_all(&refused).await.expect("the client reads");
    assert_eq!(client.says("refused").await, json!(["too_many_connections", "come back later"]));
    assert_eq!(client.exit_code(), Some(1));
}

/// What a Python worker does with these bytes as all that its broker says: what it says itself, and how it ends.
fn played(room: &Room, said: &[u8]) -> (Vec<u8>, Output) {
    let (mut ours, theirs) = UnixStream::pair().expect("the system gives sockets");
    let mut command = outside("worker.py", room);
    command.env("LIFEBOAT_FD", "0").stdin(Stdio::from(OwnedFd::from(theirs)));
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("Python can be started");
    drop(command);
    ours.write_all(said).expect("the worker has not ended yet");
    ours.shutdown(Shutdown::Write).expect("both ends are open");
    let mut heard = Vec::new();
    ours.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    ours.read_to_end(&mut heard).expect("the worker ends");
    (heard, child.wait_with_output().expect("a child can be waited for"))
}

#[test]
fn a_python_worker_says_why_it_refuses_its_broker() {
    let _turn = Turn::shared();
    let room = Room::new();
    let newer = Hello { versions: vec![2], ..Hello::new(Role::Broker, DEFAULT_MAX_BODY, "played") };
    let mut drain = Vec::new();
    put_empty(&mut drain, MessageType::Drain, None);
    let cases = [
        (hello(&newer), RefusedCode::UnsupportedVersion),
        (hello(&Hello::new(Role::Client, DEFAULT_MAX_BODY, "played")), RefusedCode::NotAllowed),
        (drain, RefusedCode::Unexpected),
        (vec![0; 4], RefusedCode::Malformed),
        (vec![0, 0, 0, 3, 0x81, 0, 0xa0], RefusedCode::Malformed),
        (vec![0xff; 4], RefusedCode::TooLarge),
        (vec![0, 0, 0, 3, 0x81, 0x17, 0xf6], RefusedCode::UnknownMessage),
    ];
    for (said, code) in cases {
        let (heard, end) = played(&room, &said);
        let message = decode(heard.get(4..).unwrap_or_default()).expect("it says why, and no more");
        let refused: Refused = decode_body(message.body).expect("a refusal can be read");
        assert_eq!((message.header.message_type(), refused.code), (MessageType::Refused, code));
        assert_eq!(end.status.code(), Some(1), "{end:?}");
    }
    // Refused itself, or left alone, it has nothing to say.
    for said in [refusal(RefusedCode::NotAllowed, "because"), Vec::new()] {
        let (heard, end) = played(&room, &said);
        assert_eq!((heard.len(), end.status.code()), (0, Some(1)), "{end:?}");
    }
}

#[test]
fn a_python_worker_that_nobody_started_says_so() {
    let _turn = Turn::shared();
    let room = Room::new();
    for descriptor in [None, Some("no number"), Some("0"), Some("99")] {
        let mut command = outside("worker.py", &room);
        command.stdin(Stdio::null()).envs(descriptor.map(|descriptor| ("LIFEBOAT_FD", descriptor)));
        let end = command.output().expect("Python can be started");
        let said = String::from_utf8_lossy(&end.stderr);
        assert_eq!(end.status.code(), Some(1), "{said}");
        assert!(said.starts_with("not started by a broker"), "{said}");
    }
}
