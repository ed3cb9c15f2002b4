//! JSON for people, CBOR for the wire.
//!
//! It owns the mapping. What JSON has no word for is written as an object with one key that begins with `$`, which is
//! read back as the same: bytes as `{"$bytes": "BASE64"}`, a tagged value as `{"$tag": [NUMBER, VALUE]}`, a map whose
//! keys are not all texts, or not all different, as `{"$map": [[KEY, VALUE], ...]}`, an integer beyond 64 bits as
//! `{"$int": "-18446744073709551616"}`, and a number that is not finite as `{"$float": "NaN"}` (or `"inf"`, `"-inf"`).
//! What cannot be sent exactly is refused.

mod unique;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use ciborium::value::Integer;
use serde_json::{Map, Number, Value as Json};
use thiserror::Error;

/// JSON that stands for no CBOR, or the other way round.
#[derive(Debug, Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("it is no JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A text under `$bytes` is no base64.
    #[error(
        "\"$bytes\" holds {text:?}, which is no base64 ({source}); write for example {{\"$bytes\": \"aGk=\"}}"
    )]
    Base64 {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: base64::DecodeError,
    },
    /// A special object has the wrong form.
    #[error("{key:?} must hold {form}")]
    Form {
        /// Its key.
        key: &'static str,
        /// What it must hold.
        form: &'static str,
    },
    /// An integer that JSON's readers round.
    #[error(
        "{0} is an integer beyond 64 bits and would be rounded; down to -18446744073709551616 write {{\"$int\": \"{0}\"}}"
    )]
    Integer(String),
    /// An object names a key twice, and only one of its values could be sent.
    #[error(
        "an object has the key {key:?} twice (line {line}, column {column}); if the map is to have it twice, write \
         {{\"$map\": [[{key:?}, VALUE], [{key:?}, VALUE]]}}"
    )]
    Twice {
        /// The key.
        key: String,
        /// Where the second one ends, from 1.
        line: usize,
        /// The column there, from 1.
        column: usize,
    },
}

/// The CBOR that a JSON text stands for.
///
/// # Errors
///
/// When it is no JSON, when an object has equal keys, when a special object (its one key begins with `$`) has the wrong form, and when an integer could
/// not be sent as it is.
pub fn read(text: &str) -> Result<Cbor, JsonError> {
    let json = unique::read(text)?;
    match rounded_integer(text) {
        Some(number) => Err(JsonError::Integer(number.to_owned())),
        None => to_cbor(json),
    }
}

/// The first integer in a JSON text that does not fit into 64 bits: the parser makes a float of it, which is another
/// number. The text is known to be JSON.
fn rounded_integer(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(&byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if byte == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                at += bytes[at..].iter().take_while(|byte| b"0123456789+-.eE".contains(byte)).count();
                let number = &text[start..at];
                let integer = !number.contains(['.', 'e', 'E']);
                if integer && number.parse::<u64>().is_err() && number.parse::<i64>().is_err() {
                    return Some(number);
                }
            }
            _ => {}
        }
    }
    None
}

fn to_cbor(json: Json) -> Result<Cbor, JsonError> {
    Ok(match json {
        Json::Null => Cbor::Null,
        Json::Bool(value) => Cbor::Bool(value),
        Json::Number(number) => number_to_cbor(&number)?,
        Json::String(text) => Cbor::Text(text),
        Json::Array(items) => Cbor::Array(items.into_iter().map(to_cbor).collect::<Result<_, _>>()?),
        Json::Object(map) => return object_to_cbor(map),
    })
}

fn number_to_cbor(number: &Number) -> Result<Cbor, JsonError> {
    if let Some(value) = number.as_u64() {
        return Ok(Cbor::Integer(value.into()));
    }
    if let Some(value) = number.as_i64() {
        return Ok(Cbor::Integer(value.into()));
    }
    number.as_f64().map(Cbor::Float).ok_or_else(|| JsonError::Integer(number.to_string()))
}

fn object_to_cbor(map: Map<String, Json>) -> Result<Cbor, JsonError> {
    if map.len() == 1
        && let Some((key, value)) = map.iter().next()
        && let Some(special) = special_to_cbor(key, value)
    {
        return special;
    }
    let pairs = map.into_iter().map(|(key, value)| Ok((Cbor::Text(key), to_cbor(value)?)));
    Ok(Cbor::Map(pairs.collect::<Result<_, JsonError>>()?))
}

/// The value of a special object; `None` for an ordinary one.
fn special_to_cbor(key: &str, value: &Json) -> Option<Result<Cbor, JsonError>> {
    match key {
        "$bytes" => Some(bytes_to_cbor(value)),
        "$tag" => Some(tag_to_cbor(value)),
        "$map" => Some(pairs_to_cbor(value)),
        "$int" => Some(int_to_cbor(value)),
        "$float" => Some(float_to_cbor(value)),
        _ => None,
    }
}

fn bytes_to_cbor(value: &Json) -> Result<Cbor, JsonError> {
    let text = value.as_str().ok_or(JsonError::Form { key: "$bytes", form: "a base64 text" })?;
    let bytes =
        STANDARD.decode(text).map_err(|source| JsonError::Base64 { text: text.to_owned(), source })?;
    Ok(Cbor::Bytes(bytes))
}

fn tag_to_cbor(value: &Json) -> Result<Cbor, JsonError> {
    let form = JsonError::Form { key: "$tag", form: "an array of a number and a value" };
    match value.as_array().map(Vec::as_slice) {
        Some([tag, value]) => match tag.as_u64() {
            Some(tag) => Ok(Cbor::Tag(tag, Box::new(to_cbor(value.clone())?))),
            None => Err(form),
        },
        Some(_) | None => Err(form),
    }
}

fn pairs_to_cbor(value: &Json) -> Result<Cbor, JsonError> {
    let form = || JsonError::Form { key: "$map", form: "an array of arrays of a key and a value" };
    let pairs =
        value.as_array().ok_or_else(form)?.iter().map(|pair| match pair.as_array().map(Vec::as_slice) {
            Some([key, value]) => Ok((to_cbor(key.clone())?, to_cbor(value.clone())?)),
            Some(_) | None => Err(form()),
        });
    Ok(Cbor::Map(pairs.collect::<Result<_, _>>()?))
}

fn int_to_cbor(value: &Json) -> Result<Cbor, JsonError> {
    let form = "a text with an integer from -18446744073709551616 to 18446744073709551615";
    let number = value.as_str().and_then(|text| text.parse::<i128>().ok());
    let integer = number.and_then(|number| Integer::try_from(number).ok());
    integer.map(Cbor::Integer).ok_or(JsonError::Form { key: "$int", form })
}

fn float_to_cbor(value: &Json) -> Result<Cbor, JsonError> {
    let form = JsonError::Form { key: "$float", form: "\"NaN\", \"inf\" or \"-inf\"" };
    match value.as_str() {
        Some("NaN") => Ok(Cbor::Float(f64::NAN)),
        Some("inf") => Ok(Cbor::Float(f64::INFINITY)),
        Some("-inf") => Ok(Cbor::Float(f64::NEG_INFINITY)),
        Some(_) | None => Err(form),
    }
}

/// The JSON that shows a CBOR value.
#[must_use]
pub fn from_cbor(cbor: Cbor) -> Json {
    match cbor {
        Cbor::Bool(value) => Json::Bool(value),
        Cbor::Integer(value) => integer_from_cbor(value.into()),
        Cbor::Float(value) => float_from_cbor(value),
        Cbor::Text(text) => Json::String(text),
        Cbor::Bytes(bytes) => special("$bytes", Json::String(STANDARD.encode(bytes))),
        Cbor::Tag(tag, value) => special("$tag", Json::Array(vec![tag.into(), from_cbor(*value)])),
        Cbor::Array(items) => Json::Array(items.into_iter().map(from_cbor).collect()),
        Cbor::Map(pairs) => map_from_cbor(pairs),
        // Beside null whatever a later version of the library may tell apart.
        Cbor::Null | _ => Json::Null,
    }
}

fn special(key: &str, value: Json) -> Json {
    Json::Object(Map::from_iter([(key.to_owned(), value)]))
}

/// JSON's numbers end where 64 bits do; CBOR's go on by one bit, downwards.
fn integer_from_cbor(value: i128) -> Json {
    match (u64::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (Err(_), Ok(value)) => value.into(),
        (Err(_), Err(_)) => special("$int", Json::String(value.to_string())),
    }
}

fn float_from_cbor(value: f64) -> Json {
    match Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => special("$float", "NaN".into()),
        None if value > 0.0 => special("$float", "inf".into()),
        None => special("$float", "-inf".into()),
    }
}

/// A map that would be read back as another one keeps its form as pairs.
fn map_from_cbor(pairs: Vec<(Cbor, Cbor)>) -> Json {
    let mut map = Map::new();
    let looks_special = pairs.len() == 1
        && matches!(&pairs[0].0, Cbor::Text(key) if special_to_cbor(key, &Json::Null).is_some());
    let mut keys = BTreeSet::new();
    let differ = pairs.iter().all(|(key, _)| matches!(key, Cbor::Text(key) if keys.insert(key)));
    if looks_special || !differ {
        let pairs = pairs.into_iter().map(|(key, value)| Json::Array(vec![from_cbor(key), from_cbor(value)]));
        return special("$map", Json::Array(pairs.collect()));
    }
    for (key, value) in pairs {
        if let Cbor::Text(key) = key {
            map.insert(key, from_cbor(value));
        }
    }
    Json::Object(map)
}

#[cfg(test)]
mod tests;
