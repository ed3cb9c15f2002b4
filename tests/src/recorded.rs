//! Peers of before, as they were recorded: what they send, and what they can read.
//!
//! Owns the reading of `compat/`. Must never write a frame with today's code: the bytes are those of then.

use lifeboat_protocol::{MessageType, Route};

/// What a client of 0.1 sends.
pub const CLIENT: &str = include_str!("../compat/0.1/client.hex");

/// What a broker of 0.1 says to a client.
pub const BROKER: &str = include_str!("../compat/0.1/broker.hex");

/// What a worker of 0.1 sends.
pub const WORKER: &str = include_str!("../compat/0.1/worker.hex");

/// The highest number of a message type that both of them know.
const NEWEST: u8 = MessageType::Operated.number();

/// Where the route's number and attempt begin in a frame with its length.
const ROUTE: usize = lifeboat_protocol::LENGTH_PREFIX + lifeboat_protocol::ROUTE_OFFSET;

/// Whether the peers of then know a message of this type.
#[must_use]
pub const fn knows(message_type: MessageType) -> bool {
    message_type.number() <= NEWEST
}

/// The frame of this name, length included.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn frame(recording: &str, name: &str) -> Vec<u8> {
    let begins = format!("# {name}: ");
    let after = recording.lines().skip_while(|line| !line.starts_with(&begins)).skip(1);
    let digits: Vec<char> = after.take_while(|line| !line.starts_with('#')).flat_map(str::chars).collect();
    assert!(!digits.is_empty(), "a recorded frame {name:?}");
    let pairs = digits.chunks(2).map(String::from_iter);
    pairs.map(|pair| u8::from_str_radix(&pair, 16).expect("recordings are hexadecimal")).collect()
}

/// The frame of this name, about the attempt of this route.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn frame_to(recording: &str, name: &str, route: Route) -> Vec<u8> {
    let mut frame = frame(recording, name);
    frame[ROUTE..ROUTE + 8].copy_from_slice(&route.id.to_be_bytes());
    frame[ROUTE + 8..ROUTE + 10].copy_from_slice(&route.attempt.to_be_bytes());
    frame
}
