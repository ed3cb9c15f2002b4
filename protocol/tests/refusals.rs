//! What headers and ext maps must not be: every other form is refused, in bounded time and space.

mod common;

use common::*;
use lifeboat_protocol::*;

fn request(elements: u8, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | elements, 1, 0x50];
    frame.extend_from_slice(&Route::request(1, TimeLeft::NONE).to_bytes());
    frame.extend_from_slice(rest);
    frame
}

#[test]
fn the_route_has_one_form_only() {
    let good = request(3, &[0x61, b'm', 0xf6]);
    assert!(decode(&good).is_ok());
    // A longer array head, a longer type, a longer byte-string head, a route of 15 or 17 bytes, a text route.
    let route = [0; 16];
    for (head, len) in [
        (&[0x98, 3, 1, 0x50][..], 16),
        (&[0x9f, 1, 0x50], 16),
        (&[0x83, 0x18, 1, 0x50], 16),
        (&[0x83, 1, 0x58, 16], 16),
        (&[0x83, 1, 0x4f], 15),
        (&[0x83, 1, 0x51], 16),
        (&[0x83, 1, 0x70], 16),
    ] {
        let frame = [head, &route[..len], &[0x61, b'm', 0xf6]].concat();
        assert!(matches!(decode(&frame), Err(HeaderError::Malformed { .. })), "{frame:02x?}");
    }
}

#[test]
fn every_shorter_frame_is_refused() {
    let ext = Ext { traceparent: Some("00-aa-bb-01".into()), ..Ext::default() };
    let mut out = Vec::new();
    put_request(&mut out, Route::request(1, TimeLeft::NONE), "resize", &ext, NULL_BODY);
    let frame = only_frame(&out);
    for len in 0..frame.len() {
        assert!(matches!(decode(&frame[..len]), Err(HeaderError::Malformed { .. })), "at {len}");
        assert_eq!(read_route(&frame[..len]).is_ok(), len >= ROUTE_END, "at {len}");
    }
}

#[test]
fn methods_have_1_to_255_bytes_of_utf8() {
    let long = [&[0x79, 1, 0][..], &[b'm'; 256], &[0xf6]].concat();
    assert_eq!(decode(&request(3, &long)), Err(HeaderError::BadMethod { len: 256 }));
    assert_eq!(decode(&request(3, &[0x60, 0xf6])), Err(HeaderError::BadMethod { len: 0 }));
    let refused = |rest: &[u8], elements| {
        let frame = request(elements, rest);
        let error = decode(&frame).unwrap_err();
        assert!(matches!(error, HeaderError::Malformed { .. }), "{rest:02x?}: {error}");
    };
    refused(&[0x62, 0xc3, 0x28, 0xf6], 3); // not UTF-8
    refused(&[0x41, b'm', 0xf6], 3); // bytes
    refused(&[0x7f, 0x61, b'm', 0xff, 0xf6], 3); // indefinite length
    refused(&[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'm', 0xf6], 3); // claims 16 EiB
    refused(&[0x61, b'm'], 2); // an array that ends before the method
    refused(&[0x61, b'm', 0x80, 0xf6], 4); // ext is no map
    refused(&[0x61, b'm', 0xbf, 0xff, 0xf6], 4); // ext of indefinite length
    assert!(check_method("m").is_ok());
    assert!(check_method(&"m".repeat(255)).is_ok());
    assert_eq!(check_method(""), Err(MethodNameError { len: 0 }));
    assert_eq!(check_method(&"m".repeat(256)), Err(MethodNameError { len: 256 }));
}

#[test]
fn unknown_types_are_refused() {
    let known = |number: &u8| MessageType::ALL.iter().any(|known| known.number() == *number);
    for number in (0..=23_u8).filter(|number| !known(number)) {
        assert_eq!(MessageType::from_number(number), None);
        let error = decode(&[0x81, number, 0xf6]).unwrap_err();
        assert_eq!(error, HeaderError::UnknownType(number.into()));
        assert_eq!(error.refused_code(), RefusedCode::UnknownMessage);
    }
    assert_eq!(decode(&[0x81, 0x18, 200, 0xf6]), Err(HeaderError::UnknownType(200)));
    assert_eq!(decode(&[0x81, 0x19, 1, 0, 0xf6]), Err(HeaderError::UnknownType(256)));
    assert!(MessageType::ALL.is_sorted_by_key(|known| known.number()), "in their order");
    for message_type in MessageType::ALL {
        assert_eq!(MessageType::from_number(message_type.number()), Some(message_type));
    }
    assert_eq!(MessageType::from_number(23), None);
}

#[test]
fn what_is_saved_has_at_most_a_mebibyte() {
    let save = |len| {
        let mut out = Vec::new();
        put_save(&mut out, Route::request(1, TimeLeft::NONE), &vec![0x60; len]);
        out
    };
    let longest = save(MAX_SAVED);
    assert_eq!(decode(only_frame(&longest)).map(|message| message.body.len()), Ok(MAX_SAVED));
    let error = decode(only_frame(&save(MAX_SAVED + 1))).unwrap_err();
    assert_eq!(error, HeaderError::LongSave { len: MAX_SAVED + 1 });
    assert_eq!(error.refused_code(), RefusedCode::Malformed);
}

#[test]
fn the_longest_history_fits_a_frame_whatever_the_body_may_be() {
    let attempt = PreviousAttempt {
        number: u16::MAX,
        worker: "w".repeat(255),
        incarnation: u64::MAX,
        end: AttemptEndLabel::TimedOut,
        reason: Some("stopped_from_outside".into()),
        duration_ms: u64::MAX,
    };
    for saved in [0, MAX_SAVED] {
        let history = History {
            previous: vec![attempt.clone(); MAX_PREVIOUS_ATTEMPTS],
            saved: Some(SavedItem(vec![0x60; saved])),
        };
        let mut out = Vec::new();
        let route = Some(Route::request(1, TimeLeft::NONE));
        put_control(&mut out, MessageType::History, route, &history).unwrap();
        let limit = FrameLimit::for_body(saved);
        let Ok(Split::Frame { frame, .. }) = split_frame(&out, limit) else { panic!("it fits") };
        assert_eq!(decode_body::<History>(decode(frame).unwrap().body), Ok(history));
    }
}

#[test]
fn skipping_is_bounded_in_depth_and_size() {
    let nested = |levels: usize| [vec![0x61, b'm', 0xa0], vec![0x81; levels], vec![0xf6, 0xf6]].concat();
    assert!(decode(&request(5, &nested(15))).is_ok());
    let deep = decode(&request(5, &nested(100_000))).unwrap_err();
    assert!(deep.to_string().contains("nested too deeply"), "{deep}");
    // An array that claims 2^64-1 elements.
    let claims = [&[0x61, b'm', 0xa0, 0x9b][..], &[0xff; 8], &[0xf6]].concat();
    assert!(matches!(decode(&request(5, &claims)), Err(HeaderError::Malformed { .. })));
    // A header that swallows more than a header may: 64 KiB.
    let padding = |len: u16| {
        let [high, low] = len.to_be_bytes();
        [&[0x61, b'm', 0xa0, 0x59, high, low][..], &vec![0; len.into()], &[0xf6]].concat()
    };
    let fixed = request(5, &padding(0)).len() - 1;
    let longest = u16::try_from(FRAME_OVERHEAD - fixed).unwrap();
    assert!(decode(&request(5, &padding(longest))).is_ok());
    let error = decode(&request(5, &padding(longest + 1))).unwrap_err();
    assert_eq!(error, HeaderError::TooLong { len: FRAME_OVERHEAD + 1 });
    assert_eq!(error.refused_code(), RefusedCode::TooLarge);
}

#[test]
fn ext_refuses_what_it_cannot_mean() {
    for (bytes, why) in [
        (&[][..], "nothing"),
        (&[0x80], "no map"),
        (&[0xa0, 0x00], "something after"),
        (&[0xa2, 1, 0x60, 1, 0x60], "a key twice"),
        (&[0xa1, 1, 0x01], "a traceparent that is a number"),
        (&[0xa1, 0x61, b'k', 1], "a text key"),
        (&[0xa1, 3, 0xa2, 1, 1, 1, 1], "a limit twice"),
        (&[0xa1, 3, 0xa1, 1, 0x20], "a negative limit"),
        (&[0xa1, 5, 0xa1, 1, 0x1a, 0, 1, 0, 0], "65536 attempts"),
        (&[0xa1, 6, 0x01], "a stream that is a number"),
        (&[0xa1, 6, 0xf6], "a stream that is null"),
        (&[0xa1, 7, 0xf9, 0, 21], "a restartable that is a float with the bits of true"),
        (&[0xa1, 7, 0xf8, 0xf5], "a restartable that is another simple value"),
        (&[0xa1, 8, 0x41, b'k'], "an idempotency key of bytes"),
        (&[0xa1, 8, 0xf6], "an idempotency key that is null"),
        (&[0xa1, 9, 0x01], "a pool that is a number"),
        (&[0xa1, 6], "a stream that is not there"),
        (&[0xa2, 6, 0xf5, 6, 0xf4], "a stream twice"),
        (&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "a map that claims 2^64-1 entries"),
        (&[0xa1, 4, 0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "metadata that claims as many"),
    ] {
        assert!(Ext::decode(bytes).is_err(), "{why}");
    }
    // Longer forms of the same numbers are fine: another library may write them.
    let limits = Ext::decode(&[0xa1, 0x18, 3, 0xa1, 0x19, 0, 1, 0x1a, 0, 0, 0, 9]).unwrap().limits;
    assert_eq!(limits, Limits { attempt_timeout_ms: Some(9), ..Limits::default() });
    // What is left out when false may be said all the same.
    assert_eq!(Ext::decode(&[0xa2, 6, 0xf4, 7, 0xf4]), Ok(Ext::default()));
}

#[test]
fn operations_have_at_most_4_kib() {
    let route = Route::request(1, TimeLeft::NONE);
    let operate = |target: usize| Operate::on(Operation::Kill, "x".repeat(target));
    let spare = MAX_OPERATE_BODY - encode_body(&operate(300)).unwrap().len();
    let mut out = Vec::new();
    put_control(&mut out, MessageType::Operate, Some(route), &operate(300 + spare)).unwrap();
    let longest = decode(only_frame(&out)).unwrap();
    assert_eq!((longest.header, longest.body.len()), (Header::Operate { route }, MAX_OPERATE_BODY));

    // Not written; and refused of a peer that writes it, by its length alone.
    let whole = out.clone();
    let error = put_control(&mut out, MessageType::Operate, Some(route), &operate(301 + spare)).unwrap_err();
    assert_eq!(error, EncodeError::LongOperation { len: MAX_OPERATE_BODY + 1 });
    assert_eq!(out, whole, "what failed leaves nothing behind");
    let mut frame = only_frame(&out).to_vec();
    frame.push(0xff);
    let error = decode(&frame).unwrap_err();
    assert_eq!(error, HeaderError::LongOperation { len: MAX_OPERATE_BODY + 1 });
    assert_eq!(error.refused_code(), RefusedCode::Malformed);
    // Other bodies have the frame's limit only.
    frame[1] = MessageType::Operated.number();
    assert!(decode(&frame).is_ok());
}

#[test]
fn time_left_rounds_up_and_saturates() {
    use std::time::Duration;
    assert_eq!(TimeLeft::from_duration(Duration::ZERO).as_millis(), 0);
    assert_eq!(TimeLeft::from_duration(Duration::from_nanos(1)).as_millis(), 1);
    assert_eq!(TimeLeft::from_duration(Duration::from_millis(1500)).as_millis(), 1500);
    assert_eq!(TimeLeft::from_duration(Duration::MAX), TimeLeft::MAX);
    let edge = Duration::from_millis(u32::MAX.into());
    assert_eq!(TimeLeft::from_duration(edge), TimeLeft::MAX, "never `NONE`");
    assert_eq!(TimeLeft::NONE.as_duration(), None);
    assert_eq!(TimeLeft::MAX.as_duration(), Some(Duration::from_millis(u64::from(u32::MAX) - 1)));
}

#[test]
fn control_messages_check_type_and_route() {
    let mut out = b"kept".to_vec();
    let route = Some(Route::request(1, TimeLeft::NONE));
    let refused = Refused::new(RefusedCode::Malformed, "no");
    let mut put = |message_type, route| put_control(&mut out, message_type, route, &refused).unwrap_err();
    assert_eq!(put(MessageType::Refused, route), EncodeError::Route(MessageType::Refused));
    assert_eq!(put(MessageType::Error, None), EncodeError::Route(MessageType::Error));
    assert_eq!(put(MessageType::Request, route), EncodeError::NotControl(MessageType::Request));
    assert_eq!(put(MessageType::Heartbeat, route), EncodeError::Route(MessageType::Heartbeat));
    assert_eq!(put(MessageType::Operated, None), EncodeError::Route(MessageType::Operated));

    struct Unwilling;
    impl serde::Serialize for Unwilling {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let error = put_control(&mut out, MessageType::Refused, None, &Unwilling).unwrap_err();
    assert_eq!(error, EncodeError::Value("not today".into()));
    assert_eq!(out, b"kept", "what failed leaves nothing behind");
}
