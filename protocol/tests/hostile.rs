//! Bytes from an enemy: nothing panics, whatever comes.

mod common;

use common::operations::{operateds, operates};
use common::*;
use lifeboat_protocol::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn read_everything(bytes: &[u8]) {
    let _ = read_route(bytes);
    let _ = Ext::decode(bytes);
    if let Ok(message) = decode(bytes) {
        if let Header::Request { ext: Some(ext), .. } = message.header {
            let _ = Ext::decode(ext);
        }
        read_as_body(message.body);
    }
    read_as_body(bytes);
}

fn read_as_body(bytes: &[u8]) {
    let _ = decode_body::<Hello>(bytes);
    let _ = decode_body::<Failure>(bytes);
    let _ = decode_body::<WorkersFailed>(bytes);
    let _ = decode_body::<Refused>(bytes);
    let _ = decode_body::<Panicked>(bytes);
    let _ = decode_body::<ErrorBody>(bytes);
    let _ = decode_body::<ReasonBody>(bytes);
    let _ = decode_body::<AttemptBody>(bytes);
    let _ = decode_body::<Progress>(bytes).map(|progress| progress.fraction());
    let _ = decode_body::<Operate>(bytes).map(|operate| operate.rows());
    let _ = decode_body::<Operated>(bytes);
    let _ = decode_body::<Value>(bytes);
    let _ = decode_body::<String>(bytes);
    let _ = decode_body::<Vec<u8>>(bytes);
    let _ = decode_body::<(u8, Option<i64>, f32)>(bytes);
    let _ = decode_body::<()>(bytes);
}

/// Bytes in which the heads of CBOR items are frequent, so that more than the first byte is reached.
fn cbor_like() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(
            &[0x81_u8, 0x82, 0xa1, 0xa2, 0x61, 0x41, 0x50, 0x9f, 0xbf, 0x7f, 0xff, 0xf6][..]
        ),
        0..24_u8,
    ];
    vec(byte, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn bytes_that_look_like_cbor_never_panic(bytes in cbor_like()) {
        read_everything(&bytes);
    }

    #[test]
    fn headers_with_arbitrary_rests_never_panic(elements in 0..16_u8, number in 0..24_u8, rest in cbor_like()) {
        read_everything(&[&[0x80 | elements, number][..], &rest].concat());
        read_everything(&[&[0x80 | elements, number, 0x50][..], &[0; 16], &rest].concat());
        read_everything(&[&[0x80 | elements, number, 0x50][..], &[0; 16], &[0x61, b'm'], &rest].concat());
    }
}

proptest! {
    #[test]
    fn damaged_messages_never_panic(
        ext in exts(), error in errors(), hello in hellos(), progress in progress(), operate in operates(),
        operated in operateds(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let route = Route::request(1, TimeLeft::NONE);
        let mut messages = [const { Vec::new() }; 6];
        put_request(&mut messages[0], route, "resize", &ext, NULL_BODY);
        put_control(&mut messages[1], MessageType::Error, Some(route), &error).unwrap();
        put_control(&mut messages[2], MessageType::Hello, None, &hello).unwrap();
        put_control(&mut messages[3], MessageType::Progress, Some(route), &progress).unwrap();
        put_control(&mut messages[4], MessageType::Operate, Some(route), &operate).unwrap();
        put_control(&mut messages[5], MessageType::Operated, Some(route), &operated).unwrap();
        for message in &mut messages {
            let at = at.index(message.len() - LENGTH_PREFIX) + LENGTH_PREFIX;
            message[at] = byte;
            read_everything(&message[LENGTH_PREFIX..]);
            read_everything(&message[LENGTH_PREFIX..at]);
        }
    }
}
