//! Typed parts as an argument, and methods with an encoding of their own.

use lifeboat_protocol::{BodyError, EncodeError, Failure, MessageType, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Number;
use super::broker::{Broker, request};
use crate::prelude::*;
use crate::{Cbor, Encoding, PartialError};

method!(struct Count = "count": u64 => u64, partial = String);
method!(struct CountBlocking = "count-blocking": u64 => u64, partial = String);

async fn count(to: u64, parts: Parts<Count>) -> Result<u64, HandlerError> {
    for part in 0..to {
        parts.send(&part.to_string()).await?;
    }
    Ok(to)
}

fn count_blocking(to: u64, context: Context, parts: Parts<CountBlocking>) -> Result<u64, HandlerError> {
    for part in 0..to {
        parts.clone().send_blocking(&format!("{part} by {}", context.attempt()))?;
    }
    Ok(to)
}

#[test]
fn typed_parts_are_an_argument() {
    let mut broker = Broker::start(|| {
        Worker::new().handle::<Count>(count).handle_blocking::<CountBlocking>(count_blocking)
    });
    broker.send(&request(1, "count", &2));
    for part in ["0", "1"] {
        assert_eq!(broker.next().expect::<String>(MessageType::Partial, 1), part);
    }
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 1), 2);
    broker.send(&request(2, "count-blocking", &1));
    assert_eq!(broker.next().expect::<String>(MessageType::Partial, 2), "0 by 1");
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 2), 1);
}

/// An encoding that marks what it has written.
enum Marked {}

const MARK: u64 = 99;

impl Encoding for Marked {
    fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
        let value = Value::serialized(value).map_err(|error| EncodeError::Value(error.to_string()))?;
        Cbor::encode_into(out, &Value::Tag(MARK, Box::new(value)))
    }

    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
        let Value::Tag(MARK, value) = Cbor::decode(body)? else {
            return Err(BodyError::Shape("it has no mark".to_owned()));
        };
        value.deserialized().map_err(|error| BodyError::Shape(error.to_string()))
    }
}

fn marked(text: &str) -> Value {
    Value::Tag(MARK, Box::new(text.into()))
}

method!(struct Say = "say": String => String, partial = String, encoding = Marked);

/// An encoding that forgets to write.
enum Mute {}

impl Encoding for Mute {
    fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, _: &T) -> Result<(), EncodeError> {
        // The worst that one can do: what was written before it is not its own.
        out.pop();
        Ok(())
    }

    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
        Cbor::decode(body)
    }
}

method!(struct Hush = "hush": String => String, partial = String, encoding = Mute);

#[test]
fn an_encoding_that_writes_nothing_costs_its_own_request_alone() {
    let hush = async |text: String, parts: Parts<Hush>| {
        let error = parts.send(&text).await.unwrap_err();
        assert!(matches!(&error, PartialError::Encode(why) if why.contains("wrote nothing")), "{error}");
        Ok::<_, HandlerError>(text)
    };
    let mut broker =
        Broker::start(move || Worker::new().handle::<Hush>(hush).handle::<Number>(super::double));
    broker.send(&[request(1, "hush", &"x"), request(2, "number", &2)].concat());
    let failure: Failure = broker.next().expect(MessageType::Failure, 1);
    assert_eq!(failure.code, "bad_reply");
    assert!(failure.message.contains("wrote nothing"), "{failure:?}");
    assert_eq!(broker.next().expect::<u64>(MessageType::Answer, 2), 4);
}

#[test]
fn a_method_may_have_another_encoding() {
    let say = async |text: String, parts: Parts<Say>| {
        parts.send(&text).await?;
        Ok::<_, HandlerError>(text)
    };
    let mut broker = Broker::start(move || Worker::new().handle::<Say>(say));
    broker.send(&request(1, "say", &marked("hush")));
    assert_eq!(broker.next().expect::<Value>(MessageType::Partial, 1), marked("hush"));
    assert_eq!(broker.next().expect::<Value>(MessageType::Answer, 1), marked("hush"));
    broker.send(&request(2, "say", &"unmarked"));
    assert_eq!(broker.next().expect::<Failure>(MessageType::Failure, 2).code, "bad_request");
}
