//! Rules of style that clippy does not know.

use crate::source::{files, rust_files};

/// No file is longer; at this length one talks about splitting it.
const LINES: usize = 500;

/// Longer files, each with its reason. Kept empty as long as possible.
const LONG: [(&str, &str); 0] = [];

/// A word that this file itself must not contain.
fn word(parts: [&str; 2]) -> String {
    parts.concat()
}

#[test]
fn files_have_one_job() {
    let files = rust_files("");
    let long: Vec<_> = files
        .iter()
        .filter(|file| file.text.lines().count() > LINES && !LONG.iter().any(|(name, _)| *name == file.name))
        .map(|file| format!("{}: {} lines", file.name, file.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split them, or list them here with the reason:\n{}", long.join("\n"));
    for (name, reason) in LONG {
        let file = files.iter().find(|file| file.name == name);
        let still = file.is_some_and(|file| file.text.lines().count() > LINES);
        assert!(still && !reason.is_empty(), "{name} is not long any more: remove it from the list");
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut broken = Vec::new();
    for file in rust_files("") {
        for (number, line) in file.code().lines().enumerate() {
            let line = line.split_whitespace().collect::<String>();
            if line.contains("#[allow(") || line.contains("#![allow(") {
                broken.push(format!("{}:{}", file.name, number + 1));
            }
        }
    }
    assert!(broken.is_empty(), "write #[expect(.., reason = \"..\")]:\n{}", broken.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let mut broken = Vec::new();
    for file in rust_files("") {
        for (number, line) in file.code().lines().enumerate() {
            if line.contains("todo!") || line.contains("unimplemented!") {
                broken.push(format!("{}:{}", file.name, number + 1));
            }
        }
    }
    let marks = [word(["FIX", "ME"]), word(["TO", "DO"])];
    for file in files("") {
        for (number, line) in file.text.lines().enumerate() {
            let marked = |mark: &String| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == mark);
            if marks.iter().any(marked) {
                broken.push(format!("{}:{}", file.name, number + 1));
            }
        }
    }
    assert!(broken.is_empty(), "do it or leave it out:\n{}", broken.join("\n"));
}

#[test]
fn no_path_of_somebodys_machine() {
    let paths = [word(["/wo", "rk/"]), word(["/ro", "ot/"]), word(["/tmp/", "plan"])];
    let mut broken = Vec::new();
    for file in files("") {
        for (number, line) in file.text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path.as_str())) {
                broken.push(format!("{}:{}: {}", file.name, number + 1, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "paths that exist on one machine only:\n{}", broken.join("\n"));
}
