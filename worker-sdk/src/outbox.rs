//! What the worker says to the broker.
//!
//! Owns the form of every message that a handler's end or the process itself makes, each slot in an outbox of its own.
//! Must never read, and must never keep an answer back: bytes written survive the process that wrote them.

use bytes::Bytes;
use lifeboat_protocol::{
    Encoding, FrameLimit, Hello, LENGTH_PREFIX, MAX_SAVED, MessageType, Panicked, Refused, Route,
    WorkersFailed, append_body, encode_body_into, put_answer_head, put_control, put_empty, put_partial_head,
    put_save_head,
};
use serde::Serialize;

use crate::call::Call;
use crate::pen::{Part, Pen};
use crate::{HandlerError, PartialError, Progress, SaveError, WorkerError};

/// Bodies up to this many bytes are copied behind their header; longer ones are written from where they are.
const COPY_UP_TO: usize = 4 * 1024;

/// The most memory kept between answers, in bytes.
const KEEP: usize = 4 * 1024 * 1024;

pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// A body that follows `bytes` in the same write.
    body: Bytes,
    limit: FrameLimit,
}

impl Outbox {
    /// For a broker that accepts frames up to `limit`.
    pub(crate) const fn new(limit: FrameLimit) -> Self {
        Self { bytes: Vec::new(), body: Bytes::new(), limit }
    }

    /// Appends a reply, encoded in place.
    ///
    /// # Errors
    ///
    /// What to tell the caller instead, of a reply that cannot be encoded or is too long. Nothing is appended.
    pub(crate) fn reply<E: Encoding>(
        &mut self,
        route: Route,
        reply: &impl Serialize,
    ) -> Result<(), HandlerError> {
        let start = self.bytes.len();
        put_answer_head(&mut self.bytes, route.answer(), 0);
        let checked = match append_body::<E, _>(&mut self.bytes, reply) {
            Ok(len) => self.check_length(len),
            Err(error) => {
                Err(HandlerError::new("bad_reply", format!("the reply cannot be encoded: {error}")))
            }
        };
        if checked.is_err() {
            self.bytes.truncate(start);
            return checked;
        }
        set_length(&mut self.bytes[start..]);
        Ok(())
    }

    /// Appends a reply that is encoded already; a long one is not copied.
    ///
    /// # Errors
    ///
    /// What to tell the caller instead, of a reply that is empty or too long. Nothing is appended.
    pub(crate) fn raw_reply(&mut self, route: Route, reply: Bytes) -> Result<(), HandlerError> {
        if reply.is_empty() {
            return Err(HandlerError::new("bad_reply", "the reply is empty; it must be one CBOR item"));
        }
        self.check_length(reply.len())?;
        put_answer_head(&mut self.bytes, route.answer(), reply.len());
        if reply.len() <= COPY_UP_TO {
            self.bytes.extend_from_slice(&reply);
        } else {
            self.body = reply;
        }
        Ok(())
    }

    fn check_length(&self, len: usize) -> Result<(), HandlerError> {
        let limit = self.limit.max_body();
        if len <= limit {
            return Ok(());
        }
        let message = format!("the reply has {len} bytes, the broker accepts {limit}; raise `max_body`");
        Err(HandlerError::new("reply_too_large", message))
    }

    /// Appends a handler's "no". Details too long for the broker are left out.
    pub(crate) fn failure(&mut self, route: Route, error: HandlerError) {
        let mut failure = error.into_failure();
        let start = self.bytes.len();
        let mut put = put_control(&mut self.bytes, MessageType::Failure, Some(route.answer()), &failure);
        if put.is_err() || self.bytes.len() - start > self.limit.max_body() {
            self.bytes.truncate(start);
            failure.details = lifeboat_protocol::Value::Null;
            put = put_control(&mut self.bytes, MessageType::Failure, Some(route.answer()), &failure);
        }
        debug_assert!(put.is_ok(), "texts and null can be encoded: {put:?}");
    }

    /// Appends that the handler stopped because of a cancel.
    pub(crate) fn cancelled(&mut self, route: Route) {
        put_empty(&mut self.bytes, MessageType::Cancelled, Some(route.answer()));
    }

    /// Appends that the handler panicked.
    pub(crate) fn panicked(&mut self, route: Route, panicked: &Panicked) {
        self.control(MessageType::Panicked, Some(route.answer()), panicked);
    }

    /// Appends that no slot is left.
    pub(crate) fn workers_failed(&mut self, reasons: &[String]) {
        self.control(MessageType::WorkersFailed, None, &WorkersFailed { reasons: reasons.to_vec() });
    }

    /// Appends a refusal.
    pub(crate) fn refused(&mut self, refused: &Refused) {
        self.control(MessageType::Refused, None, refused);
    }

    /// Appends the hello.
    pub(crate) fn hello(&mut self, hello: &Hello) {
        self.control(MessageType::Hello, None, hello);
    }

    fn control(&mut self, message: MessageType, route: Option<Route>, body: &impl Serialize) {
        let put = put_control(&mut self.bytes, message, route, body);
        debug_assert!(put.is_ok(), "texts and numbers can be encoded: {put:?}");
    }

    /// Forgets what was appended and not written.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.body = Bytes::new();
    }

    /// Writes all of it, waiting for room where there is none. `ends` is the attempt that it ends.
    ///
    /// # Errors
    ///
    /// [`WorkerError::BrokerLost`]; what was not written is forgotten.
    pub(crate) fn flush(&mut self, pen: &Pen, ends: Option<&Call>) -> Result<(), WorkerError> {
        let written = pen.write(&mut self.bytes, &mut self.body, ends);
        self.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes.shrink_to(KEEP);
        }
        written.map_err(|error| WorkerError::BrokerLost { why: format!("writing failed: {error}") })
    }
}

/// A part of a reply, as a frame of its own.
///
/// # Errors
///
/// Those of a part that cannot be encoded or is too long for `limit`.
pub(crate) fn partial<E: Encoding, T: Serialize + ?Sized>(
    route: Route,
    part: &T,
    limit: FrameLimit,
) -> Result<Part, PartialError> {
    let mut frame = Vec::new();
    put_partial_head(&mut frame, route.answer(), 0);
    let len =
        append_body::<E, _>(&mut frame, part).map_err(|error| PartialError::Encode(error.to_string()))?;
    check_part(len, limit)?;
    set_length(&mut frame);
    Ok(Part::new(frame.into(), Bytes::new()))
}

/// A part of a reply that is encoded already; a long one is not copied.
///
/// # Errors
///
/// Those of a part that is empty or too long for `limit`.
pub(crate) fn raw_partial(route: Route, part: Bytes, limit: FrameLimit) -> Result<Part, PartialError> {
    if part.is_empty() {
        return Err(PartialError::Empty);
    }
    check_part(part.len(), limit)?;
    let mut frame = Vec::new();
    put_partial_head(&mut frame, route.answer(), part.len());
    if part.len() > COPY_UP_TO {
        return Ok(Part::new(frame.into(), part));
    }
    frame.extend_from_slice(&part);
    Ok(Part::new(frame.into(), Bytes::new()))
}

const fn check_part(len: usize, limit: FrameLimit) -> Result<(), PartialError> {
    let limit = limit.max_body();
    if len > limit { Err(PartialError::TooLarge { len, limit }) } else { Ok(()) }
}

/// What the next attempt is to begin with, as a frame of its own.
///
/// # Errors
///
/// Those of a value that cannot be encoded or is too long for the broker.
pub(crate) fn save<T: Serialize + ?Sized>(
    route: Route,
    value: &T,
    limit: FrameLimit,
) -> Result<Part, SaveError> {
    let mut frame = Vec::new();
    put_save_head(&mut frame, route.answer(), 0);
    let body = frame.len();
    encode_body_into(&mut frame, value).map_err(|error| SaveError::Encode(error.to_string()))?;
    let (len, limit) = (frame.len() - body, limit.max_body().min(MAX_SAVED));
    if len > limit {
        return Err(SaveError::TooLarge { len, limit });
    }
    set_length(&mut frame);
    Ok(Part::new(frame.into(), Bytes::new()))
}

/// Progress, as a frame.
pub(crate) fn progress(route: Route, progress: Progress<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    let body = progress.to_body();
    let put = put_control(&mut frame, MessageType::Progress, Some(route.answer()), &body);
    debug_assert!(put.is_ok(), "texts and numbers can be encoded: {put:?}");
    frame
}

/// That the process wants to be replaced, as a frame.
pub(crate) fn retire() -> Vec<u8> {
    let mut frame = Vec::new();
    put_empty(&mut frame, MessageType::Retire, None);
    frame
}

/// Writes a frame's length into its prefix.
fn set_length(frame: &mut [u8]) {
    let len = u32::try_from(frame.len() - LENGTH_PREFIX)
        .expect("the body was checked against the broker's limit, which four bytes can say");
    frame[..LENGTH_PREFIX].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use lifeboat_protocol::{Cbor, Failure, Header, TimeLeft, decode, decode_body};

    use super::*;
    use crate::alarm::Alarm;

    fn sent(fill: impl FnOnce(&mut Outbox)) -> Vec<u8> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::new(FrameLimit::for_body(100_000));
        fill(&mut outbox);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        let pen = Pen::new(Arc::new(ours.into()), Arc::new(Alarm::new().unwrap()));
        outbox.flush(&pen, None).unwrap();
        drop(pen);
        reader.join().unwrap()
    }

    #[test]
    fn replies_have_their_length_whether_copied_gathered_or_encoded() {
        let route = Route { attempt: 2, ..Route::request(9, TimeLeft::from_millis(5)) };
        for text in ["short".to_owned(), "l".repeat(90_000)] {
            let encoded = lifeboat_protocol::encode_body(&text).unwrap();
            let typed = sent(|outbox| outbox.reply::<Cbor>(route, &text).unwrap());
            let raw = sent(|outbox| outbox.raw_reply(route, encoded.into()).unwrap());
            assert_eq!(typed, raw);
            let (length, frame) = typed.split_first_chunk::<4>().unwrap();
            assert_eq!(usize::try_from(u32::from_be_bytes(*length)).unwrap(), frame.len());
            let message = decode(frame).unwrap();
            assert_eq!(message.header, Header::Answer { route: route.answer() });
            assert_eq!(decode_body::<String>(message.body).unwrap(), text);
        }
    }

    #[test]
    fn what_the_broker_would_refuse_is_not_sent() {
        let route = Route::request(1, TimeLeft::NONE);
        let bytes = sent(|outbox| {
            let too_long = outbox.reply::<Cbor>(route, &"x".repeat(100_000)).unwrap_err();
            assert_eq!(too_long.code(), "reply_too_large");
            assert_eq!(outbox.raw_reply(route, Bytes::new()).unwrap_err().code(), "bad_reply");
            outbox.failure(route, HandlerError::new("big", "details").details("d".repeat(200_000)));
        });
        let message = decode(&bytes[LENGTH_PREFIX..]).unwrap();
        assert_eq!(decode_body::<Failure>(message.body).unwrap(), Failure::new("big", "details"));
    }
}
