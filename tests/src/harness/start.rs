//! How a broker is started, and what is told when it will not.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Broker, LOOK, MARK_VARIABLE, Room, broker_program};

/// How long a broker may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Variables of the person who runs the tests that would reach the broker.
const NOT_OURS: [&str; 7] = [
    "LIFEBOAT_CONFIG",
    "LIFEBOAT_SOCKET",
    "LIFEBOAT_LOG",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "NO_COLOR",
];

/// A broker to be started.
#[derive(Clone, Debug)]
pub struct Start {
    config: String,
    room: Arc<Room>,
    before: Vec<OsString>,
    program: Option<(PathBuf, Vec<OsString>)>,
}

/// A broker that ended instead of serving.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All it wrote to stderr.
    pub log: String,
}

impl Start {
    /// `lifeboat serve` with this configuration, in a room of its own; see [`Room::write_config`].
    #[must_use]
    pub fn new(config: impl Into<String>) -> Self {
        Self { config: config.into(), room: Arc::new(Room::new()), before: Vec::new(), program: None }
    }

    /// In the room of another broker.
    #[must_use]
    pub fn in_room(self, room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), ..self }
    }

    /// By another program, such as `env` or `unshare`, that takes the command as its last arguments.
    #[must_use]
    pub fn by<S: AsRef<OsStr>>(self, command: impl IntoIterator<Item = S>) -> Self {
        Self { before: command.into_iter().map(|word| word.as_ref().to_owned()).collect(), ..self }
    }

    /// Another program that serves; the configuration's path is added to the arguments.
    #[must_use]
    pub fn program<S: AsRef<OsStr>>(self, program: PathBuf, args: impl IntoIterator<Item = S>) -> Self {
        let args = args.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Self { program: Some((program, args)), ..self }
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    ///
    /// When it ends, or does not serve in time.
    pub async fn start(self) -> Broker {
        match self.try_start().await {
            Ok(broker) => broker,
            Err(refusal) => {
                panic!("the broker ended with {:?} instead of serving:\n{}", refusal.code, refusal.log)
            }
        }
    }

    /// Starts it and waits until it serves or ends.
    ///
    /// # Errors
    ///
    /// When it ends.
    ///
    /// # Panics
    ///
    /// When it does neither in time.
    pub async fn try_start(self) -> Result<Broker, Refusal> {
        super::turn::assert_held();
        let config = self.room.write_config(&self.config);
        let log = config.with_extension("log");
        let mut child = self.spawn(&config, &log);
        let began = Instant::now();
        loop {
            let text = read(&log);
            if let Some(http) = serving(&text) {
                return Ok(Broker::new(child, self.room, log, http));
            }
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return Err(Refusal { code: status.code(), log: read(&log) });
            }
            if began.elapsed() > START_LIMIT {
                // Both fail harmlessly if it has ended by now.
                drop(child.kill());
                drop(child.wait());
                panic!("the broker does not serve after {START_LIMIT:?}:\n{text}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn spawn(&self, config: &Path, log: &Path) -> Child {
        let mut words = self.before.clone();
        match &self.program {
            None => words.extend([broker_program().into(), "serve".into(), "--config".into()]),
            Some((program, args)) => {
                words.push(program.into());
                words.extend(args.iter().cloned());
            }
        }
        words.push(config.into());
        let file = File::create(log).expect("the room can be written to");
        let mut command = clean(&words[0], &self.room);
        command.args(&words[1..]).stdout(file.try_clone().expect("a file can be held twice")).stderr(file);
        let spawned = command.spawn();
        spawned.unwrap_or_else(|error| panic!("{} cannot be started: {error}", words[0].display()))
    }
}

/// Runs `lifeboat` with these arguments to its end.
///
/// # Panics
///
/// When it cannot be started.
#[must_use]
pub fn run_lifeboat<S: AsRef<OsStr>>(room: &Room, args: impl IntoIterator<Item = S>) -> Output {
    let mut command = clean(broker_program().as_os_str(), room);
    command.args(args).output().expect("the program can be started")
}

/// A program that carries the room's mark, and nothing of the person who runs the tests.
fn clean(program: &OsStr, room: &Room) -> Command {
    let mut command = Command::new(program);
    command.env(MARK_VARIABLE, room.mark().value()).stdin(Stdio::null());
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command
}

/// The HTTP address that the line `serving` names, once the log has it.
fn serving(log: &str) -> Option<Option<SocketAddr>> {
    let line = log.split_inclusive('\n').find(|line| {
        line.ends_with('\n') && line.contains("serving") && line.contains("socket=") && line.contains("http=")
    })?;
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("http="))?;
    Some(address.parse().ok())
}

/// A log as far as it is written.
pub(super) fn read(log: &Path) -> String {
    fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
