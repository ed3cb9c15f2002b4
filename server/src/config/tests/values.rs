//! What a file that loads means.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_core::ids::PoolId;
use lifeboat_core::settings::{Backoff, Jitter, OnBusy, OnDisconnect, OnPanic, RetryOn, RetryPolicy};
use proptest::prelude::*;

use super::super::{Cgroups, Config, ConfigError, HttpListen, ValueOrigin, WorkerOutput};
use super::{EXAMPLE, SMALL, parse, parse_with, variables};

#[test]
fn the_example_loads_as_it_is_written() {
    let config = parse(EXAMPLE).unwrap();
    assert_eq!(config.broker.socket, Path::new("/run/lifeboat/lifeboat.sock"));
    assert_eq!(config.broker.http, HttpListen::At("127.0.0.1:9464".parse().unwrap()));
    assert_eq!((config.broker.max_body, config.broker.client_backlog), (16 << 20, 16 << 20));
    let pool = &config.settings.pools[0];
    assert_eq!((pool.name.as_str(), pool.workers.get(), pool.prefetch.get()), ("images", 8, 1));
    assert_eq!(pool.stop_grace, Duration::from_secs(5));
    assert_eq!((pool.on_disconnect, pool.on_panic), (OnDisconnect::Cancel, OnPanic::RetireSlot));
    assert_eq!((pool.queue.max_requests, pool.queue.max_bytes), (1024, 64 << 20));
    assert_eq!(pool.restart.initial, Duration::from_millis(100));
    assert_eq!(pool.restart.max_restarts, NonZeroU32::new(20));
    assert_eq!(pool.recycle.requests, NonZeroU32::new(10_000));
    assert_eq!((pool.recycle.age, pool.recycle.idle), (Some(Duration::from_hours(6)), None));
    let command = &config.commands[0];
    assert_eq!(command.program, PathBuf::from("thumbnailer"));
    assert_eq!(command.argv, ["thumbnailer", "--quality", "80"]);
    assert_eq!((command.memory_limit, command.memory_high), (Some(1 << 30), Some(512 << 20)));
    let method = &config.settings.methods[0];
    assert_eq!((method.name.as_str(), method.pool), ("thumbnail", PoolId(0)));
    assert_eq!(method.attempt_timeout, Some(Duration::from_secs(10)));
    assert_eq!(method.progress_timeout, Some(Duration::from_secs(3)));
    assert_eq!(method.deadline, Duration::from_secs(300));
    let RetryPolicy::Retry { on, max_attempts, backoff } = method.retry else { panic!("no retry") };
    assert_eq!(on, RetryOn { crash: true, stall: true, timeout: true, failed: false });
    assert_eq!((max_attempts.get(), backoff), (3, Backoff::default()));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn what_is_not_there_yet_is_named_where_it_stands() {
    let config = parse(EXAMPLE).unwrap();
    let named: Vec<_> =
        config.unknown_yet.iter().map(|each| format!("{} {}", each.place, each.key)).collect();
    let expected = ["lifeboat.toml:9:13 pools.images.workers.min"];
    for key in expected {
        assert!(named.iter().any(|each| each == key), "{key} is not in {named:#?}");
    }
    assert_eq!(named.len(), expected.len(), "{named:#?}");
}

#[test]
fn a_small_file_gets_the_defaults() {
    let config = parse(SMALL).unwrap();
    assert_eq!(config.broker.socket, Path::new("/run/lifeboat/lifeboat.sock"));
    assert_eq!(config.broker.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.settings.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.settings.max_open_requests, 65_536);
    assert_eq!(config.broker.cgroups, Cgroups::Auto);
    assert_eq!((config.broker.status_interval, &config.broker.state_dir), (None, &None));
    let pool = &config.settings.pools[0];
    assert_eq!((pool.workers.get(), pool.prefetch.get()), (1, 1));
    let times = [pool.start_timeout, pool.cancel_grace, pool.stop_grace, pool.kill_timeout];
    assert_eq!(times, [10, 1, 5, 1].map(Duration::from_secs));
    assert_eq!((pool.slots.get(), pool.on_busy), (1, OnBusy::Queue));
    let heartbeat = pool.heartbeat.unwrap();
    assert_eq!((heartbeat.interval, heartbeat.missed.get()), (Duration::from_secs(2), 3));
    assert_eq!(pool.restart.window, Duration::from_secs(60));
    assert_eq!((pool.recycle.requests, pool.recycle.age, pool.recycle.idle), (None, None, None));
    let method = &config.settings.methods[0];
    assert_eq!((method.attempt_timeout, method.retry), (None, RetryPolicy::Never));
    assert_eq!((method.queue_timeout, method.progress_timeout, method.output_timeout), (None, None, None));
    let command = &config.commands[0];
    assert_eq!((command.memory_limit, command.memory_high), (None, None));
    assert_eq!(command.output, WorkerOutput { log: true, burst: 100, per_second: 20 });
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(config.unknown_yet.is_empty());
    assert!(
        config
            .effective()
            .iter()
            .all(|each| { each.origin == ValueOrigin::Default || each.key == "pools.images.command" })
    );
}

#[test]
fn methods_inherit_from_their_pool_and_pools_keep_the_order_of_the_file() {
    let text = "
[pools.zebra]
command = [\"true\"]
env = { LANG = \"C\" }
current_dir = \"/\"
accept_any_method = true
[pools.zebra.defaults]
attempt_timeout = \"30s\"
deadline = \"1m\"
retry = { backoff = { first = \"1s\", jitter = \"none\", factor = 1 } }
[pools.zebra.methods.plain]
[pools.zebra.methods.own]
attempt_timeout = \"unlimited\"
deadline = \"10m\"
retry = \"never\"
[pools.ant]
command = [\"true\"]
on_disconnect = \"finish\"
on_panic = \"keep\"
methods = { ant = {} }
";
    let config = parse(text).unwrap();
    let names: Vec<_> = config.settings.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["zebra", "ant"]);
    let methods: Vec<_> =
        config.settings.methods.iter().map(|each| (each.name.as_str(), each.pool.0)).collect();
    assert_eq!(methods, [("plain", 0), ("own", 0), ("_other", 0), ("ant", 1)]);
    let [plain, own, other, ant] = &config.settings.methods[..] else { panic!("four methods") };
    assert_eq!(plain.attempt_timeout, Some(Duration::from_secs(30)));
    assert_eq!(
        (plain.attempt_timeout, plain.deadline, plain.retry),
        (other.attempt_timeout, other.deadline, other.retry)
    );
    let RetryPolicy::Retry { on, max_attempts, backoff } = plain.retry else { panic!("no retry") };
    assert_eq!((on, max_attempts.get()), (RetryOn::default(), 2));
    let expected =
        Backoff { first: Duration::from_secs(1), jitter: Jitter::None, factor: 1.0, ..Backoff::default() };
    assert_eq!(backoff, expected);
    assert_eq!((own.attempt_timeout, own.deadline), (None, Duration::from_secs(600)));
    assert_eq!((own.retry, ant.retry), (RetryPolicy::Never, RetryPolicy::Never));
    assert_eq!(config.settings.pools[1].on_disconnect, OnDisconnect::Finish);
    assert_eq!(config.settings.pools[1].on_panic, OnPanic::Keep);
    assert_eq!(config.commands[0].env, [("LANG".to_owned(), "C".to_owned())]);
    assert_eq!(config.commands[0].current_dir.as_deref(), Some(Path::new("/")));
}

#[test]
fn the_variables_of_workers_stay_secret() {
    let text = "[pools.p]\ncommand = [\"true\"]\nenv = { TOKEN = \"hunter2\" }\naccept_any_method = true\n";
    let config = parse(text).unwrap();
    assert_eq!(config.commands[0].env[0].1, "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_file_is_read_and_its_programs_are_found() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("lifeboat.toml");
    let env = || variables(&[("PATH", "/usr/bin:/bin")]);
    assert!(matches!(Config::load(&path, env()), Err(ConfigError::Read { .. })));

    let text = SMALL.replace("true", "sh");
    std::fs::write(&path, &text).unwrap();
    let program = &Config::load(&path, env()).unwrap().commands[0].program;
    assert!(program.is_absolute() && program.ends_with("sh"), "{}", program.display());

    let missing = "current_dir = \"/no/such/directory\"\n[pools.images.methods.thumbnail]";
    let text =
        text.replace("\"sh\"", "\"no-such-program\"").replace("[pools.images.methods.thumbnail]", missing);
    std::fs::write(&path, text).unwrap();
    assert!(Config::read(&path, env()).is_ok());
    let message = Config::load(&path, env()).unwrap_err().to_string();
    assert!(
        message.contains("the program `no-such-program` of the pool `images` is not in PATH"),
        "{message}"
    );
    assert!(message.contains("lifeboat.toml:2:11\n"), "{message}");
    assert!(
        message.contains("the directory `/no/such/directory` of the pool `images` does not exist"),
        "{message}"
    );

    std::fs::write(&path, "#".repeat(5 << 20)).unwrap();
    assert!(matches!(Config::load(&path, env()), Err(ConfigError::TooLarge { .. })));
}

fn fragment() -> impl Strategy<Value = String> {
    const KEYS: &[&str] = &[
        "[broker]",
        "[pools.a]",
        "[pools.a.methods.b]",
        "[pools.a.defaults]",
        "http",
        "command",
        "workers",
        "retry",
        "on",
        "max",
        "min",
        "queue",
        "deadline",
        "env",
        "methods",
        "[[pools]]",
        "recycle.memory",
        "limits.memory",
        "heartbeat",
        "interval",
        "missed",
        "slots",
        "restart.window",
        "output.burst",
        "on_busy",
        "queue_timeout",
    ];
    const VALUES: &[&str] = &[
        "=",
        "\"10s\"",
        "\"1MiB\"",
        "\"unlimited\"",
        "\"off\"",
        "\"reject\"",
        "4096",
        "0",
        "-1",
        "99999999999999999999",
        "1e400",
        "nan",
        "true",
        "[\"true\"]",
        "{}",
        "{ max = 3 }",
        "1979-05-27",
        "\"",
        ",",
        "\n",
        "\r\n",
        "#",
        "\u{feff}",
        "é",
    ];
    prop_oneof![prop::sample::select(KEYS), prop::sample::select(VALUES)].prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(fragment(), 0..40)) {
        let text = pieces.join(" ");
        if let Err(error) = parse(&text) {
            prop_assert!(!error.problems().is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_damaged_example_never_panics(at in 0..EXAMPLE.len(), with in "[a-z0-9\\[\\]{}=\". \n]{0,4}", cut in 0..6_usize) {
        let end = (at + cut).min(EXAMPLE.len());
        let text = format!("{}{with}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn arbitrary_variables_never_panic(name in "[A-Z_a-z0-9éİ]{0,30}", value in any::<String>()) {
        let name = format!("LIFEBOAT__{name}");
        if let Err(error) = parse_with(EXAMPLE, &[(&name, &value)]) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
