//! What is wrong with a single key: each error with its exact place and words.

use super::super::ProblemKind;
use super::{SMALL, parse};

/// The first line of every problem with its place: `line:column message`.
pub(super) fn refusals(text: &str) -> Vec<String> {
    let error = parse(text).expect_err(text);
    let problems = error.problems().iter();
    problems
        .map(|each| format!("{} {}", each.place.to_string().trim_start_matches("lifeboat.toml:"), each.kind))
        .collect()
}

/// A pool with these lines; the first of them is line 3.
pub(super) fn pool(lines: &str) -> String {
    format!("[pools.p]\ncommand = [\"true\"]\n{lines}\n[pools.p.methods.m]\n")
}

/// A method with these lines; the first of them is line 4.
pub(super) fn method(lines: &str) -> String {
    format!("[pools.p]\ncommand = [\"true\"]\n[pools.p.methods.m]\n{lines}\n")
}

/// A broker with these lines; the first of them is line 5.
pub(super) fn broker(lines: &str) -> String {
    format!("{SMALL}[broker]\n{lines}\n")
}

#[track_caller]
pub(super) fn one(text: &str, expected: &str) {
    assert_eq!(refusals(text), [expected], "{text}");
}

#[test]
fn a_report_has_place_snippet_and_help() {
    let error = parse("[broker]\nmax_bodi = \"16MiB\" # €\n\n[pools.p]\n\tcommand = [\"true\"]\n\tworkers = 0\nmethods.m = {}\n").unwrap_err();
    let expected = "the configuration has 2 problems

unknown key `broker.max_bodi`
  --> lifeboat.toml:2:1
   |
 2 | max_bodi = \"16MiB\" # €
   | ^^^^^^^^
  help: did you mean `max_body`?

`pools.p.workers` must not be 0
  --> lifeboat.toml:6:12
   |
 6 | \tworkers = 0
   | \t          ^
  help: write at least 1";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_not_toml() {
    one("a = = 1\n", "1:5 not valid TOML: extra `=`, expected nothing");
    one("[broker]\nhttp = \"off\"\nhttp = \"off\"\n", "3:1 not valid TOML: duplicate key");
    assert_eq!(refusals("[broker]\n[broker]\nx = \"\n")[0], "2:2 not valid TOML: duplicate key");
}

#[test]
fn unknown_keys_get_a_suggestion() {
    let help = |text: &str| parse(text).unwrap_err().problems()[0].help.clone().unwrap();
    one("[brokers]\n[pools.p]\ncommand = [\"true\"]\nmethods.m = {}", "1:2 unknown key `brokers`");
    assert_eq!(help("[brokers]\n[pools.p]\ncommand = [\"true\"]\nmethods.m = {}"), "did you mean `broker`?");
    one(&pool("queue = { max_byte = \"1MiB\" }"), "3:11 unknown key `pools.p.queue.max_byte`");
    one(&pool("attempt_timeout = \"1s\""), "3:1 unknown key `pools.p.attempt_timeout`");
    assert_eq!(help(&pool("attempt_timeout = \"1s\"")), "it belongs to [pools.p.defaults], or to a method");
    one(&method("zzz = 1"), "4:1 unknown key `pools.p.methods.m.zzz`");
    assert!(help(&method("zzz = 1")).starts_with("the keys here are `deadline`, "));
    one(
        &method("retry = { backoff = { base = \"1s\" } }"),
        "4:23 unknown key `pools.p.methods.m.retry.backoff.base`",
    );
    one(&pool("\"é\" = 1"), "3:1 unknown key `pools.p.\"é\"`");
}

#[test]
fn wrong_types() {
    one(
        &broker("http = 9464"),
        "5:8 `broker.http` must be an address and port such as \"127.0.0.1:9464\", or \"off\", not a number",
    );
    one(
        &broker("drain_timeout = 30"),
        "5:17 `broker.drain_timeout` must be a duration such as \"10s\", not a number",
    );
    one(&broker("max_body = 1.5"), "5:12 `broker.max_body` must be a size such as \"16MiB\", not a fraction");
    one(&broker("socket = 1979-05-27"), "5:10 `broker.socket` must be a text in quotes, not a date or time");
    one(&pool("workers = \"4\""), "3:11 `pools.p.workers` must be a whole number, not a text");
    one(&pool("queue = 4"), "3:9 `pools.p.queue` must be a table, not a number");
    one(
        &pool("accept_any_method = \"yes\""),
        "3:21 `pools.p.accept_any_method` must be true or false, not a text",
    );
    one(&pool("env = { A = 1 }"), "3:13 `pools.p.env.A` must be a text in quotes, not a number");
    one(&pool("on_busy = true"), "3:11 `pools.p.on_busy` must be \"queue\" or \"reject\", not true or false");
    one(
        &method("retry = 3"),
        "4:9 `pools.p.methods.m.retry` must be \"never\" or a table such as { on = [\"crash\"], max_attempts = 3 }, not a number",
    );
    one(
        &method("quarantine = \"on\""),
        "4:14 `pools.p.methods.m.quarantine` must be \"off\" or a table such as { crash_limit = 3, expiry = \"1h\" }, not \"on\"",
    );
    one(
        &method("quarantine = { crash_limit = 1001 }"),
        "4:30 `pools.p.methods.m.quarantine.crash_limit` must be between 1 and 1000, not 1001",
    );
    one(
        &method("quarantine = { expiry = \"900ms\" }"),
        "4:25 `pools.p.methods.m.quarantine.expiry` must be between 1s and 11months 30days 3h 50m 24s, not 900ms",
    );
    one(
        &method("retry = { on = \"crash\" }"),
        "4:16 `pools.p.methods.m.retry.on` must be a list of \"crash\", \"stall\", \"timeout\" and \"failed\", not a text",
    );
    one("pools = 3\n", "1:9 `pools` must be a table, not a number");
}

#[test]
fn values_that_mean_nothing() {
    one(
        &broker("http = \"localhost\""),
        "5:8 `broker.http` must be an address and port such as \"127.0.0.1:9464\", or \"off\", not \"localhost\"",
    );
    one(
        &broker("drain_timeout = \"soon\""),
        "5:17 `broker.drain_timeout` must be a duration such as \"10s\", not \"soon\"",
    );
    one(
        &broker("max_body = \"16M\""),
        "5:12 `broker.max_body` must be a size such as \"16MiB\", not \"16M\"",
    );
    one(
        &broker("socket = \"lifeboat.sock\""),
        "5:10 `broker.socket` must be an absolute path (it begins with `/`), not \"lifeboat.sock\"",
    );
    one(
        &broker("socket = \"/run/\""),
        "5:10 `broker.socket` must be the path of a file, not of a directory, not \"/run/\"",
    );
    one(
        &pool("on_disconnect = \"panic\""),
        "3:17 `pools.p.on_disconnect` must be \"cancel\" or \"finish\", not \"panic\"",
    );
    one(
        &pool("on_panic = \"keep_slot\""),
        "3:12 `pools.p.on_panic` must be \"retire_slot\" or \"keep\", not \"keep_slot\"",
    );
    one(
        &pool("current_dir = \"here\""),
        "3:15 `pools.p.current_dir` must be an absolute path (it begins with `/`), not \"here\"",
    );
    one(
        &pool("inherit_env = \"none\""),
        "3:15 `pools.p.inherit_env` must be a list of names of variables, or \"all\", not \"none\"",
    );
    one(
        &pool("inherit_env = [\"PATH\", \"A=b\"]"),
        "3:24 `pools.p.inherit_env` must be the name of a variable, not \"A=b\"",
    );
    one(
        &pool("limits = { core_size = \"all\" }"),
        "3:24 `pools.p.limits.core_size` must be a size such as \"16MiB\", or \"unlimited\", or \"none\", not \"all\"",
    );
    one(
        &method("deadline = \"unlimited\""),
        "4:12 `pools.p.methods.m.deadline` must be a duration such as \"10s\", not \"unlimited\"",
    );
    one(
        &method("attempt_timeout = \"off\""),
        "4:19 `pools.p.methods.m.attempt_timeout` must be a duration such as \"10s\", or \"unlimited\", not \"off\"",
    );
    one(
        &method("retry = \"always\""),
        "4:9 `pools.p.methods.m.retry` must be \"never\" or a table such as { on = [\"crash\"], max_attempts = 3 }, not \"always\"",
    );
    one(
        &method("retry = { on = [\"crash\", \"hang\"] }"),
        "4:26 `pools.p.methods.m.retry.on` must be a list of \"crash\", \"stall\", \"timeout\" and \"failed\", not \"hang\"",
    );
}

#[test]
fn the_socket_must_fit_into_an_address() {
    let path = |length: usize| format!("/{}", "s".repeat(length - 1));
    assert!(parse(&broker(&format!("socket = \"{}\"", path(107)))).is_ok());
    let text = broker(&format!("socket = \"{}\"", path(108)));
    let error = parse(&text).unwrap_err();
    let ProblemKind::BadValue { key, expected, .. } = &error.problems()[0].kind else { panic!("{error}") };
    assert_eq!(key, "broker.socket");
    assert_eq!(expected, "at most 107 bytes long, as socket addresses are (it has 108)");
}

#[test]
fn zero_is_not_unlimited() {
    let help = |text: &str| parse(text).unwrap_err().problems()[0].help.clone().unwrap();
    one(&pool("workers = 0"), "3:11 `pools.p.workers` must not be 0");
    one(&pool("prefetch = 0"), "3:12 `pools.p.prefetch` must not be 0");
    one(&pool("slots = 0"), "3:9 `pools.p.slots` must not be 0");
    one(&pool("restart = { max_restarts = 0 }"), "3:28 `pools.p.restart.max_restarts` must not be 0");
    one(&pool("recycle = { requests = 0 }"), "3:24 `pools.p.recycle.requests` must not be 0");
    one(&pool("output = { burst = 0 }"), "3:20 `pools.p.output.burst` must not be 0");
    one(&method("queue_timeout = \"0s\""), "4:17 `pools.p.methods.m.queue_timeout` must not be 0");
    one(&pool("start_timeout = \"0s\""), "3:17 `pools.p.start_timeout` must not be 0");
    one(&pool("queue = { max_requests = 0 }"), "3:26 `pools.p.queue.max_requests` must not be 0");
    one(&pool("limits = { memory = \"0B\" }"), "3:21 `pools.p.limits.memory` must not be 0");
    one(&pool("limits = { open_files = 0 }"), "3:25 `pools.p.limits.open_files` must not be 0");
    one(&pool("limits = { cpu_time = \"0s\" }"), "3:23 `pools.p.limits.cpu_time` must not be 0");
    one(&pool("limits = { core_size = \"0B\" }"), "3:24 `pools.p.limits.core_size` must not be 0");
    assert_eq!(help(&pool("limits = { core_size = \"0B\" }")), "write at least \"4KiB\", or \"none\"");
    assert_eq!(
        help(&pool("limits = { memory = \"0B\" }")),
        "write \"unlimited\" for no limit, or at least \"1MiB\""
    );
    one(&method("attempt_timeout = 0"), "4:19 `pools.p.methods.m.attempt_timeout` must not be 0");
    one(&method("deadline = \"0s\""), "4:12 `pools.p.methods.m.deadline` must not be 0");
    one(&method("retry = { max_attempts = 0 }"), "4:26 `pools.p.methods.m.retry.max_attempts` must not be 0");
    assert!(parse(&pool("cancel_grace = \"0s\"\nstop_grace = \"0s\"")).is_ok());
}

#[test]
fn numbers_have_bounds() {
    one(&pool("workers = 5000"), "3:11 `pools.p.workers` must be between 1 and 4096, not 5000");
    one(&pool("workers = -1"), "3:11 `pools.p.workers` must be between 1 and 4096, not -1");
    one(
        &pool("prefetch = 99999999999999999999"),
        "3:12 `pools.p.prefetch` must be between 1 and 1024, not 9223372036854775807",
    );
    one(&pool("stop_grace = \"2d\""), "3:14 `pools.p.stop_grace` must be between 1ms and 1day, not 2d");
    one(
        &method("deadline = \"1us\""),
        "4:12 `pools.p.methods.m.deadline` must be between 1ms and 30days, not 1us",
    );
    one(&pool("slots = 257"), "3:9 `pools.p.slots` must be between 1 and 256, not 257");
    one(
        &pool("output = { per_second = 10001 }"),
        "3:25 `pools.p.output.per_second` must be between 1 and 10000, not 10001",
    );
    one(
        &method("output_timeout = \"19ms\""),
        "4:18 `pools.p.methods.m.output_timeout` must be between 20ms and 30days, not 19ms",
    );
    one(&broker("max_body = \"8GiB\""), "5:12 `broker.max_body` must be between 1KiB and 1GiB, not 8GiB");
    one(
        &method("retry = { backoff = { factor = 0.5 } }"),
        "4:32 `pools.p.methods.m.retry.backoff.factor` must be between 1 and 100, not 0.5",
    );
    one(
        &method("retry = { backoff = { factor = nan } }"),
        "4:32 `pools.p.methods.m.retry.backoff.factor` must be between 1 and 100, not NaN",
    );
    let many = "[pools.a]\ncommand = [\"true\"]\nworkers = 4000\nmethods.m = {}\n[pools.b]\ncommand = [\"true\"]\nworkers = 97\nmethods.n = {}\n";
    one(many, "5:8 4097 workers are too many: at most 4096");
}

#[test]
fn heartbeats() {
    let p = "pools.p.heartbeat";
    one(
        &pool("heartbeat = \"sometimes\""),
        &format!(
            "3:13 `{p}` must be \"on\", \"off\" or a table such as {{ interval = \"2s\", missed = 3 }}, not \"sometimes\""
        ),
    );
    one(
        &pool("heartbeat = 2"),
        &format!(
            "3:13 `{p}` must be \"on\", \"off\" or a table such as {{ interval = \"2s\", missed = 3 }}, not a number"
        ),
    );
    one(
        &pool("heartbeat = { interval = \"9ms\" }"),
        &format!("3:26 `{p}.interval` must be between 10ms and 1day, not 9ms"),
    );
    one(&pool("heartbeat = { missed = 1 }"), &format!("3:24 `{p}.missed` must be between 2 and 1000, not 1"));
    one(&pool("heartbeat = { misses = 2 }"), &format!("3:15 unknown key `{p}.misses`"));
    assert!(parse(&pool("heartbeat = \"on\"")).is_ok());
}
