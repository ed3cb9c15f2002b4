//! Frames of an exact size, within the limits or not.

use lifeboat_protocol::{Ext, LENGTH_PREFIX, Route, TimeLeft, put_answer, put_request};

/// The head of a CBOR byte string whose length takes four bytes.
const LONG_BYTES: u8 = 0x5a;

/// That head and its length.
const HEAD: usize = 5;

/// A CBOR byte string that takes exactly so many bytes, 5 at least.
///
/// # Panics
///
/// When so few or so many cannot be.
#[must_use]
pub fn bytes_of(size: usize) -> Vec<u8> {
    let len = size.checked_sub(HEAD).expect("a byte string with a long head");
    let mut item = vec![LONG_BYTES];
    item.extend_from_slice(&u32::try_from(len).expect("tests stay below 4 GiB").to_be_bytes());
    item.resize(size, 7);
    item
}

/// A request whose header and body take exactly so many bytes. A header longer than the method needs has a further
/// element, as a newer client's would.
///
/// # Panics
///
/// When the sizes cannot be.
#[must_use]
pub fn request_of(id: u64, method: &str, header: usize, body: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    put_request(&mut frame, Route::request(id, TimeLeft::NONE), method, &Ext::default(), &[]);
    if frame.len() - LENGTH_PREFIX < header {
        // An empty extension map holds the place before it.
        frame[LENGTH_PREFIX] += 1;
        frame.push(0xa0);
    }
    grow(frame, header, body)
}

/// The same for an answer.
///
/// # Panics
///
/// When the sizes cannot be.
#[must_use]
pub fn answer_of(route: Route, header: usize, body: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    put_answer(&mut frame, route, &[]);
    grow(frame, header, body)
}

fn grow(mut frame: Vec<u8>, header: usize, body: usize) -> Vec<u8> {
    let has = frame.len() - LENGTH_PREFIX;
    if has < header {
        frame[LENGTH_PREFIX] += 1;
        frame.extend(bytes_of(header - has));
    }
    frame.extend(bytes_of(body));
    let len = frame.len() - LENGTH_PREFIX;
    assert_eq!(len, header + body, "this header cannot be so short");
    frame[..LENGTH_PREFIX]
        .copy_from_slice(&u32::try_from(len).expect("tests stay below 4 GiB").to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use lifeboat_protocol::{FRAME_OVERHEAD, ROUTE_END, decode};

    use super::*;

    #[test]
    fn sizes_are_exact() {
        let route = Route::request(3, TimeLeft::NONE);
        for (header, body) in [(ROUTE_END, 5), (ROUTE_END + 5, 100), (FRAME_OVERHEAD, 1_000)] {
            let frames = [answer_of(route, header, body), request_of(3, "m", header + 8, body)];
            for (bytes, header) in frames.iter().zip([header, header + 8]) {
                assert_eq!(bytes.len(), LENGTH_PREFIX + header + body);
                let message = decode(&bytes[LENGTH_PREFIX..]);
                assert!(message.is_ok_and(|it| it.body.len() == body) || header > FRAME_OVERHEAD);
            }
        }
        assert_eq!(request_of(3, "m", ROUTE_END + 2, 5).len(), LENGTH_PREFIX + ROUTE_END + 7);
    }
}
