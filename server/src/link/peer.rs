//! Who is at the other end of an accepted connection.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// The peer's user, as the kernel recorded it when the peer connected.
///
/// A raw call: the safe wrappers at hand refuse a peer whose process id is not visible here, as that of a client outside
/// the broker's PID namespace.
#[expect(unsafe_code, reason = "no safe wrapper accepts a peer outside the PID namespace")]
pub(super) fn peer_uid(socket: &OwnedFd) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    const { assert!(size_of::<libc::ucred>() <= libc::socklen_t::MAX as usize) };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel writes at most `len` bytes, the size of
    // the live and exclusively borrowed `credentials`, of which every bit pattern is valid.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    if outcome == 0 { Ok(credentials.uid) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socketpairs_peer_is_this_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&OwnedFd::from(ours)).unwrap(), rustix::process::geteuid().as_raw());
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(peer_uid(&OwnedFd::from(file)).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
