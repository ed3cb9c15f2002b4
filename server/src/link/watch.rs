//! Registers descriptors with the data plane's event loop.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor for one direction. Must be called on the data plane's runtime.
#[expect(unsafe_code, reason = "tokio's contract for descriptors is unsafe since 1.54")]
pub(super) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, is always the same descriptor, and is closed only when the `AsyncFd` that now owns it
    // has deregistered it and is dropped.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}
