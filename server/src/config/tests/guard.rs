//! Every key that is read is documented, and every documented key is read.

use std::collections::BTreeSet;

use super::{EXAMPLE, accepted, parse};

const DOCUMENTATION: &str = include_str!("../../../../docs/configuration.md");

/// A file in which every table and every form is there once; the example leaves some out.
const EVERYTHING: &str = "
[pools.p]
command = [\"true\"]
workers = { min = 1, max = 2 }
env = { A = \"b\" }
[pools.p.defaults]
retry = { on = [\"crash\"], backoff = { first = \"1ms\" } }
quarantine = { crash_limit = 4, expiry = \"2h\" }
[pools.p.methods.m]
retry = { on = [\"crash\"], backoff = { first = \"1ms\" } }
quarantine = { crash_limit = 4, expiry = \"2h\" }
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

/// A documented key as the only pool and method of a file spell it.
fn spelled(key: &str, policy: &str) -> String {
    key.replace("NAME", "p").replace("POLICY", policy)
}

/// The cells of every documented key.
fn rows() -> impl Iterator<Item = [&'static str; 4]> {
    let rows = DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    rows.map(|row| {
        let mut cells = row.splitn(4, " | ");
        [(); 4].map(|()| cells.next().expect("four cells").trim_matches('`'))
    })
}

#[test]
fn documented_defaults_are_those_that_count() {
    let pool = "[pools.p]\ncommand = [\"true\"]\naccept_any_method = false\nmethods.m = {}\n";
    let config = parse(&format!("{pool}[pools.p.defaults]\nretry = {{}}\nquarantine = {{}}\n")).unwrap();
    let told = |key: &str| config.effective().iter().find(|each| each.key == key);
    let mut elsewhere = Vec::new();
    for [key, _, default, _] in rows() {
        // Without one variable the table is told.
        let found = told(spelled(key, "pools.p.defaults").trim_end_matches(".VARIABLE"));
        let Some(found) = found.filter(|_| !["broker.socket", "pools.NAME.command"].contains(&key)) else {
            elsewhere.push(key);
            continue;
        };
        // A default that depends on something begins with the usual one.
        let expected = default.split('`').next().unwrap_or_default();
        let expected = if expected.is_empty() { default } else { expected };
        assert_eq!(found.value.as_deref().unwrap_or("the broker's"), expected, "{key}: {default}");
    }
    let keys_without_a_value_of_their_own = [
        "broker.socket",
        "pools.NAME.command",
        "pools.NAME.workers.max",
        "pools.NAME.workers.min",
        "pools.NAME.heartbeat",
        "POLICY.retry",
        "POLICY.quarantine",
    ];
    assert_eq!(elsewhere, keys_without_a_value_of_their_own);
}

/// The keys that a configuration tells, spelled as those that are read.
fn told(text: &str) -> BTreeSet<String> {
    let config = parse(text).unwrap();
    let keys = config.effective().iter().map(|each| {
        let key = each.key.replace("pools.p.methods.m.", "POLICY.").replace("pools.p.defaults.", "POLICY.");
        if key == "pools.p.env" {
            return "pools.NAME.env.VARIABLE".to_owned();
        }
        key.replace("pools.p.", "pools.NAME.")
    });
    keys.collect()
}

#[test]
fn every_key_that_is_read_is_told_whoever_wrote_it() {
    let pool = "[pools.p]\ncommand = [\"true\"]\nmethods.m = {}\n";
    let mut told_so_far = told(pool);
    // The other forms of what an empty pool says in its first form, and exactly the keys that each adds.
    for (form, adds) in [
        ("", &[][..]),
        ("workers = { max = 2 }\n", &["pools.NAME.workers.max", "pools.NAME.workers.min"]),
        ("heartbeat = \"off\"\n", &["pools.NAME.heartbeat"]),
        (
            "defaults.retry = {}\n",
            &[
                "POLICY.retry.backoff.factor",
                "POLICY.retry.backoff.first",
                "POLICY.retry.backoff.jitter",
                "POLICY.retry.backoff.max",
                "POLICY.retry.backoff.then",
                "POLICY.retry.max_attempts",
                "POLICY.retry.on",
            ],
        ),
        ("defaults.quarantine = {}\n", &["POLICY.quarantine.crash_limit", "POLICY.quarantine.expiry"]),
    ] {
        let told = told(&format!("{pool}{form}"));
        let added: Vec<_> = told.difference(&told_so_far).cloned().collect();
        assert_eq!(added, adds, "{form}");
        told_so_far.extend(told);
    }
    assert_eq!(told_so_far, read());
}

#[test]
fn exactly_what_is_not_yet_is_documented_as_not_yet() {
    let documented: BTreeSet<_> =
        rows().filter(|cells| cells[3].contains("**Not yet")).map(|cells| spelled(cells[0], "")).collect();
    let written = "[pools.p]\ncommand = [\"true\"]\nworkers = { min = 1, max = 2 }\nslots = 2\n\
        heartbeat = { interval = \"1s\" }\nlimits = { memory = \"1GiB\", processes = 9, open_files = 64, cpu_time = \"1m\", file_size = \"1GiB\", core_size = \"1GiB\", nice = 1 }\ninherit_env = [\"PATH\"]\n\
        unhealthy_after = 2\nunhealthy_on_failed = true\ndisable_unhealthy = true\n\
        restart = { max_restarts = 9, window = \"2m\" }\noutput = { log = false, burst = 9, per_second = 9 }\n\
        recycle = { requests = 9, age = \"2h\", idle = \"1h\", memory = \"1MiB\" }\n[pools.p.methods.m]\n\
        queue_timeout = \"1s\"\nprogress_timeout = \"1s\"\noutput_timeout = \"1s\"\n";
    let named: BTreeSet<_> = parse(written).unwrap().unknown_yet.into_iter().map(|each| each.key).collect();
    assert_eq!(named, documented);
}
