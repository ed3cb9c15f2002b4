//! The worker against a scripted broker, over a socket pair.
//!
//! Owns the scripted broker. Nothing here sleeps: every wait is for a condition and has a limit.

#![expect(clippy::unnecessary_wraps, reason = "a handler returns a result, also where it cannot fail")]

mod broker;
mod cancel;
mod checkpoint;
mod doors;
mod ends;
mod heartbeat;
mod kept;
mod large;
mod nested;
mod order;
mod partial;
mod progress;
mod recycle;
mod refusals;
mod retired;
mod script;
mod slots;
mod slots_end;
mod start;
mod typed;
mod writing;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use lifeboat_protocol::method;
use serde::{Deserialize, Serialize};

use crate::prelude::*;

/// A method with numbers both ways.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Number(u64);

method!("number": Number => Number);

/// A second one.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Text(String);

method!("text": Text => Text);

async fn double(Number(number): Number) -> Result<Number, HandlerError> {
    Ok(Number(2 * number))
}

/// The test's side of a handler that tells when it started and waits to be let go on.
///
/// That a request was read does not mean that it started: one `recv` of the worker may take what was sent since too.
struct Gate {
    started: Receiver<u64>,
    release: Sender<()>,
}

impl Gate {
    /// Waits until the handler runs with this number.
    #[track_caller]
    fn wait_started(&self, number: u64) {
        assert_eq!(self.started.recv_timeout(broker::LIMIT), Ok(number));
    }
}

fn gated() -> (Gate, impl Fn(Number) -> Result<Number, HandlerError> + Send + Sync) {
    let (start, started) = channel();
    let (release, released) = channel();
    let released = Mutex::new(released);
    let handler = move |number: Number| {
        start.send(number.0)?;
        released.lock().expect("no handler panics here").recv_timeout(broker::LIMIT)?;
        Ok(number)
    };
    (Gate { started, release }, handler)
}

/// A handler that sends `bytes` as the broker, on the socket it is given first, during its request 1. It ends too
/// soon for the watcher, so they lie in the worker's socket then.
fn meddling(
    bytes: Vec<u8>,
) -> (Sender<UnixStream>, impl Fn(Number) -> Result<Number, HandlerError> + Send + Sync) {
    let (give, given) = channel::<UnixStream>();
    let given = Mutex::new(given);
    let handler = move |number: Number| {
        if number.0 == 1 {
            given.lock().expect("no handler panics here").recv_timeout(broker::LIMIT)?.write_all(&bytes)?;
        }
        Ok(number)
    };
    (give, handler)
}
