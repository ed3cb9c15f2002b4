//! Reading headers: by hand over the slice, borrowing, without allocating.
//!
//! Owns what a header may look like and the errors for one that does not, and the bounds on a body that go with a
//! type. Must never decode a body, and must accept no form in which the route is not at its fixed place.

use thiserror::Error;

use crate::cbor::{Lengths, Malformed, Reader};
use crate::history::MAX_SAVED;
use crate::messages::RefusedCode;
use crate::method::MAX_METHOD;
use crate::operations::MAX_OPERATE_BODY;
use crate::route::{ROUTE_END, read_route};
use crate::{FRAME_OVERHEAD, MessageType, Route};

/// Levels of nesting allowed in the header elements that are passed over. Our own take two.
const MAX_HEADER_DEPTH: u32 = 16;

/// A message's header, borrowed from its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// First frame of each side; body [`Hello`](crate::Hello).
    Hello,
    /// A request; its body is opaque.
    Request {
        /// Which request.
        route: Route,
        /// The method asked for, 1 to 255 bytes.
        method: &'a str,
        /// The extension map, not decoded: see [`Ext::decode`](crate::Ext::decode).
        ext: Option<&'a [u8]>,
    },
    /// A handler's reply; its body is opaque.
    Answer {
        /// Which attempt, or which request.
        route: Route,
    },
    /// A handler said no; body [`Failure`](crate::Failure).
    Failure {
        /// Which attempt.
        route: Route,
    },
    /// Every outcome but `ok`; body [`ErrorBody`](crate::ErrorBody).
    Error {
        /// Which request.
        route: Route,
    },
    /// Stop a request or an attempt; no body.
    Cancel {
        /// Which request or attempt.
        route: Route,
    },
    /// The work moves; body [`Progress`](crate::Progress).
    Progress {
        /// Which attempt, or which request.
        route: Route,
    },
    /// A part of the reply; its body is opaque.
    Partial {
        /// Which attempt, or which request.
        route: Route,
    },
    /// Finish what runs, or send nothing new; no body.
    Drain,
    /// No slot is left; body [`WorkersFailed`](crate::WorkersFailed).
    WorkersFailed,
    /// The process is scheduled; no body.
    Heartbeat,
    /// The sender closes; body [`Refused`](crate::Refused).
    Refused,
    /// The handler panicked; body [`Panicked`](crate::Panicked).
    Panicked {
        /// Which attempt.
        route: Route,
    },
    /// The handler stopped because of a cancel; no body.
    Cancelled {
        /// Which attempt.
        route: Route,
    },
    /// An attempt failed and another follows; body [`AttemptBody`](crate::AttemptBody).
    AttemptFailed {
        /// Which request.
        route: Route,
    },
    /// An operation; body [`Operate`](crate::Operate), at most [`MAX_OPERATE_BODY`] bytes.
    Operate {
        /// Which operation: numbered like a request.
        route: Route,
    },
    /// A request was accepted; body [`Accepted`](crate::Accepted).
    Accepted {
        /// Which request; its time left is until the deadline.
        route: Route,
    },
    /// What became of an operation; body [`Operated`](crate::Operated).
    Operated {
        /// Which operation.
        route: Route,
    },
    /// What the next attempt is to begin with; its body is opaque, at most [`MAX_SAVED`] bytes.
    Save {
        /// Which attempt.
        route: Route,
    },
    /// The attempts before this one; body [`History`](crate::History).
    History {
        /// Which attempt.
        route: Route,
    },
    /// The process wants to be replaced; no body.
    Retire,
}

impl Header<'_> {
    /// The message's type.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::Hello => MessageType::Hello,
            Self::Request { .. } => MessageType::Request,
            Self::Answer { .. } => MessageType::Answer,
            Self::Failure { .. } => MessageType::Failure,
            Self::Error { .. } => MessageType::Error,
            Self::Cancel { .. } => MessageType::Cancel,
            Self::Progress { .. } => MessageType::Progress,
            Self::Partial { .. } => MessageType::Partial,
            Self::Drain => MessageType::Drain,
            Self::WorkersFailed => MessageType::WorkersFailed,
            Self::Heartbeat => MessageType::Heartbeat,
            Self::Refused => MessageType::Refused,
            Self::Panicked { .. } => MessageType::Panicked,
            Self::Cancelled { .. } => MessageType::Cancelled,
            Self::AttemptFailed { .. } => MessageType::AttemptFailed,
            Self::Operate { .. } => MessageType::Operate,
            Self::Operated { .. } => MessageType::Operated,
            Self::Save { .. } => MessageType::Save,
            Self::History { .. } => MessageType::History,
            Self::Retire => MessageType::Retire,
            Self::Accepted { .. } => MessageType::Accepted,
        }
    }

    /// The message's route, if its type has one.
    #[must_use]
    pub const fn route(&self) -> Option<Route> {
        match self {
            Self::Request { route, .. }
            | Self::Answer { route }
            | Self::Failure { route }
            | Self::Error { route }
            | Self::Cancel { route }
            | Self::Progress { route }
            | Self::Partial { route }
            | Self::Panicked { route }
            | Self::Cancelled { route }
            | Self::AttemptFailed { route }
            | Self::Operate { route }
            | Self::Operated { route }
            | Self::Save { route }
            | Self::History { route }
            | Self::Accepted { route } => Some(*route),
            Self::Hello
            | Self::Drain
            | Self::WorkersFailed
            | Self::Heartbeat
            | Self::Refused
            | Self::Retire => None,
        }
    }
}

/// A frame taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is and what it is about.
    pub header: Header<'a>,
    /// The body: all bytes after the header, at least one. That they are one CBOR item is checked only by
    /// [`decode_body`](crate::decode_body).
    pub body: &'a [u8],
}

/// A header that this version does not accept. [`refused_code`](Self::refused_code) says what to tell the peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Not a header of the fixed form.
    #[error(
        "malformed header: {what}, at byte {at} of the frame; the peer does not speak this protocol correctly"
    )]
    Malformed {
        /// Where in the frame, in bytes after the length prefix.
        at: usize,
        /// What was found or missed there.
        what: &'static str,
    },
    /// A message type that this version does not know.
    #[error("unknown message type {0}; the peer may be newer and must use only what the agreed version has")]
    UnknownType(u64),
    /// The method's name is empty or too long.
    #[error("a method name of {len} bytes; it must have 1 to {MAX_METHOD}")]
    BadMethod {
        /// Its length, in bytes.
        len: usize,
    },
    /// The body of an operate message is longer than it may be.
    #[error("an operate message with a body of {len} bytes; at most {MAX_OPERATE_BODY} are accepted")]
    LongOperation {
        /// Its body's length, in bytes.
        len: usize,
    },
    /// What is to be saved is longer than it may be.
    #[error("a save message with a body of {len} bytes; at most {MAX_SAVED} are kept")]
    LongSave {
        /// Its body's length, in bytes.
        len: usize,
    },
    /// The header is longer than a header may be.
    #[error("a header of {len} bytes is longer than the {FRAME_OVERHEAD} allowed; send less metadata")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
}

impl HeaderError {
    /// The code of the `refused` message that answers this error.
    #[must_use]
    pub const fn refused_code(&self) -> RefusedCode {
        match self {
            Self::Malformed { .. }
            | Self::BadMethod { .. }
            | Self::LongOperation { .. }
            | Self::LongSave { .. } => RefusedCode::Malformed,
            Self::UnknownType(_) => RefusedCode::UnknownMessage,
            Self::TooLong { .. } => RefusedCode::TooLarge,
        }
    }
}

impl From<Malformed> for HeaderError {
    fn from(Malformed { at, what }: Malformed) -> Self {
        Self::Malformed { at, what }
    }
}

/// Takes a frame (the length prefix not counted) apart. Borrows; allocates nothing.
///
/// # Errors
///
/// [`HeaderError`], after which the peer gets `refused` and the connection is closed: what one side cannot
/// read, it cannot answer.
pub fn decode(frame: &[u8]) -> Result<Message<'_>, HeaderError> {
    let (message_type, elements) = read_type(frame)?;
    let header = match message_type {
        MessageType::Request => return decode_request(frame, elements),
        MessageType::Operate => return decode_operate(frame, elements),
        MessageType::Save => return decode_save(frame, elements),
        MessageType::Answer => Header::Answer { route: read_route(frame)? },
        MessageType::Failure => Header::Failure { route: read_route(frame)? },
        MessageType::Error => Header::Error { route: read_route(frame)? },
        MessageType::Cancel => Header::Cancel { route: read_route(frame)? },
        MessageType::Progress => Header::Progress { route: read_route(frame)? },
        MessageType::Partial => Header::Partial { route: read_route(frame)? },
        MessageType::Panicked => Header::Panicked { route: read_route(frame)? },
        MessageType::Cancelled => Header::Cancelled { route: read_route(frame)? },
        MessageType::Accepted => Header::Accepted { route: read_route(frame)? },
        MessageType::AttemptFailed => Header::AttemptFailed { route: read_route(frame)? },
        MessageType::Operated => Header::Operated { route: read_route(frame)? },
        MessageType::History => Header::History { route: read_route(frame)? },
        MessageType::Hello => Header::Hello,
        MessageType::Drain => Header::Drain,
        MessageType::WorkersFailed => Header::WorkersFailed,
        MessageType::Heartbeat => Header::Heartbeat,
        MessageType::Refused => Header::Refused,
        MessageType::Retire => Header::Retire,
    };
    let (known, at) = if message_type.has_route() { (2, ROUTE_END) } else { (1, 2) };
    finish(frame, header, Reader::new(frame, at), elements.saturating_sub(known))
}

fn decode_request(frame: &[u8], elements: u8) -> Result<Message<'_>, HeaderError> {
    let route = read_route(frame)?;
    if elements < 3 {
        return Err(HeaderError::Malformed { at: 0, what: "a request without a method" });
    }
    let mut reader = Reader::new(frame, ROUTE_END);
    let method = reader.text("no method (text) as third element of a request")?;
    if method.is_empty() || method.len() > MAX_METHOD {
        return Err(HeaderError::BadMethod { len: method.len() });
    }
    let mut ext = None;
    if elements > 3 {
        let start = reader.at();
        if frame.get(start).is_some_and(|first| first >> 5 != 5) {
            return Err(HeaderError::Malformed { at: start, what: "no map as fourth element of a request" });
        }
        reader.skip(MAX_HEADER_DEPTH, Lengths::Definite)?;
        ext = frame.get(start..reader.at());
    }
    finish(frame, Header::Request { route, method, ext }, reader, elements.saturating_sub(4))
}

/// Operations are small; a body that claims to be one and is not is refused before anybody decodes it.
fn decode_operate(frame: &[u8], elements: u8) -> Result<Message<'_>, HeaderError> {
    let header = Header::Operate { route: read_route(frame)? };
    let message = finish(frame, header, Reader::new(frame, ROUTE_END), elements.saturating_sub(2))?;
    match message.body.len() {
        len if len > MAX_OPERATE_BODY => Err(HeaderError::LongOperation { len }),
        _ => Ok(message),
    }
}

/// What is saved is kept for as long as its request is open, so it has a bound of its own.
fn decode_save(frame: &[u8], elements: u8) -> Result<Message<'_>, HeaderError> {
    let header = Header::Save { route: read_route(frame)? };
    let message = finish(frame, header, Reader::new(frame, ROUTE_END), elements.saturating_sub(2))?;
    match message.body.len() {
        len if len > MAX_SAVED => Err(HeaderError::LongSave { len }),
        _ => Ok(message),
    }
}

/// Passes over the `unknown` elements that are left; what follows them is the body.
fn finish<'a>(
    frame: &'a [u8],
    header: Header<'a>,
    mut reader: Reader<'a>,
    unknown: u8,
) -> Result<Message<'a>, HeaderError> {
    for _ in 0..unknown {
        reader.skip(MAX_HEADER_DEPTH, Lengths::Definite)?;
    }
    let end = reader.at();
    if end > FRAME_OVERHEAD {
        return Err(HeaderError::TooLong { len: end });
    }
    match frame.get(end..) {
        None | Some([]) => Err(HeaderError::Malformed { at: frame.len(), what: "no body after the header" }),
        Some(body) => Ok(Message { header, body }),
    }
}

/// The type, and the number of elements of the header's array.
fn read_type(frame: &[u8]) -> Result<(MessageType, u8), HeaderError> {
    let malformed = |at, what| Err(HeaderError::Malformed { at, what });
    match *frame {
        [] => malformed(0, "an empty frame"),
        [first @ 0x81..=0x8f, second @ 0..=23, ..] => match MessageType::from_number(second) {
            Some(message_type) => Ok((message_type, first & 0x0f)),
            None => Err(HeaderError::UnknownType(second.into())),
        },
        [0x81..=0x8f, ..] => match Reader::new(frame, 1).uint("no message type (an unsigned integer)")? {
            0..=23 => malformed(1, "a message type that is not in its shortest form"),
            number => Err(HeaderError::UnknownType(number)),
        },
        [..] => malformed(0, "not an array of 1 to 15 elements"),
    }
}
