//! What is read and shown is the same, and what is refused says why.

use proptest::prelude::*;

use super::*;

fn cbor() -> impl Strategy<Value = Cbor> {
    let leaf = prop_oneof![
        Just(Cbor::Null),
        any::<bool>().prop_map(Cbor::Bool),
        any::<i64>().prop_map(|value| Cbor::Integer(value.into())),
        any::<u64>().prop_map(|value| Cbor::Integer(value.into())),
        (-(1_i128 << 64)..1 << 64).prop_map(|value| Cbor::Integer(value.try_into().unwrap())),
        any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()).prop_map(Cbor::Float),
        prop_oneof![".{0,6}", "[-\"\\\\0-9]{0,25}", Just("$bytes".to_owned()), Just("$int".to_owned())]
            .prop_map(Cbor::Text),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Cbor::Bytes),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Cbor::Array),
            prop::collection::vec(("[$a-c]{0,2}", inner.clone()), 0..4).prop_map(|pairs| {
                Cbor::Map(pairs.into_iter().map(|(key, value)| (Cbor::Text(key), value)).collect())
            }),
            prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(Cbor::Map),
            (any::<u64>(), inner).prop_map(|(tag, value)| Cbor::Tag(tag, Box::new(value))),
        ]
    })
}

/// JSON keeps no order of keys.
fn sorted(cbor: Cbor) -> Cbor {
    match cbor {
        Cbor::Map(mut pairs) if pairs.iter().all(|(key, _)| matches!(key, Cbor::Text(_))) => {
            pairs.sort_by_key(|(key, _)| format!("{key:?}"));
            Cbor::Map(pairs.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Cbor::Map(pairs) => {
            Cbor::Map(pairs.into_iter().map(|(key, value)| (sorted(key), sorted(value))).collect())
        }
        Cbor::Array(items) => Cbor::Array(items.into_iter().map(sorted).collect()),
        Cbor::Tag(tag, value) => Cbor::Tag(tag, Box::new(sorted(*value))),
        other @ (Cbor::Integer(_)
        | Cbor::Bytes(_)
        | Cbor::Float(_)
        | Cbor::Text(_)
        | Cbor::Bool(_)
        | Cbor::Null
        | _) => other,
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_read_back_as_the_same(value in cbor()) {
        let text = from_cbor(value.clone()).to_string();
        let back = read(&text).unwrap();
        prop_assert_eq!(sorted(back), sorted(value), "{}", text);
    }
}

#[test]
fn special_objects_say_what_is_wrong_with_them() {
    for (text, expected) in [
        (r#"{"$bytes": "?"}"#, "no base64"),
        (r#"{"$bytes": 1}"#, "\"$bytes\" must hold a base64 text"),
        (r#"{"$tag": [1]}"#, "\"$tag\" must hold an array of a number and a value"),
        (r#"{"$map": {}}"#, "\"$map\" must hold an array of arrays"),
        (r#"{"$float": "big"}"#, "\"$float\" must hold \"NaN\""),
        (r#"{"$int": "18446744073709551616"}"#, "\"$int\" must hold a text with an integer from -1844"),
        (r#"{"$int": 1}"#, "\"$int\" must hold a text"),
        ("nul", "it is no JSON"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(matches!(read(r#"{"$bytes": "aGk=", "and": "more"}"#).unwrap(), Cbor::Map(_)));
}

#[test]
fn an_integer_is_sent_as_it_is_or_refused() {
    for (text, exact) in [
        ("18446744073709551615", u64::MAX.into()),
        ("-9223372036854775808", i64::MIN.into()),
        (r#"{"$int": "-18446744073709551616"}"#, -(1_i128 << 64)),
    ] {
        assert_eq!(read(text).unwrap(), Cbor::Integer(exact.try_into().unwrap()), "{text}");
    }
    for text in ["18446744073709551616", "-9223372036854775809"] {
        for around in [text.to_owned(), format!(r#"{{"a\"": ["\\", {text} ]}}"#)] {
            let error = read(&around).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text} is an integer beyond 64 bits")), "{error}");
        }
        assert!(read(&format!("[\"\\\"{text}\", {text}.0, {text}e1]")).is_ok());
    }
}

#[test]
fn an_object_with_equal_keys_is_refused_at_any_depth() {
    for (text, place) in [
        (r#"{"a": 1, "a": 2}"#, "line 1, column 12"),
        (r#"{"a": 1, "\u0061": 1}"#, "line 1, column 17"),
        ("[{\"b\": {\n\"a\": null, \"a\": null}}]", "line 2, column 14"),
        (r#"{"$map": [[{"a": 1, "a": 1}, 2]]}"#, "line 1, column 23"),
    ] {
        let error = read(text).unwrap_err().to_string();
        let start = format!("an object has the key \"a\" twice ({place}); ");
        assert!(error.starts_with(&start), "{text}: {error}");
        assert!(error.ends_with(r#"write {"$map": [["a", VALUE], ["a", VALUE]]}"#), "{error}");
    }
    assert!(matches!(read(r#"{"a": 1, "a": }"#), Err(JsonError::Twice { .. })), "what comes first is told");
    assert!(matches!(read(r#"{"a": , "a": 1}"#), Err(JsonError::Syntax(_))));
    // Equal keys of different objects are no news.
    assert!(read(r#"[{"a": {"a": 1}}, {"a": 2}]"#).is_ok());
}

proptest! {
    #[test]
    fn json_without_equal_keys_is_read_as_the_library_reads_it(value in cbor()) {
        let text = from_cbor(value).to_string();
        let expected: Json = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(unique::read(&text).unwrap(), expected);
    }

    #[test]
    fn any_text_is_refused_where_the_library_refuses_it(text in "[\\[\\]{}:,\"ab0-9.eE+\\- ntrufalse]{0,20}") {
        let expected: Result<Json, _> = serde_json::from_str(&text);
        match (unique::read(&text), expected) {
            (Ok(read), Ok(expected)) => prop_assert_eq!(read, expected),
            (Err(JsonError::Twice { .. }), _) | (Err(_), Err(_)) => {}
            (read, expected) => prop_assert!(false, "{:?}, not {:?}", read, expected),
        }
    }
}

#[test]
fn equal_keys_of_a_map_are_all_shown() {
    let pair = |value: u8| (Cbor::Text("a".into()), Cbor::Integer(value.into()));
    let shown = from_cbor(Cbor::Map(vec![pair(1), pair(2)])).to_string();
    assert_eq!(shown, r#"{"$map":[["a",1],["a",2]]}"#);
}
