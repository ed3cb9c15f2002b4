//! The five things that need `unsafe`: taking a descriptor by its number, registering one with the runtime, reading into
//! memory that was not written before, sharing memory with the broker, and running code in a signal handler.
//!
//! Owns every unsafe block of this crate. Must never hold policy: which descriptor, how much to read and what an
//! error means are decided by the callers.

#![expect(
    unsafe_code,
    reason = "an inherited descriptor is a bare number; reads go into uninitialised memory; memory is mapped; signal handlers \
              are bound by rules"
)]

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Takes ownership of descriptor `fd`, which must not be negative, if `check` approves of it. What `check` refuses is
/// left as it was: open, and its owner's.
///
/// `check` must refuse a descriptor that is not open, and one that something else in this process may own.
///
/// # Errors
///
/// Those of `check`.
pub(crate) fn adopt<E>(fd: RawFd, check: impl FnOnce(BorrowedFd<'_>) -> Result<(), E>) -> Result<OwnedFd, E> {
    assert!(fd >= 0, "the caller parses numbers of descriptors, which are not negative");
    // SAFETY: the number is not -1. Whether anything is open there is for `check` to find out: it only asks the
    // kernel, which answers EBADF if nothing is. The borrow does not outlive the call.
    check(unsafe { BorrowedFd::borrow_raw(fd) })?;
    // SAFETY: `check` found the descriptor open and not owned by anything in this process, by the rule above; the
    // callers tell by close-on-exec, which every descriptor made by Rust code has and an inherited one cannot
    // have. Each of them comes here once in the life of a process at most, and their descriptors differ in kind.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers a descriptor with the runtime that is entered, for reading only: a socket registered for writing too would
/// wake this side each time the broker drains it.
///
/// # Errors
///
/// Those of the registration.
pub(crate) fn register_readable(source: Arc<OwnedFd>) -> std::io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor is owned, so it stays open and the same for as long as the returned value, and with it
    // this reference, lives.
    let registered = unsafe { AsyncFd::register_with_interest(source, Interest::READABLE) };
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

/// Maps the first `len` bytes of memory that cannot shrink, for as long as the process lives. A multiple of a page is mapped
/// whole; of what is less, whole words.
///
/// # Errors
///
/// That of the system.
pub(crate) fn map_for_ever(memory: impl AsFd, len: usize) -> std::io::Result<&'static [AtomicU64]> {
    // SAFETY: a new mapping at a place of the system's choosing, which is nobody's memory yet.
    let start =
        unsafe { mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, memory, 0)? };
    // SAFETY: the mapping is page-aligned, `len` bytes long, readable and writable, is never unmapped, and does not end
    // before its memory does, which cannot shrink: the only caller checks the seals. All bits are a valid `AtomicU64`, and
    // through one another process may write at any time.
    Ok(unsafe { std::slice::from_raw_parts(start.cast(), len / size_of::<AtomicU64>()) })
}

/// Runs `action` whenever the signal comes, on the thread that it comes to, for as long as the process lives.
///
/// `action` must do nothing but what a signal handler may: it must not allocate, free or take a lock that the interrupted
/// thread may hold.
///
/// # Errors
///
/// That of the system.
pub(crate) fn on_signal(signal: i32, action: fn()) -> std::io::Result<()> {
    // SAFETY: the only caller's action reads values of its own thread, tries a lock for a bounded time, writes to a socket and
    // ends the process.
    unsafe { signal_hook::low_level::register(signal, action) }.map(drop)
}
