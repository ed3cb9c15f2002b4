//! The configuration room: one TOML file, and variables that override it, become validated settings.
//!
//! Owns the shapes of the file, its defaults, the order of its limits, and the words in which all of this is explained. It
//! must never hand out settings that cannot work, never read a key twice, never touch a worker or a socket; whether
//! programs exist is the only thing it asks the file system.
//!
//! The way of a key: `tree` remembers where everything was written, `environment` lays the variables over it, the
//! `reader` takes key after key in the `shapes` that `broker`, `pool` and `policy` ask for, and `order` compares
//! limits. Every key is described in `docs/configuration.md`, which a test compares with what is read here.

mod alerts;
mod backoff;
mod broker;
mod command;
mod effective;
mod environment;
mod error;
mod explain;
mod health;
mod heartbeat;
mod limits;
mod order;
mod policy;
mod pool;
mod pool_tables;
mod pools;
mod program;
mod quarantine;
mod reader;
mod retry;
mod section;
mod shapes;
mod texts;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use lifeboat_core::settings::Settings;

pub use self::alerts::AlertsConfig;
pub use self::broker::{BrokerConfig, Cgroups, HttpListen, MAX_SOCKET_PATH};
pub use self::command::{WorkerCommand, WorkerOutput};
pub use self::effective::{EffectiveValue, HIDDEN, ValueOrigin};
pub use self::error::{ConfigError, Place, Problem, ProblemKind};
pub use self::limits::WorkerLimits;
pub use self::pool::MAX_WORKERS;
pub(crate) use self::program::find as find_program;
use self::reader::Reader;
use self::section::Section;
use self::tree::Source;

/// The largest file that is read as a configuration, in bytes: far more than 4096 methods need.
pub const MAX_FILE: u64 = 4 << 20;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broker's own settings.
    pub broker: BrokerConfig,
    /// Where alerts go.
    pub alerts: AlertsConfig,
    /// What the core needs to know.
    pub settings: Settings,
    /// How the processes of each pool are started, in the order of [`Settings::pools`].
    pub commands: Vec<WorkerCommand>,
    /// Keys whose feature is not there yet, and that were written with another value than the one that counts.
    pub unknown_yet: Vec<NotYet>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Warning>,
    effective: Vec<EffectiveValue>,
    /// Where the commands were written, in the order of the pools.
    places: Vec<CommandPlaces>,
    /// The `PATH` of the broker's environment.
    path: Option<String>,
}

/// Where a pool's program and directory were written.
#[derive(Clone, Debug)]
struct CommandPlaces {
    command: Place,
    directory: Place,
}

/// A key that is accepted and has no effect yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotYet {
    /// The whole path, such as `pools.images.recycle.age`.
    pub key: String,
    /// Where it was written.
    pub place: Place,
    /// What happens instead; may be empty.
    pub note: &'static str,
}

/// Something that is allowed but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What, and why it matters.
    pub message: String,
}

impl Config {
    /// Reads a file and checks that every program and directory in it is there: [`Config::read`], then
    /// [`Config::find_programs`]. What `serve` does.
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::read(path, env)?;
        config.find_programs()?;
        Ok(config)
    }

    /// Reads a file. Blocks on the file system; meant for the start and for `check`.
    ///
    /// `env` is the broker's environment: `LIFEBOAT__SECTION__KEY` override the file, `PATH` finds programs,
    /// `XDG_RUNTIME_DIR` decides the default socket. See [`process_environment`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] and [`ConfigError::TooLarge`] when there is no such file or it is none;
    /// [`ConfigError::Invalid`] with everything that is wrong with it.
    pub fn read(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        Self::parse(&read_file(path)?, &path.display().to_string(), env)
    }

    /// Reads a text, without a look at the file system. `name` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with everything that is wrong with the text.
    pub fn parse(
        text: &str,
        name: &str,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let env: Vec<_> = env.into_iter().collect();
        read(text, name, &env).map(|(config, _)| config)
    }

    /// Looks for the program of every pool and puts the file that was found into [`WorkerCommand::program`]; looks
    /// for the directories to run in. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with every program that cannot be started and every directory that cannot be entered.
    pub fn find_programs(&mut self) -> Result<(), ConfigError> {
        let problems =
            program::find_all(&self.settings, &mut self.commands, &self.places, self.path.as_deref());
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid { problems }) }
    }

    /// Every key with the value that counts and who said so, in the order of the documentation. Of keys whose feature
    /// is not there yet what was written is told, and [`Config::unknown_yet`] names them if that is not what counts.
    #[must_use]
    pub fn effective(&self) -> &[EffectiveValue] {
        &self.effective
    }
}

/// The environment of this process as [`Config::load`] wants it. What is not Unicode is replaced, so that a broken
/// override is an error of its key and a broken stranger is none.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let failed = |error| ConfigError::Read { path: path.to_owned(), error };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(text)
}

/// The keys that were asked for, with placeholders for the names that a user chooses.
type Accepted = std::collections::BTreeSet<String>;

fn read(text: &str, name: &str, env: &[(String, String)]) -> Result<(Config, Accepted), ConfigError> {
    let source = Source { name, text };
    let (mut entries, problems) = source.parse();
    if !problems.is_empty() {
        // What a broken line means is guesswork; the rest is told when the text is TOML.
        return Err(ConfigError::Invalid { problems });
    }
    let mut reader = Reader::new(&source);
    reader.problems = environment::apply(&mut entries, env, &source);
    let variable = |wanted| env.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let mut root = Section::root(entries);
    let broker = broker::read(&mut reader, &mut root, variable(broker::RUNTIME_DIR));
    let alerts = alerts::read(&mut reader, &mut root);
    let pools = pools::read(&mut reader, &mut root, &broker);
    reader.finish(root, |_| None);
    if !reader.problems.is_empty() {
        return Err(ConfigError::Invalid { problems: in_order(reader.problems) });
    }
    let places = pools.iter().map(|pool| CommandPlaces {
        command: source.place(&pool.command.origin),
        directory: source.place(&pool.command.directory_origin),
    });
    let places = places.collect();
    let (settings, commands) = pools::settings(pools, &broker.broker);
    let config = Config {
        broker: broker.broker,
        alerts,
        settings,
        commands,
        unknown_yet: reader.not_yet,
        warnings: reader.warnings,
        effective: reader.effective,
        places,
        path: variable("PATH").map(str::to_owned),
    };
    Ok((config, reader.accepted))
}

/// In the order of the file, variables last, each once.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let place = |problem: &Problem| match &problem.place {
        Place::File { line, column, .. } => (0, *line, *column),
        Place::Default => (1, 0, 0),
        Place::Variable { .. } => (2, 0, 0),
    };
    problems.sort_by_key(place);
    // A pool's default that is wrong for several methods is one mistake.
    problems.dedup();
    problems
}
