//! Says a hello that cannot be accepted, then hangs. The second argument says what is wrong with it.

use std::process::ExitCode;

use lifeboat_protocol::{
    DEFAULT_MAX_BODY, Hello, MessageType, Method as _, Refused, RefusedCode, Role, Route, TimeLeft,
    WorkerHello, put_control, put_empty,
};

use super::raw::Link;
use crate::act::{Act, Wait};

pub(super) fn run() -> ExitCode {
    let what = std::env::args().nth(2).unwrap_or_default();
    let Some(bytes) = frame(&what) else {
        super::complain(&format!("no such hello: {what:?}"));
        return ExitCode::from(2);
    };
    match Link::open_with(&bytes) {
        Ok(_link) => super::hang::commit(),
        Err(error) => super::raw::by_hand(&error),
    }
}

fn frame(what: &str) -> Option<Vec<u8>> {
    let methods = || vec![Act::NAME.to_owned(), Wait::NAME.to_owned()];
    let worker = |methods| Some(WorkerHello { methods, ..WorkerHello::default() });
    let good = Hello { worker: worker(methods()), ..Hello::new(Role::Worker, DEFAULT_MAX_BODY, "bad") };
    let hello = match what {
        "version" => Hello { versions: vec![999], ..good },
        "role" => Hello { role: Role::Client, ..good },
        "max-body" => Hello { max_body: 1000, ..good },
        "no-methods" => Hello { worker: None, ..good },
        "a-method-missing" => Hello { worker: worker(vec![Wait::NAME.to_owned()]), ..good },
        "unreadable" => return Some(vec![0, 0, 0, 3, 0x81, 0, 0x80]),
        "not-cbor" => return Some(b"\0\0\0\x05hello".to_vec()),
        "unknown-type" => return Some(vec![0, 0, 0, 3, 0x81, 23, 0xf6]),
        "answer-first" => return Some(empty(MessageType::Cancelled)),
        "refusal" => return Some(refusal()),
        _ => return None,
    };
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Hello, None, &hello).expect("a hello can be encoded");
    Some(out)
}

fn empty(message_type: MessageType) -> Vec<u8> {
    let mut out = Vec::new();
    put_empty(&mut out, message_type, Some(Route::request(1, TimeLeft::NONE)));
    out
}

fn refusal() -> Vec<u8> {
    let mut out = Vec::new();
    let refused = Refused::new(RefusedCode::UnsupportedVersion, "this worker speaks version 999");
    put_control(&mut out, MessageType::Refused, None, &refused).expect("a refusal can be encoded");
    out
}
