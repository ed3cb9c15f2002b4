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
    spec: Option<Box<Spec>>,
    /// Bytes in `buf`.
    head: usize,
    /// Bytes of the large body that follows from elsewhere.
    tail: usize,
}

/// A request or operation that was not written, or not wholly.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) id: u64,
    pub(crate) spec: Box<Spec>,
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
    pub(crate) fn put(&mut self, id: u64, wire: u64, time_left: TimeLeft, spec: Box<Spec>) {
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

    fn push(&mut self, before: usize, id: u64, spec: Option<Box<Spec>>, tail: usize) {
        let head = self.buf.len() - before;
        self.left += head + tail;
        self.frames.push_back(Frame { id, spec, head, tail });
    }

    /// Takes a call's frame out again, if none of its bytes were written.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Box<Spec>> {
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

    /// Takes out every request of which no byte was written. The rest of a frame that is half out, operations and cancels
    /// stay.
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
mod tests {
    use std::borrow::Cow;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use bytes::Bytes;
    use lifeboat_protocol::{
        Ext, FrameLimit, Header, Operate, Operation, Split, decode, put_control, split_frame,
    };

    use super::*;

    fn spec(body: Vec<u8>) -> Box<Spec> {
        let kind = Kind::Request { method: Cow::Borrowed("m"), ext: Ext::default() };
        Box::new(Spec { kind, body: Bytes::from(body), resent: 0 })
    }

    fn operation() -> Box<Spec> {
        let (operate, route) = (Operate::new(Operation::Health), Route::request(0, TimeLeft::NONE));
        let mut frame = Vec::new();
        put_control(&mut frame, MessageType::Operate, Some(route), &operate).expect("short");
        Box::new(Spec { kind: Kind::Operation, body: Bytes::from(frame), resent: 0 })
    }

    /// What the outbox would write, cut into messages: request ids with body lengths, cancels as None.
    fn written(outbox: &mut Outbox, step: usize) -> Vec<(u64, Option<usize>)> {
        let mut bytes = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = outbox.gather(&mut slices);
            let before = bytes.len();
            bytes.extend(slices[..used].iter().flat_map(|slice| slice.iter()).take(step));
            let step = bytes.len() - before;
            assert!(step > 0, "something is left, so something is gathered");
            outbox.consume(step);
        }
        assert_eq!(outbox.left(), 0);
        let mut messages = Vec::new();
        let mut rest = bytes.as_slice();
        while let Ok(Split::Frame { frame, rest: after }) = split_frame(rest, FrameLimit::for_body(1 << 24)) {
            let message = decode(frame).expect("a whole message");
            let id = message.header.route().expect("requests and cancels have one").id;
            let is_request = matches!(message.header, Header::Request { .. });
            messages.push((id, is_request.then_some(message.body.len())));
            rest = after;
        }
        assert!(rest.is_empty(), "no bytes beyond the last frame");
        messages
    }

    fn filled() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.put(1, 1, TimeLeft::NONE, spec(vec![0xf6]));
        outbox.put(2, 2, TimeLeft::NONE, spec(vec![7; LARGE + 1]));
        outbox.put_cancel(1);
        outbox.put(3, 3, TimeLeft::NONE, spec(vec![0xf6; 3]));
        outbox.put(4, 4, TimeLeft::NONE, spec(vec![8; 2 * LARGE]));
        outbox
    }

    #[test]
    fn every_split_of_the_writes_gives_the_same_frames() {
        let expected = [(1, Some(1)), (2, Some(LARGE + 1)), (1, None), (3, Some(3)), (4, Some(2 * LARGE))];
        for step in [1, 2, 23, 24, 25, 1000, LARGE, usize::MAX] {
            assert_eq!(written(&mut filled(), step), expected, "in steps of {step}");
        }
    }

    #[test]
    fn more_large_bodies_than_slices_are_written_in_turns() {
        let mut outbox = Outbox::default();
        for id in 1..=40 {
            outbox.put(id, id, TimeLeft::NONE, spec(vec![9; LARGE + 1]));
        }
        assert_eq!(written(&mut outbox, usize::MAX).len(), 40);
    }

    #[test]
    fn what_is_removed_is_not_written() {
        for (removed, written_before) in [(1, 0), (2, 0), (3, 0), (4, 0), (2, 5), (3, 40), (4, 40 + LARGE)] {
            let mut outbox = filled();
            outbox.consume(written_before);
            assert!(outbox.remove(removed).is_some(), "{removed} after {written_before} bytes");
            let total: Vec<u64> = outbox.take_unsent().iter().map(|unsent| unsent.id).collect();
            assert!(!total.contains(&removed));
        }
        let mut outbox = filled();
        outbox.remove(3);
        outbox.remove(1);
        assert_eq!(written(&mut outbox, 13), [(2, Some(LARGE + 1)), (1, None), (4, Some(2 * LARGE))]);
    }

    #[test]
    fn a_frame_half_written_is_not_removed_but_is_unsent() {
        let mut outbox = filled();
        outbox.consume(3);
        assert!(outbox.remove(1).is_none());
        let unstarted: Vec<u64> = outbox.take_unstarted_requests().iter().map(|unsent| unsent.id).collect();
        assert_eq!(unstarted, [2, 3, 4]);
        let unsent = outbox.take_unsent();
        assert_eq!(unsent.len(), 1);
        assert!(unsent[0].id == 1 && unsent[0].partial);
        assert!(outbox.is_empty() && outbox.left() == 0);
    }

    #[test]
    fn a_call_is_written_under_its_other_id_and_kept_under_its_own() {
        let mut outbox = Outbox::default();
        outbox.put(1, 7, TimeLeft::NONE, spec(vec![0xf6]));
        outbox.put(2, 8, TimeLeft::from_millis(5), operation());
        outbox.put_cancel(7);
        assert!(outbox.remove(7).is_none());
        assert_eq!(written(&mut outbox, usize::MAX), [(7, Some(1)), (8, None), (7, None)]);
    }

    #[test]
    fn operations_stay_when_requests_are_taken_out() {
        let mut outbox = filled();
        outbox.put(5, 5, TimeLeft::NONE, operation());
        let unstarted: Vec<u64> = outbox.take_unstarted_requests().iter().map(|unsent| unsent.id).collect();
        assert_eq!(unstarted, [1, 2, 3, 4]);
        let unsent = outbox.take_unsent();
        assert!(unsent.len() == 1 && unsent[0].id == 5 && unsent[0].spec.is_operation());
    }

    #[test]
    fn a_full_socket_says_again() {
        let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
        let mut outbox = Outbox::default();
        outbox.put(1, 1, TimeLeft::NONE, spec(vec![1; 4 << 20]));
        let total = outbox.left();
        while outbox.write_to(&ours).is_ok() {}
        assert!(outbox.left() > 0 && outbox.left() < total);
        let mut sink = vec![0; total - outbox.left()];
        theirs.read_exact(&mut sink).expect("what was written");
        assert!(outbox.write_to(&ours).is_ok());
    }
}
