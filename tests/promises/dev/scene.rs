//! `lifeboat dev` around a script, which is rewritten as a program is.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lifeboat_client::Client;
use lifeboat_tests::act::{Act, Acted, Wait};
use lifeboat_tests::harness::{
    LIMIT, MARK_VARIABLE, Room, broker_program, eventually, misbehave, until_some,
};
use rustix::process::{Pid, Signal, kill_process};

/// A signal ends it within this, whatever runs: far less than the drain of `serve` lasts.
const SOON: Duration = Duration::from_secs(10);

/// A `lifeboat dev` that runs.
pub(super) struct Dev {
    pub(super) room: Room,
    child: Child,
    /// What it prints, if the test has not put something else in its place.
    out: Option<BufReader<ChildStdout>>,
    /// What it has logged so far.
    log: Arc<Mutex<String>>,
}

/// Writes a script in the place of the one before, as a linker does: a new file under the old name.
pub(super) fn write(room: &Room, script: &str) -> PathBuf {
    let (file, new) = (room.path().join("worker.sh"), room.path().join("worker.new"));
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("the room can be written to");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("its owner may");
    fs::rename(&new, &file).expect("the same directory");
    file
}

/// A script that serves as this kind of worker.
pub(super) fn serving(kind: &str) -> String {
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

/// An answer to a call that must have one.
pub(super) async fn echo(client: &Client) -> Acted {
    client.request(Act::echo(1)).timeout(LIMIT).await.expect("it serves").into_inner()
}

/// Waits until a worker of this broker executes a request.
pub(super) async fn is_busy(client: &Client) {
    eventually(LIMIT, "the worker is busy", async || {
        let workers = client.admin().workers().await.expect("it is shown");
        workers.workers.iter().any(|worker| worker.state == "busy")
    })
    .await;
}

impl Dev {
    /// Around this script, with a private socket below the room.
    pub(super) fn start(script: &str) -> Self {
        Self::with(script, &["./worker.sh"], |_| {})
    }

    /// The same with these words behind `lifeboat dev`; `change` changes how it is started.
    pub(super) fn with(script: &str, words: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        Self::by(Command::new(broker_program()), script, words, change)
    }

    /// The same, started by another program.
    pub(super) fn by(
        mut command: Command,
        script: &str,
        words: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let room = Room::new();
        write(&room, script);
        command.arg("dev").args(words).current_dir(room.path());
        command.env(MARK_VARIABLE, room.mark().value()).env("XDG_RUNTIME_DIR", room.seat());
        command.env_remove("LIFEBOAT_LOG").env_remove("RUST_LOG").env_remove("LIFEBOAT_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("it can be started");
        let out = child.stdout.take().map(BufReader::new);
        let log = child.stderr.take().map(keep).unwrap_or_default();
        Self { room, child, out, log }
    }

    /// What is printed up to a line that holds this.
    pub(super) fn prints(&mut self, word: &str) -> String {
        let out = self.out.as_mut().expect("it prints here");
        let mut text = String::new();
        while !text.contains(word) {
            let read = out.read_line(&mut text).expect("text");
            assert!(read > 0, "it ended before it said {word:?}: {text}");
        }
        text
    }

    pub(super) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    pub(super) async fn logs(&self, words: &str) {
        eventually(LIMIT, words, async || self.log().contains(words)).await;
    }

    /// Its socket, in a directory of its own.
    pub(super) async fn client(&self) -> Client {
        let socket = until_some(LIMIT, "it serves", async || {
            let home = self.room.left_in_seat().pop()?;
            Some(self.room.seat().join(home).join("broker.sock")).filter(|socket| socket.exists())
        });
        Client::connect(socket.await).await.expect("it takes clients")
    }

    /// A client of an SDK worker, while a request is executed that would go on for minutes.
    pub(super) async fn occupied(&mut self) -> Client {
        let client = self.client().await;
        let waiting = client.request(Wait { millis: 600_000 }).into_future();
        tokio::spawn(async move { waiting.await.expect_err("it was ended") });
        is_busy(&client).await;
        client
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// SIGINT, as a terminal sends it. It ends soon, in order, and nothing is left. Gives the log.
    pub(super) async fn interrupt(self) -> String {
        self.signal(Signal::INT);
        self.ends().await
    }

    /// What was done ends it soon, in order, and nothing is left. Gives the log.
    pub(super) async fn ends(mut self) -> String {
        let began = Instant::now();
        let status = until_some(LIMIT, "it ends", async || self.child.try_wait().expect("a child")).await;
        assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
        eventually(LIMIT, "no process is left", async || self.room.mark().alive().is_empty()).await;
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{status}: {log}");
        assert!(self.room.left_in_seat().is_empty(), "left: {:?}", self.room.left_in_seat());
        assert!(!log.contains("ERROR"), "{log}");
        log
    }
}
