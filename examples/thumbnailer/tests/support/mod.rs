//! A real broker for a test, a real client program, and a look at what they leave behind.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The variable that marks every process of a test.
const MARKER: &str = "THUMBNAILER_TEST";

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory for one test, with all that the test starts in it.
pub(crate) struct Room {
    directory: TempDir,
}

/// What the client program did.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("thumbnailer-").tempdir().expect("a room") }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("lifeboat.sock")
    }

    fn mark(&self) -> &OsStr {
        self.directory.path().as_os_str()
    }

    /// Starts a broker with the configuration that is shipped, but for its places, with hostile decoders; `settings`
    /// are further `SECTION__KEY` variables.
    pub(crate) fn broker(&self, settings: &[(&str, &str)]) -> Broker<'_> {
        let config = self.path("lifeboat.toml");
        fs::write(&config, include_str!("../../lifeboat.toml")).expect("the room is writable");
        let worker = env!("CARGO_BIN_EXE_thumbnailer-worker");
        let log = File::create(self.path("broker.log")).expect("the room is writable");
        let mut command = Command::new(lifeboat());
        // What the environment of the person who tests says about brokers is not meant for this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        command.arg("serve").arg("--config").arg(config).stderr(log).env(MARKER, self.mark());
        command.env("LIFEBOAT__BROKER__SOCKET", self.socket()).env("LIFEBOAT__BROKER__HTTP", "off");
        command.env(
            "LIFEBOAT__POOLS__THUMBNAILS__COMMAND",
            format!("[{worker:?}, \"--endless\", \"--segfault\"]"),
        );
        for (name, value) in settings {
            command.env(format!("LIFEBOAT__{name}"), value);
        }
        let child = command.spawn().expect("the broker can be started");
        let mut broker = Broker { room: self, child };
        until("the broker listens", || {
            if let Some(status) = broker.child.try_wait().expect("it is our child") {
                panic!("the broker ended ({status}):\n{}", broker.log());
            }
            self.socket().exists()
        });
        broker
    }

    /// Starts the client program on a directory of this room.
    pub(crate) fn start(&self, directory: &str, out: &str, arguments: &[&str]) -> Running<'_> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thumbnailer"));
        command.arg(self.path(directory)).arg("--out").arg(self.path(out)).arg("--socket").arg(self.socket());
        let write = |name| File::create(self.path(name)).expect("the room is writable");
        command.args(arguments).env(MARKER, self.mark()).stdout(write("stdout")).stderr(write("stderr"));
        Running { room: self, child: command.spawn().expect("the client can be started") }
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, directory: &str, out: &str, arguments: &[&str]) -> Ran {
        self.start(directory, out, arguments).end()
    }

    /// Nothing that was started here lives on.
    pub(crate) fn assert_nothing_left(&self) {
        until("no process is left behind", || self.processes().is_empty());
    }

    /// The processes that bear this room's mark. One that ends meanwhile, or is ended, has no environment.
    pub(crate) fn processes(&self) -> Vec<PathBuf> {
        let entry = [MARKER.as_bytes(), b"=", self.mark().as_encoded_bytes()].concat();
        let all = fs::read_dir("/proc").expect("/proc is there").flatten();
        let marked = all.map(|process| process.path()).filter(|process| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == entry)
        });
        marked.collect()
    }
}

/// A running broker; killed when it is dropped.
pub(crate) struct Broker<'a> {
    room: &'a Room,
    child: Child,
}

impl Broker<'_> {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.room.path("broker.log")).expect("the log is there")
    }

    /// Asks it to end and checks that it leaves nothing.
    pub(crate) fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        let status = wait(&mut self.child);
        assert!(status.success(), "{status}:\n{}", self.log());
        assert!(!self.room.socket().exists(), "the socket is left behind");
        self.room.assert_nothing_left();
        assert!(!self.log().contains("ERROR"), "{}", self.log());
    }

    /// Kills it as the kernel would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Broker<'_> {
    fn drop(&mut self) {
        // Both fail harmlessly when it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A running client program.
pub(crate) struct Running<'a> {
    room: &'a Room,
    child: Child,
}

impl Running<'_> {
    pub(crate) fn end(mut self) -> Ran {
        let status = wait(&mut self.child);
        let read = |name| fs::read_to_string(self.room.path(name)).expect("it is text");
        Ran { code: status.code(), stdout: read("stdout"), stderr: read("stderr") }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ran {
    /// The table on stdout: file to outcome, reason and attempts.
    pub(crate) fn table(&self) -> BTreeMap<String, (String, String, String)> {
        let rows = self.stdout.lines().filter(|line| line.starts_with('|')).skip(1);
        let rows = rows.map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            let [file, outcome, reason, attempts] = cells.try_into().expect("four columns");
            (file, (outcome, reason, attempts))
        });
        rows.collect()
    }

    pub(crate) fn summary(&self) -> &str {
        self.stdout.lines().next_back().unwrap_or_default()
    }
}

/// The broker's program, from the same build as this test.
fn lifeboat() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let program = profile.join("lifeboat");
    assert!(
        program.exists(),
        "{} is missing; build the broker first: cargo build -p lifeboat",
        program.display()
    );
    program
}

fn is_ours(variable: &OsStr) -> bool {
    let bytes = variable.as_encoded_bytes();
    bytes.starts_with(b"LIFEBOAT_") || bytes == b"RUST_LOG"
}

fn wait(child: &mut Child) -> ExitStatus {
    let mut ended = None;
    until("a program ends", || {
        ended = child.try_wait().expect("it is our child");
        ended.is_some()
    });
    ended.expect("waited for it")
}

/// Waits for a condition, with a limit.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < LIMIT, "waited {LIMIT:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
