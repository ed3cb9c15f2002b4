//! Bytes from the broker: read into one buffer that is kept, taken out frame by frame.
//!
//! Owns where frames begin and end in what was read. A frame too large for the buffer is read straight into its own
//! allocation and handed out without a copy. Must never wait, and never allocate for a length beyond the limit.

use bytes::Bytes;
use lifeboat_protocol::{FrameError, FrameLimit, LENGTH_PREFIX, Split, split_frame};
use rustix::buffer::spare_capacity;
use rustix::fd::AsFd;
use rustix::io::Errno;

/// Bytes read at once: what a burst of small answers fills, and little enough to stay in the cache.
const BUFFER: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    limit: FrameLimit,
    buf: Vec<u8>,
    /// Bytes of `buf` taken out.
    at: usize,
    large: Option<Large>,
}

/// A frame with an allocation of its own.
#[derive(Debug)]
struct Large {
    bytes: Vec<u8>,
    need: usize,
}

/// What one read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// Bytes, and the socket may have more.
    Full,
    /// Bytes, and the socket is empty.
    Short,
    /// The socket was empty.
    Nothing,
    /// The peer will send nothing more.
    Eof,
}

/// A whole frame, the length prefix not counted.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// Borrowed from the buffer.
    Small(&'a [u8]),
    /// With an allocation of its own.
    Large(Bytes),
}

impl Frame<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }

    /// The last `len` bytes, to keep: a copy of a small frame's, a slice of a large one's.
    pub(crate) fn keep_last(&self, len: usize) -> Bytes {
        match self {
            Self::Small(bytes) => Bytes::copy_from_slice(&bytes[bytes.len() - len..]),
            Self::Large(bytes) => bytes.slice(bytes.len() - len..),
        }
    }
}

impl Inbox {
    /// Sets the limit for the frames that are not begun yet.
    pub(crate) fn set_limit(&mut self, limit: FrameLimit) {
        self.limit = limit;
    }

    pub(crate) fn new(limit: FrameLimit) -> Self {
        Self { limit, buf: Vec::with_capacity(BUFFER), at: 0, large: None }
    }

    /// One read, without waiting.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says but `AGAIN` and `INTR`.
    pub(crate) fn read_from(&mut self, socket: impl AsFd) -> Result<Got, Errno> {
        let into = match &mut self.large {
            Some(large) => &mut large.bytes,
            None => {
                if self.at > 0 {
                    self.buf.drain(..self.at);
                    self.at = 0;
                }
                &mut self.buf
            }
        };
        let room = into.capacity() - into.len();
        loop {
            match rustix::io::read(&socket, spare_capacity(into)) {
                Ok(0) => return Ok(Got::Eof),
                Ok(read) if read < room => return Ok(Got::Short),
                Ok(_) => return Ok(Got::Full),
                Err(Errno::AGAIN) => return Ok(Got::Nothing),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The next whole frame, if one is there.
    ///
    /// # Errors
    ///
    /// [`FrameError`] for a length that no frame may have; the connection is then of no further use.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(large) = self.large.take_if(|large| large.bytes.len() >= large.need) {
            let mut bytes = large.bytes;
            // An allocator may give more room than asked for; what was read beyond the frame belongs to the next.
            self.buf.extend_from_slice(&bytes[large.need..]);
            bytes.truncate(large.need);
            return Ok(Some(Frame::Large(Bytes::from(bytes).slice(LENGTH_PREFIX..))));
        }
        if self.large.is_some() {
            return Ok(None);
        }
        let need = match split_frame(&self.buf[self.at..], self.limit)? {
            Split::Frame { frame, .. } => {
                let (start, end) = (self.at + LENGTH_PREFIX, self.at + LENGTH_PREFIX + frame.len());
                self.at = end;
                return Ok(Some(Frame::Small(&self.buf[start..end])));
            }
            Split::Incomplete { need, .. } => need,
        };
        if need > BUFFER {
            let mut bytes = Vec::with_capacity(need);
            bytes.extend_from_slice(&self.buf[self.at..]);
            self.buf.clear();
            self.at = 0;
            self.large = Some(Large { bytes, need });
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn frame(len: usize, fill: u8) -> Vec<u8> {
        let mut bytes = u32::try_from(len).expect("short").to_be_bytes().to_vec();
        bytes.resize(LENGTH_PREFIX + len, fill);
        bytes
    }

    #[test]
    fn frames_of_all_sizes_come_out_whole_and_in_order() {
        let lens = [1, 7, BUFFER - 4, BUFFER - 3, BUFFER, 3, 5 * BUFFER, 300_000, 2, 1];
        let (mut theirs, ours) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let writer = std::thread::spawn(move || {
            for (fill, len) in (0_u8..).zip(lens) {
                theirs.write_all(&frame(len, fill)).expect("written");
            }
        });
        let mut inbox = Inbox::new(FrameLimit::for_body(1 << 20));
        let mut seen = Vec::new();
        loop {
            let got = inbox.read_from(&ours).expect("read");
            while let Some(frame) = inbox.next_frame().expect("a good length") {
                let bytes = frame.bytes();
                assert!(bytes.iter().all(|byte| usize::from(*byte) == seen.len()));
                assert_eq!(frame.keep_last(1).len(), 1);
                seen.push(bytes.len());
            }
            match got {
                Got::Eof => break,
                Got::Nothing => std::thread::yield_now(),
                Got::Full | Got::Short => {}
            }
        }
        writer.join().expect("the writer");
        assert_eq!(seen, lens);
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_kept() {
        let (mut theirs, ours) = UnixStream::pair().expect("a socket pair");
        theirs.write_all(&[0xff; 4]).expect("written");
        let mut inbox = Inbox::new(FrameLimit::for_body(1000));
        assert_eq!(inbox.read_from(&ours).expect("read"), Got::Short);
        assert!(matches!(inbox.next_frame(), Err(FrameError::TooLarge { .. })));
    }
}
