//! Frames through tokio-util.

#![cfg(feature = "codec")]

use bytes::{Bytes, BytesMut};
use lifeboat_protocol::*;
use tokio_util::codec::{Decoder, Encoder};

const LIMIT: FrameLimit = FrameLimit::for_body(1024);

fn cancel(id: u64) -> Bytes {
    let mut out = Vec::new();
    put_empty(&mut out, MessageType::Cancel, Some(Route::request(id, TimeLeft::NONE)));
    out.into()
}

#[test]
fn what_is_encoded_is_decoded_byte_by_byte() {
    let mut codec = FrameCodec::new(LIMIT);
    let mut wire = BytesMut::new();
    codec.encode(cancel(1), &mut wire).unwrap();
    codec.encode([cancel(2), cancel(3)].concat().into(), &mut wire).unwrap();
    let mut src = BytesMut::new();
    let mut ids = Vec::new();
    for byte in wire {
        src.extend_from_slice(&[byte]);
        while let Some(frame) = codec.decode(&mut src).unwrap() {
            ids.push(decode(&frame).unwrap().header.route().unwrap().id);
        }
    }
    assert_eq!(ids, [1, 2, 3]);
    assert!(codec.decode_eof(&mut src).unwrap().is_none());
}

#[test]
fn a_claimed_length_makes_no_room() {
    let mut codec = FrameCodec::new(FrameLimit::for_body(usize::MAX));
    let mut src = BytesMut::from(&[0x7f, 0xff, 0xff, 0xff, 0x81][..]);
    assert!(codec.decode(&mut src).unwrap().is_none());
    assert!(src.capacity() <= 256 * 1024, "{}", src.capacity());
    src.truncate(3);
    assert!(matches!(codec.decode_eof(&mut src), Err(CodecError::Io(_))), "closed in the middle of a frame");
}

#[test]
fn limits_hold_in_both_directions() {
    let mut codec = FrameCodec::new(LIMIT);
    let mut src = BytesMut::from(&[0xff; 4][..]);
    assert!(matches!(codec.decode(&mut src), Err(CodecError::Frame(FrameError::TooLarge { .. }))));
    let mut long = Vec::new();
    put_answer(&mut long, Route::request(1, TimeLeft::NONE), &vec![0; 2 * FRAME_OVERHEAD]);
    let mut wire = BytesMut::new();
    let refused = codec.encode(long.clone().into(), &mut wire);
    assert!(matches!(refused, Err(CodecError::Frame(FrameError::TooLarge { .. }))));
    let cut = codec.encode(cancel(1).slice(..10), &mut wire);
    assert!(matches!(cut, Err(CodecError::Unfinished { missing: 14 })), "{cut:?}");
    assert!(wire.is_empty());
    codec.set_send_limit(FrameLimit::for_body(DEFAULT_MAX_BODY));
    codec.encode(long.into(), &mut wire).unwrap();
}
