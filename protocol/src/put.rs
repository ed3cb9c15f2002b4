//! Writing messages: whole frames appended to a buffer that the caller keeps and reuses.
//!
//! Owns the one form in which this crate writes each message. Must never allocate beyond the growth of the
//! caller's buffer, and must leave the buffer as it was when it fails.

use serde::Serialize;

use crate::body::{EncodeError, NULL_BODY, encode_body_into};
use crate::cbor::put_text;
use crate::frame::{FrameStart, begin_frame};
use crate::message_type::MessageType;
use crate::operations::MAX_OPERATE_BODY;
use crate::route::{ROUTE_END, ROUTE_HEAD};
use crate::{Ext, Route};

/// An array of no elements; the number of elements is added.
const ARRAY: u8 = 0x80;

/// Appends a request. `method` must pass [`check_method`](crate::check_method), and `body` must be one CBOR
/// item no longer than the peer's `max_body`: the peer closes the connection on anything else.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_request(out: &mut Vec<u8>, route: Route, method: &str, ext: &Ext, body: &[u8]) {
    put_request_head(out, route, method, ext, body.len());
    out.extend_from_slice(body);
}

/// Appends the length and the header of a request whose body of `body_len` bytes follows from elsewhere, as a
/// slice of its own in a gathered write. The rules of [`put_request`] hold.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_request_head(out: &mut Vec<u8>, route: Route, method: &str, ext: &Ext, body_len: usize) {
    let start = begin_frame(out);
    let has_ext = !ext.is_empty();
    put_routed(out, if has_ext { 4 } else { 3 }, MessageType::Request, route);
    put_text(out, method);
    if has_ext {
        ext.encode_into(out);
    }
    start.finish_with(out, body_len);
}

/// Appends an answer. `body` must be one CBOR item no longer than the peer's `max_body`.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_answer(out: &mut Vec<u8>, route: Route, body: &[u8]) {
    put_answer_head(out, route, body.len());
    out.extend_from_slice(body);
}

/// Appends the length and the header of an answer whose body of `body_len` bytes follows from elsewhere, as a
/// slice of its own in a gathered write.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_answer_head(out: &mut Vec<u8>, route: Route, body_len: usize) {
    put_opaque_head(out, MessageType::Answer, route, body_len);
}

/// Appends a part of a reply. `body` must be one CBOR item no longer than the peer's `max_body`.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_partial(out: &mut Vec<u8>, route: Route, body: &[u8]) {
    put_partial_head(out, route, body.len());
    out.extend_from_slice(body);
}

/// Appends the length and the header of a part of a reply whose body of `body_len` bytes follows from elsewhere,
/// as a slice of its own in a gathered write.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_partial_head(out: &mut Vec<u8>, route: Route, body_len: usize) {
    put_opaque_head(out, MessageType::Partial, route, body_len);
}

/// Appends what the next attempt is to begin with. `body` must be one CBOR item of at most
/// [`MAX_SAVED`](crate::MAX_SAVED) bytes, and no longer than the peer's `max_body`.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_save(out: &mut Vec<u8>, route: Route, body: &[u8]) {
    put_save_head(out, route, body.len());
    out.extend_from_slice(body);
}

/// Appends the length and the header of what the next attempt is to begin with, whose body of `body_len` bytes follows
/// from elsewhere, as a slice of its own in a gathered write.
///
/// # Panics
///
/// If the frame would be longer than 4 GiB.
pub fn put_save_head(out: &mut Vec<u8>, route: Route, body_len: usize) {
    put_opaque_head(out, MessageType::Save, route, body_len);
}

#[inline]
fn put_opaque_head(out: &mut Vec<u8>, message_type: MessageType, route: Route, body_len: usize) {
    let start = begin_frame(out);
    put_routed(out, 2, message_type, route);
    start.finish_with(out, body_len);
}

/// Appends a message whose body is one of this crate's own, such as [`Hello`](crate::Hello) or
/// [`ErrorBody`](crate::ErrorBody). The cold path: the body goes through serde.
///
/// # Errors
///
/// [`EncodeError::NotControl`] for a request (see [`put_request`]); [`EncodeError::Route`] if the type needs a
/// route and has none, or the reverse; [`EncodeError::Value`] if serde says no; [`EncodeError::LongOperation`] for
/// an operation that no peer would read; [`EncodeError::TooLong`]. `out` is then as it was.
pub fn put_control(
    out: &mut Vec<u8>,
    message_type: MessageType,
    route: Option<Route>,
    body: &impl Serialize,
) -> Result<(), EncodeError> {
    if message_type == MessageType::Request {
        return Err(EncodeError::NotControl(message_type));
    }
    if message_type.has_route() != route.is_some() {
        return Err(EncodeError::Route(message_type));
    }
    let start = put_control_head(out, message_type, route);
    let body_at = out.len();
    if let Err(error) = encode_body_into(out, body) {
        start.abandon(out);
        return Err(error);
    }
    let len = out.len() - body_at;
    if message_type == MessageType::Operate && len > MAX_OPERATE_BODY {
        start.abandon(out);
        return Err(EncodeError::LongOperation { len });
    }
    start.try_finish(out)
}

/// Appends a message without a body, such as a cancel: its body is CBOR null. Not for requests; a route goes
/// with exactly the types that [have one](MessageType::has_route).
pub fn put_empty(out: &mut Vec<u8>, message_type: MessageType, route: Option<Route>) {
    debug_assert_eq!(message_type.has_route(), route.is_some(), "a {message_type} message and its route");
    let start = put_control_head(out, message_type, route);
    out.extend_from_slice(NULL_BODY);
    start.finish(out);
}

fn put_control_head(out: &mut Vec<u8>, message_type: MessageType, route: Option<Route>) -> FrameStart {
    let start = begin_frame(out);
    match route {
        Some(route) => put_routed(out, 2, message_type, route),
        None => out.extend_from_slice(&[ARRAY | 1, message_type.number()]),
    }
    start
}

/// The fixed part of a header with a route: its first 19 bytes, in one write.
#[inline]
fn put_routed(out: &mut Vec<u8>, elements: u8, message_type: MessageType, route: Route) {
    let mut fixed = [0; ROUTE_END];
    fixed[0] = ARRAY | elements;
    fixed[1] = message_type.number();
    fixed[2] = ROUTE_HEAD;
    fixed[3..].copy_from_slice(&route.to_bytes());
    out.extend_from_slice(&fixed);
}
