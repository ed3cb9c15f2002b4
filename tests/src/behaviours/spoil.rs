//! Spoils the connection to the broker behind the back of whoever serves on it.
#![expect(unsafe_code, reason = "the descriptor belongs to the SDK, which gives it to nobody")]

use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::Shutdown;

/// Says what is no frame, between those of the SDK.
pub(super) fn with_garbage() -> ! {
    // One that is gone already cannot be spoiled any more.
    rustix::io::write(socket(), b"\0\0\0\x10GET / HTTP/1.1\r\n").unwrap_or_default();
    super::hang::commit()
}

/// Ends both directions.
pub(super) fn by_shutting() -> ! {
    rustix::net::shutdown(socket(), Shutdown::Both).unwrap_or_default();
    super::hang::commit()
}

fn socket() -> BorrowedFd<'static> {
    let fd = std::env::var("LIFEBOAT_FD").ok().and_then(|fd| fd.parse::<RawFd>().ok());
    // SAFETY: whoever serves keeps its socket open until the process ends, and only such a worker does this deed.
    unsafe { BorrowedFd::borrow_raw(fd.expect("a broker has started this program")) }
}
