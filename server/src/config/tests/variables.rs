//! `LIFEBOAT__SECTION__KEY`: what variables change, and how they are refused.

use std::time::Duration;

use lifeboat_core::settings::{OnBusy, RetryPolicy};

use super::super::{Config, ConfigError, Place, WorkerOutput};
use super::{EXAMPLE, SMALL, parse_with};

fn refusal(text: &str, name: &str, value: &str) -> String {
    let error = parse_with(text, &[(name, value)]).unwrap_err();
    let ConfigError::Invalid { problems } = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 1, "{error}");
    assert_eq!(problems[0].place, Place::Variable { name: name.to_owned() });
    problems[0].to_string()
}

#[test]
fn variables_change_what_the_file_says() {
    let config = parse_with(
        EXAMPLE,
        &[
            ("LIFEBOAT__BROKER__HTTP", "off"),
            ("LIFEBOAT__BROKER__MAX_BODY", "\"1MiB\""),
            ("LIFEBOAT__BROKER__DRAIN_TIMEOUT", "0s"),
            ("LIFEBOAT__POOLS__IMAGES__WORKERS", "4"),
            ("LIFEBOAT__POOLS__IMAGES__COMMAND", "[\"other\", \"--fast\"]"),
            ("LIFEBOAT__POOLS__IMAGES__METHODS__THUMBNAIL__RETRY__MAX_ATTEMPTS", "5"),
            ("LIFEBOAT__POOLS__IMAGES__ENV__Mixed_Case", "8080"),
            ("LIFEBOAT_SOCKET", "/elsewhere"),
        ],
    )
    .unwrap();
    assert_eq!(config.broker.http, super::super::HttpListen::Off);
    assert_eq!(config.broker.max_body, 1 << 20);
    assert_eq!(config.broker.drain_timeout, Duration::ZERO);
    assert_eq!(config.settings.pools[0].workers.get(), 4);
    assert_eq!(config.commands[0].argv, ["other", "--fast"]);
    assert_eq!(config.commands[0].env, [("Mixed_Case".to_owned(), "8080".to_owned())]);
    let RetryPolicy::Retry { on, max_attempts, .. } = config.settings.methods[0].retry else {
        panic!("no retry")
    };
    assert_eq!((max_attempts.get(), on.stall), (5, true));
    assert_eq!(config.broker.socket.to_str(), Some("/run/lifeboat/lifeboat.sock"));
}

#[test]
fn variables_reach_every_table() {
    let variable = |rest: &str| format!("LIFEBOAT__POOLS__IMAGES__{rest}");
    let env = [
        ("SLOTS", "4"),
        ("HEARTBEAT__INTERVAL", "5s"),
        ("HEARTBEAT__MISSED", "2"),
        ("RESTART__MAX_RESTARTS", "unlimited"),
        ("RESTART__WINDOW", "2m"),
        ("RECYCLE__IDLE", "1h"),
        ("RECYCLE__MEMORY", "256MiB"),
        ("OUTPUT__LOG", "false"),
        ("OUTPUT__PER_SECOND", "7"),
        ("DEFAULTS__QUEUE_TIMEOUT", "3s"),
        ("METHODS__THUMBNAIL__PROGRESS_TIMEOUT", "unlimited"),
        ("METHODS__THUMBNAIL__OUTPUT_TIMEOUT", "2s"),
    ]
    .map(|(rest, value)| (variable(rest), value.to_owned()));
    let config = Config::parse(EXAMPLE, "lifeboat.toml", env).unwrap();
    let pool = &config.settings.pools[0];
    assert_eq!(pool.slots.get(), 4);
    assert_eq!(pool.heartbeat.unwrap().patience(), Duration::from_secs(10));
    assert_eq!((pool.restart.max_restarts, pool.restart.window), (None, Duration::from_secs(120)));
    assert_eq!(pool.recycle.idle, Some(Duration::from_secs(3600)));
    let command = &config.commands[0];
    assert_eq!(command.memory_high, Some(256 << 20));
    assert_eq!(command.output, WorkerOutput { log: false, burst: 100, per_second: 7 });
    let method = &config.settings.methods[0];
    let limits = [method.queue_timeout, method.progress_timeout, method.output_timeout];
    assert_eq!(limits, [Some(Duration::from_secs(3)), None, Some(Duration::from_secs(2))]);

    let words = [("HEARTBEAT", "off"), ("ON_BUSY", "reject")];
    let words = words.map(|(rest, value)| (variable(rest), value.to_owned()));
    let config = Config::parse(EXAMPLE, "lifeboat.toml", words).unwrap();
    let pool = &config.settings.pools[0];
    assert_eq!((pool.heartbeat, pool.on_busy), (None, OnBusy::Reject));
}

#[test]
fn a_longer_path_refines_a_shorter_one_in_any_order() {
    let whole = ("LIFEBOAT__POOLS__IMAGES__QUEUE", "{ max_requests = 7 }");
    let part = ("LIFEBOAT__POOLS__IMAGES__QUEUE__MAX_BYTES", "32MiB");
    for env in [[whole, part], [part, whole]] {
        let queue = parse_with(EXAMPLE, &env).unwrap().settings.pools[0].queue;
        assert_eq!((queue.max_requests, queue.max_bytes), (7, 32 << 20));
    }
}

#[test]
fn names_match_as_far_as_a_variable_can_spell_them() {
    let text = "[pools.image-tools]\ncommand = [\"true\"]\n[pools.image-tools.methods.\"Image/Resize\"]\n";
    let env = [
        ("LIFEBOAT__POOLS__IMAGE_TOOLS__WORKERS", "3"),
        ("LIFEBOAT__POOLS__IMAGE_TOOLS__METHODS__IMAGE_RESIZE__DEADLINE", "7s"),
    ];
    let settings = parse_with(text, &env).unwrap().settings;
    assert_eq!(settings.pools[0].workers.get(), 3);
    assert_eq!(settings.methods[0].deadline, Duration::from_secs(7));
}

#[test]
fn refusals_name_the_variable() {
    for (name, value, expected) in [
        (
            "LIFEBOAT__BROKER__HTPP",
            "off",
            "unknown key `broker.htpp`\n  --> environment LIFEBOAT__BROKER__HTPP\n  \
             help: did you mean LIFEBOAT__BROKER__HTTP?",
        ),
        (
            "LIFEBOAT__BROKR__HTTP",
            "off",
            "unknown key `brokr`\n  --> environment LIFEBOAT__BROKR__HTTP\n  help: did you mean `broker`?",
        ),
        (
            "LIFEBOAT__POOLS__IMAGE__WORKERS",
            "4",
            "unknown key `pools.image`\n  --> environment LIFEBOAT__POOLS__IMAGE__WORKERS\n  \
             help: did you mean the pool `images`?",
        ),
        (
            "LIFEBOAT__POOLS__SOUNDTRACK__WORKERS",
            "4",
            "unknown key `pools.soundtrack`\n  --> environment LIFEBOAT__POOLS__SOUNDTRACK__WORKERS\n  \
             help: a variable can only change a pool that the file names",
        ),
        (
            "LIFEBOAT__POOLS__IMAGES__WORKERS",
            "many",
            "`pools.images.workers` must be a whole number, not a text\n  \
             --> environment LIFEBOAT__POOLS__IMAGES__WORKERS",
        ),
        (
            "LIFEBOAT__POOLS__IMAGES__SLOTS__MAX",
            "4",
            "`pools.images.slots` must be a table, not a number\n  \
             --> environment LIFEBOAT__POOLS__IMAGES__SLOTS__MAX\n  \
             help: set LIFEBOAT__POOLS__IMAGES__SLOTS to replace it",
        ),
        (
            "LIFEBOAT__BROKER__",
            "4",
            "the name of the variable LIFEBOAT__BROKER__ does not spell a key\n  \
             --> environment LIFEBOAT__BROKER__\n  \
             help: write LIFEBOAT__SECTION__KEY, such as LIFEBOAT__BROKER__HTTP",
        ),
    ] {
        assert_eq!(refusal(EXAMPLE, name, value), expected);
    }
}

#[test]
fn a_limit_of_a_variable_is_compared_with_the_file() {
    let name = "LIFEBOAT__POOLS__IMAGES__METHODS__THUMBNAIL__ATTEMPT_TIMEOUT";
    let text = format!("{SMALL}deadline = \"10s\"\n");
    assert_eq!(
        parse_with(&text, &[(name, "1m")]).unwrap_err().problems()[0].to_string(),
        format!(
            "`pools.images.methods.thumbnail.attempt_timeout` (1m) can never fire before \
             `pools.images.methods.thumbnail.deadline` (10s)\n  --> environment {name}\n  \
             and lifeboat.toml:4:12\n   |\n 4 | deadline = \"10s\"\n   |            ^^^^^"
        )
    );
}

#[test]
fn names_that_a_variable_cannot_tell_apart_are_refused() {
    let text = "[pools.a-b]\ncommand = [\"true\"]\nmethods = { m = {} }\n[pools.a_b]\ncommand = [\"true\"]\nmethods = { n = {} }\n";
    let message = refusal(text, "LIFEBOAT__POOLS__A_B__WORKERS", "2");
    assert!(
        message.ends_with("cannot tell the pools `a-b` and `a_b` apart; set it in the file"),
        "{message}"
    );
}
