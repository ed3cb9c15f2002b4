//! The frozen vectors of version 1: what is written must be exactly these bytes, and they must mean the same for
//! ever. A vector that fails is a broken promise to every peer in the field; a new form is a new file.

mod common;
#[path = "common/vectors.rs"]
mod vectors;

use std::collections::BTreeSet;

use common::*;
use lifeboat_protocol::*;
use vectors::{CLIENT, WORKER, vectors};

/// What a newer peer may send and this version must understand.
fn from_the_future() -> Vec<(&'static str, Header<'static>)> {
    vec![
        ("accept_hello_with_unknown_keys", Header::Hello),
        ("accept_answer_with_unknown_elements_and_flags", Header::Answer { route: WORKER }),
        (
            "accept_request_with_unknown_ext_keys",
            Header::Request {
                route: CLIENT,
                method: "resize",
                ext: Some(&[0xa2, 1, 0x61, b't', 0x17, 0x81, 0xf5]),
            },
        ),
        ("accept_refused_with_unknown_code", Header::Refused),
        (
            "accept_operate_with_unknown_operation",
            Header::Operate { route: Route::request(9, TimeLeft::NONE) },
        ),
    ]
}

/// What no peer may send, and the code of the refusal.
const REFUSED: [(&str, RefusedCode); 10] = [
    ("refuse_frame_too_large", RefusedCode::TooLarge),
    ("refuse_frame_empty", RefusedCode::Malformed),
    ("refuse_no_body", RefusedCode::Malformed),
    ("refuse_route_of_another_length", RefusedCode::Malformed),
    ("refuse_route_with_a_long_head", RefusedCode::Malformed),
    ("refuse_header_of_indefinite_length", RefusedCode::Malformed),
    ("refuse_method_empty", RefusedCode::Malformed),
    ("refuse_method_not_utf8", RefusedCode::Malformed),
    ("refuse_unknown_type", RefusedCode::UnknownMessage),
    ("refuse_operate_too_large", RefusedCode::Malformed),
];

#[test]
fn every_message_is_written_and_read_as_frozen() {
    let files = golden_files();
    let mut wrong = Vec::new();
    for vector in vectors() {
        let written: String = vector.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match files.get(vector.name) {
            Some(frozen) if *frozen == vector.bytes => {
                let message = decode(only_frame(frozen)).unwrap();
                assert_eq!(message.header.message_type(), vector.message_type);
                (vector.decodes)(&message);
            }
            _ => wrong.push(format!("{} is written as\n{written}\n", vector.name)),
        }
    }
    assert!(wrong.is_empty(), "not as frozen in {GOLDEN}:\n{}", wrong.concat());
}

#[test]
fn every_message_type_has_a_vector_and_every_file_a_test() {
    let types: Vec<_> = vectors().iter().map(|vector| vector.message_type).collect();
    for message_type in MessageType::ALL {
        assert!(types.contains(&message_type), "a vector of {message_type}");
    }
    let mut tested: Vec<_> = vectors().iter().map(|vector| vector.name).collect();
    tested.extend(from_the_future().iter().map(|(name, _)| *name));
    tested.extend(REFUSED.iter().map(|(name, _)| *name));
    let count = tested.len();
    let tested: BTreeSet<_> = tested.into_iter().map(str::to_owned).collect();
    assert_eq!(tested.len(), count, "a name twice");
    assert_eq!(golden_files().into_keys().collect::<BTreeSet<_>>(), tested);
}

#[test]
fn newer_peers_are_understood() {
    let files = golden_files();
    for (name, header) in from_the_future() {
        let message = decode(only_frame(&files[name])).unwrap();
        assert_eq!(message.header, header, "{name}");
    }
    let body = |name: &str| decode(only_frame(&files[name])).unwrap().body.to_vec();
    let hello: Hello = decode_body(&body("accept_hello_with_unknown_keys")).unwrap();
    assert_eq!(hello, Hello { versions: vec![1, 2], ..Hello::new(Role::Worker, 1024, "w/9") });
    let refused: Refused = decode_body(&body("accept_refused_with_unknown_code")).unwrap();
    assert_eq!(refused, Refused::new(RefusedCode::Other, "no"));
    let operate: Operate = decode_body(&body("accept_operate_with_unknown_operation")).unwrap();
    assert_eq!((operate.operation.as_str(), operate.rows()), ("dance", MAX_ROWS));
    assert_eq!(Operation::from_label(&operate.operation), None);
    let ext = Ext::decode(&[0xa2, 1, 0x61, b't', 0x17, 0x81, 0xf5]).unwrap();
    assert_eq!(ext, Ext { traceparent: Some("t".into()), ..Ext::default() });
}

#[test]
fn broken_frames_are_refused_with_their_code() {
    let files = golden_files();
    for (name, code) in REFUSED {
        let refused = match split_frame(&files[name], FrameLimit::for_body(1024)) {
            Ok(Split::Frame { frame, rest: [] }) => decode(frame).unwrap_err().refused_code(),
            Ok(other) => panic!("{name}: {other:?}"),
            Err(error) => error.refused_code(),
        };
        assert_eq!(refused, code, "{name}");
    }
}
