//! Which value counts, and who said so.

use std::path::Path;

use super::super::{Config, ValueOrigin};
use super::{EXAMPLE, SMALL, parse, parse_with};

/// A value as `check` tells it.
fn told(config: &Config, key: &str) -> String {
    let found = config.effective().iter().find(|each| each.key == key);
    let found = found.unwrap_or_else(|| panic!("{key} is not told"));
    let from = found.inherited_from.as_ref().map_or_else(String::new, |from| format!(", from {from}"));
    let value = found.value.as_deref().unwrap_or("the broker's");
    format!("{value} ({}{from})", found.origin)
}

/// Every key of a pool has another value than the default; two files, since "off" leaves no room for numbers, nor "reject" for those who
/// wait.
const EVERYTHING: [&str; 2] = [
    "
[pools.p]
command = [\"true\"]
workers = { max = 3 }
slots = 2
prefetch = 3
start_timeout = \"1m\"
heartbeat = { interval = \"1s\", missed = 5 }
accept_any_method = true
restart = { max_restarts = 7, window = \"2m\" }
limits = { memory = \"1GiB\" }
recycle = { requests = 9, age = \"2h\", idle = \"1h\", memory = \"2MB\" }
output = { log = false, burst = 5, per_second = 6 }
[pools.p.defaults]
queue_timeout = \"1s\"
progress_timeout = \"2s\"
output_timeout = \"20ms\"
",
    "[pools.p]\ncommand = [\"true\"]\nheartbeat = \"off\"\nmethods.m = {}\nrestart.max_restarts = \"unlimited\"\n\
     on_busy = \"reject\"\n",
];

#[test]
fn effective_values_say_who_said_so() {
    let text =
        format!("{SMALL}\n[pools.images.defaults]\nattempt_timeout = \"30s\"\n[broker]\nhttp = \"off\"\n");
    let config = parse_with(&text, &[("LIFEBOAT__BROKER__HTTP", "127.0.0.1:0")]).unwrap();
    assert_eq!(told(&config, "broker.http"), "\"127.0.0.1:0\" (environment LIFEBOAT__BROKER__HTTP)");
    assert_eq!(told(&config, "broker.max_body"), "\"16MiB\" (default)");
    assert_eq!(told(&config, "pools.images.command"), "[\"true\"] (line 2)");
}

#[test]
fn every_key_of_a_pool_is_told_with_its_place() {
    let config = parse(EVERYTHING[0]).unwrap();
    for (key, expected) in [
        ("slots", "2 (line 5)"),
        ("prefetch", "3 (line 6)"),
        ("start_timeout", "\"1m\" (line 7)"),
        ("heartbeat.interval", "\"1s\" (line 8)"),
        ("heartbeat.missed", "5 (line 8)"),
        ("restart.initial", "\"100ms\" (default)"),
        ("restart.max_restarts", "7 (line 10)"),
        ("restart.window", "\"2m\" (line 10)"),
        ("recycle.requests", "9 (line 12)"),
        ("recycle.age", "\"2h\" (line 12)"),
        ("recycle.idle", "\"1h\" (line 12)"),
        ("recycle.memory", "\"2MB\" (line 12)"),
        ("output.log", "false (line 13)"),
        ("output.burst", "5 (line 13)"),
        ("output.per_second", "6 (line 13)"),
        ("defaults.queue_timeout", "\"1s\" (line 15)"),
        ("defaults.progress_timeout", "\"2s\" (line 16)"),
        ("defaults.output_timeout", "\"20ms\" (line 17)"),
        ("defaults.attempt_timeout", "\"unlimited\" (default)"),
        ("workers.min", "3 (default)"),
        ("current_dir", "the broker's (default)"),
        ("env", "the broker's (default)"),
        ("unhealthy_after", "3 (default)"),
        ("disable_unhealthy", "false (default)"),
        ("limits.processes", "\"unlimited\" (default)"),
        ("limits.open_files", "\"unlimited\" (default)"),
        ("limits.core_size", "\"none\" (default)"),
        ("limits.nice", "0 (default)"),
        ("inherit_env", "\"all\" (default)"),
    ] {
        assert_eq!(told(&config, &format!("pools.p.{key}")), expected, "{key}");
    }

    let own = "[pools.p]\ncommand = [\"true\"]\nenv.A = \"b\"\ncurrent_dir = \"/\"\nmethods.m = {}\n";
    let config = parse(own).unwrap();
    assert_eq!(told(&config, "pools.p.env.A"), "\"(hidden)\" (line 3)");
    assert_eq!(told(&config, "pools.p.current_dir"), "\"/\" (line 4)");
    assert!(config.effective().iter().all(|each| each.value.is_some()));

    let config = parse(EVERYTHING[1]).unwrap();
    assert_eq!(told(&config, "pools.p.heartbeat"), "\"off\" (line 3)");
    assert!(config.effective().iter().all(|each| !each.key.starts_with("pools.p.heartbeat.")));
    assert_eq!(told(&config, "pools.p.on_busy"), "\"reject\" (line 6)");
    assert_eq!(told(&config, "pools.p.restart.max_restarts"), "\"unlimited\" (line 5)");
}

#[test]
fn an_inherited_value_names_the_key_that_says_it() {
    let text = "[pools.p]\ncommand = [\"true\"]\n[pools.p.defaults]\nattempt_timeout = \"30s\"\n\
                retry = { max_attempts = 4 }\nquarantine = { crash_limit = 5 }\n[pools.p.methods.a]\n[pools.p.methods.b]\n\
                attempt_timeout = \"unlimited\"\nretry = \"never\"\nquarantine = \"off\"\n";
    let variable = ("LIFEBOAT__POOLS__P__DEFAULTS__PROGRESS_TIMEOUT", "5s");
    let config = parse_with(text, &[variable]).unwrap();
    for (key, expected) in [
        ("a.attempt_timeout", "\"30s\" (line 4, from pools.p.defaults.attempt_timeout)"),
        ("a.retry.max_attempts", "4 (line 5, from pools.p.defaults.retry.max_attempts)"),
        ("a.retry.on", "[\"crash\"] (default)"),
        ("a.queue_timeout", "\"unlimited\" (default)"),
        ("a.quarantine.crash_limit", "5 (line 6, from pools.p.defaults.quarantine.crash_limit)"),
        ("a.quarantine.expiry", "\"1h\" (default)"),
        ("b.attempt_timeout", "\"unlimited\" (line 9)"),
        ("b.retry", "\"never\" (line 10)"),
        ("b.quarantine", "\"off\" (line 11)"),
        (
            "b.progress_timeout",
            "\"5s\" (environment LIFEBOAT__POOLS__P__DEFAULTS__PROGRESS_TIMEOUT, from \
             pools.p.defaults.progress_timeout)",
        ),
    ] {
        assert_eq!(told(&config, &format!("pools.p.methods.{key}")), expected, "{key}");
    }
}

#[test]
fn the_socket_follows_the_runtime_directory() {
    let config = |directory| parse_with(SMALL, &[("XDG_RUNTIME_DIR", directory)]).unwrap();
    let session = config("/run/user/7");
    assert_eq!(session.broker.socket, Path::new("/run/user/7/lifeboat/lifeboat.sock"));
    assert!(told(&session, "broker.socket").ends_with(" (environment XDG_RUNTIME_DIR)"));
    for none in ["relative", ""] {
        assert_eq!(told(&config(none), "broker.socket"), "\"/run/lifeboat/lifeboat.sock\" (default)");
    }
    let long = format!("/{}", "x".repeat(100));
    let message = parse_with(SMALL, &[("XDG_RUNTIME_DIR", &long)]).unwrap_err().to_string();
    assert!(message.contains("--> environment XDG_RUNTIME_DIR"), "{message}");
}

#[test]
fn effective_values_read_back_as_the_same_configuration() {
    for text in [EXAMPLE, SMALL, EVERYTHING[0], EVERYTHING[1]] {
        let config = parse(text).unwrap();
        let values = config.effective().iter().filter_map(|each| Some((&each.key, each.value.as_ref()?)));
        let rows: Vec<_> = values.map(|(key, value)| format!("{key} = {value}\n")).collect();
        let again = parse(&rows.concat()).unwrap();
        let told =
            |config: &Config| format!("{:?} {:?} {:?}", config.broker, config.settings, config.commands);
        assert_eq!(told(&again), told(&config));
        let written = again.effective().iter().filter(|each| each.origin != ValueOrigin::Default);
        assert_eq!(written.count(), rows.len());
        assert_eq!(again.unknown_yet.len(), config.unknown_yet.len(), "a default is always in effect");
    }
}
