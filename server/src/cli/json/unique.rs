//! JSON whose objects name each key once: the library's own reader keeps the last of equal keys and says nothing.
//!
//! Owns that rule. Must never look into a value.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use super::JsonError;

/// Reads a text.
pub(super) fn read(text: &str) -> Result<Json, JsonError> {
    let twice = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Unique { twice: &twice }.deserialize(&mut deserializer);
    let read = read.and_then(|json| deserializer.end().map(|()| json));
    read.map_err(|error| match twice.take() {
        Some(key) => JsonError::Twice { key, line: error.line(), column: error.column() },
        None => JsonError::Syntax(error),
    })
}

/// A value of any kind.
#[derive(Clone, Copy)]
struct Unique<'a> {
    /// The key that an object names twice: the error that ends the reading can only carry a text.
    twice: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            read.push(item);
        }
        Ok(Json::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Json, A::Error> {
        let mut read = Map::new();
        while let Some(key) = pairs.next_key::<String>()? {
            if read.contains_key(&key) {
                self.twice.replace(Some(key));
                return Err(A::Error::custom("an object names a key twice"));
            }
            let value = pairs.next_value_seed(self)?;
            read.insert(key, value);
        }
        Ok(Json::Object(read))
    }
}
