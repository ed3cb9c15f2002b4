//! Who is at the other end of an accepted connection.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, OwnedFd};

/// Who connected, as the kernel recorded it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    /// The user.
    pub(super) uid: u32,
    /// The process; `None` where it is in a PID namespace that is not visible here.
    pub(super) pid: Option<u32>,
}

/// The peer's user and process, as the kernel recorded them when the peer connected.
///
/// A raw call: the safe wrappers at hand refuse a peer whose process id is not visible here, as that of a client outside
/// the broker's PID namespace.
#[expect(unsafe_code, reason = "no safe wrapper accepts a peer outside the PID namespace")]
pub(super) fn credentials(socket: &OwnedFd) -> io::Result<Credentials> {
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
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = u32::try_from(credentials.pid).ok().filter(|pid| *pid > 0);
    Ok(Credentials { uid: credentials.uid, pid })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socketpairs_peer_is_this_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let expected = Credentials { uid, pid: Some(std::process::id()) };
        assert_eq!(credentials(&OwnedFd::from(ours)).unwrap(), expected);
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(credentials(&OwnedFd::from(file)).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
