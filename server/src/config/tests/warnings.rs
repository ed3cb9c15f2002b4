//! What is allowed but probably not meant: the exact words, and that nobody else is warned.

use super::{EXAMPLE, SMALL, parse};

/// Each warning with its place, `line:column message`.
fn warnings(text: &str) -> Vec<String> {
    let config = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let shown = |place: String| place.trim_start_matches("lifeboat.toml:").to_owned();
    config.warnings.iter().map(|each| format!("{} {}", shown(each.place.to_string()), each.message)).collect()
}

/// A pool with these lines, the first of them on line 3, and a method with those.
fn with(pool: &str, method: &str) -> Vec<String> {
    warnings(&format!("[pools.p]\ncommand = [\"true\"]\n{pool}\n[pools.p.methods.m]\n{method}\n"))
}

#[track_caller]
fn one(found: &[String], expected: &str) {
    assert_eq!(found, [expected]);
}

#[test]
fn what_is_usual_is_not_warned_about() {
    assert_eq!(warnings(EXAMPLE), [""; 0]);
    assert_eq!(warnings(SMALL), [""; 0]);
    for pool in [
        "on_busy = \"reject\"",
        "on_busy = \"queue\"\nqueue = { max_requests = 3 }",
        "heartbeat = { interval = \"1s\" }",
        "recycle = { age = \"2h\", idle = \"1h\", requests = 1 }",
        "recycle = { age = \"10s\" }",
        "restart = { initial = \"5s\", max = \"5s\" }",
        "restart = { max_restarts = \"unlimited\", window = \"1ms\" }",
        "workers = 3\nrestart = { initial = \"1ms\", max = \"10ms\" }",
    ] {
        assert_eq!(with(pool, ""), [""; 0], "{pool}");
    }
    assert_eq!(with("", "queue_timeout = \"1s\""), [""; 0]);
    // Whoever leaves the heartbeat alone need not think of it.
    assert_eq!(with("", "deadline = \"1s\""), [""; 0]);
}

#[test]
fn the_network_and_large_bodies() {
    let text =
        format!("[broker]\nhttp = \"0.0.0.0:9464\"\n{SMALL}[pools.images.queue]\nmax_bytes = \"1MiB\"\n");
    let found = warnings(&text);
    let starts = [
        "2:8 `broker.http` is reachable from other machines (0.0.0.0:9464); it is read-only, but it shows what runs, why it crashed and what workers wrote,",
        "7:13 `pools.images.queue.max_bytes` (1MiB) is smaller than `broker.max_body` (16MiB, the default)",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (warning, start) in found.iter().zip(starts) {
        assert!(warning.starts_with(start), "{warning}");
    }
}

#[test]
fn retries_of_what_cannot_happen() {
    one(
        &with("", "retry = { on = [\"stall\"] }"),
        "5:1 `pools.p.methods.m.retry.on` names \"stall\", but there is neither `progress_timeout` nor \
         `output_timeout`: only a client's own can be retried",
    );
    one(
        &with("", "retry = { on = [\"timeout\"] }"),
        "5:1 `pools.p.methods.m.retry.on` names \"timeout\", but there is no `attempt_timeout`: only a client's own \
         can be retried",
    );
    assert_eq!(with("", "retry = { on = [\"stall\"] }\nprogress_timeout = \"1s\""), [""; 0]);
    assert_eq!(with("", "retry = { on = [\"stall\"] }\noutput_timeout = \"1s\""), [""; 0]);
    let inherited = "[pools.p]\ncommand = [\"true\"]\ndefaults.retry = { on = [\"stall\"] }\nmethods = { a = {}, b = {} }\n";
    assert_eq!(warnings(inherited).len(), 1, "once for the pool");
}

#[test]
fn a_pool_that_rejects_needs_no_bounds_of_a_queue() {
    let reject = "on_busy = \"reject\"\n";
    let found = with(&format!("{reject}queue = {{ max_requests = 3, max_bytes = \"1MiB\" }}"), "");
    let rest = "bounds nothing where `pools.p.on_busy` is \"reject\": no new request waits, and those that come back \
                are never refused";
    let expected = [
        format!("4:26 `pools.p.queue.max_requests` (3) {rest}"),
        format!("4:41 `pools.p.queue.max_bytes` (1MiB) {rest}"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn waits_before_attempts_that_are_never_made() {
    let retry = |attempts: u32, waits: &str| {
        with("", &format!("retry = {{ max_attempts = {attempts}, backoff = {{ {waits} }} }}"))
    };
    let m = "pools.p.methods.m.retry";
    one(
        &retry(2, "then = \"1s\""),
        &format!(
            "5:48 `{m}.backoff.then` (1s) is without use: it counts from the third attempt on, and `{m}.max_attempts` \
             is 2"
        ),
    );
    one(
        &retry(3, "then = \"1s\", factor = 3"),
        &format!(
            "5:63 `{m}.backoff.factor` (3.0) is without use: it counts from the fourth attempt on, and \
             `{m}.max_attempts` is 3"
        ),
    );
    assert_eq!(retry(3, "then = \"1s\""), [""; 0]);
    assert_eq!(retry(4, "then = \"1s\", factor = 3"), [""; 0]);
}

#[test]
fn attempts_that_would_start_after_the_deadline() {
    let retry = |attempts: u32, jitter: &str| {
        let waits = format!("first = \"1s\", then = \"10s\", max = \"25s\", jitter = \"{jitter}\"");
        let retry = format!("retry = {{ max_attempts = {attempts}, backoff = {{ {waits} }} }}");
        with("", &format!("{retry}\ndeadline = \"31s\""))
    };
    // Waits of 1 s, 10 s and 20 s.
    one(
        &retry(6, "none"),
        "5:26 `pools.p.methods.m.retry.max_attempts` (6) can never be reached: the waits before attempt 4 add up to \
         31s, and `pools.p.methods.m.deadline` is 31s",
    );
    assert_eq!(retry(3, "none"), [""; 0]);
    assert_eq!(retry(6, "full"), [""; 0], "each wait may be short");
}

#[test]
fn a_heartbeat_that_outlasts_every_request() {
    let beat = "heartbeat = { interval = \"20s\", missed = 15 }";
    let rest = "is 5m, and no method of the pool has a `deadline` beyond";
    one(
        &with(beat, ""),
        &format!(
            "3:26 `pools.p.heartbeat.interval` (20s) times `pools.p.heartbeat.missed` (15) {rest} 5m: a process that \
             hangs in a request is always ended by that first"
        ),
    );
    let found = with("heartbeat = { missed = 150 }", "deadline = \"5m\"");
    assert!(found[0].starts_with("3:24 `pools.p.heartbeat.interval` (2s, the default) times "), "{found:?}");
    assert_eq!(with(beat, "deadline = \"5m 1ms\""), [""; 0]);
    // One method is enough, and so are those that nobody names.
    assert_eq!(with(&format!("{beat}\nmethods.n = {{ deadline = \"1h\" }}"), ""), [""; 0]);
    let any = format!("{beat}\naccept_any_method = true\ndefaults.deadline = \"1h\"");
    assert_eq!(with(&any, "deadline = \"1s\""), [""; 0]);
}

#[test]
fn recycling_that_comes_too_early() {
    one(
        &with("recycle = { age = \"9s\" }", ""),
        "3:19 `pools.p.recycle.age` (9s) is shorter than `pools.p.start_timeout` (10s, the default): a process may be \
         due before its successor has to be ready, and the pool then replaces processes all the time",
    );
}
