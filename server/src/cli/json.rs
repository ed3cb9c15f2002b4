//! JSON for people, CBOR for the wire.
//!
//! It owns the mapping. What JSON has no word for is written as an object with one key that begins with `$`, which is
//! read back as the same: bytes as `{"$bytes": "BASE64"}`, a tagged value as `{"$tag": [NUMBER, VALUE]}`, a map whose
//! keys are not all texts as `{"$map": [[KEY, VALUE], ...]}`, and a number that is not finite as `{"$float": "NaN"}`
//! (or `"inf"`, `"-inf"`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use serde_json::{Map, Number, Value as Json};
use thiserror::Error;

/// JSON that stands for no CBOR, or the other way round.
#[derive(Debug, Error)]
pub enum JsonError {
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
    /// A number that CBOR cannot hold exactly.
    #[error("{0} is no number that can be sent")]
    Number(Number),
}

/// The CBOR that a JSON value stands for.
///
/// # Errors
///
/// When a special object (its one key begins with `$`) has the wrong form.
pub fn to_cbor(json: Json) -> Result<Cbor, JsonError> {
    Ok(match json {
        Json::Null => Cbor::Null,
        Json::Bool(value) => Cbor::Bool(value),
        Json::Number(number) => number_to_cbor(number)?,
        Json::String(text) => Cbor::Text(text),
        Json::Array(items) => Cbor::Array(items.into_iter().map(to_cbor).collect::<Result<_, _>>()?),
        Json::Object(map) => return object_to_cbor(map),
    })
}

fn number_to_cbor(number: Number) -> Result<Cbor, JsonError> {
    if let Some(value) = number.as_u64() {
        return Ok(Cbor::Integer(value.into()));
    }
    if let Some(value) = number.as_i64() {
        return Ok(Cbor::Integer(value.into()));
    }
    number.as_f64().map(Cbor::Float).ok_or(JsonError::Number(number))
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
        (Err(_), Err(_)) => Json::String(value.to_string()),
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
    let plain = !looks_special && pairs.iter().all(|(key, _)| matches!(key, Cbor::Text(_)));
    if !plain {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cbor() -> impl Strategy<Value = Cbor> {
        let leaf = prop_oneof![
            Just(Cbor::Null),
            any::<bool>().prop_map(Cbor::Bool),
            any::<i64>().prop_map(|value| Cbor::Integer(value.into())),
            any::<u64>().prop_map(|value| Cbor::Integer(value.into())),
            any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()).prop_map(Cbor::Float),
            prop_oneof![".{0,6}", Just("$bytes".to_owned()), Just("$map".to_owned())].prop_map(Cbor::Text),
            prop::collection::vec(any::<u8>(), 0..6).prop_map(Cbor::Bytes),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Cbor::Array),
                prop::collection::btree_map("[$a-c]{0,5}", inner.clone(), 0..4).prop_map(|map| {
                    Cbor::Map(map.into_iter().map(|(key, value)| (Cbor::Text(key), value)).collect())
                }),
                prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(Cbor::Map),
                (any::<u64>(), inner).prop_map(|(tag, value)| Cbor::Tag(tag, Box::new(value))),
            ]
        })
    }

    /// JSON keeps no order of keys, and the last of two equal keys.
    fn sorted(cbor: Cbor) -> Cbor {
        match cbor {
            Cbor::Map(pairs) if pairs.iter().all(|(key, _)| matches!(key, Cbor::Text(_))) => {
                let pairs = pairs.into_iter().map(|(key, value)| (format!("{key:?}"), (key, sorted(value))));
                Cbor::Map(pairs.collect::<std::collections::BTreeMap<_, _>>().into_values().collect())
            }
            Cbor::Map(pairs) => {
                Cbor::Map(pairs.into_iter().map(|(key, value)| (sorted(key), sorted(value))).collect())
            }
            Cbor::Array(items) => Cbor::Array(items.into_iter().map(sorted).collect()),
            Cbor::Tag(tag, value) => Cbor::Tag(tag, Box::new(sorted(*value))),
            other @ (Cbor::Integer(_)
            | Cbor::Bytes(_)
            | Cbor::Float(_)
            | Cbor::Text(_)
            | Cbor::Bool(_)
            | Cbor::Null
            | _) => other,
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back_as_the_same(value in cbor()) {
            let text = from_cbor(value.clone()).to_string();
            let back = to_cbor(serde_json::from_str(&text).unwrap()).unwrap();
            prop_assert_eq!(sorted(back), sorted(value), "{}", text);
        }
    }

    #[test]
    fn special_objects_say_what_is_wrong_with_them() {
        for (text, expected) in [
            (r#"{"$bytes": "?"}"#, "no base64"),
            (r#"{"$bytes": 1}"#, "\"$bytes\" must hold a base64 text"),
            (r#"{"$tag": [1]}"#, "\"$tag\" must hold an array of a number and a value"),
            (r#"{"$map": {}}"#, "\"$map\" must hold an array of arrays"),
            (r#"{"$float": "big"}"#, "\"$float\" must hold \"NaN\""),
        ] {
            let error = to_cbor(serde_json::from_str(text).unwrap()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let ordinary = serde_json::json!({"$bytes": "aGk=", "and": "more"});
        assert!(matches!(to_cbor(ordinary).unwrap(), Cbor::Map(_)));
    }
}
