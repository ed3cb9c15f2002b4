//! What processes write is logged as it is, and whatever it is the log stays readable by machines.

use lifeboat_core::ids::{AttemptNumber, MethodId, RequestId};
use serde_json::Value;

use super::logging::captured;
use super::*;

const ALONE: [(RequestId, AttemptNumber, MethodId); 1] = [(RequestId(0xab), AttemptNumber(2), THUMBNAIL)];

fn written(executing: &[(RequestId, AttemptNumber, MethodId)], lines: &[&str], dropped: u64) -> Vec<Value> {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let text = captured(
        |log| tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || log.clone()).finish(),
        |observer| observer.worker_wrote(process(1, 7), "stderr", executing, &lines, dropped),
    );
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn a_line_says_who_wrote_it_and_for_which_request() {
    let lines = written(&ALONE, &["one", "two"], 3);
    assert_eq!(lines.len(), 2);
    for (line, text) in lines.iter().zip(["one", "two"]) {
        let expected = [
            ("message", Value::from(text)),
            ("level", "INFO".into()),
            ("target", "lifeboat::output".into()),
            ("worker", "images-1".into()),
            ("incarnation", 7.into()),
            ("stream", "stderr".into()),
            ("request", "rab".into()),
            ("attempt", 2.into()),
        ];
        for (member, value) in expected {
            assert_eq!(line[member], value, "{member} of {line}");
        }
    }
    assert_eq!((&lines[0]["dropped"], &lines[1]["dropped"]), (&Value::from(3), &Value::Null), "told once");
}

#[test]
fn the_request_is_told_only_where_there_is_no_doubt() {
    let idle = &written(&[], &["x"], 0)[0];
    let two = [ALONE[0], (RequestId(0xac), AttemptNumber::FIRST, THUMBNAIL)];
    let two = &written(&two, &["x"], 0)[0];
    for line in [idle, two] {
        assert_eq!(
            (&line["request"], &line["attempt"], &line["dropped"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
    assert_eq!((&idle["executing"], &two["executing"]), (&Value::Null, &Value::from(2)));
}

#[test]
fn hostile_lines_stay_one_line_of_valid_json() {
    let hostile = [
        r#"","level":"ERROR","worker":"other"#,
        r"\u{1b}[31m \",
        "{} {line} %s \t 漢字 \u{fffd}",
        "",
        &"\"".repeat(8 * 1024),
    ];
    let lines = written(&ALONE, &hostile, 0);
    assert_eq!(lines.len(), hostile.len());
    for (line, text) in lines.iter().zip(hostile) {
        assert_eq!(line["message"], text);
        assert_eq!((&line["level"], &line["worker"]), (&Value::from("INFO"), &Value::from("images-1")));
    }
}
