//! One non-blocking socket, registered for reading only.
//!
//! tokio's own stream registers for both directions, which wakes the broker each time a peer drains its socket; here
//! the writable edge is asked for only after a write would have blocked, on a duplicate of the descriptor.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::watch::watch;

/// The send buffer wished for on every socket.
///
/// Source: measured; with the default of 208 KiB a 1 MiB body costs 48 system calls and 16 switches, with this 6
/// and 2. The kernel caps it at `net.core.wmem_max`.
pub const SEND_BUFFER: usize = 4 << 20;

/// A connected stream socket, owned.
#[derive(Debug)]
pub(super) struct Socket {
    fd: AsyncFd<OwnedFd>,
}

/// What one read gave.
pub(super) enum Received {
    /// This many bytes; fewer than there was room for, so that nothing more is there now.
    Short(usize),
    /// As many bytes as there was room for: more may be there.
    Full(usize),
    /// Nothing is there now.
    Nothing,
    /// The peer closed its side.
    Eof,
    /// Reading failed.
    Failed(Errno),
}

impl Socket {
    /// Takes over a connected, non-blocking socket. Must be called on the data plane's runtime.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        if let Err(errno) = sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER) {
            tracing::debug!(%errno, "the socket keeps its default send buffer");
        }
        Ok(Self { fd: watch(fd, Interest::READABLE)? })
    }

    /// Waits until bytes, an end or an error may be there. Cancel-safe.
    ///
    /// Clear the guard after a short read: the next wait is then for new bytes. An end that was seen beside the bytes
    /// is not forgotten, since tokio keeps a closed direction ready.
    pub(super) async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.fd.readable().await
    }

    /// Reads once into `room`, whatever tokio believes about readiness: after a death it may not know yet that the
    /// last answer is there.
    pub(super) fn receive(&self, room: &mut [u8]) -> Received {
        let wanted = room.len();
        let taken = retry_on_intr(|| rustix::net::recv(&self.fd, &mut *room, RecvFlags::DONTWAIT));
        Self::classify(taken.map(|(taken, _)| taken), wanted)
    }

    /// Bytes that the peer has written and that were not read yet.
    pub(super) fn waiting(&self) -> rustix::io::Result<u64> {
        rustix::io::ioctl_fionread(&self.fd)
    }

    /// Reads once into the spare capacity of `buffer`, at most `wanted` bytes.
    pub(super) fn receive_into(&self, buffer: &mut Vec<u8>, wanted: usize) -> Received {
        let filled = buffer.len();
        buffer.reserve_exact(wanted);
        let room: &mut [MaybeUninit<u8>] = &mut buffer.spare_capacity_mut()[..wanted];
        let taken = retry_on_intr(|| {
            let received = rustix::net::recv(&self.fd, &mut *room, RecvFlags::DONTWAIT);
            received.map(|((taken, _), _)| taken.len())
        });
        if let Ok(taken) = taken {
            filled_by_kernel(buffer, filled + taken);
        }
        Self::classify(taken, wanted)
    }

    fn classify(taken: rustix::io::Result<usize>, wanted: usize) -> Received {
        match taken {
            Ok(0) => Received::Eof,
            Ok(taken) if taken < wanted => Received::Short(taken),
            Ok(taken) => Received::Full(taken),
            Err(Errno::WOULDBLOCK) => Received::Nothing,
            Err(errno) => Received::Failed(errno),
        }
    }

    /// Writes once, gathered; never raises SIGPIPE.
    pub(super) fn send(&self, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        let mut control = rustix::net::SendAncillaryBuffer::default();
        rustix::net::sendmsg(&self.fd, slices, &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
    }

    /// Ends both directions; a reader sees the end of file. A socket that is no longer connected is left as it is.
    pub(super) fn shut_down(&self) {
        if let Err(errno) = rustix::net::shutdown(&self.fd, Shutdown::Both) {
            tracing::trace!(%errno, "the socket was no longer connected");
        }
    }

    /// A second registration of the same socket, for the writable edge; dropped as soon as it came.
    pub(super) fn writable(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let copy = rustix::io::fcntl_dupfd_cloexec(self.fd.as_fd(), 3)?;
        watch(copy, Interest::WRITABLE)
    }
}

#[expect(unsafe_code, reason = "a large body is read into memory that was never zeroed")]
fn filled_by_kernel(buffer: &mut Vec<u8>, len: usize) {
    debug_assert!(len <= buffer.capacity(), "the kernel filled no more than the spare capacity");
    // SAFETY: the bytes below the old length were initialised before, and the kernel has just written the bytes from
    // there up to `len`, which lies within the capacity that `recv` was given.
    unsafe { buffer.set_len(len) };
}
