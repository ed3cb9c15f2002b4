//! Sends itself a signal.

use rustix::process::{Signal, getpid, kill_process};

pub(super) fn commit(signal: i32) -> ! {
    let signal = Signal::from_named_raw(signal).expect("tests name signals that exist");
    kill_process(getpid(), signal).expect("a process may signal itself");
    super::hang::commit()
}
