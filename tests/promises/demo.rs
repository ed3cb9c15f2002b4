//! `lifeboat demo`: the account balances, and nothing of it is left, whatever becomes of it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lifeboat_tests::harness::{LIMIT, MARK_VARIABLE, Mark, Turn, broker_program, eventually};
use serde_json::Value;
use tempfile::TempDir;

/// Kills what is left if the test fails.
struct Demo {
    mark: Mark,
    /// Where it puts its own directory.
    temporary: TempDir,
}

impl Demo {
    fn new() -> Self {
        Self { mark: Mark::unique(), temporary: tempfile::tempdir().expect("a temporary directory") }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(broker_program());
        command.arg("demo").args(args).stdin(Stdio::null());
        command.env(MARK_VARIABLE, self.mark.value()).env("TMPDIR", self.temporary.path());
        command
    }

    /// The files that it has left.
    fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.temporary.path()).expect("the directory is there");
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the demo can be started")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.mark.kill_all(Duration::from_secs(5));
    }
}

#[tokio::test]
async fn the_account_balances() {
    let _turn = Turn::shared();
    let demo = Demo::new();
    let output = demo.run(&["--seconds", "8", "--json"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let account: Value = serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{error}: {out}"));
    println!("{account}");
    assert_eq!(account["balanced"], true, "{account}");
    for zero in ["lost", "answered_twice", "unmatched"] {
        assert_eq!(account[zero], 0, "{zero}: {account}");
    }
    assert_eq!(account["discrepancies"].as_array().map(Vec::len), Some(0), "{account}");
    let counts = |name: &str| -> Vec<u64> {
        let all = account[name].as_object().unwrap_or_else(|| panic!("{name}: {account}"));
        all.values().filter_map(Value::as_u64).collect()
    };
    assert!(counts("deaths").len() >= 8, "at least eight reasons: {account}");
    assert!(counts("deaths").iter().sum::<u64>() >= 20, "deaths by the dozen: {account}");
    assert_eq!(
        counts("outcomes").iter().sum::<u64>(),
        account["sent"].as_u64().expect("a number"),
        "{account}"
    );
    assert!(account["sent"].as_u64().is_some_and(|sent| sent > 1_000), "under load: {account}");
    eventually(Duration::from_secs(1), "nothing of the demo is left", async || demo.mark.alive().is_empty())
        .await;
}

#[tokio::test]
async fn bad_arguments() {
    let _turn = Turn::shared();
    let demo = Demo::new();
    for args in [
        &["--seconds", "0"][..],
        &["--seconds", "-1"],
        &["--seconds", "many"],
        &["--seconds", "NaN"],
        &["--clients", "0"],
        &["--workers", "0"],
        &["--nonsense"],
        &["surplus"],
    ] {
        let output = demo.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "errors go to stderr: {args:?}");
        assert!(!output.stderr.is_empty(), "an error says something: {args:?}");
    }
}

#[tokio::test]
async fn killed_half_way_it_leaves_nothing() {
    let _turn = Turn::shared();
    let demo = Demo::new();
    let mut child = demo
        .command(&["--seconds", "20", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // The demo itself, 4 clients and 4 workers.
    eventually(LIMIT, "the demo is under way", async || demo.mark.alive().len() >= 9).await;
    child.kill().expect("it lives");
    child.wait().expect("it is a child");
    eventually(Duration::from_secs(1), "no process of the demo is left", async || {
        demo.mark.alive().is_empty()
    })
    .await;
}

#[tokio::test]
async fn interrupted_it_leaves_nothing() {
    let _turn = Turn::shared();
    let demo = Demo::new();
    let mut child = demo
        .command(&["--seconds", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    eventually(LIMIT, "the demo is under way", async || demo.mark.alive().len() >= 9).await;
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it lives");
    eventually(Duration::from_secs(10), "it ends", async || {
        child.try_wait().is_ok_and(|status| status.is_some())
    })
    .await;
    eventually(Duration::from_secs(1), "no process of the demo is left", async || {
        demo.mark.alive().is_empty()
    })
    .await;
    assert!(demo.left().is_empty(), "files are left: {:?}", demo.left());
}
