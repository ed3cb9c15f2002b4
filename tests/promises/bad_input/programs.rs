//! Programs that are no workers: each says why it is none, and the pool beside them serves on.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use lifeboat_client::{CallError, TimeoutWhich};
use lifeboat_tests::harness::{Broker, LIMIT, Room, Turn, eventually};

use crate::common::plain;
use crate::scene::{Scene, says};

/// A deadline of calls that nobody can answer.
const DEADLINE: Duration = Duration::from_millis(300);

/// A program that is no worker, and what the log says of it.
struct NoWorker {
    command: Vec<String>,
    words: &'static [&'static str],
}

impl NoWorker {
    fn new(command: &[&str], words: &'static [&'static str]) -> Self {
        Self { command: command.iter().map(|word| (*word).to_owned()).collect(), words }
    }

    fn shell(line: &str, words: &'static [&'static str]) -> Self {
        Self::new(&["sh", "-c", line], words)
    }
}

/// A file that may be executed and cannot be.
fn script(room: &Room, name: &str, text: &str) -> String {
    let file = room.path().join(name);
    fs::write(&file, text).expect("the room can be written to");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is ours");
    file.to_str().expect("temporary paths are UTF-8").to_owned()
}

fn no_workers(room: &Room) -> Vec<NoWorker> {
    let lost = script(room, "lost", "#!/no/such/interpreter\n");
    vec![
        NoWorker::new(&["true"], &["exit code 0"]),
        NoWorker::new(&["false"], &["exit code 1"]),
        NoWorker::new(&["cat"], &["exit code 0"]),
        NoWorker::new(&["sleep", "1000"], &["not ready within start_timeout"]),
        NoWorker::new(&["yes"], &["not ready within start_timeout"]),
        NoWorker::shell("echo hello >&3; sleep 1000", &["a frame of 1751477356 bytes", "longer than"]),
        NoWorker::shell("printf '\\0\\0\\0\\0' >&3; sleep 1000", &["a frame of length 0", "does not speak"]),
        NoWorker::shell("printf '\\0\\0\\0\\5hello' >&3; sleep 1000", &["malformed header"]),
        NoWorker::shell("exec 3>&-; sleep 1000", &["it closed its connection before it was ready"]),
        NoWorker::shell("echo no licence >&2; exit 7", &["exit code 7", "no licence"]),
        NoWorker::shell("kill -SEGV $$", &["signal SIGSEGV"]),
        NoWorker::new(&[&lost], &["the interpreter or loader that it names does not exist"]),
    ]
}

#[tokio::test]
async fn programs_that_are_no_workers() {
    let _turn = Turn::shared();
    let room = Room::new();
    let bad = no_workers(&room);
    let mut text = plain();
    for (number, NoWorker { command, .. }) in bad.iter().enumerate() {
        write!(
            text,
            r#"
[pools.bad-{number}]
command = {command:?}
start_timeout = "300ms"
restart = {{ initial = "10ms", max = "50ms", max_restarts = "unlimited" }}
[pools.bad-{number}.methods.bad-{number}]
"#
        )
        .expect("a text takes any text");
    }
    let scene = Scene::of(Broker::start(text).await).await;
    for (number, NoWorker { command, words }) in bad.iter().enumerate() {
        let (pool, worker) = (format!("bad-{number}"), format!("worker=\"bad-{number}-0\""));
        let labels = [("pool", pool.as_str()), ("reason", "start_failed")];
        eventually(LIMIT, &format!("{command:?} was started more than once"), async || {
            scene.broker.metrics().await.count("worker_crashes_total", &labels) >= 2
        })
        .await;
        let log = scene.broker.log();
        let line = log.lines().find(|line| line.contains("worker crashed") && line.contains(&worker));
        let line = line.unwrap_or_else(|| panic!("{command:?}: no line about it:\n{log}"));
        says(line, &["start_failed"]);
        says(line, words);
        let call = scene.client.request_raw(pool.clone(), Vec::new()).timeout(DEADLINE).await;
        let error = call.expect_err("nobody can answer");
        let unserved =
            matches!(error, CallError::TimedOut { which: TimeoutWhich::Deadline, unanswered: false, .. });
        assert!(unserved && !error.may_have_executed(), "{command:?}: {error:?}");
    }
    let page = scene.broker.page("/readyz").await.expect("/readyz answers");
    assert_eq!(page.status, 503, "pools that cannot serve are not ready: {}", page.body);
    scene.undisturbed_beside(&["start_failed"]).await;
}
