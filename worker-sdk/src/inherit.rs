//! The socket that the broker leaves in the process.
//!
//! Owns finding it, checking it and making it ours: close-on-exec at once, so that no child of the worker holds
//! it. Must never read or write it, and must never touch a descriptor unless the environment says that a broker
//! started this process.

use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::WorkerError;

/// Names the socket's descriptor.
const FD_VARIABLE: &str = "LIFEBOAT_FD";

/// Marks a worker's process and its descendants.
const MARKER: &str = "LIFEBOAT_WORKER";

/// The descriptor when [`FD_VARIABLE`] is not set but the process is marked.
const DEFAULT_FD: RawFd = 3;

/// Room for unread answers, in bytes: a 1 MiB body then leaves in one write. The kernel caps it at
/// `net.core.wmem_max`.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// Whether this process took its socket already; a descriptor has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the inherited socket. Later calls in the same process find it taken.
///
/// # Errors
///
/// [`WorkerError::StartedByHand`] without the broker's environment or socket, [`WorkerError::BadDescriptor`] if
/// the environment names something else, [`WorkerError::AlreadyTaken`].
pub(crate) fn inherited_socket() -> Result<UnixStream, WorkerError> {
    let fd = match std::env::var(FD_VARIABLE) {
        Ok(text) => text.parse().map_err(|_| bad(&text, "is not a descriptor's number"))?,
        Err(_) if std::env::var_os(MARKER).is_some() => DEFAULT_FD,
        Err(_) => return Err(WorkerError::StartedByHand),
    };
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(WorkerError::AlreadyTaken);
    }
    // A closed descriptor under the broker's environment: a worker program that another worker's process started.
    let socket = crate::sys::adopt(fd).map_err(|_| WorkerError::StartedByHand)?;
    match sockopt::socket_type(&socket) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err(bad(&fd.to_string(), "is not a stream socket")),
        Err(_) => return Err(bad(&fd.to_string(), "is not a socket")),
    }
    if sockopt::socket_domain(&socket) != Ok(AddressFamily::UNIX) {
        return Err(bad(&fd.to_string(), "is not a Unix socket"));
    }
    Ok(UnixStream::from(socket))
}

/// Prepares any socket for serving: blocking, with room for large answers.
///
/// # Errors
///
/// Those of making the socket blocking. A refused send buffer is no error: it costs speed on large bodies only.
pub(crate) fn prepare(socket: &UnixStream) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    let _ = sockopt::set_socket_send_buffer_size(socket.as_fd(), SEND_BUFFER);
    Ok(())
}

fn bad(fd: &str, why: &'static str) -> WorkerError {
    WorkerError::BadDescriptor { fd: fd.to_owned(), why }
}
