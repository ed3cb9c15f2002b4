//! The hand-written header codec against ciborium, and what it must skip, keep and refuse.

mod common;

use common::*;
use lifeboat_protocol::*;
use proptest::prelude::*;

/// The header of a request as ciborium would be told to write it.
fn request_value(route: Route, method: &str, ext: Option<Value>, unknown: &[Value]) -> Value {
    let mut elements =
        vec![Value::from(1), Value::from(route.to_bytes().to_vec()), Value::from(method.to_owned())];
    elements.extend(ext);
    elements.extend(unknown.iter().cloned());
    Value::Array(elements)
}

fn ext_value(ext: &Ext, unknown: &[(u64, Value)]) -> Value {
    let text = |text: &String| Value::from(text.clone());
    let key = |key: u64| Value::from(key);
    let mut map = Vec::new();
    map.extend(ext.traceparent.iter().map(|value| (key(1), text(value))));
    map.extend(ext.tracestate.iter().map(|value| (key(2), text(value))));
    let limits = [
        ext.limits.attempt_timeout_ms,
        ext.limits.queue_timeout_ms,
        ext.limits.progress_timeout_ms,
        ext.limits.output_timeout_ms,
    ];
    let limits = limits.iter().zip(1..).filter_map(|(limit, at)| Some((key(at), Value::from((*limit)?))));
    let limits: Vec<_> = limits.collect();
    if !limits.is_empty() {
        map.push((key(3), Value::Map(limits)));
    }
    if !ext.metadata.is_empty() {
        let metadata = ext.metadata.iter().map(|(name, value)| (text(name), text(value)));
        map.push((key(4), Value::Map(metadata.collect())));
    }
    if let Some(retry) = &ext.retry {
        let mut pairs = Vec::new();
        pairs.extend(retry.max_attempts.map(|attempts| (key(1), Value::from(attempts))));
        if !retry.on.is_empty() {
            pairs.push((key(2), Value::Array(retry.on.iter().map(text).collect())));
        }
        map.push((key(5), Value::Map(pairs)));
    }
    map.extend(ext.stream.then(|| (key(6), Value::from(true))));
    map.extend(ext.restartable.then(|| (key(7), Value::from(true))));
    map.extend(ext.idempotency_key.iter().map(|value| (key(8), text(value))));
    map.extend(ext.pool.iter().map(|value| (key(9), text(value))));
    map.extend(unknown.iter().map(|(number, value)| (key(*number), value.clone())));
    Value::Map(map)
}

fn with_body(header: &Value, body: &[u8]) -> Vec<u8> {
    let mut frame = cbor(header);
    frame.extend_from_slice(body);
    frame
}

proptest! {
    #[test]
    fn a_request_is_what_ciborium_would_write(
        route in routes(), method in methods(), ext in exts(), body in values(3),
    ) {
        let body = cbor(&body);
        let mut out = Vec::new();
        put_request(&mut out, route, &method, &ext, &body);
        let ext_value = (!ext.is_empty()).then(|| ext_value(&ext, &[]));
        let reference = with_body(&request_value(route, &method, ext_value, &[]), &body);
        prop_assert_eq!(only_frame(&out), &reference[..]);
    }

    #[test]
    fn a_request_that_ciborium_wrote_decodes(
        route in routes(), method in methods(), ext in exts(), body in values(3),
        unknown in prop::collection::vec(values(5), 0..8),
        unknown_keys in prop::collection::btree_map(10..100_u64, values(5), 0..4),
    ) {
        let body = cbor(&body);
        let unknown_keys: Vec<_> = unknown_keys.into_iter().collect();
        let ext_value = ext_value(&ext, &unknown_keys);
        let frame = with_body(&request_value(route, &method, Some(ext_value), &unknown), &body);
        let message = decode(&frame).unwrap();
        prop_assert_eq!(message.body, &body[..]);
        let Header::Request { route: got_route, method: got_method, ext: Some(got_ext) } = message.header else {
            panic!("{:?}", message.header)
        };
        prop_assert_eq!(got_route, route);
        prop_assert_eq!(got_method, method);
        prop_assert_eq!(Ext::decode(got_ext).unwrap(), ext);
    }

    #[test]
    fn a_request_without_ext_decodes(route in routes(), method in methods()) {
        let mut out = Vec::new();
        put_request(&mut out, route, &method, &Ext::default(), NULL_BODY);
        let message = decode(only_frame(&out)).unwrap();
        prop_assert_eq!(message.header, Header::Request { route, method: &method, ext: None });
    }

    #[test]
    fn every_other_header_is_what_ciborium_would_write_and_read(
        route in routes(), unknown in prop::collection::vec(values(5), 0..8),
    ) {
        for message_type in ROUTED.into_iter().chain(UNROUTED) {
            let mut out = Vec::new();
            let has_route = message_type.has_route();
            put_empty(&mut out, message_type, has_route.then_some(route));
            let mut elements = vec![Value::from(message_type.number())];
            elements.extend(has_route.then(|| Value::from(route.to_bytes().to_vec())));
            let reference = with_body(&Value::Array(elements.clone()), NULL_BODY);
            prop_assert_eq!(only_frame(&out), &reference[..]);
            // A newer peer's header has more elements.
            elements.extend(unknown.iter().cloned());
            let newer = with_body(&Value::Array(elements), NULL_BODY);
            let message = decode(&newer).unwrap();
            prop_assert_eq!(message.header, header_of(message_type, route));
            prop_assert_eq!(message.header.message_type(), message_type);
            prop_assert_eq!(message.header.route(), has_route.then_some(route));
            prop_assert_eq!(message.body, NULL_BODY);
        }
    }

    #[test]
    fn heads_alone_are_the_same_as_whole_frames(
        route in routes(), method in methods(), ext in exts(), body in values(2),
    ) {
        let body = cbor(&body);
        let (mut whole, mut parts) = (b"before".to_vec(), b"before".to_vec());
        put_request(&mut whole, route, &method, &ext, &body);
        put_request_head(&mut parts, route, &method, &ext, body.len());
        parts.extend_from_slice(&body);
        put_answer(&mut whole, route, &body);
        put_answer_head(&mut parts, route, body.len());
        parts.extend_from_slice(&body);
        put_partial(&mut whole, route, &body);
        put_partial_head(&mut parts, route, body.len());
        parts.extend_from_slice(&body);
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn patching_the_route_changes_its_bytes_and_no_other(
        old in routes(), new in routes(), method in methods(), ext in exts(),
    ) {
        let mut out = Vec::new();
        put_request(&mut out, old, &method, &ext, NULL_BODY);
        let before = out[LENGTH_PREFIX..].to_vec();
        patch_route(&mut out[LENGTH_PREFIX..], new);
        let after = &out[LENGTH_PREFIX..];
        prop_assert_eq!(&after[..3], &before[..3]);
        prop_assert_eq!(&after[3..19], &new.to_bytes()[..]);
        prop_assert_eq!(&after[19..], &before[19..]);
        prop_assert_eq!(read_route(after).unwrap(), new);
        prop_assert_eq!(decode(after).unwrap().header.route(), Some(new));
    }

    #[test]
    fn routes_come_back(route in routes(), bytes in any::<[u8; 16]>()) {
        prop_assert_eq!(Route::from_bytes(route.to_bytes()), route);
        // Unknown flags are dropped; the rest is kept.
        let mut known = bytes;
        known[11] &= 3;
        prop_assert_eq!(Route::from_bytes(bytes).to_bytes(), known);
        prop_assert_eq!(Route::from_bytes(bytes).flags.slot(), bytes[10]);
    }

    #[test]
    fn the_slot_and_the_marks_do_not_touch_each_other(route in routes(), slot in any::<u8>()) {
        let flags = route.flags.with_slot(slot);
        prop_assert_eq!(flags.slot(), slot);
        prop_assert_eq!(flags.bits() & 0xff, route.flags.bits() & 0xff);
        prop_assert_eq!(flags.with_slot(0) | RouteFlags::NONE.with_slot(slot), flags);
        for mark in [RouteFlags::LATE, RouteFlags::MAY_HAVE_STARTED] {
            prop_assert_eq!(flags.contains(mark), route.flags.bits() & mark.bits() != 0);
            prop_assert!((flags | mark).contains(mark.with_slot(!slot)), "slots are not compared");
            prop_assert_eq!((flags | mark).slot(), slot);
        }
        prop_assert_eq!(Route { flags, ..route }.answer().flags, RouteFlags::NONE);
    }

    #[test]
    fn ext_length_is_an_upper_bound(ext in exts()) {
        let mut out = Vec::new();
        ext.encode_into(&mut out);
        prop_assert!(out.len() <= ext.max_encoded_len(), "{} > {}", out.len(), ext.max_encoded_len());
        prop_assert_eq!(Ext::decode(&out).unwrap(), ext);
    }
}
