//! Gives every body back as it came, under a short name and under the longest that a method may have.

use std::process::{ExitCode, Termination as _};

use bytes::Bytes;
use lifeboat_worker::{Context, HandlerError, Worker};

use crate::act::{LONGEST_METHOD, MIRROR};

pub(super) fn run() -> ExitCode {
    let give_back = |body: Bytes, _: Context| Ok::<_, HandlerError>(body);
    let worker = Worker::new().handle_raw_blocking(MIRROR, give_back);
    worker.handle_raw_blocking(LONGEST_METHOD, give_back).run().report()
}
