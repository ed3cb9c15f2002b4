//! A real broker for a test: the program `lifeboat`, in a directory of its own, until it is dropped.
//!
//! It owns the configuration file, the wait for readiness and the end. Must never leave a process or a file, however the
//! test ends short of dying itself.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use thiserror::Error;

use super::Pool;
use super::process::{Process, find_lifeboat, lifeboat_command};

/// How long a broker and its workers may take to be ready, unless the test says otherwise.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How much of the log an error shows, in lines.
const TAIL: usize = 40;

/// The pool of a broker that was given nothing but a program.
const POOL: &str = "test";

/// Why there is no broker, or it did not end well.
///
/// ```
/// use lifeboat_worker::testing::{BrokerError, Pool, TestBroker};
///
/// let setup = TestBroker::with([Pool::new("p", "/bin/true")]).lifeboat("/nowhere/lifeboat");
/// let error = setup.start().unwrap_err();
/// assert!(matches!(error, BrokerError::Program { .. }));
/// assert!(error.to_string().contains("/nowhere/lifeboat"));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// There is no program `lifeboat`.
    #[error(
        "the program `lifeboat` was not found: {why}; build it (`cargo build -p lifeboat`) or install it into a directory of \
         PATH, or name it with LIFEBOAT_BIN or `Setup::lifeboat`"
    )]
    Program {
        /// What is wrong.
        why: String,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("the broker ended ({status}) before it was ready; its log:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It was not ready in time.
    #[error("the broker was not ready within {limit:?}: {health}; its log:\n{log}")]
    NotReady {
        /// The limit.
        limit: Duration,
        /// What `lifeboat healthcheck` said last.
        health: String,
        /// The end of its log.
        log: String,
    },
    /// It did not end in order.
    #[error("the broker did not end well ({how}); its log:\n{log}")]
    End {
        /// How it ended.
        how: String,
        /// The end of its log.
        log: String,
    },
}

/// A broker to be started: see [`TestBroker::with`] and [`TestBroker::configured`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use lifeboat_worker::testing::{Pool, TestBroker};
///
/// # const PROGRAM: &str = "";
/// # macro_rules! env { ($name:literal) => { PROGRAM } }
/// let pool = || Pool::new("images", env!("CARGO_BIN_EXE_my-worker"));
/// let broker = TestBroker::with([pool()])
///     .set("BROKER__MAX_BODY", "4MiB")
///     .env("MODEL", "tests/small-model")
///     .lifeboat("/opt/lifeboat/bin/lifeboat")
///     .ready_within(Duration::from_secs(5))
///     .start()?;
///
/// // A worker that must not start: there is nothing to wait for.
/// let broker = TestBroker::with([pool()]).env("MODEL", "missing").without_workers().start()?;
/// # Ok::<_, lifeboat_worker::testing::BrokerError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `start`"]
pub struct Setup {
    config: String,
    environment: Vec<(OsString, OsString)>,
    lifeboat: Option<PathBuf>,
    ready: Option<Duration>,
}

impl Setup {
    fn new(config: String) -> Self {
        Self { config, environment: Vec::new(), lifeboat: None, ready: Some(READY_LIMIT) }
    }

    /// Gives a setting another value than the configuration's, by the broker's own variables: `set("BROKER__MAX_BODY",
    /// "4MiB")` is `LIFEBOAT__BROKER__MAX_BODY`.
    pub fn set(self, key: &str, value: impl Into<OsString>) -> Self {
        self.env(format!("LIFEBOAT__{key}"), value)
    }

    /// Adds a variable to the environment of the broker, which its workers inherit.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The program to run, instead of the one that `LIFEBOAT_BIN` names or that is in `PATH`.
    pub fn lifeboat(mut self, program: impl Into<PathBuf>) -> Self {
        self.lifeboat = Some(program.into());
        self
    }

    /// How long every pool may take to have a worker that is ready. Default 30 s.
    pub const fn ready_within(mut self, limit: Duration) -> Self {
        self.ready = Some(limit);
        self
    }

    /// Waits for the broker alone, not for its workers: for tests of workers that do not start.
    pub const fn without_workers(mut self) -> Self {
        self.ready = None;
        self
    }

    /// Starts it. Blocks until it is ready.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub fn start(self) -> Result<TestBroker, BrokerError> {
        let lifeboat = find_lifeboat(self.lifeboat).map_err(|why| BrokerError::Program { why })?;
        let system = |what| move |source| BrokerError::System { what, source };
        let home = tempfile::Builder::new().prefix("lifeboat-test-").tempdir();
        let home = home.map_err(system("no temporary directory can be made"))?;
        let config = home.path().join("lifeboat.toml");
        fs::write(&config, &self.config).map_err(system("the configuration cannot be written"))?;
        let log =
            File::create(home.path().join("broker.log")).map_err(system("the log cannot be written"))?;

        let mut command = lifeboat_command(&lifeboat);
        command.args(["serve", "--config"]).arg(config);
        command.env("LIFEBOAT__BROKER__SOCKET", home.path().join("broker.sock"));
        command.env("LIFEBOAT__BROKER__HTTP", "off").envs(self.environment).stderr(log);
        let process = Process::start(command).map_err(system("the broker cannot be started"))?;
        let mut broker = TestBroker { process, home, lifeboat };
        broker.wait(self.ready)?;
        Ok(broker)
    }
}

/// A broker that runs in a process of its own, with real processes of your worker.
///
/// Dropping it ends it, its workers and all that they have started, and removes its directory; if the test is failing, the end
/// of its log goes to stderr first. What is asked for with SIGTERM and not done within 5 s is done with SIGKILL. Only a test
/// that is killed itself, or calls `std::process::exit`, leaves a broker behind.
///
/// HTTP is off unless the test sets `BROKER__HTTP`.
///
/// ```no_run
/// use lifeboat_worker::testing::{Pool, TestBroker};
///
/// # const PROGRAM: &str = "";
/// # macro_rules! env { ($name:literal) => { PROGRAM } }
/// let broker = TestBroker::start(env!("CARGO_BIN_EXE_my-worker"))?;
/// println!("{} listens at {}", broker.pid(), broker.socket().display());
/// // ... connect a client and call ...
/// assert!(!broker.log().contains("worker crashed"));
/// let log = broker.stop()?; // in order, within its drain
/// assert!(log.contains("draining"));
///
/// // A pool of the test's own: see `Pool` and `Setup` for all there is to choose.
/// let broker = TestBroker::with([Pool::new("images", env!("CARGO_BIN_EXE_my-worker")).workers(2)]).start()?;
///
/// // The pools that are shipped, and a broker that dies.
/// let broker = TestBroker::configured(std::fs::read_to_string("lifeboat.toml")?).start()?;
/// broker.kill();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TestBroker {
    process: Process,
    home: TempDir,
    lifeboat: PathBuf,
}

impl TestBroker {
    /// Starts a broker around one worker program: one pool with one worker, one slot, any method. Blocks until the worker is
    /// ready.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub fn start(program: impl AsRef<Path>) -> Result<Self, BrokerError> {
        Self::with([Pool::new(POOL, program)]).start()
    }

    /// A broker with these pools.
    pub fn with(pools: impl IntoIterator<Item = Pool>) -> Setup {
        Setup::new(pools.into_iter().map(|pool| pool.to_toml()).collect())
    }

    /// A broker with a whole configuration file, such as the one that is shipped. Its socket and its HTTP address are not
    /// used; other settings may be [changed](Setup::set).
    pub fn configured(toml: impl Into<String>) -> Setup {
        Setup::new(toml.into())
    }

    /// Where clients connect.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("broker.sock")
    }

    /// What it has logged so far, the lines of its workers included.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("broker.log")).unwrap_or_default()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to end, as SIGTERM does: what runs is finished first. Blocks until it has ended, and gives its whole log.
    ///
    /// # Errors
    ///
    /// [`BrokerError::End`] if it did not end within its drain, or not with exit code 0, or left its socket.
    pub fn stop(mut self) -> Result<String, BrokerError> {
        let how = match self.process.stop() {
            Some(status) if !status.success() => Some(status.to_string()),
            None => Some("it was killed in the end".to_owned()),
            Some(_) => self.socket().exists().then(|| "its socket is left behind".to_owned()),
        };
        match how {
            None => Ok(self.log()),
            Some(how) => Err(BrokerError::End { how, log: self.tail() }),
        }
    }

    /// Kills it with SIGKILL, as the kernel would for want of memory. Its workers go with it.
    pub fn kill(mut self) {
        self.process.kill();
    }

    fn wait(&mut self, ready: Option<Duration>) -> Result<(), BrokerError> {
        let limit = ready.unwrap_or(READY_LIMIT);
        let mut health = "it does not listen".to_owned();
        let socket = self.socket();
        let is_ready = self.process.wait_until(limit, || {
            if !socket.exists() {
                return false;
            }
            let mut command = lifeboat_command(&self.lifeboat);
            command.args(["healthcheck", "--socket"]).arg(&socket);
            if ready.is_none() {
                command.arg("--live");
            }
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.output().is_ok_and(|output| {
                let said = [output.stdout, output.stderr].concat();
                String::from_utf8_lossy(&said).trim().clone_into(&mut health);
                output.status.success()
            })
        });
        match is_ready {
            Ok(true) => Ok(()),
            Ok(false) => Err(BrokerError::NotReady { limit, health, log: self.tail() }),
            Err(status) => Err(BrokerError::Ended { status, log: self.tail() }),
        }
    }

    fn tail(&self) -> String {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(TAIL);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for TestBroker {
    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure that it explains")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the broker's log ---\n{}\n---", self.tail());
        }
        self.process.end();
    }
}
