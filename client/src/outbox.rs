//! Bytes on their way to the broker: frames in the order in which they are written.
//!
//! Owns which frame was written how far, and so the answer to "did the broker get this request?". Small bodies are
//! copied behind their headers into one buffer that is written at once; a large body stays where the caller has it and
//! goes as its own slice of the gathered write. Must never touch a socket except in [`Outbox::write_to`], and never
//! forget a request before its last byte is written.

use std::collections::VecDeque;
use std::io::IoSlice;

use lifeboat_protocol::{
    LENGTH_PREFIX, MessageType, Route, TimeLeft, patch_route, put_empty, put_request, put_request_head,
};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::sync::Arc;

use crate::table::{Kind, Spec};

/// Above this a body is not copied. The same figure as the broker's.
const LARGE: usize = 64 * 1024;
/// Written bytes at the front of the buffer are given back when there are this many.
const COMPACT: usize = 64 * 1024;
/// Slices of one gathered write: eight large bodies with what lies between them.
const SLICES: usize = 17;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    buf: Vec<u8>,
    /// Bytes of `buf` written.
    at: usize,
    frames: VecDeque<Frame>,
    /// Bytes of the first frame written.
    front_done: usize,
    /// Bytes not written yet, large bodies included.
    left: usize,
}

#[derive(Debug)]
struct Frame {
    /// The call this frame is for; nothing for a cancel.
    id: u64,
    /// A call's own: kept until the frame is written, so that it can be sent again. None for a cancel.
    spec: Option<Arc<Spec>>,
    /// Bytes in `buf`.
    head: usize,
    /// Bytes of the large body that follows from elsewhere.
    tail: usize,
}

/// A request or operation that was not written, or not wholly.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) id: u64,
    pub(crate) spec: Arc<Spec>,
    /// Whether some of its bytes were written.
    pub(crate) partial: bool,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes not written yet.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Appends what is sent for the call `id`, which is called `wire` on this connection.
    pub(crate) fn put(&mut self, id: u64, wire: u64, time_left: TimeLeft, spec: Arc<Spec>) {
        let before = self.buf.len();
        let mut tail = 0;
        match &spec.kind {
            Kind::Request { method, ext } if spec.body.len() > LARGE => {
                tail = spec.body.len();
                put_request_head(&mut self.buf, Route::request(wire, time_left), method, ext, tail);
            }
            Kind::Request { method, ext } => {
                put_request(&mut self.buf, Route::request(wire, time_left), method, ext, &spec.body);
            }
            Kind::Operation => {
                self.buf.extend_from_slice(&spec.body);
                let frame = &mut self.buf[before + LENGTH_PREFIX..];
                patch_route(frame, Route::request(wire, TimeLeft::NONE));
            }
        }
        self.push(before, id, Some(spec), tail);
    }

    /// Appends a cancel of the request that is called `wire` on this connection.
    pub(crate) fn put_cancel(&mut self, wire: u64) {
        let before = self.buf.len();
        put_empty(&mut self.buf, MessageType::Cancel, Some(Route::request(wire, TimeLeft::NONE)));
        self.push(before, wire, None, 0);
    }

    fn push(&mut self, before: usize, id: u64, spec: Option<Arc<Spec>>, tail: usize) {
        let head = self.buf.len() - before;
        self.left += head + tail;
        self.frames.push_back(Frame { id, spec, head, tail });
    }

    /// Takes a call's frame out again, if none of its bytes were written.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Arc<Spec>> {
        let index = self.frames.iter().position(|frame| frame.id == id && frame.spec.is_some())?;
        if index == 0 && self.front_done > 0 {
            return None;
        }
        let done = self.front_done;
        let before = self.frames.iter().take(index).map(|frame| frame.head).sum::<usize>();
        // The first frame's written bytes lie before `at`.
        let start = self.at + before - done.min(self.frames.front().map_or(0, |frame| frame.head));
        let frame = self.frames.remove(index)?;
        self.buf.drain(start..start + frame.head);
        self.left -= frame.head + frame.tail;
        frame.spec
    }

    /// Takes out every request of which no byte was written. The rest of a frame that is half out, operations and
    /// cancels stay.
    pub(crate) fn take_unstarted_requests(&mut self) -> Vec<Unsent> {
        let skip = usize::from(self.front_done > 0);
        let ids: Vec<u64> = self
            .frames
            .iter()
            .skip(skip)
            .filter(|frame| frame.spec.as_ref().is_some_and(|spec| !spec.is_operation()))
            .map(|frame| frame.id)
            .collect();
        ids.into_iter()
            .filter_map(|id| self.remove(id).map(|spec| Unsent { id, spec, partial: false }))
            .collect()
    }

    /// Empties the outbox of a dead connection: every call that was not wholly written, in order. The broker never
    /// delivers half a frame, and of a dead connection it never gets the other half: so none of them was executed.
    pub(crate) fn take_unsent(&mut self) -> Vec<Unsent> {
        let started = self.front_done > 0;
        let unsent = std::mem::take(self).frames.into_iter().enumerate().filter_map(|(index, frame)| {
            Some(Unsent { id: frame.id, spec: frame.spec?, partial: started && index == 0 })
        });
        unsent.collect()
    }

    /// One gathered, non-blocking write of as much as the socket takes; returns the number of bytes.
    ///
    /// # Errors
    ///
    /// `AGAIN` when the socket's buffer is full; anything else means that the connection is of no further use.
    pub(crate) fn write_to(&mut self, socket: impl AsFd) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = self.gather(&mut slices);
        let written = loop {
            // NOSIGNAL: the program around us may want SIGPIPE's default action for its own pipes.
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&socket, &slices[..used], &mut SendAncillaryBuffer::default(), flags) {
                Ok(written) => break written,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        };
        self.consume(written);
        Ok(written)
    }

    /// What is left to write, as slices; returns how many.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut used = 0;
        let (mut start, mut end) = (self.at, self.at);
        let mut done = self.front_done;
        for frame in &self.frames {
            end += frame.head.saturating_sub(done);
            if frame.tail > 0 {
                if used + 2 > SLICES {
                    // The head that does not fit with its body waits for the next write.
                    return used;
                }
                slices[used] = IoSlice::new(&self.buf[start..end]);
                let body = frame.spec.as_ref().map_or(&[][..], |spec| &spec.body);
                slices[used + 1] = IoSlice::new(&body[done.saturating_sub(frame.head)..]);
                used += 2;
                start = end;
            }
            done = 0;
        }
        if end > start && used < SLICES {
            slices[used] = IoSlice::new(&self.buf[start..end]);
            used += 1;
        }
        used
    }

    fn consume(&mut self, mut written: usize) {
        self.left -= written;
        while written > 0 {
            let Some(front) = self.frames.front() else { break };
            let left = front.head + front.tail - self.front_done;
            let step = written.min(left);
            let head_left = front.head.saturating_sub(self.front_done);
            self.at += step.min(head_left);
            written -= step;
            if step == left {
                self.frames.pop_front();
                self.front_done = 0;
            } else {
                self.front_done += step;
            }
        }
        if self.frames.is_empty() {
            self.buf.clear();
            self.at = 0;
        } else if self.at >= COMPACT {
            self.buf.drain(..self.at);
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests;
