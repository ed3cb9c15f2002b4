//! The watcher's alarm: wakes it from whatever thread has something for it, and from the handler of SIGTERM.
//!
//! Owns the pair of sockets behind it. Must never wait: one ring that was not heard yet stands for all.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{SendFlags, send};

pub(crate) struct Alarm {
    /// Written to.
    button: UnixStream,
    /// Read from, by the watcher alone.
    bell: UnixStream,
}

impl Alarm {
    /// # Errors
    ///
    /// Those of making a socket pair.
    pub(crate) fn new() -> io::Result<Self> {
        let (button, bell) = UnixStream::pair()?;
        Ok(Self { button, bell })
    }

    pub(crate) fn ring(&self) {
        // It fails if so many rings were not heard that there is no room for one more, or after the watcher's end.
        let _ = send(&self.button, &[1], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Another way to ring it, for a handler of signals.
    ///
    /// # Errors
    ///
    /// Those of duplicating a descriptor.
    pub(crate) fn button(&self) -> io::Result<UnixStream> {
        self.button.try_clone()
    }

    /// Rings for good: the watcher is to end.
    pub(crate) fn end(&self) {
        // It fails only if the watcher ended already.
        let _ = self.button.shutdown(Shutdown::Both);
    }

    /// What the watcher waits for.
    pub(crate) fn source(&self) -> PollFd<'_> {
        PollFd::new(&self.bell, PollFlags::IN)
    }

    /// Takes note of a ring; false if it was the last. Waits unless [`source`](Self::source) was ready.
    pub(crate) fn hear(&self) -> bool {
        !matches!((&self.bell).read(&mut [0; 64]), Ok(0))
    }
}
