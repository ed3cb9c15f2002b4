//! Frames through tokio-util's `Framed`.
//!
//! Owns the adapter. Must never buffer more than one frame, nor make room for one whose length is refused.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

use crate::frame::LENGTH_PREFIX;
use crate::{FrameError, FrameLimit, Split, split_frame};

/// The most room made ahead for a frame that is still arriving, in bytes: a claimed length is believed as far as
/// its bytes have come, and this much further.
const READ_AHEAD: usize = 64 * 1024;

/// Splits a stream into frames, and lets ready-made frames through.
///
/// Decoding yields a frame without its length prefix, as [`decode`](crate::decode) wants it. Encoding takes
/// what the `put_*` functions wrote, with the prefix: one whole frame or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCodec {
    accept: FrameLimit,
    send: FrameLimit,
}

impl FrameCodec {
    /// A codec that accepts and sends frames up to `limit`.
    #[must_use]
    pub const fn new(limit: FrameLimit) -> Self {
        Self { accept: limit, send: limit }
    }

    /// Changes the limit for frames sent, when the peer's hello has said what it accepts.
    pub const fn set_send_limit(&mut self, limit: FrameLimit) {
        self.send = limit;
    }
}

/// Why a stream of frames ended.
#[derive(Debug, Error)]
pub enum CodecError {
    /// A frame that cannot be.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Bytes handed to the encoder that are no whole frames.
    #[error("the bytes to send are no whole frames (a frame lacks {missing} bytes); pass what `put_*` wrote")]
    Unfinished {
        /// How many bytes the last frame lacks.
        missing: usize,
    },
    /// Reading or writing failed, or the peer closed in the middle of a frame.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = CodecError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, CodecError> {
        match split_frame(src, self.accept)? {
            Split::Frame { frame, .. } => {
                let len = frame.len();
                src.advance(LENGTH_PREFIX);
                Ok(Some(src.split_to(len).freeze()))
            }
            Split::Incomplete { have, need } => {
                src.reserve((need - have).min(READ_AHEAD));
                Ok(None)
            }
        }
    }
}

impl Encoder<Bytes> for FrameCodec {
    type Error = CodecError;

    fn encode(&mut self, frames: Bytes, dst: &mut BytesMut) -> Result<(), CodecError> {
        let mut left: &[u8] = &frames;
        while !left.is_empty() {
            match split_frame(left, self.send)? {
                Split::Frame { rest, .. } => left = rest,
                Split::Incomplete { have, need } => {
                    return Err(CodecError::Unfinished { missing: need - have });
                }
            }
        }
        dst.extend_from_slice(&frames);
        Ok(())
    }
}
