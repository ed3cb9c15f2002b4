//! What the keys of a pool mean to the core and to the process room.

use std::num::NonZeroU32;
use std::time::Duration;

use lifeboat_core::settings::{MethodSettings, OnBusy, PoolSettings};

use super::super::{WorkerCommand, WorkerLimits, WorkerOutput};
use super::parse;

/// What comes of a pool with these lines and of its only method with those.
fn read(pool: &str, method: &str) -> (PoolSettings, MethodSettings, WorkerCommand) {
    let text = format!("[pools.p]\ncommand = [\"true\"]\n{pool}\n[pools.p.methods.m]\n{method}\n");
    let mut config = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.unknown_yet.is_empty(), "{:?}", config.unknown_yet);
    (config.settings.pools.remove(0), config.settings.methods.remove(0), config.commands.remove(0))
}

fn pool(lines: &str) -> PoolSettings {
    read(lines, "").0
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn slots_and_what_they_hold() {
    let pool = pool("slots = 256\nprefetch = 16\non_busy = \"reject\"");
    assert_eq!((pool.slots.get(), pool.prefetch.get(), pool.on_busy), (256, 16, OnBusy::Reject));
}

#[test]
fn heartbeats_are_on_unless_they_are_off() {
    let beat = |lines| pool(lines).heartbeat.map(|beat| (beat.interval, beat.missed.get()));
    assert_eq!(beat(""), Some((secs(2), 3)));
    assert_eq!(beat("heartbeat = \"on\""), Some((secs(2), 3)));
    assert_eq!(beat("heartbeat = \"off\""), None);
    assert_eq!(beat("heartbeat = {}"), Some((secs(2), 3)));
    assert_eq!(beat("heartbeat = { interval = \"10ms\" }"), Some((Duration::from_millis(10), 3)));
    assert_eq!(beat("heartbeat = { missed = 1000 }"), Some((secs(2), 1000)));
}

#[test]
fn how_many_deaths_trip_a_pool() {
    let trips = |lines| pool(lines).restart.max_restarts.map(NonZeroU32::get);
    assert_eq!(trips(""), Some(20));
    assert_eq!(trips("workers = 4096"), Some(20));
    assert_eq!(trips("restart = { max_restarts = 3 }"), Some(3));
    assert_eq!(trips("restart = { max_restarts = \"unlimited\" }"), None);
    assert_eq!(pool("restart = { window = \"5s\", max_restarts = 5 }").restart.window, secs(5));
}

#[test]
fn what_replaces_a_healthy_process() {
    let lines = "limits = { memory = \"2GiB\" }\n\
                 recycle = { requests = 4294967295, age = \"365days\", idle = \"1h\", memory = \"1GiB\" }";
    let (pool, _, command) = read(lines, "");
    assert_eq!(pool.recycle.requests, Some(NonZeroU32::MAX));
    assert_eq!(pool.recycle.age, Some(Duration::from_hours(365 * 24)));
    assert_eq!(pool.recycle.idle, Some(secs(3600)));
    assert_eq!((command.memory_limit, command.memory_high), (Some(2 << 30), Some(1 << 30)));

    let (_, _, command) = read("recycle = { memory = \"1GiB\" }", "");
    assert_eq!((command.memory_limit, command.memory_high), (None, Some(1 << 30)));
}

#[test]
fn what_the_kernel_bounds() {
    let limits = |lines: &str| read(&format!("limits = {{ {lines} }}"), "").2.limits;
    assert_eq!(limits(""), WorkerLimits::default());
    let all = "processes = 64, open_files = 64, cpu_time = \"1m\", file_size = \"1GiB\", core_size = \"4KiB\", nice = 19";
    let expected = WorkerLimits {
        processes: Some(64),
        open_files: Some(64),
        cpu_time: Some(secs(60)),
        file_size: Some(1 << 30),
        core_size: Some(4096),
        nice: 19,
    };
    assert_eq!(limits(all), expected);
    assert_eq!(limits("core_size = \"unlimited\"").core_size, None);
    assert_eq!(limits("core_size = \"none\", open_files = \"unlimited\""), WorkerLimits::default());
}

#[test]
fn a_limit_that_takes_cgroups_warns_where_there_are_none() {
    let warnings = |cgroups: &str| {
        let text = format!(
            "[broker]\ncgroups = \"{cgroups}\"\n[pools.p]\ncommand = [\"true\"]\nmethods.m = {{}}\nlimits.processes = 9\n"
        );
        let config = parse(&text).unwrap();
        config.warnings.into_iter().map(|warning| warning.message).collect::<Vec<_>>()
    };
    assert!(warnings("auto").is_empty() && warnings("required").is_empty());
    assert_eq!(
        warnings("off"),
        ["`pools.p.limits.processes` has no effect, because `broker.cgroups` is off"]
    );
}

#[test]
fn what_is_inherited() {
    assert_eq!(read("", "").2.inherit_env, None);
    assert_eq!(read("inherit_env = \"all\"", "").2.inherit_env, None);
    assert_eq!(read("inherit_env = []", "").2.inherit_env, Some(Vec::new()));
    let names = read("inherit_env = [\"PATH\", \"LANG\"]", "").2.inherit_env.unwrap();
    assert_eq!(names, ["PATH", "LANG"]);
}

#[test]
fn what_becomes_of_output() {
    let output = |lines| read(lines, "").2.output;
    assert_eq!(output("output = {}"), WorkerOutput::default());
    assert_eq!(output("output = { log = false }"), WorkerOutput { log: false, ..WorkerOutput::default() });
    let lines = "output = { burst = 10000, per_second = 1 }";
    assert_eq!(output(lines), WorkerOutput { log: true, burst: 10_000, per_second: 1 });
}

#[test]
fn limits_of_methods_are_their_own_or_their_pools() {
    let limits = |method: &MethodSettings| {
        [method.queue_timeout, method.attempt_timeout, method.progress_timeout, method.output_timeout]
    };
    let lines = "queue_timeout = \"4m\"\nattempt_timeout = \"30s\"\nprogress_timeout = \"29s\"\n\
                 output_timeout = \"20ms\"";
    let all = [Some(secs(240)), Some(secs(30)), Some(secs(29)), Some(Duration::from_millis(20))];
    assert_eq!(limits(&read("", lines).1), all);

    let inherited = format!("[pools.p.defaults]\n{lines}");
    assert_eq!(limits(&read(&inherited, "").1), all);
    let own = "queue_timeout = \"unlimited\"\nattempt_timeout = \"1m\"\noutput_timeout = \"unlimited\"";
    assert_eq!(limits(&read(&inherited, own).1), [None, Some(secs(60)), Some(secs(29)), None]);
}
