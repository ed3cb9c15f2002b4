//! A worker of before, which sends what was recorded, and nothing else.

use std::process::ExitCode;

use lifeboat_protocol::{Header, Hello, Message, Route, decode, decode_body};

use super::raw::{self, Link};
use crate::recorded::{WORKER, frame, frame_to, knows};

/// What it does for each method, by the name of its end: fails once, panics once, waits for its cancel, or answers.
pub(super) fn run() -> ExitCode {
    let mut link = match Link::open_with(&[]) {
        Ok(link) => link,
        Err(error) => return raw::by_hand(&error),
    };
    while let Some(bytes) = link.read_frame() {
        let message = decode(&bytes).expect("the broker sends frames that can be read");
        if !knows(message.header.message_type()) {
            super::complain(&format!("a worker of then does not know {:?}", message.header));
            return ExitCode::from(76);
        }
        if let Header::Request { route, method, .. } = message.header {
            link.write(&frame(WORKER, "heartbeat"));
            say(&mut link, method, route);
            if (method, route.attempt) == ("panicked", 1) {
                // As one does whose slots are gone.
                return ExitCode::from(70);
            }
        } else if let Header::Cancel { route } = message.header {
            link.write(&frame_to(WORKER, "cancelled", route));
        } else if message.header == Header::Hello {
            link.write(&hello(&message));
        } else if message.header == Header::Drain {
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::from(69)
}

fn hello(message: &Message<'_>) -> Vec<u8> {
    let hello: Hello = decode_body(message.body).expect("the broker's hello can be read");
    let heartbeats = hello.assignment.is_some_and(|assignment| assignment.heartbeat_ms > 0);
    frame(WORKER, if heartbeats { "hello_with_heartbeat" } else { "hello" })
}

fn say(link: &mut Link, method: &str, route: Route) {
    let names: &[&str] = match (method, route.attempt) {
        ("failure", 1) => &["failure"],
        ("panicked", 1) => &["panicked"],
        ("cancelled", _) => &["progress"],
        _ => &["progress", "partial", "answer"],
    };
    for name in names {
        link.write(&frame_to(WORKER, name, route));
    }
    if names == ["panicked"] {
        link.write(&frame(WORKER, "workers_failed"));
    }
}
