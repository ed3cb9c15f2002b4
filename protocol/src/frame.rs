//! Frames: a 4-byte big-endian length, then that many bytes.
//!
//! Owns where a frame begins and ends, and how long it may be. Must never look inside a frame, and must never
//! let a claimed length cause an allocation: the length is judged as soon as its four bytes are there.

use thiserror::Error;

use crate::{EncodeError, FRAME_OVERHEAD, RefusedCode};

/// Bytes of the length prefix.
pub const LENGTH_PREFIX: usize = 4;

/// The longest frame a side accepts, the length prefix not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameLimit(usize);

impl FrameLimit {
    /// The limit for bodies of up to `max_body` bytes: 64 KiB more, for the header. Never above what four
    /// bytes can say.
    #[must_use]
    pub const fn for_body(max_body: usize) -> Self {
        let longest = u32::MAX as usize;
        let limit = max_body.saturating_add(FRAME_OVERHEAD);
        Self(if limit > longest { longest } else { limit })
    }

    /// The longest frame accepted, in bytes, the length prefix not counted.
    #[must_use]
    pub const fn max_frame(self) -> usize {
        self.0
    }

    /// The largest body that this limit is meant for, in bytes: what a sender should check before it encodes.
    #[must_use]
    pub const fn max_body(self) -> usize {
        self.0.saturating_sub(FRAME_OVERHEAD)
    }
}

/// What [`split_frame`] found at the front of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split<'a> {
    /// A whole frame.
    Frame {
        /// The frame's bytes, after its length prefix.
        frame: &'a [u8],
        /// What follows the frame.
        rest: &'a [u8],
    },
    /// Not yet a whole frame.
    Incomplete {
        /// Bytes at hand, the length prefix included.
        have: usize,
        /// Bytes the frame takes, the length prefix included; 4 while the prefix itself is not all there.
        need: usize,
    },
}

/// A length prefix that no frame may have. The stream cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The frame is longer than this side accepts.
    #[error(
        "a frame of {len} bytes is longer than the {limit} accepted; send smaller bodies or raise `max_body` \
         on the receiving side"
    )]
    TooLarge {
        /// The length claimed, in bytes.
        len: usize,
        /// The longest accepted, in bytes.
        limit: usize,
    },
    /// A frame of no bytes at all; a frame holds at least a header and a body.
    #[error(
        "a frame of length 0; the peer does not speak Lifeboat's protocol or lost its place in the stream"
    )]
    Empty,
}

impl FrameError {
    /// The code of the `refused` message that answers this error.
    #[must_use]
    pub const fn refused_code(&self) -> RefusedCode {
        match self {
            Self::TooLarge { .. } => RefusedCode::TooLarge,
            Self::Empty => RefusedCode::Malformed,
        }
    }
}

/// Takes one frame from the front of `bytes`, without copying or allocating.
///
/// # Errors
///
/// [`FrameError::TooLarge`] as soon as the four bytes of the prefix say so, [`FrameError::Empty`] for a length
/// of 0. After either the connection is of no further use.
pub fn split_frame(bytes: &[u8], limit: FrameLimit) -> Result<Split<'_>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<LENGTH_PREFIX>() else {
        return Ok(Split::Incomplete { have: bytes.len(), need: LENGTH_PREFIX });
    };
    let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if len == 0 {
        return Err(FrameError::Empty);
    }
    if len > limit.0 {
        return Err(FrameError::TooLarge { len, limit: limit.0 });
    }
    Ok(match rest.split_at_checked(len) {
        Some((frame, rest)) => Split::Frame { frame, rest },
        None => Split::Incomplete { have: bytes.len(), need: len.saturating_add(LENGTH_PREFIX) },
    })
}

/// The place of a frame's length prefix in a buffer, to be filled in by [`FrameStart::finish`].
#[derive(Debug)]
#[must_use = "a frame without `finish` has no length"]
pub struct FrameStart(usize);

/// Begins a frame at the end of `out`: leaves room for the length. Append the frame's bytes, then call
/// [`FrameStart::finish`].
pub fn begin_frame(out: &mut Vec<u8>) -> FrameStart {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_PREFIX]);
    FrameStart(start)
}

impl FrameStart {
    /// Writes the length of all that was appended to `out` since [`begin_frame`].
    ///
    /// # Panics
    ///
    /// If `out` was cut shorter in between, or the frame is longer than 4 GiB: senders check a body against the
    /// peer's `max_body` first.
    pub fn finish(self, out: &mut [u8]) {
        self.finish_with(out, 0);
    }

    /// Like [`finish`](Self::finish), for a frame of which `following` bytes are sent from elsewhere.
    pub(crate) fn finish_with(self, out: &mut [u8], following: usize) {
        let frame = &mut out[self.0..];
        let len = (frame.len() - LENGTH_PREFIX).saturating_add(following);
        let len =
            u32::try_from(len).expect("a body is checked against the peer's max_body before it is framed");
        frame[..LENGTH_PREFIX].copy_from_slice(&len.to_be_bytes());
    }

    /// Like [`finish`](Self::finish), but a frame that is too long is taken out of `out` again.
    pub(crate) fn try_finish(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let len = out.len() - self.0 - LENGTH_PREFIX;
        if u32::try_from(len).is_err() {
            self.abandon(out);
            return Err(EncodeError::TooLong { len });
        }
        self.finish(out);
        Ok(())
    }

    /// Takes everything since [`begin_frame`] out of `out` again.
    pub(crate) fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.0);
    }
}
