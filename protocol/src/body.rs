//! Bodies: one CBOR item, through serde and ciborium.
//!
//! Owns the way from bytes to values and back for everything that is not a hot header. Must never let a body
//! reach ciborium before it is known to be exactly one whole item, nested no deeper than allowed, with every
//! claimed length covered by bytes.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::cbor::{Lengths, Reader};
use crate::{MAX_OPERATE_BODY, MessageType};

/// The body of a message that has none: CBOR null.
pub const NULL_BODY: &[u8] = &[0xf6];

/// Levels of nesting allowed in a body that is decoded. A body that is only passed on is not looked at.
pub const MAX_DEPTH: u32 = 128;

/// A body that is not what it should be.
///
/// ```
/// # use lifeboat_protocol::{BodyError, decode_body, encode_body};
/// let body = encode_body(&("photo.png", 64))?;
///
/// // Another type than was sent.
/// assert!(matches!(decode_body::<u32>(&body), Err(BodyError::Shape(_))));
/// // A part of it, or nothing at all.
/// assert!(matches!(decode_body::<(String, u32)>(&body[..5]), Err(BodyError::Malformed { .. })));
/// // It and more.
/// let twice = [body.as_slice(), body.as_slice()].concat();
/// assert_eq!(decode_body::<(String, u32)>(&twice), Err(BodyError::Trailing { extra: body.len() }));
/// # Ok::<(), lifeboat_protocol::EncodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not one whole CBOR item.
    #[error(
        "malformed body: {what}, at its byte {at}; a body must be one CBOR item, at most {MAX_DEPTH} levels deep"
    )]
    Malformed {
        /// Where in the body, in bytes.
        at: usize,
        /// What was found or missed there.
        what: &'static str,
    },
    /// One item, and then more.
    #[error("a body of one CBOR item is followed by {extra} more bytes; a body must be exactly one item")]
    Trailing {
        /// How many bytes.
        extra: usize,
    },
    /// A CBOR item, but not of the type expected.
    #[error("the body does not have the expected shape: {0}; check that both sides use the same types")]
    Shape(String),
}

/// A value that cannot be a message's body.
///
/// ```
/// # use lifeboat_protocol::{EncodeError, encode_body};
/// use serde::{Serialize, Serializer};
///
/// /// Its `Serialize` refuses what makes no sense.
/// struct Width(u32);
///
/// impl Serialize for Width {
///     fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
///         match self.0 {
///             0 => Err(serde::ser::Error::custom("no width")),
///             width => serializer.serialize_u32(width),
///         }
///     }
/// }
///
/// assert!(encode_body(&Width(64)).is_ok());
/// assert_eq!(encode_body(&Width(0)), Err(EncodeError::Value("no width".into())));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value's own `Serialize` said no, or the encoding has no form for it.
    #[error("the value cannot be written: {0}; its `Serialize` refused, or the encoding has no form for it")]
    Value(String),
    /// An encoding of your own wrote nothing.
    #[error("the encoding wrote nothing; a body is exactly one CBOR item, at least null")]
    Empty,
    /// The type is a request, which has a method.
    #[error("a `{0}` message is no control message; requests are written with `put_request`")]
    NotControl(MessageType),
    /// The type needs a route and was given none, or the reverse.
    #[error("a `{0}` message was given a route it does not have, or lacks the one it needs")]
    Route(MessageType),
    /// The operation is longer than any peer accepts.
    #[error(
        "an operation of {len} bytes is longer than the {MAX_OPERATE_BODY} allowed; name a shorter target"
    )]
    LongOperation {
        /// Its body's length, in bytes.
        len: usize,
    },
    /// The frame would be longer than a length prefix can say.
    #[error("a frame of {len} bytes is longer than 4 GiB; send smaller bodies")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
    },
}

/// Reads a body of exactly one CBOR item.
///
/// ```
/// # use lifeboat_protocol::{Value, decode_body};
/// use std::collections::BTreeMap;
///
/// let body = [0xa1, 0x65, b'w', b'i', b'd', b't', b'h', 0x18, 64]; // {"width": 64}
/// let typed: BTreeMap<String, u32> = decode_body(&body)?;
/// assert_eq!(typed["width"], 64);
///
/// // What it is need not be known.
/// let value: Value = decode_body(&body)?;
/// assert!(value.is_map());
/// # Ok::<(), lifeboat_protocol::BodyError>(())
/// ```
///
/// # Errors
///
/// [`BodyError::Malformed`] and [`BodyError::Trailing`] for what is not one whole item, [`BodyError::Shape`] for
/// an item that is no `T`.
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    let mut reader = Reader::new(body, 0);
    let whole = reader.skip(MAX_DEPTH, Lengths::Any);
    whole.map_err(|error| BodyError::Malformed { at: error.at, what: error.what })?;
    let extra = body.len() - reader.at();
    if extra > 0 {
        return Err(BodyError::Trailing { extra });
    }
    ciborium::from_reader(body).map_err(|error| match error {
        ciborium::de::Error::Io(error) => BodyError::Shape(error.to_string()),
        ciborium::de::Error::Syntax(at) => BodyError::Malformed { at, what: "not valid CBOR" },
        ciborium::de::Error::Semantic(_, what) => BodyError::Shape(what),
        ciborium::de::Error::RecursionLimitExceeded => {
            BodyError::Malformed { at: 0, what: "nested too deeply" }
        }
    })
}

/// Writes a value as a body.
///
/// ```
/// # use lifeboat_protocol::{decode_body, encode_body};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Resize {
///     file: String,
///     width: u32,
/// }
///
/// let resize = Resize { file: "photo.png".into(), width: 64 };
/// let body = encode_body(&resize)?;
/// assert_eq!(decode_body::<Resize>(&body)?, resize);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`EncodeError::Value`] if the value's `Serialize` refuses.
pub fn encode_body<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_body_into(&mut out, value)?;
    Ok(out)
}

/// Appends a value as a body.
///
/// # Errors
///
/// [`EncodeError::Value`] if the value's `Serialize` refuses; `out` is then as it was.
pub fn encode_body_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    let start = out.len();
    ciborium::into_writer(value, &mut *out).map_err(|error| {
        out.truncate(start);
        match error {
            ciborium::ser::Error::Io(error) => EncodeError::Value(error.to_string()),
            ciborium::ser::Error::Value(what) => EncodeError::Value(what),
        }
    })
}
