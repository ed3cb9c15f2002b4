//! Where frames begin and end, and how long they may be.

mod common;

use common::*;
use lifeboat_protocol::*;
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: FrameLimit = FrameLimit::for_body(1024);

#[test]
fn a_length_is_judged_by_its_four_bytes() {
    let four_gib = [0xff; 4];
    let error = split_frame(&four_gib, LIMIT).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { len: u32::MAX as usize, limit: 1024 + FRAME_OVERHEAD });
    assert_eq!(error.refused_code(), RefusedCode::TooLarge);
    let error = split_frame(&[0; 4], LIMIT).unwrap_err();
    assert_eq!(error, FrameError::Empty);
    assert_eq!(error.refused_code(), RefusedCode::Malformed);
    // Exactly at the limit, and one above.
    let longest = u32::try_from(LIMIT.max_frame()).unwrap();
    let need = LIMIT.max_frame() + LENGTH_PREFIX;
    assert_eq!(split_frame(&longest.to_be_bytes(), LIMIT), Ok(Split::Incomplete { have: 4, need }));
    assert!(split_frame(&(longest + 1).to_be_bytes(), LIMIT).is_err());
}

#[test]
fn limits_leave_room_for_the_header_and_fit_the_prefix() {
    assert_eq!(FrameLimit::for_body(0).max_frame(), FRAME_OVERHEAD);
    assert_eq!(FrameLimit::for_body(DEFAULT_MAX_BODY).max_frame(), DEFAULT_MAX_BODY + FRAME_OVERHEAD);
    assert_eq!(FrameLimit::for_body(DEFAULT_MAX_BODY).max_body(), DEFAULT_MAX_BODY);
    assert_eq!(FrameLimit::for_body(usize::MAX).max_frame(), u32::MAX as usize);
    let hello = Hello { max_body: u64::MAX, ..Hello::new(Role::Client, 0, "test") };
    assert_eq!(hello.frame_limit().max_frame(), u32::MAX as usize);
}

proptest! {
    #[test]
    fn split_at_every_byte_says_what_is_missing(body in vec(any::<u8>(), 1..200), more in vec(any::<u8>(), 0..20)) {
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        bytes.extend_from_slice(&body);
        start.finish(&mut bytes);
        let whole = bytes.len();
        for have in 0..whole {
            let need = if have < LENGTH_PREFIX { LENGTH_PREFIX } else { whole };
            prop_assert_eq!(split_frame(&bytes[..have], LIMIT), Ok(Split::Incomplete { have, need }));
        }
        bytes.extend_from_slice(&more);
        prop_assert_eq!(split_frame(&bytes, LIMIT), Ok(Split::Frame { frame: &body, rest: &more }));
    }

    #[test]
    fn frames_in_a_row_come_back_in_order(routes in vec(routes(), 0..20)) {
        let mut out = Vec::new();
        for route in &routes {
            put_answer(&mut out, *route, &[0x07]);
        }
        let mut left = &out[..];
        for route in &routes {
            let Split::Frame { frame, rest } = split_frame(left, LIMIT).unwrap() else { panic!("a whole frame") };
            prop_assert_eq!(decode(frame).unwrap().header, Header::Answer { route: *route });
            left = rest;
        }
        prop_assert!(left.is_empty());
    }

    #[test]
    fn arbitrary_bytes_split_into_frames_or_errors(bytes in vec(any::<u8>(), 0..400), max_body in 0..500_usize) {
        let limit = FrameLimit::for_body(max_body);
        let mut left = &bytes[..];
        loop {
            match split_frame(left, limit) {
                Ok(Split::Frame { frame, rest }) => {
                    prop_assert!(!frame.is_empty() && frame.len() <= limit.max_frame());
                    prop_assert_eq!(LENGTH_PREFIX + frame.len() + rest.len(), left.len());
                    left = rest;
                }
                Ok(Split::Incomplete { have, need }) => {
                    prop_assert!(have == left.len() && need > have && need <= LENGTH_PREFIX + limit.max_frame());
                    break;
                }
                Err(FrameError::TooLarge { len, limit: said }) => {
                    prop_assert!(len > said && said == limit.max_frame());
                    break;
                }
                Err(FrameError::Empty) => break,
            }
        }
    }
}
