//! What is kept of a crash: under one name everywhere, bounded, and after the broker's own death.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lifeboat_client::{CallError, Client, OperateError};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Room, Start, Turn, eventually};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::commands::lifeboat;
use crate::common::{config, echo, failing};
use crate::scene::{logs, says};

/// The configuration with the room's own place for reports.
pub(crate) fn kept_in(place: &Path, config: &str) -> String {
    format!("[broker]\nstate_dir = {:?}\n{config}", place.display().to_string())
}

/// Crashes a worker, and gives the name of its report as the caller is told it.
pub(crate) async fn crash(client: &Client, deed: Deed) -> String {
    let error = failing(client, deed).await;
    let CallError::WorkerCrashed { report_id, .. } = error else { panic!("no crash: {error:?}") };
    report_id.expect("a death has a report")
}

async fn page(broker: &Broker, path: &str) -> Value {
    let page = broker.page(path).await.expect("HTTP answers");
    assert_eq!(page.status, 200, "{path}: {}", page.body);
    serde_json::from_str(&page.body).expect("JSON")
}

pub(crate) fn file(state: &Path, id: &str) -> std::path::PathBuf {
    state.join("reports").join(format!("{id}.json"))
}

/// The names of the files.
fn files(state: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(state.join("reports")).expect("the folder is there");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) async fn written(state: &Path, id: &str) -> Value {
    let path = file(state, id);
    eventually(LIMIT, "the report has its file", async || path.exists()).await;
    serde_json::from_slice(&fs::read(path).expect("it can be read")).expect("JSON")
}

#[tokio::test]
async fn a_crash_has_one_report_wherever_one_asks() {
    let _turn = Turn::shared();
    let room = Room::new();
    let state = room.path().join("state");
    let broker = Broker::start(kept_in(&state, &config("sdk", 1, "", ""))).await;
    let client = broker.client().await;
    let id = crash(&client, Deed::Segfault).await;

    let from_file = written(&state, &id).await;
    assert_eq!(from_file["id"], id.as_str());
    assert_eq!(page(&broker, &format!("/api/v1/reports/{id}")).await, from_file);
    assert_eq!(lifeboat(&broker, &["report", &id, "--json"]).await.json(), from_file);
    let from_client = client.admin().report(&id).await.expect("it is kept");
    assert_eq!(serde_json::from_str::<Value>(&from_client).expect("JSON"), from_file);
    logs(&broker, &[&id]).await;
    let reason = &from_file["reason"];
    assert_eq!((reason["label"].as_str(), reason["signal"].as_i64()), (Some("signal"), Some(11)));
    assert_eq!(from_file["executing"][0]["method"], "act");
    assert!(from_file["executing"][0]["since"].as_u64() <= from_file["at"].as_u64());
    assert_eq!(from_file["recorder"]["slots"][0]["state"], "executing");
    assert_eq!(from_file["history"][0]["how"], "signal");

    let shown = lifeboat(&broker, &["report", &id]).await.done();
    says(
        &shown,
        &[&id, "p-0, life 1", "signal SIGSEGV", "act, attempt 1", "Flight recorder", "Lives of the"],
    );
    let listed = lifeboat(&broker, &["report", "--json"]).await.json();
    assert_eq!(listed["reports"][0]["report_id"], id.as_str());
    assert_eq!(page(&broker, "/api/v1/reports").await["reports"][0]["id"], id.as_str());
    says(&lifeboat(&broker, &["report"]).await.done(), &[&id, "p-0", "signal SIGSEGV", "act"]);
    for path in [state.join("reports"), file(&state, &id)] {
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    broker.stop();
}

#[tokio::test]
async fn a_report_that_is_not_kept_is_no_path() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    for name in ["nothing-1", "../../etc/passwd", "", "\u{1b}[2J"] {
        lifeboat(&broker, &["report", name]).await.not_done(1, &["no report is named", "lifeboat report"]);
        let error = client.admin().report(name).await.expect_err("there is none");
        assert!(matches!(error, OperateError::NotDone { .. }), "{error:?}");
    }
    for path in ["/api/v1/reports/nothing-1", "/api/v1/reports/../../etc/passwd", "/api/v1/reports/"] {
        assert_eq!(broker.page(path).await.expect("HTTP answers").status, 404, "{path}");
    }
    says(&lifeboat(&broker, &["report"]).await.done(), &["no crash is known"]);
    says(&lifeboat(&broker, &["report", "--grouped"]).await.done(), &["no crash is known"]);
    broker.stop();
}

#[tokio::test]
async fn reports_survive_the_brokers_own_death() {
    let _turn = Turn::shared();
    let state_room = Room::new();
    let state = state_room.path().join("state");
    let text = kept_in(&state, &config("sdk", 1, "", ""));
    let broker = Broker::start(text.as_str()).await;
    let client = broker.client().await;
    let ids = [crash(&client, Deed::Exit(3)).await, crash(&client, Deed::Exit(3)).await];
    let before = written(&state, &ids[1]).await;
    let room = broker.kill();
    fs::write(file(&state, "broken-1"), "{").expect("the folder can be written to");
    fs::write(state.join("reports/half-2.tmp"), "{").expect("the folder can be written to");

    let broker = Start::new(text).in_room(&room).start().await;
    logs(&broker, &["a file is no report"]).await;
    assert!(!file(&state, "broken-1").exists(), "what is broken is removed");
    assert!(!state.join("reports/half-2.tmp").exists(), "what was half written is removed");
    assert_eq!(lifeboat(&broker, &["report", &ids[1], "--json"]).await.json(), before);
    let client = broker.client().await;
    let third = crash(&client, Deed::Exit(3)).await;
    let grouped = lifeboat(&broker, &["report", "--grouped", "--json"]).await.json();
    assert_eq!(grouped["groups"].as_array().map(Vec::len), Some(1), "{grouped}");
    let group = &grouped["groups"][0];
    assert_eq!((group["count"].as_u64(), group["newest"].as_str()), (Some(3), Some(third.as_str())));
    let listed = lifeboat(&broker, &["report", "--json"]).await.json();
    let listed: Vec<_> =
        listed["reports"].as_array().expect("rows").iter().map(|row| &row["report_id"]).collect();
    assert_eq!(listed, [third.as_str(), ids[1].as_str(), ids[0].as_str()], "the newest first");
    says(&lifeboat(&broker, &["report", "--grouped"]).await.done(), &[&third, "exit (exit code 3) in act"]);
    broker.stop();
    assert!(file(&state, &third).exists(), "what came last is written before the end");
}

#[tokio::test]
async fn a_crash_loop_stays_bounded_and_keeps_the_rare_one() {
    let _turn = Turn::shared();
    let room = Room::new();
    let state = room.path().join("state");
    let broker = Broker::start(kept_in(&state, &config("sdk", 4, "", ""))).await;
    let client = broker.client().await;
    let rare = crash(&client, Deed::Abort).await;
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        callers.spawn(async move {
            for _ in 0..125 {
                crash(&client, Deed::Exit(3)).await;
            }
        });
    }
    callers.join_all().await;
    let reports = page(&broker, "/api/v1/reports").await;
    let reports = reports["reports"].as_array().expect("a list");
    assert_eq!(reports.len(), 256);
    assert_eq!(reports[0]["signature"]["count"], 1_000, "{}", reports[0]);
    assert_eq!(reports[255]["id"], rare.as_str(), "the rare one is there");
    written(&state, reports[0]["id"].as_str().expect("a name")).await;
    assert!(file(&state, &rare).exists());
    let grouped = lifeboat(&broker, &["report", "--grouped", "--json"]).await.json();
    let counts: Vec<_> =
        grouped["groups"].as_array().expect("groups").iter().map(|group| &group["count"]).collect();
    assert_eq!(counts, [1_000, 1]);
    broker.stop();
    assert!(files(&state).len() <= 257, "{} with the lock", files(&state).len());
}

/// A disk that cannot be written to: one that is full where that can be made, else one that is no directory.
#[tokio::test]
async fn a_full_disk_costs_the_files_alone() {
    let _turn = Turn::shared();
    let room = Room::new();
    let state = room.path().join("state");
    fs::create_dir(&state).expect("the room can be written to");
    let place = state.display().to_string();
    let tmpfs = format!(
        "mount -t tmpfs -o size=64k none '{place}' && dd if=/dev/zero of='{place}/full' bs=64k count=1 2>/dev/null; \
         exec \"$@\""
    );
    // Without the right to mount, the folder's name is taken by a file instead.
    let mounts = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
    let can_mount = mounts.is_ok_and(|status| status.success());
    let start = Start::new(kept_in(&state, &config("sdk", 1, "", "")));
    let start = if can_mount {
        start.by(["unshare", "--mount", "sh", "-c", &tmpfs, "sh"])
    } else {
        fs::write(state.join("reports"), "").expect("the room can be written to");
        start
    };
    let broker = start.start().await;
    let client = broker.client().await;
    let mut last = String::new();
    for tag in 0..20 {
        last = crash(&client, Deed::Exit(3)).await;
        echo(&client, tag).await;
    }
    let dropped = async || broker.metrics().await.count("reports_dropped_total", &[]);
    eventually(LIMIT, "every report is counted", async || dropped().await == 20).await;
    assert_eq!(lifeboat(&broker, &["report", &last, "--json"]).await.json()["id"], last.as_str());
    let (beginning, end) =
        (["a report cannot be written", "the folder of reports cannot"], "reports are written again");
    let said = |words: &[&str]| words.iter().map(|word| broker.log().matches(word).count()).sum::<usize>();
    assert_eq!((said(&beginning), said(&[end])), (1, 0), "once, not for each: {}", broker.log());

    // What takes the room goes; the broker may see another disk there than this test does.
    let there = Path::new("/proc").join(broker.pid().to_string()).join("root").join(&place[1..]);
    fs::remove_file(there.join(if can_mount { "full" } else { "reports" })).expect("it can be removed");
    last = crash(&client, Deed::Exit(3)).await;
    logs(&broker, &[end]).await;
    written(&there, &last).await;
    assert_eq!((said(&beginning), said(&[end]), dropped().await), (1, 1, 20), "{}", broker.log());
    broker.stop();
}

#[tokio::test]
async fn a_hang_that_is_killed_says_where_it_hung() {
    let _turn = Turn::shared();
    let graces = "cancel_grace = \"0s\"\nstop_grace = \"0s\"";
    let broker = Broker::start(config("sdk", 1, graces, "")).await;
    let client = broker.client().await;
    let hung = client.request(Act::new(Deed::Hang)).timeout(Duration::from_millis(300)).await;
    hung.expect_err("it is killed at its deadline");
    let rows = client.admin().reports(10).await.expect("it is told").reports;
    let [row] = &rows[..] else { panic!("one death: {rows:?}") };
    assert_eq!((row.reason.as_str(), row.methods.as_slice()), ("deadline", &["act".to_owned()][..]));
    let report = page(&broker, &format!("/api/v1/reports/{}", row.report_id)).await;
    let snapshot = &report["snapshot"];
    let doing = snapshot["doing"].as_str().expect("it was looked at");
    assert!(doing.starts_with("main thread "), "{doing}");
    let states: Vec<_> =
        snapshot["threads"].as_array().expect("threads").iter().map(|thread| &thread["state"]).collect();
    assert!(states.iter().any(|state| *state == "sleeping" || *state == "running"), "{states:?}");
    assert_eq!(report["evidence"]["intent"]["what"], "deadline");
    assert!(report["evidence"]["rungs"]["killedAt"].is_u64(), "{report}");
    logs(&broker, &[&format!("doing={doing:?}")]).await;
    says(
        &lifeboat(&broker, &["report", &row.report_id]).await.done(),
        &["Before the kill", doing, "SIGKILL"],
    );
    broker.stop();
}

#[tokio::test]
async fn requests_that_failed_are_remembered_with_their_report() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("sdk", 1, "", "retry = { max_attempts = 2 }")).await;
    let client = broker.client().await;
    says(&lifeboat(&broker, &["requests", "--failed"]).await.done(), &["ended ok"]);
    echo(&client, 1).await;
    failing(&client, Deed::Fail { retryable: false }).await;
    let id = crash(&client, Deed::Exit(3)).await;
    lifeboat(&broker, &["call", "nothing"]).await.not_done(1, &["unknown_method"]);
    let failed = lifeboat(&broker, &["requests", "--failed", "--json"]).await.json();
    let rows = failed["failed_requests"].as_array().expect("rows");
    let outcomes: Vec<_> = rows.iter().map(|row| row["outcome"].as_str().expect("a label")).collect();
    assert_eq!(outcomes, ["rejected", "crashed", "failed"], "the newest first, and no `ok`");
    assert_eq!(rows[0]["why"], "unknown_method");
    let crashed = &rows[1];
    assert_eq!(
        (crashed["reason"].as_str(), crashed["report_id"].as_str()),
        (Some("exit"), Some(id.as_str()))
    );
    assert_eq!((crashed["attempts"].as_u64(), crashed["method"].as_str()), (Some(2), Some("act")));
    let shown = lifeboat(&broker, &["requests", "--failed", "-n", "2"]).await.done();
    says(&shown, &["rejected (unknown_method)", &id, "there are more"]);
    broker.stop();
}

/// What a process writes at its end is bytes of its choice: nothing of it drives a terminal or leaves its place in JSON.
#[tokio::test]
async fn last_words_are_only_words() {
    let _turn = Turn::shared();
    let words = r#"printf '\033[2J\033]0;pwned\007\302\233 "quoted", \\ </script> \000\377 \342\200\256 end\n' >&2; exit 3"#;
    let pool = format!(
        "[pools.p]\ncommand = [\"sh\", \"-c\", {words:?}]\nrestart = {{ initial = \"1s\", max = \"1s\" }}\nmethods.m = {{}}\n"
    );
    let room = Room::new();
    let state = room.path().join("state");
    let broker = Broker::start(kept_in(&state, &pool)).await;
    let client = broker.client().await;
    let mut rows = Vec::new();
    eventually(LIMIT, "it has crashed", async || {
        rows = client.admin().reports(10).await.expect("it is told").reports;
        !rows.is_empty()
    })
    .await;
    let id = &rows[rows.len() - 1].report_id;
    let report = written(&state, id).await;
    let said = report["stderr"].as_str().expect("a text");
    assert!(said.starts_with("\u{1b}[2J") && said.ends_with("end\n"), "as it was: {said:?}");
    let whole = [
        fs::read_to_string(file(&state, id)).expect("text"),
        broker.page(&format!("/api/v1/reports/{id}")).await.expect("HTTP answers").body,
        lifeboat(&broker, &["report", id, "--json"]).await.done(),
        lifeboat(&broker, &["report", id]).await.done(),
    ];
    let lists = [
        lifeboat(&broker, &["report"]).await.done(),
        lifeboat(&broker, &["report", "--grouped"]).await.done(),
        broker.page("/api/v1/reports").await.expect("HTTP answers").body,
    ];
    assert!(whole.iter().all(|text| text.contains("pwned")), "{whole:?}");
    for text in whole.iter().chain(&lists) {
        let acts = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(acts), "{text:?}");
    }
    broker.stop();
}
