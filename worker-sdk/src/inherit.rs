//! The socket that the broker leaves in the process.
//!
//! Owns finding it, checking it and making it ours: close-on-exec at once, so that no child of the worker holds
//! it. Must never read or write it, and must never close or change a descriptor that turns out to be another one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::WorkerError;

/// Names the socket's descriptor. It stays in the environment, and with it in that of programs which the worker
/// starts: those find the descriptor closed, or taken by something of their own.
const FD_VARIABLE: &str = "LIFEBOAT_FD";

/// Room for unread answers, in bytes: a 1 MiB body then leaves in one write. The kernel caps it at
/// `net.core.wmem_max`.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// Whether this process took its socket already; a descriptor has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the inherited socket. Later calls in the same process find it taken.
///
/// # Errors
///
/// [`WorkerError::StartedByHand`] if the environment names no descriptor or a closed one,
/// [`WorkerError::BadDescriptor`] if it names something else than an inherited Unix stream socket (which is left
/// alone), [`WorkerError::AlreadyTaken`].
pub(crate) fn inherited_socket() -> Result<UnixStream, WorkerError> {
    let Some(text) = std::env::var_os(FD_VARIABLE) else {
        return Err(WorkerError::StartedByHand);
    };
    let fd = text.to_str().and_then(|text| text.parse().ok()).filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(|| bad(&text.to_string_lossy(), "is not a descriptor's number"))?;
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(WorkerError::AlreadyTaken);
    }
    take(fd).map(UnixStream::from)
}

fn take(fd: RawFd) -> Result<OwnedFd, WorkerError> {
    let socket = crate::sys::adopt(fd, |candidate| check(fd, candidate))?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)
        .map_err(|error| WorkerError::Setup { what: "close-on-exec", source: error.into() })?;
    Ok(socket)
}

/// Whether it is what a broker leaves in a worker's process.
fn check(fd: RawFd, candidate: BorrowedFd<'_>) -> Result<(), WorkerError> {
    // A closed descriptor under the broker's environment: a worker program that another worker's process started.
    let flags = fcntl_getfd(candidate).map_err(|_| WorkerError::StartedByHand)?;
    let why = match sockopt::socket_type(candidate) {
        Err(_) => "is not a socket",
        Ok(_) if sockopt::socket_domain(candidate) != Ok(AddressFamily::UNIX) => "is not a Unix socket",
        Ok(kind) if kind != SocketType::STREAM => "is not a stream socket",
        // An inherited descriptor lived through an exec, so it cannot have this flag.
        Ok(_) if flags.contains(FdFlags::CLOEXEC) => {
            "was opened by this program (make `Worker::new()` the first thing in `main`)"
        }
        Ok(_) => return Ok(()),
    };
    Err(bad(&fd.to_string(), why))
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_foreign_descriptor_is_refused_and_left_alone() {
        let (stream, _peer) = UnixStream::pair().unwrap();
        let foreign: [(OwnedFd, &str); 4] = [
            (tempfile::tempfile().unwrap().into(), "is not a socket"),
            (TcpListener::bind("127.0.0.1:0").unwrap().into(), "is not a Unix socket"),
            (UnixDatagram::unbound().unwrap().into(), "is not a stream socket"),
            (stream.into(), "was opened by this program (make `Worker::new()` the first thing in `main`)"),
        ];
        for (owned, expected) in foreign {
            // Where it does not decide, the flag is off, so that setting it would be seen.
            let unix_stream = expected.starts_with("was opened");
            let flags = if unix_stream { FdFlags::CLOEXEC } else { FdFlags::empty() };
            fcntl_setfd(&owned, flags).unwrap();
            let error = take(owned.as_raw_fd()).unwrap_err();
            assert!(
                matches!(error, WorkerError::BadDescriptor { why, .. } if why == expected),
                "{expected}: {error:?}"
            );
            assert_eq!(fcntl_getfd(&owned), Ok(flags), "{expected}: open and unchanged");
        }
    }

    #[test]
    fn an_inherited_unix_stream_is_taken_once_and_no_child_gets_it() {
        let (stream, _peer) = UnixStream::pair().unwrap();
        // As after an exec.
        fcntl_setfd(&stream, FdFlags::empty()).unwrap();
        let fd = stream.into_raw_fd();
        let taken = take(fd).unwrap();
        assert_eq!(fcntl_getfd(&taken), Ok(FdFlags::CLOEXEC));
        assert!(matches!(take(fd), Err(WorkerError::BadDescriptor { .. })));
        assert_eq!(fcntl_getfd(&taken), Ok(FdFlags::CLOEXEC));
    }

    #[test]
    fn a_closed_descriptor_means_started_by_hand() {
        assert!(matches!(take(RawFd::MAX), Err(WorkerError::StartedByHand)));
    }
}
