//! Registering a socket with tokio's reactor.
//!
//! Owns the crate's only unsafe code. Must never be given a descriptor that it does not come to own.

#![expect(
    unsafe_code,
    reason = "tokio asks its caller to promise that the descriptor stays open while registered"
)]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches `socket` for `interest` alone: with tokio's own sockets every drain of the peer's buffer would wake this
/// process for a writable edge that nobody asked for.
///
/// # Errors
///
/// What `epoll_ctl` says.
pub(crate) fn watch(socket: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor must be open, and stay the same one, until it is deregistered. `AsyncFd` owns a share of
    // the `OwnedFd`, which closes only when the last share is dropped, names the same descriptor for all its life, and
    // is never taken out of its `Arc`; `AsyncFd` deregisters before it drops its share.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(io::Error::from)
}
