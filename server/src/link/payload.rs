//! The handles by which the core holds requests and answers, and the buffers behind the small ones.
//!
//! A small request is copied once, out of the read buffer into a pooled buffer of about its size, so that a request
//! that waits pins what it needs and not the block it came in. A large one stays where it was read.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use lifeboat_protocol::Failure;

use super::intake::Inbound;

/// Capacities of pooled buffers, in bytes. Whole requests up to the largest are copied; larger ones are not.
const CLASSES: [usize; 3] = [256, 1 << 10, 4 << 10];

/// Unused buffers kept per class: at most 1024 × 5.25 KiB in all.
const KEPT_PER_CLASS: usize = 1024;

/// Free buffers by class.
#[derive(Debug, Default)]
pub(super) struct BufferPool {
    free: [RefCell<Vec<Vec<u8>>>; CLASSES.len()],
}

impl BufferPool {
    fn copy(self: &Rc<Self>, bytes: &[u8]) -> Option<PooledBuffer> {
        let class = CLASSES.iter().position(|size| bytes.len() <= *size)?;
        let kept = self.free[class].borrow_mut().pop();
        let mut buffer = kept.unwrap_or_else(|| Vec::with_capacity(CLASSES[class]));
        buffer.extend_from_slice(bytes);
        Some(PooledBuffer { bytes: buffer, class, pool: Rc::clone(self) })
    }

    /// The handle of a request frame that has just been read.
    pub(super) fn hold(self: &Rc<Self>, frame: &[u8], inbound: &Inbound, body_at: usize) -> RequestPayload {
        match (self.copy(frame), inbound) {
            (Some(buffer), _) => RequestPayload::Small(buffer),
            (None, Inbound::Large(bytes)) => RequestPayload::Large { frame: bytes.clone(), body_at },
            (None, Inbound::Small(_)) => {
                RequestPayload::Large { frame: Bytes::copy_from_slice(frame), body_at }
            }
        }
    }
}

/// A pooled buffer; goes back when dropped.
#[derive(Debug)]
pub struct PooledBuffer {
    bytes: Vec<u8>,
    class: usize,
    pool: Rc<BufferPool>,
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let mut free = self.pool.free[self.class].borrow_mut();
        if free.len() < KEPT_PER_CLASS {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            free.push(bytes);
        }
    }
}

/// A request as it came: its whole frame without the length prefix.
#[derive(Debug)]
pub enum RequestPayload {
    /// Copied into a pooled buffer.
    Small(PooledBuffer),
    /// Where it was read.
    Large {
        /// The frame.
        frame: Bytes,
        /// Where the body begins in it.
        body_at: usize,
    },
}

impl RequestPayload {
    /// The memory that it pins, in bytes.
    #[must_use]
    pub fn pinned(&self) -> usize {
        match self {
            Self::Small(buffer) => CLASSES[buffer.class],
            Self::Large { frame, .. } => frame.len(),
        }
    }

    /// The frame of a small request.
    pub(super) fn small_frame(buffer: &PooledBuffer) -> &[u8] {
        &buffer.bytes
    }
}

/// An answer as it came, or what else a handler says.
#[derive(Clone, Debug)]
pub struct AnswerPayload(pub(super) AnswerForm);

#[derive(Clone, Debug)]
pub(super) enum AnswerForm {
    /// An answer frame, relayed as it is.
    Frame(Inbound),
    /// What an attempt has saved for the next one: the item's own bytes. The core keeps it.
    Saved(Bytes),
    /// What a handler said that said no: decoded, since the client is told it beside the attempts.
    Failure(Box<Failure>),
}
