//! How a pool's processes are started: `command`, `env`, `current_dir`, and what becomes of their `output`.
//!
//! Owns what the process room is told. Must never look for the program: `program` does, when it is asked.

use std::fmt;
use std::path::PathBuf;

use super::error::ProblemKind;
use super::limits::WorkerLimits;
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::Count;
use super::texts::{AbsolutePath, Command, Flag, Names, Text};
use super::tree::{Entry, Origin};

const DEFAULT_OUTPUT_BURST: u32 = 100;
const DEFAULT_OUTPUT_RATE: u32 = 20;

/// Lines of up to 8 KiB wait in memory until they are logged.
const MOST_LINES: u32 = 10_000;

/// How the processes of a pool are started; the pool is the one at the same place in
/// [`Settings::pools`](lifeboat_core::settings::Settings::pools).
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program: as it was written, until [`Config::find_programs`](super::Config::find_programs) (part of
    /// [`Config::load`](super::Config::load)) puts the absolute path of the file here.
    pub program: PathBuf,
    /// The program as it was written, which it sees as its name, and its arguments. Never empty.
    pub argv: Vec<String>,
    /// The variables of the broker's environment that it gets; `None` is all.
    pub inherit_env: Option<Vec<String>>,
    /// Variables to add to those, or to replace.
    pub env: Vec<(String, String)>,
    /// Where it runs; absolute. `None` is the broker's own directory.
    pub current_dir: Option<PathBuf>,
    /// How many bytes of memory its tree may use, where it has a cgroup; else any one process of it, sampled by the broker.
    /// `None` is unlimited.
    pub memory_limit: Option<u64>,
    /// Above how many bytes it is replaced, always sampled, and smaller; `None` is never.
    pub memory_high: Option<u64>,
    /// What the kernel bounds for each process of its tree.
    pub limits: WorkerLimits,
    /// What becomes of the lines that it writes.
    pub output: WorkerOutput,
}

/// What becomes of the lines that a process writes to stdout and stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerOutput {
    /// Whether they go into the broker's log; default true.
    pub log: bool,
    /// How many may do so at once; default 100.
    pub burst: u32,
    /// How many a second after that; default 20.
    pub per_second: u32,
}

impl Default for WorkerOutput {
    fn default() -> Self {
        Self { log: true, burst: DEFAULT_OUTPUT_BURST, per_second: DEFAULT_OUTPUT_RATE }
    }
}

/// The values of variables are not shown: they may be secrets.
impl fmt::Debug for WorkerCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("WorkerCommand")
            .field("program", &self.program)
            .field("argv", &self.argv)
            .field("inherit_env", &self.inherit_env)
            .field("env", &names)
            .field("current_dir", &self.current_dir)
            .field("memory_limit", &self.memory_limit)
            .field("memory_high", &self.memory_high)
            .field("limits", &self.limits)
            .field("output", &self.output)
            .finish()
    }
}

/// The command, and where it was written. Memory, limits and output are in tables of their own, and not read with it.
pub(super) struct Read {
    pub(super) command: WorkerCommand,
    pub(super) origin: Origin,
    pub(super) directory_origin: Origin,
}

pub(super) fn read(reader: &mut Reader<'_>, pool: &mut Section) -> Read {
    let words = reader.value(pool, "command", &Command, Vec::new());
    check_program(reader, &words, &pool.origin);
    let inherit_env = reader.value(pool, "inherit_env", &Names, None).value;
    let env = read_env(reader, pool);
    let directory = read_directory(reader, pool);
    Read {
        origin: words.origin,
        command: WorkerCommand {
            program: words.value.first().map(PathBuf::from).unwrap_or_default(),
            argv: words.value,
            inherit_env,
            env,
            current_dir: directory.as_ref().map(|set| PathBuf::from(&set.value)),
            memory_limit: None,
            memory_high: None,
            limits: WorkerLimits::default(),
            output: WorkerOutput::default(),
        },
        directory_origin: directory.map_or(Origin::Default, |set| set.origin),
    }
}

fn read_directory(reader: &mut Reader<'_>, pool: &mut Section) -> Option<Set<String>> {
    let path = pool.path("current_dir");
    let Some(entry) = reader.take(pool, "current_dir") else {
        reader.tell_the_brokers(path);
        return None;
    };
    let set = reader.read(path.clone(), &entry, &AbsolutePath, &String::new());
    reader.tell(path, &set);
    Some(set)
}

fn check_program(reader: &mut Reader<'_>, words: &Set<Vec<String>>, pool: &Origin) {
    let Some(program) = words.value.first() else {
        if words.sound {
            let help =
                "say what to run, such as command = [\"thumbnailer\", \"--quality\", \"80\"]".to_owned();
            reader.problem(pool, ProblemKind::Missing { key: words.key.clone() }, Some(help));
        }
        return;
    };
    if program.contains('/') && !program.starts_with('/') {
        let expected =
            "a program found in PATH, or an absolute path (so that it does not matter where the broker starts)"
                .to_owned();
        let kind = ProblemKind::BadValue { key: words.key.clone(), expected, found: program.clone() };
        reader.problem(&words.origin, kind, None);
    }
}

fn read_env(reader: &mut Reader<'_>, section: &mut Section) -> Vec<(String, String)> {
    let (table, entries) = reader.named_values(section, "env");
    if entries.is_empty() {
        reader.tell_the_brokers(section.path("env"));
    }
    let mut env = Vec::new();
    for entry in entries {
        let Entry { key: name, origin, .. } = &entry;
        if name.is_empty() || name.contains(['=', '\0']) {
            let rule = "not empty, without `=` and zero bytes";
            let kind = ProblemKind::BadName { what: "a variable", name: name.clone(), rule };
            reader.problem(origin, kind, None);
            continue;
        }
        if name.starts_with("LIFEBOAT_") {
            let rule = "the broker itself sets the variables that begin with LIFEBOAT_";
            let kind = ProblemKind::BadName { what: "a variable", name: name.clone(), rule };
            reader.problem(origin, kind, None);
            continue;
        }
        let path = table.path(name);
        let mut set = reader.read(path.clone(), &entry, &Text, &String::new());
        set.shown = super::effective::HIDDEN.to_owned();
        reader.tell(path, &set);
        env.push((name.clone(), set.value));
    }
    env
}

/// Reads the table `output`.
pub(super) fn read_output(reader: &mut Reader<'_>, pool: &mut Section) -> WorkerOutput {
    let mut section = reader.section(pool, "output");
    let default = WorkerOutput::default();
    let lines = Count { least: 1, most: MOST_LINES };
    let log = reader.value(&mut section, "log", &Flag, default.log).value;
    let burst = reader.value(&mut section, "burst", &lines, default.burst).value;
    let per_second = reader.value(&mut section, "per_second", &lines, default.per_second).value;
    reader.finish(section, |_| None);
    WorkerOutput { log, burst, per_second }
}
