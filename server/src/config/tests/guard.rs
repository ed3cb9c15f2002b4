//! Every key that is read is documented, and every documented key is read.

use std::collections::BTreeSet;

use super::{EXAMPLE, accepted};

const DOCUMENTATION: &str = include_str!("../../../../docs/configuration.md");

/// A file in which every table and every form is there once; the example leaves some out.
const EVERYTHING: &str = "
[pools.p]
command = [\"true\"]
workers = { min = 1, max = 2 }
heartbeat = { interval = \"2s\", missed = 3 }
env = { A = \"b\" }
[pools.p.defaults]
retry = { on = [\"crash\"], backoff = { first = \"1ms\" } }
[pools.p.methods.m]
retry = { on = [\"crash\"], backoff = { first = \"1ms\" } }
";

/// The keys that are read. The two places of a policy count as one, `POLICY`.
fn read() -> BTreeSet<String> {
    let mut keys = accepted(EXAMPLE);
    keys.extend(accepted(EVERYTHING));
    keys.insert("pools.NAME.env.VARIABLE".to_owned());
    keys.into_iter()
        .map(|key| {
            let policy = ["pools.NAME.defaults.", "pools.NAME.methods.METHOD."];
            match policy.iter().find_map(|place| key.strip_prefix(place)) {
                Some(key) => format!("POLICY.{key}"),
                None => key,
            }
        })
        .collect()
}

/// The keys in the first cells of the tables.
fn documented() -> BTreeSet<String> {
    let rows = DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_read() {
    let (read, documented) = (read(), documented());
    let missing: Vec<_> = read.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&read).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:#?}");
    assert!(unknown.is_empty(), "in docs/configuration.md, but not read: {unknown:#?}");
}

#[test]
fn every_documented_key_has_all_its_columns() {
    for line in DOCUMENTATION.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "key, type and unit, default, effect and danger: {line}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
    }
}
