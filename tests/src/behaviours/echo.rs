//! Answers, perhaps late.

use std::thread;
use std::time::Duration;

use crate::act::{Act, Acted};

pub(super) fn after(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

pub(super) fn answer(act: &Act, worker: &str, incarnation: u64, attempt: u16) -> Acted {
    Acted {
        tag: act.tag,
        pid: std::process::id(),
        worker: worker.to_owned(),
        incarnation,
        attempt,
        padding: vec![7; act.padding],
        told_at: None,
    }
}
