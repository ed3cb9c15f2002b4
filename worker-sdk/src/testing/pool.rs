//! A pool of a test's broker, as the table of a configuration.
//!
//! It owns how values are written as TOML. Must never know a setting that a broker does not check itself: what is wrong is
//! told by the broker.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A pool of a [`TestBroker`](super::TestBroker): a worker's program, and its settings. Whatever a configuration file can say
/// of a pool can be said here.
///
/// ```no_run
/// use lifeboat_worker::testing::{Pool, TestBroker};
///
/// # const PROGRAM: &str = "";
/// # macro_rules! env { ($name:literal) => { PROGRAM } }
/// let images = Pool::new("images", env!("CARGO_BIN_EXE_my-worker"))
///     .args(["--quality", "80"])
///     .workers(2)
///     .slots(4)
///     .settings("recycle = { requests = 100 }")
///     .method("thumbnail", "attempt_timeout = \"2s\"")
///     .method("resize", "");
/// let broker = TestBroker::with([images]).start()?;
/// # Ok::<_, lifeboat_worker::testing::BrokerError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "give it to `TestBroker::with`"]
pub struct Pool {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    workers: u16,
    slots: u16,
    settings: String,
    methods: String,
}

impl Pool {
    /// One worker with one slot, which takes any method unless it [names](Self::method) some. Only one pool of a broker can
    /// take any.
    pub fn new(name: impl Into<String>, program: impl AsRef<Path>) -> Self {
        Self {
            name: name.into(),
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            workers: 1,
            slots: 1,
            settings: String::new(),
            methods: String::new(),
        }
    }

    /// Adds arguments of the program.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// How many processes. Default 1.
    pub const fn workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }

    /// How many slots each of them has. Default 1.
    pub const fn slots(mut self, slots: u16) -> Self {
        self.slots = slots;
        self
    }

    /// Adds lines of TOML to the pool's table, such as `limits = { memory = "1GiB" }`.
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings.push_str(toml);
        self.settings.push('\n');
        self
    }

    /// Adds a method, with lines of TOML for its table, such as `attempt_timeout = "1s"`; they may be empty.
    pub fn method(mut self, name: &str, toml: &str) -> Self {
        // Writing to a text cannot fail.
        let _ = writeln!(self.methods, "[pools.{}.methods.{}]\n{toml}", quoted(&self.name), quoted(name));
        self
    }

    /// Its tables.
    pub(super) fn to_toml(&self) -> String {
        let Self { name, program, args, workers, slots, settings, methods } = self;
        let program = program.to_string_lossy();
        let words = std::iter::once(&*program).chain(args.iter().map(String::as_str));
        let command = words.map(quoted).collect::<Vec<_>>().join(", ");
        let any = if methods.is_empty() { "accept_any_method = true\n" } else { "" };
        format!(
            "[pools.{}]\ncommand = [{command}]\nworkers = {workers}\nslots = {slots}\n{any}{settings}{methods}",
            quoted(name)
        )
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_written_as_a_table() {
        let pool =
            Pool::new("a b", "/bin/w").args(["--say", "\"no\"\n\\"]).workers(2).settings("prefetch = 2");
        let expected = "[pools.\"a b\"]\ncommand = [\"/bin/w\", \"--say\", \"\\\"no\\\"\\u000A\\\\\"]\n\
                        workers = 2\nslots = 1\naccept_any_method = true\nprefetch = 2\n";
        assert_eq!(pool.to_toml(), expected);
        let named = pool.slots(3).method("resize", "attempt_timeout = \"1s\"").to_toml();
        assert!(!named.contains("accept_any_method"), "{named}");
        assert!(
            named.ends_with("prefetch = 2\n[pools.\"a b\".methods.\"resize\"]\nattempt_timeout = \"1s\"\n")
        );
    }
}
