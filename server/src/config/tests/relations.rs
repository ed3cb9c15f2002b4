//! What is wrong between keys, names and pools: each error with its exact place and words.

use super::errors::{broker, method, one, pool, refusals};
use super::{EXAMPLE, parse};

#[test]
fn limits_that_can_never_fire() {
    let m = "pools.p.methods.m";
    one(
        &method("attempt_timeout = \"10m\""),
        &format!(
            "4:19 `{m}.attempt_timeout` (10m) can never fire before `pools.p.defaults.deadline` (5m, the default)"
        ),
    );
    one(
        &method("attempt_timeout = \"5m\"\ndeadline = \"5m\""),
        &format!("4:19 `{m}.attempt_timeout` (5m) can never fire before `{m}.deadline` (5m)"),
    );
    one(
        &method("queue_timeout = \"1h\""),
        &format!(
            "4:17 `{m}.queue_timeout` (1h) can never fire before `pools.p.defaults.deadline` (5m, the default)"
        ),
    );
    one(
        &method("attempt_timeout = \"5s\"\nprogress_timeout = \"6s\""),
        &format!("5:20 `{m}.progress_timeout` (6s) can never fire before `{m}.attempt_timeout` (5s)"),
    );
    one(
        &method("output_timeout = \"6m\""),
        &format!(
            "4:18 `{m}.output_timeout` (6m) can never fire before `pools.p.defaults.deadline` (5m, the default)"
        ),
    );
    one(
        &method("retry = { backoff = { first = \"6m\", max = \"1h\" } }"),
        &format!(
            "4:31 `{m}.retry.backoff.first` (6m) can never pass before `pools.p.defaults.deadline` (5m, the default)"
        ),
    );
    one(
        &method("retry = { backoff = { first = \"11s\" } }"),
        &format!(
            "4:31 `{m}.retry.backoff.first` (11s) is longer than `{m}.retry.backoff.max` (10s, the default)"
        ),
    );
    one(
        &method("retry = { backoff = { max = \"50ms\" } }"),
        &format!(
            "4:29 `{m}.retry.backoff.then` (100ms, the default) is longer than `{m}.retry.backoff.max` (50ms)"
        ),
    );
    one(
        &pool("restart = { initial = \"1m\" }"),
        "3:23 `pools.p.restart.initial` (1m) is longer than `pools.p.restart.max` (30s, the default)",
    );
    one(
        &pool("workers = { min = 3, max = 2 }"),
        "3:19 `pools.p.workers.min` (3) is more than `pools.p.workers.max` (2)",
    );
    one(
        &pool("recycle = { memory = \"2GiB\" }\nlimits = { memory = \"1GiB\" }"),
        "3:22 `pools.p.recycle.memory` (2GiB) can never fire before `pools.p.limits.memory` (1GiB)",
    );
    one(
        &pool("recycle = { age = \"1h\", idle = \"1h\" }"),
        "3:32 `pools.p.recycle.idle` (1h) can never be reached before `pools.p.recycle.age` (1h)",
    );
    one(
        &format!("{}[broker]\nmax_open_requests = 10", pool("queue = { max_requests = 11 }")),
        "3:26 `pools.p.queue.max_requests` (11) can never be reached, being more than `broker.max_open_requests` (10)",
    );
    one(
        &broker("client_backlog = \"1MiB\""),
        "5:18 `broker.client_backlog` (1MiB) cannot hold an answer as large as `broker.max_body` (16MiB, the default)",
    );
}

#[test]
fn waits_that_outlast_the_request() {
    let m = "pools.p.methods.m";
    let waits = |attempts: u32, first: &str, then: &str| {
        let backoff = format!("{{ first = \"{first}\", then = \"{then}\", max = \"1h\" }}");
        method(&format!("retry = {{ max_attempts = {attempts}, backoff = {backoff} }}\ndeadline = \"1m\""))
    };
    one(
        &waits(3, "1m", "1s"),
        &format!("4:49 `{m}.retry.backoff.first` (1m) can never pass before `{m}.deadline` (1m)"),
    );
    one(
        &waits(3, "0s", "1m"),
        &format!("4:62 `{m}.retry.backoff.then` (1m) can never pass before `{m}.deadline` (1m)"),
    );
    assert!(parse(&waits(3, "59s", "59s")).is_ok());
    let error = parse(&waits(3, "2m", "2m")).unwrap_err();
    assert_eq!(error.problems().len(), 2, "{error}");
    let help = "  help: the attempt after it could never start: write a shorter wait, or a longer `deadline`";
    assert!(error.to_string().contains(help), "{error}");
    // What nobody wrote is not held against a short deadline.
    assert!(parse(&method("retry = { max_attempts = 3 }\ndeadline = \"50ms\"")).is_ok());
}

#[test]
fn a_pool_that_rejects_has_nobody_waiting_for_their_first_dispatch() {
    let reject = |lines: &str| pool(&format!("on_busy = \"reject\"\n{lines}"));
    let relation = "can never fire beside `pools.p.on_busy` (reject)";
    let text = format!("{}queue_timeout = \"1s\"\n", reject(""));
    one(&text, &format!("6:17 `pools.p.methods.m.queue_timeout` (1s) {relation}"));
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.contains("\n  and lifeboat.toml:3:11\n"), "{error}");
    assert!(error.contains("remove it, or write on_busy = \"queue\""), "{error}");
    // The methods that nobody names count too, and one that says that it has none is spared.
    let any = reject("accept_any_method = true\ndefaults.queue_timeout = \"1s\"");
    let unlimited = format!("{any}queue_timeout = \"unlimited\"\n");
    one(&unlimited, &format!("5:26 `pools.p.defaults.queue_timeout` (1s) {relation}"));
    assert!(parse(&unlimited.replace("accept_any_method = true", "")).is_ok());
    let swapped = EXAMPLE.replace("on_busy = \"queue\"", "on_busy = \"reject\"");
    assert_eq!(parse(&swapped).unwrap().warnings.len(), 2, "the queue's bounds alone");
}

#[test]
fn a_default_that_is_wrong_for_many_methods_is_one_mistake() {
    let text = "[pools.p]\ncommand = [\"true\"]\n[pools.p.defaults]\nattempt_timeout = \"1h\"\n[pools.p.methods]\na = {}\nb = {}\nc = { deadline = \"2h\" }\n";
    one(
        text,
        "4:19 `pools.p.defaults.attempt_timeout` (1h) can never fire before `pools.p.defaults.deadline` (5m, the default)",
    );
}

#[test]
fn retries_that_can_never_happen() {
    one(
        &method("retry = { max_attempts = 1 }"),
        "4:26 `pools.p.methods.m.retry.max_attempts` can never cause a retry: it counts the first attempt",
    );
    one(
        &method("retry = { on = [] }"),
        "4:16 `pools.p.methods.m.retry.on` can never cause a retry: it is empty",
    );
}

#[test]
fn a_process_holds_no_more_than_it_can() {
    assert!(parse(&pool("slots = 256\nprefetch = 16")).is_ok());
    assert!(parse(&pool("slots = 4\nprefetch = 1024")).is_ok());
    let text = pool("slots = 256\nprefetch = 17");
    one(&text, "3:9 `pools.p.slots` (256) is too many for `pools.p.prefetch` (17)");
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.contains("help: a process may hold 4096 requests; this would be 4352"), "{error}");
    assert!(error.contains("  and lifeboat.toml:4:12\n"), "{error}");
}

#[test]
fn commands() {
    one(&pool("").replace("command = [\"true\"]", ""), "1:8 `pools.p.command` is missing");
    let command = |value: &str| pool("").replace("[\"true\"]", value);
    one(
        &command("[]"),
        "2:11 `pools.p.command` must be a list of texts: the program and its arguments, not an empty list",
    );
    one(
        &command("\"true\""),
        "2:11 `pools.p.command` must be a list of texts: the program and its arguments, not a text",
    );
    one(
        &command("[\"true\", 3]"),
        "2:20 `pools.p.command` must be a list of texts: the program and its arguments, not a number",
    );
    one(&command("[\"\"]"), "2:12 `pools.p.command` must be the name of a program, not \"\"");
    one(
        &command("[\"a\\u0000b\"]"),
        "2:12 `pools.p.command` must be a text without a zero byte, not \"a\\0b\"",
    );
    one(
        &command("[\"./worker\"]"),
        "2:11 `pools.p.command` must be a program found in PATH, or an absolute path (so that it does not matter where the broker starts), not \"./worker\"",
    );
    one(&pool("workers = { min = 1 }"), "3:1 `pools.p.workers.max` is missing");
}

#[test]
fn names() {
    let named = |name: &str| pool("").replace("[pools.p", &format!("[pools.{name}"));
    one(
        &named("Images"),
        "1:8 \"Images\" cannot be the name of a pool: 1 to 64 characters of a-z, 0-9, `_` and `-`",
    );
    one(&named("\"\""), "1:8 \"\" cannot be the name of a pool: 1 to 64 characters of a-z, 0-9, `_` and `-`");
    one(&named("_none"), "1:8 \"_none\" cannot be the name of a pool: Lifeboat uses it itself");
    let long = "p".repeat(65);
    assert!(refusals(&named(&long))[0].ends_with("1 to 64 characters of a-z, 0-9, `_` and `-`"));
    assert!(parse(&named(&long[..64])).is_ok());
    let method = |name: &str| pool("").replace("methods.m", &format!("methods.{name}"));
    one(&method("_other"), "4:18 \"_other\" cannot be the name of a method: Lifeboat uses it itself");
    one(&method("\"\""), "4:18 \"\" cannot be the name of a method: 1 to 255 bytes");
    assert!(parse(&method("\"größe ändern\"")).is_ok());
    assert!(parse(&method(&"m".repeat(255))).is_ok());
    assert!(
        refusals(&method(&"m".repeat(256)))[0].ends_with("cannot be the name of a method: 1 to 255 bytes")
    );
    one(
        &pool("env = { \"A=B\" = \"\" }"),
        "3:9 \"A=B\" cannot be the name of a variable: not empty, without `=` and zero bytes",
    );
    one(
        &pool("env = { LIFEBOAT_FD = \"9\" }"),
        "3:9 \"LIFEBOAT_FD\" cannot be the name of a variable: the broker itself sets the variables that begin with LIFEBOAT_",
    );
}

#[test]
fn pools_together() {
    one("", "1:1 there is no pool: nothing would ever run");
    one("[pools]\n", "1:1 there is no pool: nothing would ever run");
    one("[pools.p]\ncommand = [\"true\"]\n", "1:8 the pool `p` serves no method");
    let twice =
        "[pools.a]\ncommand = [\"true\"]\nmethods.m = {}\n[pools.b]\ncommand = [\"true\"]\nmethods.m = {}\n";
    one(twice, "6:9 the method `m` is in two pools, `a` and `b`");
    let also = parse(twice).unwrap_err().problems()[0].also.clone();
    assert_eq!(also.map(|place| place.to_string()).as_deref(), Some("lifeboat.toml:3:9"));
    let any = "[pools.a]\ncommand = [\"true\"]\naccept_any_method = true\n[pools.b]\ncommand = [\"true\"]\naccept_any_method = true\n";
    one(any, "6:21 two pools accept any method, `a` and `b`");
}

#[test]
fn independent_problems_come_together_in_the_order_of_the_file() {
    let text = EXAMPLE
        .replace("\"5s\"", "5")
        .replace("slots   = 1", "slots   = 900")
        .replace("\"127.0.0.1:9464\"", "\"there\"");
    let places: Vec<_> =
        refusals(&text).iter().map(|each| each.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(places, ["3:10", "10:11", "12:14"]);
}
