//! `lifeboat.cddl` says what this crate does: every frozen and every arbitrary message conforms to it, and what
//! the crate refuses does not.

mod common;

use cddl_cat::validate_cbor_bytes;
use common::operations::{operateds, operates};
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
        "drain" => "broker-to-worker",
        "answer" | "cancelled" | "workers_failed" | "heartbeat" | "partial" | "save" | "retire" => {
            "worker-to-broker"
        }
        "answer_late" | "attempt_failed" => "broker-to-client",
        name if name.ends_with("_to_worker") || name.ends_with("_to_slot") => "broker-to-worker",
        name if name.starts_with("hello_broker_to_worker_") => "broker-to-worker",
        name if name.starts_with("error") || name.ends_with("_to_client") => "broker-to-client",
        name if name.starts_with("operated") => "broker-to-client",
        name if name.starts_with("operate_") => "client-to-broker",
        name if name.starts_with("hello_worker") || name.starts_with("progress") => "worker-to-broker",
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
            // CDDL has no bound for the length of a whole body.
            "refuse_operate_too_large" => assert_eq!(result, Ok(())),
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
        ("worker-to-broker", "attempt_failed"),
        ("worker-to-broker", "operate_kill"),
        ("client-to-broker", "progress"),
        ("client-to-broker", "operated"),
        ("broker-to-client", "heartbeat"),
        ("broker-to-client", "operate_kill"),
        ("broker-to-worker", "partial"),
        ("broker-to-worker", "save"),
        ("broker-to-client", "save"),
        ("worker-to-broker", "history_to_slot"),
        ("broker-to-client", "history_to_slot"),
        ("broker-to-worker", "heartbeat"),
        ("broker-to-worker", "retire"),
        ("client-to-broker", "retire"),
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
    let progress = |done: Value| body(&[("done", done)]);
    assert!(validate_cbor_bytes("progress", CDDL, &progress(Value::from(0.5))).is_ok());
    assert!(validate_cbor_bytes("progress", CDDL, &progress(Value::from(-1))).is_err());
    assert!(validate_cbor_bytes("operate", CDDL, &body(&[("operation", Value::from("dance"))])).is_ok());
    assert!(validate_cbor_bytes("operate", CDDL, &body(&[("operation", Value::from(1))])).is_err());
    assert!(validate_cbor_bytes("operated", CDDL, &body(&[("ok", Value::from("yes"))])).is_err());
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
    for state in PoolStateLabel::ALL {
        assert!(listed("pool-state", state.as_str()), "{state}");
    }
    for state in SlotStateLabel::ALL {
        assert!(listed("slot-state", state.as_str()), "{state}");
    }
    for state in RequestStateLabel::ALL {
        assert!(listed("request-state", state.as_str()), "{state}");
    }
    for rule in ["timeout", "rejection", "pool-state", "slot-state", "request-state"] {
        assert!(!listed(rule, ""), "{rule}");
    }
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

    #[test]
    fn arbitrary_streams_and_operations_conform(
        route in routes(), progress in progress(), part in values(3), attempt in attempts(), operate in operates(),
        operated in operateds(),
    ) {
        let route = Some(route);
        let mut out = Vec::new();
        put_control(&mut out, MessageType::Progress, route, &progress).unwrap();
        prop_assert_eq!(conforms("worker-to-broker", &out), Ok(()));
        prop_assert_eq!(conforms("broker-to-client", &out), Ok(()));
        out.clear();
        put_control(&mut out, MessageType::Partial, route, &part).unwrap();
        prop_assert_eq!(conforms("worker-to-broker", &out), Ok(()));
        out.clear();
        put_control(&mut out, MessageType::Save, route, &part).unwrap();
        prop_assert_eq!(conforms("worker-to-broker", &out), Ok(()));
        out.clear();
        put_control(&mut out, MessageType::Accepted, route, &Accepted { request: 7 }).unwrap();
        prop_assert_eq!(conforms("broker-to-client", &out), Ok(()));
        out.clear();
        put_control(&mut out, MessageType::AttemptFailed, route, &attempt).unwrap();
        prop_assert_eq!(conforms("broker-to-client", &out), Ok(()));
        out.clear();
        put_control(&mut out, MessageType::Operate, route, &operate).unwrap();
        prop_assert_eq!(conforms("client-to-broker", &out), Ok(()));
        out.clear();
        put_control(&mut out, MessageType::Operated, route, &operated).unwrap();
        prop_assert_eq!(conforms("broker-to-client", &out), Ok(()));
    }
}
