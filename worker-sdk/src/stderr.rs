//! What the SDK itself says on stderr, beside handlers that may do with it what they like.
//!
//! Owns how long that may take. Must never take the lock of [`std::io::stderr`]: a handler may hold it for ever.

use std::io;
use std::os::fd::AsFd as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a pipe that has room takes in one write without waiting, and so the longest line (PIPE_BUF, pipe(7)).
const LINE: usize = 4096;

/// How long stderr is waited for: whoever reads it may be behind.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Writes a line, of which 4096 bytes are kept. False if stderr is closed, or full for too long.
pub(crate) fn tell(line: &str) -> bool {
    let stderr = io::stderr();
    let line = &line.as_bytes()[..line.len().min(LINE)];
    let mut ready = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
    matches!(poll(&mut ready, Some(&PATIENCE)), Ok(1)) && rustix::io::write(&stderr, line).is_ok()
}
