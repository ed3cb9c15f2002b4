//! `lifeboat.cddl` says what this crate does: every frozen and every arbitrary message conforms to it, and what
//! the crate refuses does not.

mod common;

use cddl_cat::validate_cbor_bytes;
use common::*;
use lifeboat_protocol::*;
use proptest::prelude::*;

const CDDL: &str = include_str!("../lifeboat.cddl");

/// Checks one frame with its length prefix. The schema describes a message as the array `[header, body]`; an
/// array head of two in front of the frame makes it that.
fn conforms(rule: &str, bytes: &[u8]) -> Result<(), String> {
    let array = [&[0x82], bytes.get(LENGTH_PREFIX..).unwrap_or_default()].concat();
    validate_cbor_bytes(rule, CDDL, &array).map_err(|error| error.to_string())
}

/// Which way a vector travels, by its name.
fn rule_of(name: &str) -> &'static str {
    match name {
        "hello_client" | "hello_minimal" | "cancel" => "client-to-broker",
        "hello_broker_to_client" => "broker-to-client",
        "hello_broker_to_worker" | "drain" | "cancel_to_worker" | "request_to_worker" => "broker-to-worker",
        "answer" | "cancelled" | "workers_failed" | "hello_worker" => "worker-to-broker",
        name if name.starts_with("error") || name == "answer_late" => "broker-to-client",
        name if name.starts_with("failure") || name.starts_with("panicked") => "worker-to-broker",
        name if name.starts_with("request") => "client-to-broker",
        _ => "message",
    }
}

#[test]
fn frozen_messages_conform_and_broken_ones_do_not() {
    for (name, bytes) in golden_files() {
        let result = conforms(rule_of(&name), &bytes);
        match name.as_str() {
            // A newer peer's code is for the receiver to tolerate, not for the sender of version 1 to use.
            "accept_refused_with_unknown_code" => assert!(result.is_err()),
            // Another form of the same value: CDDL describes values, the text around it the form.
            "refuse_route_with_a_long_head" | "refuse_header_of_indefinite_length" => {
                assert_eq!(result, Ok(()))
            }
            name if name.starts_with("refuse_") => assert!(result.is_err(), "{name} conforms"),
            name => assert_eq!(result, Ok(()), "{name}"),
        }
    }
}

#[test]
fn messages_do_not_travel_the_wrong_way() {
    let files = golden_files();
    for (rule, name) in [
        ("client-to-broker", "answer"),
        ("client-to-broker", "drain"),
        ("broker-to-client", "failure"),
        ("broker-to-client", "request"),
        ("broker-to-worker", "error_closed"),
        ("worker-to-broker", "cancel"),
        ("worker-to-broker", "error_closed"),
    ] {
        assert!(conforms(rule, &files[name]).is_err(), "{name} as {rule}");
    }
}

#[test]
fn known_keys_with_wrong_values_do_not_conform() {
    let body = |pairs: &[(&str, Value)]| {
        cbor(&Value::Map(pairs.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect()))
    };
    let failure = |retryable: Value| {
        body(&[("code", Value::from("c")), ("message", Value::from("m")), ("retryable", retryable)])
    };
    assert!(validate_cbor_bytes("failure", CDDL, &failure(Value::from(true))).is_ok());
    assert!(validate_cbor_bytes("failure", CDDL, &failure(Value::from("yes"))).is_err());
    let error = |outcome: &str| body(&[("outcome", Value::from(outcome)), ("method", Value::from("m"))]);
    assert!(validate_cbor_bytes("error", CDDL, &error("closed")).is_ok());
    assert!(validate_cbor_bytes("error", CDDL, &error("ok")).is_err());
}

#[test]
fn the_words_are_the_same() {
    let listed =
        |rule: &str, label: &str| validate_cbor_bytes(rule, CDDL, &encode_body(label).unwrap()).is_ok();
    for which in TimeoutWhich::ALL {
        assert!(listed("timeout", which.as_str()), "{which}");
    }
    for why in RejectWhy::ALL {
        assert!(listed("rejection", why.as_str()), "{why}");
    }
    for code in RefusedCode::ALL {
        assert!(listed("refused-code", code.as_str()), "{code}");
    }
    assert!(!listed("refused-code", RefusedCode::Other.as_str()));
    assert!(!listed("timeout", "") && !listed("rejection", ""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_requests_conform(route in routes(), method in methods(), ext in exts(), body in values(3)) {
        let mut out = Vec::new();
        put_request(&mut out, route, &method, &ext, &cbor(&body));
        prop_assert_eq!(conforms("client-to-broker", &out), Ok(()));
    }

    #[test]
    fn arbitrary_control_messages_conform(
        route in routes(), hello in hellos(), failure in failures(), error in errors(), panicked in panics(),
    ) {
        let mut out = Vec::new();
        let mut check = |message_type, body: &dyn Fn(&mut Vec<u8>)| {
            out.clear();
            body(&mut out);
            (message_type, conforms("message", &out))
        };
        let route = Some(route);
        let results = [
            check(MessageType::Hello, &|out| put_control(out, MessageType::Hello, None, &hello).unwrap()),
            check(MessageType::Failure, &|out| put_control(out, MessageType::Failure, route, &failure).unwrap()),
            check(MessageType::Error, &|out| put_control(out, MessageType::Error, route, &error).unwrap()),
            check(MessageType::Panicked, &|out| put_control(out, MessageType::Panicked, route, &panicked).unwrap()),
        ];
        for (message_type, result) in results {
            prop_assert_eq!(result, Ok(()), "{}", message_type);
        }
    }
}
