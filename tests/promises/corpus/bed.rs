//! Where the deaths are made: a broker with cgroups and many pools, and one without cgroups.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_client::Client;
use lifeboat_tests::harness::{Broker, Room, Start, misbehave};
use rustix::process::{Resource, getrlimit};

use crate::common::has_cgroups;

/// A broker, and what is needed to make deaths in it.
pub(super) struct Bed {
    pub(super) broker: Broker,
    pub(super) client: Client,
}

/// A pool: its name, the kind of its workers, how many there are, and lines of its own.
type Pool = (&'static str, &'static str, usize, &'static str);

const MEMORY: &str = r#"limits = { memory = "96MiB" }"#;

/// Pools whose workers serve until something is done to them.
const SERVING: [Pool; 13] = [
    ("sdk", "sdk-for", 3, r#"heartbeat = { interval = "300ms", missed = 5 }"#),
    ("raw", "raw-for", 3, ""),
    ("wide", "sdk-for", 1, "slots = 2"),
    ("idle", "sdk-for", 1, ""),
    ("memory", "sdk-for", 2, MEMORY),
    ("child", "sdk-for", 1, MEMORY),
    ("cpu", "sdk-for", 1, r#"limits = { cpu_time = "1s" }"#),
    ("file", "sdk-for", 1, r#"limits = { file_size = "1MiB" }"#),
    ("core", "sdk-for", 1, r#"limits = { core_size = "unlimited" }"#),
    ("cancel", "sdk-for", 1, ""),
    ("deaf", "raw-for", 1, ""),
    ("planned", "sdk-for", 1, ""),
    ("recycled", "sdk-for", 1, "recycle = { requests = 2 }"),
];

/// Pools whose workers never get ready.
const FAILING: [Pool; 5] = [
    ("start-exit", "fail-start", 1, ""),
    ("start-late", "never-ready", 1, r#"start_timeout = "100ms""#),
    ("start-hello", "bad-hello", 1, ""),
    ("start-memory", "hog", 1, MEMORY),
    ("start-signal", "", 1, ""),
];

/// How processes come back that serve, and those that do not: the latter some times, and then no more.
const AGAIN: &str = r#"restart = { initial = "1ms", max = "10ms", max_restarts = "unlimited" }"#;
const A_FEW_TIMES: &str = r#"restart = { initial = "1ms", max = "1h", max_restarts = 3, window = "1h" }"#;

/// More than the system takes of one variable of an environment.
const TOO_MUCH: usize = 200_000;

/// The program of the pool `vanished`, which is there until it is removed.
pub(super) const VANISHING: &str = "vanishing";

/// How many workers a pool has.
pub(super) fn workers(pool: &str) -> usize {
    SERVING.iter().find(|(name, ..)| *name == pool).map_or(1, |(.., workers, _)| *workers)
}

fn pool(name: &str, command: &str, workers: usize, keys: &str) -> String {
    format!(
        "[pools.{name}]\ncommand = {command}\nworkers = {workers}\ncancel_grace = \"50ms\"\nstop_grace = \"50ms\"\n\
         output = {{ log = false }}\n{keys}\n[pools.{name}.methods.{name}]\ndeadline = \"60s\"\n"
    )
}

fn command(name: &str, kind: &str) -> String {
    match kind {
        "" => r#"["sh", "-c", "kill -SEGV $$"]"#.to_owned(),
        "bad-hello" => format!("{:?}", ["misbehave", kind, "version"]),
        _ => format!("{:?}", ["misbehave", kind, name]),
    }
}

fn config(room: &Path) -> String {
    let mut pools = String::new();
    for (name, kind, workers, keys) in SERVING {
        // What is dumped goes with the room.
        let place = if name == "core" { format!("current_dir = {room:?}\n") } else { String::new() };
        pools.push_str(&pool(name, &command(name, kind), workers, &format!("{place}{AGAIN}\n{keys}")));
    }
    for (name, kind, workers, keys) in FAILING {
        pools.push_str(&pool(name, &command(name, kind), workers, &format!("{A_FEW_TIMES}\n{keys}")));
    }
    let heedless = format!("trap '' XCPU; exec '{}' sdk-for cpu-heedless", misbehave().display());
    let heedless = format!("{:?}", ["sh", "-c", &heedless]);
    pools.push_str(&pool(
        "cpu-heedless",
        &heedless,
        1,
        &format!("{AGAIN}\nlimits = {{ cpu_time = \"1s\" }}"),
    ));
    let crowded = format!("{A_FEW_TIMES}\nenv = {{ CROWD = {:?} }}", "x".repeat(TOO_MUCH));
    pools.push_str(&pool("crowded", &command("crowded", "sdk-for"), 1, &crowded));
    let vanishing = format!("[{:?}]", room.join(VANISHING));
    pools.push_str(&pool("vanished", &vanishing, 1, A_FEW_TIMES));
    pools
}

impl Bed {
    /// With cgroups, if they can be had.
    pub(super) async fn made() -> Self {
        let room = Arc::new(Room::new());
        let program = room.path().join(VANISHING);
        let script = format!("#!/bin/sh\nexec '{}' sdk-for vanished\n", misbehave().display());
        fs::write(&program, script).expect("the room can be written to");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self::of(Start::new(config(room.path())).in_room(&room).start().await).await
    }

    /// Without any.
    pub(super) async fn bare() -> Self {
        let pool = pool("bare", r#"["misbehave", "sdk-for", "bare"]"#, 1, &format!("{AGAIN}\n{MEMORY}"));
        Self::of(Broker::start(format!("broker.cgroups = \"off\"\n{pool}")).await).await
    }

    async fn of(broker: Broker) -> Self {
        let client = broker.client().await;
        Self { broker, client }
    }

    /// Where a test may put a file.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.broker.room().path().join(name)
    }

    /// Whether a death can be made here that takes this.
    pub(super) fn has(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Cgroups => has_cgroups(&self.broker),
            Needs::Cores => {
                let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
                let hard = getrlimit(Resource::Core).maximum;
                !pattern.starts_with(['|', '/', '\n']) && !pattern.is_empty() && hard.is_none()
            }
        }
    }
}

/// What the system must give for a death to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// Cgroups of its own.
    Cgroups,
    /// Cores that are dumped where the process runs.
    Cores,
}
