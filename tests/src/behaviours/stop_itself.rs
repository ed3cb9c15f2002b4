//! Stops itself: no thread of it runs until somebody continues it.

/// SIGSTOP's number.
const SIGSTOP: i32 = 19;

pub(super) fn commit() -> ! {
    super::signal::commit(SIGSTOP)
}
