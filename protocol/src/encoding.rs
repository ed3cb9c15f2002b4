//! How values are written as bodies.
//!
//! Owns the encodings that both SDKs know. Must never write a body that is not exactly one CBOR item: the broker passes
//! bodies on unread, but everybody may look at one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::{BodyError, EncodeError, decode_body, encode_body_into};

/// How the values of a [`Method`](crate::Method) travel. Client and worker must use the same one; the broker does not
/// care.
///
/// An encoding of your own puts its bytes into one CBOR item, best a byte string with a
/// [registered tag](https://www.iana.org/assignments/cbor-tags). [`Cbor`] is the one that every tool can show, `Json`
/// (feature `json`) an example of another.
///
/// ```
/// # use lifeboat_protocol::{BodyError, EncodeError, Encoding, decode_body, encode_body, encode_body_into};
/// use lifeboat_protocol::Value;
/// use serde::Serialize;
/// use serde::de::DeserializeOwned;
///
/// /// CBOR within a byte string: tools show that it is there and how long, not what it says.
/// enum Sealed {}
///
/// /// "Encoded CBOR data item", as IANA has registered it.
/// const TAG: u64 = 24;
///
/// impl Encoding for Sealed {
///     fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
///         let inner = Value::Bytes(encode_body(value)?);
///         encode_body_into(out, &Value::Tag(TAG, Box::new(inner)))
///     }
///
///     fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
///         match decode_body(body)? {
///             Value::Tag(TAG, inner) if inner.is_bytes() => {
///                 decode_body(inner.as_bytes().map(Vec::as_slice).unwrap_or_default())
///             }
///             _ => Err(BodyError::Shape("not sealed".into())),
///         }
///     }
/// }
///
/// let mut body = Vec::new();
/// Sealed::encode_into(&mut body, &("photo.png", 64))?;
/// assert_eq!(Sealed::decode::<(String, u32)>(&body)?, ("photo.png".into(), 64));
/// // What others wrote is an error, never a panic.
/// assert!(Sealed::decode::<(String, u32)>(&encode_body(&7)?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Encoding {
    /// Appends a value as one CBOR item.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Value`] if the value refuses; what was appended then does not matter.
    fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError>;

    /// Reads a value from one CBOR item. The body may be anything: it comes from another process.
    ///
    /// # Errors
    ///
    /// Any [`BodyError`] if it is not such an item, or no such value.
    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError>;
}

/// Appends a value as an encoding writes it, and tells how many bytes that are. Whoever sends a body writes it so: an encoding
/// is its user's code.
///
/// # Errors
///
/// Those of the encoding, and [`EncodeError::Empty`] if it appended nothing. What was appended then does not matter.
pub fn append_body<E: Encoding, T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
) -> Result<usize, EncodeError> {
    let before = out.len();
    E::encode_into(out, value)?;
    match out.len().checked_sub(before) {
        None | Some(0) => Err(EncodeError::Empty),
        Some(len) => Ok(len),
    }
}

/// Plain CBOR (RFC 8949): the default.
///
/// ```
/// # use lifeboat_protocol::{Cbor, Encoding};
/// let mut body = Vec::new();
/// Cbor::encode_into(&mut body, &("x", 7))?;
/// assert_eq!(body, [0x82, 0x61, b'x', 0x07]);
/// # Ok::<(), lifeboat_protocol::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cbor {}

impl Encoding for Cbor {
    fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
        encode_body_into(out, value)
    }

    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
        decode_body(body)
    }
}

/// JSON within CBOR: a byte string with the tag 262 ("embedded JSON object"). For types that only JSON fits, or for
/// workers in languages where JSON is what there is.
///
/// ```
/// # use lifeboat_protocol::{Encoding, Json, method};
/// use serde::{Deserialize, Serialize};
///
/// /// Internally tagged, with a flattened part: what JSON was made for.
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(tag = "kind", rename_all = "lowercase")]
/// enum Convert {
///     Picture { width: u32 },
///     Text { language: String },
/// }
/// method!("convert": Convert => String, encoding = Json);
///
/// let text = Convert::Text { language: "de".into() };
/// let mut body = Vec::new();
/// Json::encode_into(&mut body, &text)?;
/// assert!(body.ends_with(br#"{"kind":"text","language":"de"}"#));
/// assert_eq!(Json::decode::<Convert>(&body)?, text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Json {}

/// The tag of embedded JSON, as IANA has registered it.
#[cfg(feature = "json")]
const EMBEDDED_JSON: u64 = 262;

#[cfg(feature = "json")]
impl Encoding for Json {
    fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
        let json = serde_json::to_vec(value).map_err(|error| EncodeError::Value(error.to_string()))?;
        encode_body_into(out, &ciborium::Value::Tag(EMBEDDED_JSON, Box::new(ciborium::Value::Bytes(json))))
    }

    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
        let ciborium::Value::Tag(EMBEDDED_JSON, json) = decode_body(body)? else {
            return Err(BodyError::Shape("no embedded JSON (tag 262)".to_owned()));
        };
        let ciborium::Value::Bytes(json) = *json else {
            return Err(BodyError::Shape("embedded JSON (tag 262) that is no byte string".to_owned()));
        };
        serde_json::from_slice(&json).map_err(|error| BodyError::Shape(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<E: Encoding>(value: &(u32, Option<String>)) -> Vec<u8> {
        let mut body = vec![9];
        E::encode_into(&mut body, value).unwrap();
        assert_eq!(body.remove(0), 9, "it is appended");
        assert_eq!(&E::decode::<(u32, Option<String>)>(&body).unwrap(), value);
        body
    }

    #[test]
    fn values_come_back_from_each_encoding() {
        let value = (7, Some("x".to_owned()));
        assert_eq!(there_and_back::<Cbor>(&value), [0x82, 0x07, 0x61, b'x']);
        #[cfg(feature = "json")]
        {
            let mut expected = vec![0xd9, 0x01, 0x06, 0x47];
            expected.extend(b"[7,\"x\"]");
            assert_eq!(there_and_back::<Json>(&value), expected);
        }
    }

    #[cfg(feature = "json")]
    #[test]
    fn what_is_no_embedded_json_is_refused() {
        for body in [&[0x07][..], &[0xd9, 0x01, 0x06, 0x07], &[0xd9, 0x01, 0x06, 0x41, b'{'], &[0xff], &[]] {
            Json::decode::<u32>(body).unwrap_err();
        }
        let no = Json::decode::<u32>(&[0xd9, 0x01, 0x06, 0x41, b'{']).unwrap_err();
        assert!(matches!(no, BodyError::Shape(_)), "{no:?}");
    }
}
