//! The workers of the chaos: those of the other kinds under the chaos's methods, and some that begin badly.

use std::process::{ExitCode, Termination as _};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::{decode_body, encode_body};
use lifeboat_worker::{Context, HandlerError, Worker};

use super::raw::{Link, by_hand, serve_on};
use crate::chaos::METHODS;

/// One process in so many begins badly.
const BADLY_ONE_IN: u64 = 8;

/// How long a slow start takes: within the pool's `start_timeout`.
const SLOWLY: Duration = Duration::from_millis(300);

/// On the SDK.
pub(super) fn run() -> ExitCode {
    serve_for(METHODS.iter().map(|(name, ..)| (*name).to_owned()))
}

/// The same for the methods that the further arguments name.
pub(super) fn run_for() -> ExitCode {
    serve_for(std::env::args().skip(2))
}

fn serve_for(methods: impl Iterator<Item = String>) -> ExitCode {
    let worker = methods.fold(Worker::new(), |worker, name| {
        worker.handle_raw_blocking(name, |body: Bytes, context: Context| {
            let acted = super::sdk::act(decode_body(&body)?, context)?;
            Ok::<_, HandlerError>(encode_body(&acted)?.into())
        })
    });
    worker.run().report()
}

/// On the raw protocol. The second argument is the seed that decides which processes begin badly.
pub(super) fn run_raw() -> ExitCode {
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let seed = number(std::env::args().nth(2));
    let incarnation = number(std::env::var("LIFEBOAT_INCARNATION").ok());
    let worker = std::env::var("LIFEBOAT_WORKER").unwrap_or_default();
    let worker = worker.bytes().last().map_or(0, u64::from);
    let mut random = fastrand::Rng::with_seed(seed ^ (incarnation << 8) ^ worker);
    match random.u64(..BADLY_ONE_IN * 6) {
        0 => return super::fail_start::run(),
        1 => return super::never_ready::run(),
        2 => super::segfault::commit(),
        3 => return half_a_hello(),
        4 => return serve(|_unread| super::hang::commit()),
        5 => thread::sleep(SLOWLY),
        _ => {}
    }
    serve(|link| serve_on(link, false))
}

/// Says its hello, and then does this.
fn serve(then: impl FnOnce(Link) -> ExitCode) -> ExitCode {
    match Link::open_for(METHODS.map(|(name, ..)| name)) {
        Ok(link) => then(link),
        Err(error) => by_hand(&error),
    }
}

/// Says the beginning of a hello and leaves.
fn half_a_hello() -> ExitCode {
    match Link::open_with(&[0, 0, 0, 60, 0x82]) {
        Ok(_) => ExitCode::from(4),
        Err(error) => by_hand(&error),
    }
}
