//! The arrows between rooms: who may import whom, and nobody else.

use std::collections::BTreeSet;

use crate::source::{File, rust_files};

/// The rooms of the server, which other rooms each may import, and which packages of the project.
const ROOMS: [(&str, &[&str], &[&str]); 7] = [
    ("engine", &["observe"], &["lifeboat_core"]),
    ("process", &["engine"], &["lifeboat_core"]),
    ("link", &["engine"], &["lifeboat_core", "lifeboat_protocol"]),
    ("observe", &[], &["lifeboat_core"]),
    ("http", &["observe"], &[]),
    ("config", &[], &["lifeboat_core"]),
    (
        "cli",
        &["engine", "process", "link", "observe", "http", "config"],
        &["lifeboat_core", "lifeboat_protocol", "lifeboat_client", "lifeboat_worker"],
    ),
];

/// The project's packages, as code names them.
const PACKAGES: [&str; 5] =
    ["lifeboat_core", "lifeboat_protocol", "lifeboat_client", "lifeboat_worker", "lifeboat"];

/// What a pure core must not name: the outside world.
const OUTSIDE: [&str; 15] = [
    "Instant",
    "SystemTime",
    "tokio",
    "rustix",
    "libc",
    "lifeboat_protocol",
    "std::process",
    "std::net",
    "std::fs",
    "std::os",
    "std::io",
    "std::env",
    "std::thread",
    "std::sync::Mutex",
    "async",
];

#[test]
fn rooms_import_along_the_arrows_only() {
    let mut broken = Vec::new();
    for (room, may, packages) in ROOMS {
        for file in rust_files(&format!("server/src/{room}")) {
            let code = file.code();
            for other in rooms_named(&file, &code) {
                if other != room && !may.contains(&other.as_str()) {
                    broken.push(format!("{}: imports the room `{other}`", file.name));
                }
            }
            // A room's own unit tests may build whatever the room is given.
            let packages = if file.name.contains("/tests") { &PACKAGES[..] } else { packages };
            for package in PACKAGES {
                if words(&code).any(|(word, rest)| word == package && rest.starts_with("::"))
                    && !packages.contains(&package)
                {
                    broken.push(format!("{}: imports the package `{package}`", file.name));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "arrows that must not be; the table in this guard has those that may:\n{}",
        broken.join("\n")
    );
}

#[test]
fn the_process_room_names_plain_data_of_the_core_alone() {
    let mut broken = Vec::new();
    for file in rust_files("server/src/process") {
        for module in uses(&file.code(), "lifeboat_core::") {
            if !["ids", "evidence"].contains(&module.as_str()) {
                broken.push(format!("{}: lifeboat_core::{module}", file.name));
            }
        }
    }
    assert!(broken.is_empty(), "see docs/decisions/0017-words-of-the-core.md:\n{}", broken.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let inside = rust_files("server/src");
    let found: BTreeSet<_> = inside
        .iter()
        .filter_map(|file| file.name.strip_prefix("server/src/")?.split_once('/').map(|(room, _)| room))
        .collect();
    let known: BTreeSet<_> = ROOMS.iter().map(|(room, ..)| *room).collect();
    assert_eq!(found, known, "a new room needs its arrows in the architecture and in this guard");
}

#[test]
fn the_core_names_nothing_of_the_outside_world() {
    let mut broken = Vec::new();
    for file in rust_files("server/core/src") {
        let code = file.code();
        for outside in OUTSIDE {
            let named = match outside.split_once("::") {
                Some(_) => code.contains(outside),
                None => words(&code).any(|(word, _)| word == outside),
            };
            if named {
                broken.push(format!("{}: {outside}", file.name));
            }
        }
        let groups = uses(&code, "std::");
        for group in ["process", "net", "fs", "os", "io", "env", "thread"] {
            if groups.contains(group) {
                broken.push(format!("{}: std::{group}", file.name));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "the core is pure; time, randomness and the world come in as values:\n{}",
        broken.join("\n")
    );
}

/// The rooms that a file's code names, by `crate::` or by climbing out with `super::`.
fn rooms_named(file: &File, code: &str) -> BTreeSet<String> {
    let mut named = uses(code, "crate::");
    // From server/src/ROOM/a/b.rs it takes as many steps to the root as there are parts below src.
    let below = file.name.strip_prefix("server/src/").expect("a file of the server");
    let steps = below.split('/').count() - usize::from(below.ends_with("mod.rs"));
    named.extend(uses(code, &"super::".repeat(steps)));
    named.retain(|name| ROOMS.iter().any(|(room, ..)| room == name));
    named
}

/// The names that follow a prefix, in braces or not.
fn uses(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let begins = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
        let rest = code[at + prefix.len()..].trim_start();
        if !begins {
            continue;
        }
        match rest.strip_prefix('{') {
            None => names.extend(first_word(rest)),
            Some(group) => names.extend(members(group)),
        }
    }
    names
}

/// The first words of a group's members, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut begins, mut found) = (0_usize, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                found.extend(first_word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Every word of the code with what follows it.
fn words(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = code;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c| !is_part(c));
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some((word, after))
    })
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::engine::{a, b}; use crate::{link::{self, x}, http}; fn f() { crate::process::g() } mycrate::cli";
    let found: Vec<_> = uses(code, "crate::").into_iter().collect();
    assert_eq!(found, ["engine", "http", "link", "process"]);
    let file = File { name: "server/src/engine/deep/file.rs".into(), text: String::new() };
    let named = rooms_named(&file, "use super::super::super::config::x; use super::super::observe;");
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["config"]);
    assert_eq!(words("a::b tokio_x tokio").filter(|(word, _)| *word == "tokio").count(), 1);
}
