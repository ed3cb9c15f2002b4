//! `lifeboat dev`: one command, no configuration, and a worker that changes while it is written.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lifeboat_client::{Client, Value, encode_body};
use lifeboat_tests::act::{Act, Acted, Deed, MIRROR, Wait};
use lifeboat_tests::harness::{
    LIMIT, MARK_VARIABLE, Room, Turn, broker_program, eventually, misbehave, run_lifeboat, until_some,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::scene::says;

/// Ctrl-C ends it within this, whatever runs: far less than the drain of `serve` lasts.
const SOON: Duration = Duration::from_secs(10);

/// `lifeboat dev` around a script, which is rewritten as a program is.
struct Dev {
    room: Room,
    child: Child,
    out: BufReader<ChildStdout>,
    /// What it has logged so far.
    log: Arc<Mutex<String>>,
}

/// Writes a script in the place of the one before, as a linker does: a new file under the old name.
fn write(room: &Room, script: &str) -> PathBuf {
    let (file, new) = (room.path().join("worker.sh"), room.path().join("worker.new"));
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("the room can be written to");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("its owner may");
    fs::rename(&new, &file).expect("the same directory");
    file
}

fn serving(kind: &str) -> String {
    format!("exec {} {kind}", misbehave().display())
}

/// Keeps what is written, as it comes.
fn keep(mut from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let kept = Arc::new(Mutex::new(String::new()));
    let keeping = Arc::clone(&kept);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            keeping.lock().expect("no panic").push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    });
    kept
}

impl Dev {
    /// With a private socket below the room.
    fn start(script: &str) -> Self {
        let room = Room::new();
        write(&room, script);
        let mut command = Command::new(broker_program());
        command.args(["dev", "./worker.sh"]).current_dir(room.path());
        command.env(MARK_VARIABLE, room.mark().value()).env("XDG_RUNTIME_DIR", room.seat());
        command.env_remove("LIFEBOAT_LOG").env_remove("RUST_LOG").env_remove("LIFEBOAT_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let log = keep(child.stderr.take().expect("it is piped"));
        Self { room, child, out, log }
    }

    /// What is printed up to a line that holds this.
    fn prints(&mut self, word: &str) -> String {
        let mut text = String::new();
        while !text.contains(word) {
            let read = self.out.read_line(&mut text).expect("text");
            assert!(read > 0, "it ended before it said {word:?}: {text}");
        }
        text
    }

    fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    async fn logs(&self, words: &str) {
        eventually(LIMIT, words, async || self.log().contains(words)).await;
    }

    async fn client(&self) -> Client {
        let socket = until_some(LIMIT, "it serves", async || {
            let home = self.room.left_in_seat().pop()?;
            Some(self.room.seat().join(home).join("broker.sock")).filter(|socket| socket.exists())
        });
        Client::connect(socket.await).await.expect("it takes clients")
    }

    /// SIGINT, as a terminal sends it. It ends soon, in order, and nothing is left. Gives the log.
    async fn interrupt(mut self) -> String {
        let began = Instant::now();
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::INT).expect("it lives");
        let status = until_some(LIMIT, "it ends", async || self.child.try_wait().expect("a child")).await;
        assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
        eventually(LIMIT, "no process is left", async || self.room.mark().alive().is_empty()).await;
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(self.room.left_in_seat().is_empty(), "left: {:?}", self.room.left_in_seat());
        assert!(!log.contains("ERROR"), "{log}");
        log
    }
}

async fn echo(client: &Client) -> Acted {
    client.request(Act::echo(1)).timeout(LIMIT).await.expect("it serves").into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_served_shown_and_restarted_when_it_changes() {
    let _turn = Turn::shared();
    let mut dev = Dev::start(&serving("sdk"));
    says(&dev.prints("in the place of"), &["It serves act, wait", " act '\"hello\"'", "request_raw(\"act\""]);
    let client = dev.client().await;
    let before = echo(&client).await;

    // A crash is told in a line, and the next process serves.
    client.call(Act::new(Deed::Exit(3))).await.expect_err("it dies");
    let second = echo(&client).await;
    assert_eq!(second.incarnation, before.incarnation + 1);
    dev.logs("lifeboat: WARN dev-0 died while it executed a request: exit code 3\n").await;

    // The program changes: its methods are shown anew.
    write(&dev.room, &serving("mirror"));
    let told = dev.prints("in the place of");
    says(&told, &["the worker is ready. It serves mirror"]);
    // The lines for a shell and for Rust work as they are.
    let line = told.lines().find(|line| line.contains(" mirror '\"hello\"'")).expect("a line for a shell");
    let pasted = Command::new("sh").args(["-c", line]).output().expect("there is a shell");
    assert_eq!(String::from_utf8_lossy(&pasted.stdout), "\"hello\"\n", "{line}: {pasted:?}");
    says(&told, &["let reply = boat.request_raw(\"mirror\", encode_body(&\"hello\")?).await?;"]);
    let reply = client.request_raw(MIRROR, encode_body(&"hello").expect("a text")).await.expect("it serves");
    assert_eq!(reply.decode::<Value>().expect("a value"), Value::from("hello"));

    says(&dev.interrupt().await, &["worker.sh has changed: starting the next process"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_work_says_why_until_it_does() {
    let _turn = Turn::shared();
    let mut dev = Dev::start("echo 'no such model' >&2; exit 5");
    dev.logs("dev-0 did not start: exit code 5\n").await;
    dev.logs("at once when its file has changed\n").await;
    write(&dev.room, &serving("sdk"));
    says(&dev.prints("in the place of"), &["It serves act, wait"]);
    dev.logs("worker.sh has changed").await;
    echo(&dev.client().await).await;

    // A change that does not work leaves the process before it serving.
    write(&dev.room, "exit 0");
    dev.logs("dev-0 did not start: exit code 0; is it a Lifeboat worker?").await;
    echo(&dev.client().await).await;
    let log = dev.interrupt().await;
    says(&log, &["dev-0 err | no such model\n"]);
    assert_eq!(log.matches("did not start: exit code 5").count(), 1, "it is complained of once:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_does_not_wait_for_a_request_that_goes_on() {
    let _turn = Turn::shared();
    let mut dev = Dev::start(&serving("sdk"));
    dev.prints("in the place of");
    let client = dev.client().await;
    let waiting = tokio::spawn(client.request(Wait { millis: 600_000 }).into_future());
    let is_busy = async || {
        let workers = client.admin().workers().await.expect("it is shown");
        workers.workers.iter().any(|worker| worker.state == "busy")
    };
    eventually(LIMIT, "the worker is busy", is_busy).await;
    dev.interrupt().await;
    waiting.await.expect("no panic").expect_err("it was ended");
}

#[test]
fn what_cannot_be_run_is_refused() {
    let _turn = Turn::shared();
    let room = Room::new();
    let file = room.path().join("worker.py");
    fs::write(&file, "pass").expect("the room can be written to");
    let refused = |code: i32, words: &[&str], said: &str| {
        let output = run_lifeboat(&room, [&["dev"], words].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        says(&told, &[said]);
    };
    let text = |path: &Path| path.display().to_string();
    refused(2, &[], "COMMAND");
    refused(2, &["--workers", "0", "true"], "--workers");
    refused(2, &["/nowhere/worker"], "/nowhere/worker does not exist: build it first");
    refused(2, &["--", "no-such-worker", "--fast"], "no-such-worker is not in PATH");
    refused(2, &[&text(room.path())], "it is a directory");
    refused(2, &[&text(&file)], "chmod +x");
    fs::write(room.socket(), "no socket").expect("the room can be written to");
    refused(1, &["--socket", &text(&room.socket()), "true"], "is not a socket");
}
