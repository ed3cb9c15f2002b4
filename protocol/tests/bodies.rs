//! Every body there and back, and what a body must not be.

mod common;

use std::fmt::Debug;

use common::operations::{operateds, operates};
use common::*;
use lifeboat_protocol::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Through a whole frame and back, and once more with keys that a newer peer might add.
fn there_and_back<T>(message_type: MessageType, route: Route, value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let route = message_type.has_route().then_some(route);
    let mut out = Vec::new();
    put_control(&mut out, message_type, route, value).expect("a control message");
    let message = decode(only_frame(&out)).expect("its header");
    assert_eq!(message.header.message_type(), message_type);
    assert_eq!(message.header.route(), route);
    assert_eq!(&decode_body::<T>(message.body).expect("its body"), value);

    let Value::Map(mut map) = decode_body::<Value>(message.body).expect("any value") else {
        panic!("bodies are maps")
    };
    let newer = Value::Map(vec![(Value::from("x"), Value::Array(vec![Value::Null; 3]))]);
    map.insert(0, (Value::from("a key of tomorrow"), newer));
    map.push((Value::from(""), Value::from(1)));
    assert_eq!(&decode_body::<T>(&cbor(&Value::Map(map))).expect("its body with more keys"), value);
}

proptest! {
    #[test]
    fn hello_comes_back(value in hellos(), route in routes()) {
        there_and_back(MessageType::Hello, route, &value);
    }

    #[test]
    fn failure_comes_back(value in failures(), route in routes()) {
        there_and_back(MessageType::Failure, route, &value);
    }

    #[test]
    fn error_comes_back(value in errors(), route in routes()) {
        there_and_back(MessageType::Error, route, &value);
    }

    #[test]
    fn workers_failed_comes_back(reasons in vec(texts(), 0..5), route in routes()) {
        there_and_back(MessageType::WorkersFailed, route, &WorkersFailed { reasons });
    }

    #[test]
    fn panicked_comes_back(value in panics(), route in routes()) {
        there_and_back(MessageType::Panicked, route, &value);
    }

    #[test]
    fn refused_comes_back(value in refusals(), route in routes()) {
        there_and_back(MessageType::Refused, route, &value);
    }

    #[test]
    fn progress_comes_back(value in progress(), route in routes()) {
        there_and_back(MessageType::Progress, route, &value);
    }

    #[test]
    fn attempt_failed_comes_back(value in attempts(), route in routes()) {
        there_and_back(MessageType::Accepted, route, &Accepted { request: route.id });
        there_and_back(MessageType::AttemptFailed, route, &value);
    }

    #[test]
    fn operate_comes_back(value in operates(), route in routes()) {
        there_and_back(MessageType::Operate, route, &value);
    }

    #[test]
    fn operated_comes_back(value in operateds(), route in routes()) {
        there_and_back(MessageType::Operated, route, &value);
    }

    #[test]
    fn progress_text_is_cut_at_a_character(text in "[a-zß漢🦀]{0,1200}") {
        let written = encode_body(&Progress { text: Some(text.clone()), ..Progress::default() }).unwrap();
        let kept = decode_body::<Progress>(&written).unwrap().text.unwrap();
        prop_assert!(text.starts_with(&kept) && kept.len() <= MAX_PROGRESS_TEXT);
        prop_assert!(kept == text || kept.len() + 3 >= MAX_PROGRESS_TEXT, "{} bytes kept", kept.len());
    }

    #[test]
    fn a_fraction_is_between_0_and_1(value in progress()) {
        prop_assert!(value.fraction().is_none_or(|fraction| (0.0..=1.0).contains(&fraction)));
    }

    #[test]
    fn any_value_comes_back(value in values(20)) {
        prop_assert_eq!(decode_body::<Value>(&encode_body(&value).unwrap()).unwrap(), value);
    }

    #[test]
    fn any_cut_body_is_refused(value in values(6), more in vec(any::<u8>(), 1..5)) {
        let body = cbor(&value);
        for len in 0..body.len() {
            let cut = decode_body::<Value>(&body[..len]);
            prop_assert!(matches!(cut, Err(BodyError::Malformed { .. })), "{cut:?}");
        }
        let long = [&body[..], &more].concat();
        prop_assert_eq!(decode_body::<Value>(&long), Err(BodyError::Trailing { extra: more.len() }));
    }
}

#[test]
fn missing_fields_have_the_documented_defaults() {
    let text = |text: &str| Value::from(text);
    let body = |pairs: &[(&str, Value)]| {
        cbor(&Value::Map(pairs.iter().map(|(key, value)| (text(key), value.clone())).collect()))
    };
    let empty = || Value::Map(Vec::new());
    let hello: Hello = decode_body(&body(&[
        ("versions", Value::Array(vec![Value::from(1)])),
        ("role", text("broker")),
        ("max_body", Value::from(1000)),
        ("software", text("other/1")),
        ("worker", empty()),
        ("assignment", empty()),
        ("service", empty()),
        ("pid", Value::Null),
    ]))
    .unwrap();
    let expected = Hello {
        worker: Some(WorkerHello { methods: vec![], slots: 1 }),
        assignment: Some(Assignment {
            pool: String::new(),
            worker: String::new(),
            incarnation: 0,
            prefetch: 1,
            cancel_grace_ms: 1000,
            stop_grace_ms: 5000,
            slots: 1,
            heartbeat_ms: 0,
            on_panic: OnPanic::RetireSlot,
        }),
        service: Some(Service { max_in_flight: 65536, ..Service::default() }),
        ..Hello::new(Role::Broker, 1000, "other/1")
    };
    assert_eq!(hello, expected);
    let failure: Failure = decode_body(&body(&[("code", text("c")), ("message", text("m"))])).unwrap();
    assert_eq!(failure, Failure::new("c", "m"));
    let error: ErrorBody = decode_body(&body(&[("outcome", text("closed")), ("method", text("m"))])).unwrap();
    assert_eq!(error, ErrorBody::new(OutcomeLabel::Closed, "m"));
    let refused: Refused =
        decode_body(&body(&[("code", text("a code of tomorrow")), ("message", text("m"))])).unwrap();
    assert_eq!(refused, Refused::new(RefusedCode::Other, "m"));
    assert_eq!(decode_body(&body(&[])), Ok(Progress::default()));
    let operate: Operate = decode_body(&body(&[("operation", text("requests"))])).unwrap();
    assert_eq!((&operate, operate.rows()), (&Operate::new(Operation::Requests), DEFAULT_ROWS));
    assert_eq!(decode_body(&body(&[("ok", Value::from(true))])), Ok(Operated::done()));
    let missing = decode_body::<Failure>(&body(&[("code", text("c"))])).unwrap_err();
    assert!(missing.to_string().contains("message"), "{missing}");
}

#[test]
fn a_word_for_panics_that_is_not_known_retires_the_slot() {
    let read = |word: &str| decode_body::<OnPanic>(&encode_body(word).unwrap()).unwrap();
    assert_eq!(
        ["keep", "retire_slot", "ask_somebody"].map(read),
        [OnPanic::Keep, OnPanic::RetireSlot, OnPanic::RetireSlot]
    );
}

#[test]
fn progress_is_told_in_any_unsigned_number() {
    let read = |done: &[u8]| decode_body::<Progress>(&[&[0xa1, 0x64][..], b"done", done].concat());
    assert_eq!(read(&[0x03]).unwrap().done, Some(Amount::Whole(3)));
    assert_eq!(read(&[0x1b, 0, 0, 0, 0, 0, 0, 0, 3]).unwrap().done, Some(Amount::Whole(3)));
    assert_eq!(read(&[0x1b; 9]).unwrap().done, Some(Amount::Whole(0x1b1b_1b1b_1b1b_1b1b)));
    assert_eq!(read(&[0xf9, 0x38, 0]).unwrap().done, Some(Amount::Real(0.5)));
    assert_eq!(read(&[0xfb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]).unwrap().done, Some(Amount::Real(0.5)));
    assert_eq!(read(&[0xf6]).unwrap().done, None);
    for (bytes, what) in
        [(&[0x20][..], "-1"), (&[0x61, b'3'], "text"), (&[0xf5], "true"), (&[0x80], "an array")]
    {
        let error = read(bytes).unwrap_err();
        assert!(
            matches!(&error, BodyError::Shape(why) if why.contains("an unsigned integer or a float")),
            "{what}: {error}"
        );
    }

    let fraction = |done: f64, total: f64| {
        Progress { done: Some(done.into()), total: Some(total.into()), text: None }.fraction()
    };
    assert_eq!(fraction(1.0, 4.0), Some(0.25));
    assert_eq!(fraction(5.0, 4.0), Some(1.0));
    for (done, total) in [(-1.0, 4.0), (0.0, 0.0), (1.0, -1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
        assert_eq!(fraction(done, total), None, "{done} of {total}");
    }
    assert_eq!(Progress { done: Some(1.into()), ..Progress::default() }.fraction(), None);
    assert_eq!(Progress { done: Some(1.into()), total: Some(2.into()), text: None }.fraction(), Some(0.5));
}

#[test]
fn operations_are_known_by_their_label() {
    for operation in Operation::ALL {
        assert_eq!(Operation::from_label(operation.as_str()), Some(*operation));
        let operate = Operate::new(*operation);
        assert_eq!((operate.operation.as_str(), operate.target), (operation.as_str(), None));
    }
    assert_eq!(Operation::from_label("Kill"), None);
    let needy = Operation::ALL.iter().filter(|operation| operation.needs_target());
    assert!(needy.eq(&[
        Operation::Report,
        Operation::Restart,
        Operation::Drain,
        Operation::Kill,
        Operation::Release
    ]));
    let rows = |limit| Operate { limit: Some(limit), ..Operate::new(Operation::Requests) }.rows();
    assert_eq!([rows(0), rows(20), rows(u64::MAX)], [0, 20, MAX_ROWS]);
}

#[test]
fn features_are_found_by_their_name() {
    let mut hello = Hello::new(Role::Worker, 1024, "w/1");
    assert!(!hello.has_feature(HEARTBEAT_FEATURE));
    hello.features = vec!["telepathy".into(), HEARTBEAT_FEATURE.into()];
    assert!(hello.has_feature(HEARTBEAT_FEATURE) && !hello.has_feature("heart"));
}

#[test]
fn bodies_of_indefinite_length_are_read() {
    // {_ "code": (_ "c", "d"), "message": "m"}
    let body = b"\xbf\x64code\x7f\x61c\x61d\xff\x67message\x61m\xff";
    assert_eq!(decode_body::<Failure>(body), Ok(Failure::new("cd", "m")));
}

#[test]
fn nesting_and_claims_are_bounded() {
    let nested = |levels: u32| [vec![0x81; levels as usize], vec![0xf6]].concat();
    assert!(decode_body::<Value>(&nested(MAX_DEPTH)).is_ok());
    for head in [0x81, 0x9f, 0xa1, 0xc1, 0xd8] {
        let deep = vec![head; 1_000_000];
        assert!(matches!(decode_body::<Value>(&deep), Err(BodyError::Malformed { .. })), "{head:02x}");
    }
    // Strings, arrays and maps that claim 2^63 and more, with one byte behind them.
    for major in 2..=5_u8 {
        for argument in [[0xff; 8], [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            let claim = [&[major << 5 | 27][..], &argument, &[0]].concat();
            assert!(matches!(decode_body::<Value>(&claim), Err(BodyError::Malformed { .. })));
            assert!(matches!(decode_body::<Vec<u8>>(&claim), Err(BodyError::Malformed { .. })));
            assert!(matches!(decode_body::<String>(&claim), Err(BodyError::Malformed { .. })));
        }
    }
}

#[test]
fn items_that_are_none_are_refused() {
    for bytes in [
        &[][..],
        &[0xff],             // a break alone
        &[0x81, 0xff],       // a break in an array of definite length
        &[0x1c],             // reserved
        &[0x1f],             // an unsigned integer of indefinite length
        &[0xdf, 0x00],       // a tag of indefinite length
        &[0xf8, 0x18],       // a simple value in a form that is not allowed
        &[0x7f, 0x41, 0],    // a chunk of bytes in a text
        &[0x7f, 0x7f, 0xff], // a chunk that has chunks
        &[0xbf, 0x01, 0xff], // a key without a value
    ] {
        assert!(matches!(decode_body::<Value>(bytes), Err(BodyError::Malformed { .. })), "{bytes:02x?}");
    }
}

#[test]
fn the_highest_common_version_is_agreed() {
    assert_eq!(agree_version(VERSIONS, &[1]), Some(1));
    assert_eq!(agree_version(&[1, 2, 3], &[7, 2, 1]), Some(2));
    assert_eq!(agree_version(&[1], &[2]), None);
    assert_eq!(agree_version(&[], &[]), None);
}

#[test]
fn labels_are_what_serde_writes() {
    fn check<T: Serialize + Copy>(all: &[T], label: impl Fn(T) -> &'static str) {
        for member in all {
            assert_eq!(encode_body(member).unwrap(), encode_body(label(*member)).unwrap());
        }
    }
    check(OutcomeLabel::ALL, OutcomeLabel::as_str);
    check(TimeoutWhich::ALL, TimeoutWhich::as_str);
    check(RejectWhy::ALL, RejectWhy::as_str);
    check(AttemptEndLabel::ALL, AttemptEndLabel::as_str);
    check(ConfidenceLabel::ALL, ConfidenceLabel::as_str);
    check(RefusedCode::ALL, RefusedCode::as_str);
    check(Operation::ALL, Operation::as_str);
    check(PoolStateLabel::ALL, PoolStateLabel::as_str);
    check(SlotStateLabel::ALL, SlotStateLabel::as_str);
    check(RequestStateLabel::ALL, RequestStateLabel::as_str);
}
