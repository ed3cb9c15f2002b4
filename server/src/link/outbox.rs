//! What waits to be written to one connection, in order: small frames in one buffer, large bodies as their own slices
//! of a gathered write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};
use rustix::io::Errno;

use super::socket::Socket;

/// Slices of one gathered write.
const GATHER: usize = 64;

/// A buffer that grew past this is given back once it is empty, so that a connection that was busy once does not keep
/// what it needed then.
const KEPT_CAPACITY: usize = 16 << 10;

/// Frames on their way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Older than `tail`.
    queue: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// How much of `tail` is written; only ever above zero while `queue` is empty.
    tail_written: usize,
    queued_bytes: usize,
}

/// What became of a flush.
pub(super) enum Flushed {
    /// Everything is written.
    All,
    /// The peer does not read; the rest waits.
    Blocked,
    /// The connection is broken for writing.
    Failed(Errno),
}

impl Outbox {
    /// The buffer that whole small frames are appended to.
    pub(super) const fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends a body as its own slice, behind what is in the tail.
    pub(super) fn push_body(&mut self, body: Bytes) {
        self.seal_tail();
        self.queued_bytes += body.len();
        self.queue.push_back(body);
    }

    /// Bytes that wait.
    pub(super) const fn pending(&self) -> usize {
        self.queued_bytes + self.tail.len() - self.tail_written
    }

    /// Writes as much as the peer takes.
    pub(super) fn flush(&mut self, socket: &Socket) -> Flushed {
        while self.pending() > 0 {
            let sent = if self.queue.is_empty() {
                socket.send(&[IoSlice::new(&self.tail[self.tail_written..])])
            } else {
                self.seal_tail();
                let mut slices = [IoSlice::new(&[]); GATHER];
                let used = self.queue.len().min(GATHER);
                for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
                    *slice = IoSlice::new(bytes);
                }
                socket.send(&slices[..used])
            };
            match sent {
                Ok(sent) => self.advance(sent),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Flushed::Blocked,
                Err(errno) => return Flushed::Failed(errno),
            }
        }
        Flushed::All
    }

    fn seal_tail(&mut self) {
        if self.tail.len() > self.tail_written {
            let mut sealed = Bytes::from(std::mem::take(&mut self.tail));
            sealed.advance(self.tail_written);
            self.queued_bytes += sealed.len();
            self.queue.push_back(sealed);
        } else {
            self.tail.clear();
        }
        self.tail_written = 0;
    }

    fn advance(&mut self, mut sent: usize) {
        while sent > 0 {
            let Some(first) = self.queue.front_mut() else {
                self.tail_written += sent;
                break;
            };
            let step = sent.min(first.len());
            first.advance(step);
            self.queued_bytes -= step;
            sent -= step;
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
        if self.tail_written == self.tail.len() {
            self.tail.clear();
            self.tail_written = 0;
            if self.tail.capacity() > KEPT_CAPACITY {
                self.tail = Vec::new();
            }
        }
    }
}
