//! The memory that the socket is read into.
//!
//! Owns its growth, its reuse and its release. Must never allocate for a frame whose length was not checked, and
//! must never look further into a frame than its length.

use std::os::fd::AsFd;

use bytes::{Bytes, BytesMut};
use lifeboat_protocol::{FrameError, FrameLimit, LENGTH_PREFIX, Split, split_frame};
use rustix::io::Errno;
use rustix::net::RecvFlags;

/// Room for one read, in bytes: more than a socket's default send buffer holds.
const READ_SIZE: usize = 256 * 1024;

/// A read is worth its call with this much room; with less, room is made first.
const LEAST_ROOM: usize = READ_SIZE / 4;

/// Reads without a frame above [`READ_SIZE`] after which the memory of large frames is given back.
const KEEP_LARGE_FOR: u32 = 64;

/// Frames are slices of one allocation, which is used again as soon as none of them is alive.
pub(crate) struct ReadBuffer {
    bytes: BytesMut,
    limit: FrameLimit,
    /// Bytes the frame at the front takes, the length prefix included.
    need: usize,
    /// Reads since the last frame above [`READ_SIZE`]; `None` if the memory is of the usual size.
    since_large: Option<u32>,
}

impl ReadBuffer {
    pub(crate) fn new(limit: FrameLimit) -> Self {
        Self { bytes: BytesMut::new(), limit, need: LENGTH_PREFIX, since_large: None }
    }

    /// Sets the longest frame accepted from here on.
    pub(crate) const fn set_limit(&mut self, limit: FrameLimit) {
        self.limit = limit;
    }

    /// One `recv` of whatever is there; 0 means end of stream.
    ///
    /// # Errors
    ///
    /// Those of `recv`.
    pub(crate) fn read(&mut self, socket: impl AsFd, flags: RecvFlags) -> Result<usize, Errno> {
        self.make_room();
        crate::sys::recv_into(socket, &mut self.bytes, flags)
    }

    fn make_room(&mut self) {
        let missing = self.need.saturating_sub(self.bytes.len());
        if missing > READ_SIZE {
            self.since_large = Some(0);
        } else if let Some(reads) = &mut self.since_large {
            *reads += 1;
            if *reads > KEEP_LARGE_FOR && self.bytes.is_empty() {
                self.bytes = BytesMut::new();
                self.since_large = None;
            }
        }
        if self.bytes.capacity() - self.bytes.len() < missing.max(LEAST_ROOM) {
            // Moves the unread rest to the front if no frame of this allocation is alive; allocates otherwise.
            self.bytes.reserve(missing.max(READ_SIZE));
        }
    }

    /// Takes the next whole frame, without its length prefix and without copying it.
    ///
    /// # Errors
    ///
    /// [`FrameError`] for a length that is not accepted; the stream cannot be read any further.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match split_frame(&self.bytes, self.limit)? {
            Split::Frame { frame, .. } => {
                let len = frame.len();
                let mut frame = self.bytes.split_to(LENGTH_PREFIX + len).freeze();
                self.need = LENGTH_PREFIX;
                Ok(Some(frame.split_off(LENGTH_PREFIX)))
            }
            Split::Incomplete { need, .. } => {
                self.need = need;
                Ok(None)
            }
        }
    }

    /// Whether a frame has begun and not ended, and how much of it is there.
    pub(crate) fn cut_frame(&self) -> Option<(usize, usize)> {
        (!self.bytes.is_empty()).then_some((self.bytes.len(), self.need))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn frame(len: usize) -> Vec<u8> {
        let mut frame = u32::try_from(len).unwrap().to_be_bytes().to_vec();
        frame.resize(LENGTH_PREFIX + len, 7);
        frame
    }

    #[test]
    fn memory_is_used_again_and_large_memory_is_given_back() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut buffer = ReadBuffer::new(FrameLimit::for_body(4 * READ_SIZE));
        let large = frame(2 * READ_SIZE);
        let writer = std::thread::spawn(move || {
            ours.write_all(&large).unwrap();
            ours
        });
        let taken = loop {
            assert_ne!(buffer.read(&theirs, RecvFlags::empty()).unwrap(), 0);
            if let Some(frame) = buffer.next_frame().unwrap() {
                break frame;
            }
        };
        assert_eq!(taken.len(), 2 * READ_SIZE);
        drop(taken);
        let mut ours = writer.join().unwrap();

        let mut places = std::collections::HashSet::new();
        let mut released = false;
        for _ in 0..8 * READ_SIZE / 1000 {
            ours.write_all(&frame(1000)).unwrap();
            buffer.read(&theirs, RecvFlags::empty()).unwrap();
            released |= buffer.since_large.is_none();
            let taken = buffer.next_frame().unwrap().unwrap();
            assert_eq!(taken.len(), 1000);
            assert_eq!(buffer.next_frame().unwrap(), None);
            places.insert(taken.as_ptr() as usize);
        }
        assert!(released);
        let (low, high) = (places.iter().min().unwrap(), places.iter().max().unwrap());
        // 2 MiB went through: two allocations at most, the large one and the usual one.
        assert!(places.len() < 1200, "{} places between {low:x} and {high:x}", places.len());
    }

    #[test]
    fn an_oversized_frame_is_refused_by_its_length_alone() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut buffer = ReadBuffer::new(FrameLimit::for_body(1000));
        ours.write_all(&u32::MAX.to_be_bytes()).unwrap();
        buffer.read(&theirs, RecvFlags::empty()).unwrap();
        assert!(matches!(buffer.next_frame(), Err(FrameError::TooLarge { .. })));
        assert!(buffer.bytes.capacity() <= 2 * READ_SIZE);
    }
}
