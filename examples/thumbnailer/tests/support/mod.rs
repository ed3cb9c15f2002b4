//! A room for a test: the SDK's own broker for tests, a real client program, and a look at what they leave behind.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use lifeboat_worker::testing::TestBroker;
use tempfile::TempDir;

/// The variable that marks every process of a test.
const MARKER: &str = "THUMBNAILER_TEST";

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory for one test, with all that the test starts in it.
pub(crate) struct Room {
    directory: TempDir,
    socket: PathBuf,
}

/// What the client program did.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Room {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("thumbnailer-").tempdir().expect("a room");
        let socket = directory.path().join("lifeboat.sock");
        Self { directory, socket }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where clients look for a broker: the latest, or nothing.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    fn mark(&self) -> &OsStr {
        self.directory.path().as_os_str()
    }

    /// Starts a broker with the configuration that is shipped, but with hostile decoders; `settings` are further
    /// `SECTION__KEY` variables.
    pub(crate) fn broker(&mut self, settings: &[(&str, &str)]) -> TestBroker {
        let worker = env!("CARGO_BIN_EXE_thumbnailer-worker");
        let mut setup = TestBroker::configured(include_str!("../../lifeboat.toml"))
            .lifeboat(lifeboat())
            .env(MARKER, self.mark())
            .set("POOLS__THUMBNAILS__COMMAND", format!("[{worker:?}, \"--endless\", \"--segfault\"]"));
        for (name, value) in settings {
            setup = setup.set(name, *value);
        }
        let broker = setup.start().unwrap_or_else(|error| panic!("{error}"));
        self.socket = broker.socket();
        broker
    }

    /// Asks a broker to end and checks that it leaves nothing.
    pub(crate) fn stop(&self, broker: TestBroker) {
        let log = broker.stop().unwrap_or_else(|error| panic!("{error}"));
        assert!(!self.socket.exists(), "the socket is left behind");
        self.assert_nothing_left();
        assert!(!log.contains("ERROR"), "{log}");
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
