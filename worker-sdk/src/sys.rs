//! The three things that need `unsafe`: taking a descriptor by its number, registering one with the runtime, and
//! reading into memory that was not written before.
//!
//! Owns every unsafe block of this crate. Must never hold policy: which descriptor, how much to read and what an
//! error means are decided by the callers.

#![expect(
    unsafe_code,
    reason = "an inherited descriptor is a bare number; reads go into uninitialised memory"
)]

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use bytes::BytesMut;
use rustix::io::{Errno, FdFlags};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes ownership of descriptor `fd` and marks it close-on-exec. Call it at most once per number, before the
/// process opens descriptors of its own.
///
/// # Errors
///
/// `EBADF` if the number is negative or no descriptor of that number is open.
pub(crate) fn adopt(fd: RawFd) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the number is not negative, and the borrow is used for one fcntl that the kernel answers with EBADF
    // if nothing is open there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: the fcntl proved that the descriptor is open. It was inherited for this use (the only caller checks
    // the environment that says so, and takes a number once), so nothing else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers a socket with the runtime that is entered, for reading only: registered for writing too, it would wake
/// this side each time the broker drains it.
///
/// # Errors
///
/// Those of the registration.
pub(crate) fn register_readable(socket: Arc<UnixStream>) -> std::io::Result<AsyncFd<Arc<UnixStream>>> {
    // SAFETY: the stream owns its descriptor, which stays open and the same for as long as the returned value, and
    // with it this reference, lives.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(Into::into)
}

/// Appends what one `recv` gives to `buffer`, at most its spare capacity; 0 means end of stream.
///
/// # Errors
///
/// Those of `recv`; `EAGAIN` when asked not to wait and nothing is there.
pub(crate) fn recv_into(socket: impl AsFd, buffer: &mut BytesMut, flags: RecvFlags) -> Result<usize, Errno> {
    debug_assert!(buffer.capacity() > buffer.len(), "a read of no bytes looks like the end of the stream");
    let ((received, _), _) = recv(socket, buffer.spare_capacity_mut(), flags)?;
    let received = received.len();
    // SAFETY: `recv` says that it initialised the first `received` bytes of the spare capacity, which begins right
    // after the buffer's length.
    unsafe { buffer.set_len(buffer.len() + received) };
    Ok(received)
}
