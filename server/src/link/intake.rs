//! Cuts what a socket gives into frames.
//!
//! One scratch buffer serves every connection of the thread: it is filled and emptied within one wake-up, and only
//! the piece of a frame whose rest has not come yet is kept per connection. A frame larger than the scratch buffer
//! can hold is read straight into a buffer of its own, once its length has passed the limit.

use std::ops::Range;

use bytes::Bytes;
use lifeboat_protocol::{FrameError, FrameLimit, LENGTH_PREFIX, Split, split_frame};

use super::socket::{Received, Socket};

/// Bytes read at a time: what the kernel's default socket buffer holds, so that one read empties it.
pub(super) const SCRATCH: usize = 256 << 10;

/// A frame of this many bytes or more gets a buffer of its own.
const LARGE: usize = 64 << 10;

/// What a connection keeps of the buffer for the beginning of a frame.
const KEPT_CAPACITY: usize = 4 << 10;

/// The thread's read buffer.
pub(super) struct Scratch {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Counts refills, so that a range of an earlier one is never mistaken for one of this.
    epoch: u64,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; SCRATCH], start: 0, end: 0, epoch: 0 }
    }

    /// The bytes of a range that was cut from the present filling.
    pub(super) fn get(&self, cut: &Cut) -> &[u8] {
        assert_eq!(cut.epoch, self.epoch, "an answer is consumed before the next read");
        &self.bytes[cut.range.clone()]
    }
}

/// A frame's place in the scratch buffer, without its length prefix.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    range: Range<usize>,
    epoch: u64,
}

/// A whole frame, without its length prefix.
#[derive(Clone, Debug)]
pub(super) enum Inbound {
    /// In the scratch buffer, until the next read.
    Small(Cut),
    /// In a buffer of its own.
    Large(Bytes),
}

impl Inbound {
    /// The frame's bytes.
    pub(super) fn bytes<'a>(&'a self, scratch: &'a Scratch) -> &'a [u8] {
        match self {
            Self::Small(cut) => scratch.get(cut),
            Self::Large(bytes) => bytes,
        }
    }
}

/// One connection's side of the cutting.
pub(super) struct Intake {
    limit: FrameLimit,
    partial: Partial,
}

enum Partial {
    /// The beginning of a frame, prefix included; empty between frames.
    Small(Vec<u8>),
    /// A large frame under way: its bytes so far, prefix included, and how many it will have.
    Large { bytes: Vec<u8>, need: usize },
}

impl Intake {
    pub(super) const fn new(limit: FrameLimit) -> Self {
        Self { limit, partial: Partial::Small(Vec::new()) }
    }

    /// Bytes of a frame whose rest has not come.
    pub(super) const fn unfinished(&self) -> usize {
        match &self.partial {
            Partial::Small(bytes) | Partial::Large { bytes, .. } => bytes.len(),
        }
    }

    /// Reads once, at most `most` bytes and at least one. Follow with [`Intake::next_frame`] until it gives none.
    pub(super) fn read(&mut self, socket: &Socket, scratch: &mut Scratch, most: usize) -> Received {
        debug_assert!(most > 0, "nothing read would be taken for the end");
        scratch.epoch += 1;
        scratch.start = 0;
        match &mut self.partial {
            Partial::Small(begun) => {
                scratch.bytes[..begun.len()].copy_from_slice(begun);
                let room = &mut scratch.bytes[begun.len()..];
                let len = room.len().min(most);
                let received = socket.receive(&mut room[..len]);
                match received {
                    Received::Short(taken) | Received::Full(taken) => {
                        scratch.end = begun.len() + taken;
                        begun.clear();
                        begun.shrink_to(KEPT_CAPACITY);
                    }
                    Received::Nothing | Received::Eof | Received::Failed(_) => scratch.end = 0,
                }
                received
            }
            Partial::Large { bytes, need } => {
                scratch.end = 0;
                let missing = *need - bytes.len();
                socket.receive_into(bytes, missing.min(most))
            }
        }
    }

    /// The next whole frame of what was read, if there is one; the rest is kept for the next read.
    pub(super) fn next_frame(&mut self, scratch: &mut Scratch) -> Result<Option<Inbound>, FrameError> {
        if let Partial::Large { bytes, need } = &mut self.partial {
            if bytes.len() < *need {
                return Ok(None);
            }
            let whole = Bytes::from(std::mem::take(bytes));
            self.partial = Partial::Small(Vec::new());
            return Ok(Some(Inbound::Large(whole.slice(LENGTH_PREFIX..))));
        }
        let rest = &scratch.bytes[scratch.start..scratch.end];
        match split_frame(rest, self.limit)? {
            Split::Frame { frame, .. } => {
                let from = scratch.start + LENGTH_PREFIX;
                let range = from..from + frame.len();
                scratch.start = range.end;
                Ok(Some(Inbound::Small(Cut { range, epoch: scratch.epoch })))
            }
            Split::Incomplete { need, .. } => {
                let rest = scratch.start..scratch.end;
                scratch.start = scratch.end;
                self.keep(&scratch.bytes[rest], need);
                Ok(None)
            }
        }
    }

    fn keep(&mut self, rest: &[u8], need: usize) {
        if rest.is_empty() {
            return;
        }
        if need >= LARGE {
            let mut bytes = Vec::with_capacity(need);
            bytes.extend_from_slice(rest);
            self.partial = Partial::Large { bytes, need };
        } else if let Partial::Small(begun) = &mut self.partial {
            begun.extend_from_slice(rest);
        }
    }
}
