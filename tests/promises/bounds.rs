//! What a pool's `limits` bound for each of its processes, and what those inherit.

use std::collections::BTreeMap;
use std::fs;

use lifeboat_tests::harness::{Broker, Turn};
use rustix::process::Signal;
use serde_json::json;

use crate::calls::signal;
use crate::common::{config, crashes, echo, has_cgroups};

/// A file of `/proc` about a process.
fn proc(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it lives")
}

/// The soft and the hard limit of that name.
fn limit(pid: u32, name: &str) -> [String; 2] {
    let text = proc(pid, "limits");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("always there");
    let mut columns = line.split_ascii_whitespace().map(String::from);
    [(); 2].map(|()| columns.next().expect("two limits"))
}

/// How much it yields to others.
fn niceness(pid: u32) -> i32 {
    let stat = proc(pid, "stat");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    fields
        .split_ascii_whitespace()
        .nth(16)
        .and_then(|field| field.parse().ok())
        .expect("it is the 19th field")
}

#[tokio::test]
async fn each_process_is_bounded_as_configured() {
    let _turn = Turn::shared();
    let keys =
        r#"limits = { open_files = 64, cpu_time = "1h", file_size = "1GiB", core_size = "4KiB", nice = 5 }"#;
    let broker = Broker::start(config("sdk", 1, keys, "")).await;
    let client = broker.client().await;
    let first = echo(&client, 1).await.pid;
    signal(first, Signal::KILL);
    crashes(&broker, "killed_from_outside", 1).await;
    // The next process is no freer than the first.
    let pid = echo(&client, 2).await.pid;
    assert_ne!(pid, first);
    assert_eq!(limit(pid, "Max open files"), ["64", "64"]);
    assert_eq!(limit(pid, "Max cpu time"), ["3600", "3601"]);
    assert_eq!(limit(pid, "Max file size"), ["1073741824", "1073741824"]);
    let [soft, hard] = limit(pid, "Max core file size");
    assert!(soft == hard && ["0", "4096"].contains(&&*soft), "{soft}, unless the system allows none at all");
    assert_eq!(niceness(pid), (niceness(broker.pid()) + 5).min(19));
    let shown = json!({
        "memory": null, "memoryBy": null, "processes": null, "openFiles": 64, "cpuTime": 3_600_000,
        "fileSize": 1_u64 << 30, "coreSize": 4096, "nice": 5, "inheritEnv": null, "currentDir": null,
    });
    assert_eq!(broker.health().await["workers"]["p-0"]["limits"], shown);
    broker.stop();
}

#[tokio::test]
async fn without_limits_nothing_but_core_dumps_is_bounded() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let pid = echo(&broker.client().await, 1).await.pid;
    for name in ["Max cpu time", "Max file size"] {
        assert_eq!(limit(pid, name), limit(broker.pid(), name), "{name}");
    }
    assert!(["0", "1"].contains(&&*limit(pid, "Max core file size")[1]));
    assert_eq!(niceness(pid), niceness(broker.pid()));
    broker.stop();
}

/// Where they are and where they are not, health says which limits are in force; where they must be, the broker starts with
/// them or not at all.
#[tokio::test]
async fn limits_of_a_whole_tree_take_cgroups() {
    let _turn = Turn::shared();
    let pool = config("sdk", 1, r#"limits = { memory = "1GiB", processes = 200 }"#, "");
    let limits = async |cgroups: &str| {
        let broker = Broker::start(format!("broker.cgroups = \"{cgroups}\"\n{pool}")).await;
        echo(&broker.client().await, 1).await;
        let limits = broker.health().await["workers"]["p-0"]["limits"].clone();
        let told = broker.log().contains("`limits.processes` is not in force");
        let has = cgroups != "off" && has_cgroups(&broker);
        broker.stop();
        (limits["memoryBy"].clone(), limits["processes"].clone(), told, has)
    };
    assert_eq!(limits("off").await, (json!("sampling"), json!(null), true, false));
    if limits("auto").await.3 {
        assert_eq!(limits("required").await, (json!("cgroup"), json!(200), false, true));
    }
}

#[tokio::test]
async fn a_process_inherits_the_variables_that_its_pool_names() {
    let _turn = Turn::shared();
    let keys = "inherit_env = [\"PATH\", \"NOT_THERE\"]\nenv.OWN = \"mine\"";
    let broker = Broker::start(config("sdk", 1, keys, "")).await;
    let pid = echo(&broker.client().await, 1).await.pid;
    let environ = proc(pid, "environ");
    let variables: BTreeMap<_, _> =
        environ.split_terminator('\0').filter_map(|pair| pair.split_once('=')).collect();
    let (brokers, others): (Vec<_>, Vec<_>) =
        variables.keys().partition(|name| name.starts_with("LIFEBOAT_"));
    assert_eq!(others, [&"OWN", &"PATH"]);
    for name in
        ["LIFEBOAT_BROKER", "LIFEBOAT_FD", "LIFEBOAT_INCARNATION", "LIFEBOAT_SOCKET", "LIFEBOAT_WORKER"]
    {
        assert!(brokers.contains(&&name), "{name} is told to every worker: {brokers:?}");
    }
    broker.stop();
}
