//! A test's own directory, socket and mark: what outlives a broker that is killed and serves its successor.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use toml::{Table, Value};

use super::{Mark, misbehave};

/// How long killing what is left may take.
const CLEARING: Duration = Duration::from_secs(5);

/// A directory, a socket's path and a mark. Dropping it kills whatever carries the mark.
#[derive(Debug)]
pub struct Room {
    directory: TempDir,
    mark: Mark,
}

impl Room {
    /// A fresh one.
    ///
    /// # Panics
    ///
    /// When the system gives no directory.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("lifeboat-test-").tempdir();
        let room = Self { directory: directory.expect("a temporary directory"), mark: Mark::unique() };
        fs::create_dir(room.seat()).expect("an empty directory takes another");
        room
    }

    /// The directory, for a test's own files.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory that holds the socket and nothing else.
    #[must_use]
    pub fn seat(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The broker's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.seat().join("broker.sock")
    }

    /// The mark of every process that belongs here.
    #[must_use]
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Writes a configuration: `broker.socket` and `broker.http` are this room's and any free port unless it says
    /// otherwise, and the program `misbehave` is the one of this build.
    ///
    /// # Panics
    ///
    /// When the text is no TOML.
    #[must_use]
    pub fn write_config(&self, text: &str) -> PathBuf {
        let mut config: Table = text.parse().expect("a test's configuration is TOML");
        if let Some(Value::Table(broker)) =
            Some(config.entry("broker").or_insert_with(|| Value::Table(Table::new())))
        {
            let text =
                |path: PathBuf| Value::String(path.to_str().expect("temporary paths are UTF-8").to_owned());
            broker.entry("socket").or_insert_with(|| text(self.socket()));
            broker.entry("http").or_insert_with(|| Value::String("127.0.0.1:0".to_owned()));
        }
        if let Some(Value::Table(pools)) = config.get_mut("pools") {
            for (_, pool) in pools.iter_mut() {
                let program = pool.get_mut("command").and_then(|command| command.get_mut(0));
                if let Some(Value::String(program)) = program
                    && program == "misbehave"
                {
                    *program = misbehave().to_str().expect("the build's paths are UTF-8").to_owned();
                }
            }
        }
        let file = self.path().join(format!("broker-{}.toml", fastrand::u32(..)));
        fs::write(&file, config.to_string()).expect("the room can be written to");
        file
    }

    /// What is in the socket's directory.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    pub fn left_in_seat(&self) -> Vec<String> {
        let entries = fs::read_dir(self.seat()).expect("the room is there while it lives");
        let mut names: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.mark.kill_all(CLEARING);
    }
}
