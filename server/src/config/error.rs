//! What can be wrong with a configuration, where, and what to do about it.
//!
//! Owns the words. Must never decide whether something is wrong: that is known where it is read.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said; part of the message, so that it is told wherever the message is.
        error: io::Error,
    },
    /// The file is larger than a configuration can be.
    #[error("the configuration file {} is larger than {limit} bytes; is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, [`MAX_FILE`](super::MAX_FILE).
        limit: u64,
    },
    /// The text is not a usable configuration. Everything found is listed.
    #[error("{}", Problems(problems))]
    Invalid {
        /// What is wrong, in the order of the file; never empty.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// What is wrong with the text; empty when it could not be read at all.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Read { .. } | Self::TooLarge { .. } => &[],
            Self::Invalid { problems } => problems,
        }
    }
}

/// One thing that is wrong. Its `Display` is a whole report of several lines without a newline at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: ProblemKind,
    /// A second place that matters, such as the other limit or the first of two.
    pub also: Option<Place>,
    /// What to do about it, where that can be said.
    pub help: Option<String>,
}

/// Where something of the configuration was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    File {
        /// The file's name as it was given.
        name: String,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The line; `None` where it may hold a secret.
        text: Option<String>,
        /// How many characters of the line are meant; at least 1.
        width: usize,
    },
    /// In an environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// Nowhere: it is built in.
    Default,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// The text is not TOML.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The whole path.
        key: String,
    },
    /// A variable of the right prefix that cannot be a key.
    #[error("the name of the variable {name} does not spell a key")]
    BadVariable {
        /// The variable.
        name: String,
    },
    /// A value of the wrong type.
    #[error("`{key}` must be {expected}, not {found}")]
    WrongType {
        /// The whole path.
        key: String,
        /// What belongs there.
        expected: String,
        /// The type that was found.
        found: &'static str,
    },
    /// A value of the right type that means nothing here.
    #[error("`{key}` must be {expected}, not {found:?}")]
    BadValue {
        /// The whole path.
        key: String,
        /// What belongs there.
        expected: String,
        /// The text that was found.
        found: String,
    },
    /// Zero, where zero makes no sense.
    #[error("`{key}` must not be 0")]
    Zero {
        /// The whole path.
        key: String,
    },
    /// A number outside its bounds.
    #[error("`{key}` must be between {least} and {most}, not {found}")]
    OutOfRange {
        /// The whole path.
        key: String,
        /// What was found.
        found: String,
        /// The lower bound.
        least: String,
        /// The upper bound.
        most: String,
    },
    /// A limit that another limit always beats, or a pair in the wrong order.
    #[error("`{key}` ({value}) {relation} `{other}` ({other_value})")]
    Disordered {
        /// The limit that cannot work.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong between the two.
        relation: &'static str,
        /// The limit it is compared with.
        other: String,
        /// Its value, and whether it is the default.
        other_value: String,
    },
    /// A retry that can never happen.
    #[error("`{key}` can never cause a retry: {why}")]
    NeverRetries {
        /// The whole path.
        key: String,
        /// Why.
        why: &'static str,
    },
    /// A key without which nothing works.
    #[error("`{key}` is missing")]
    Missing {
        /// The whole path.
        key: String,
    },
    /// No pool is configured.
    #[error("there is no pool: nothing would ever run")]
    NoPool,
    /// A pool that no request can reach.
    #[error("the pool `{pool}` serves no method")]
    NoMethod {
        /// The pool.
        pool: String,
    },
    /// A name outside its alphabet, or one that Lifeboat uses itself.
    #[error("{name:?} cannot be the name of {what}: {rule}")]
    BadName {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A method with two homes.
    #[error("the method `{method}` is in two pools, `{first}` and `{second}`")]
    MethodTwice {
        /// The method.
        method: String,
        /// The pool that named it first.
        first: String,
        /// The pool that named it again.
        second: String,
    },
    /// Two pools that take what no other takes.
    #[error("two pools accept any method, `{first}` and `{second}`")]
    AcceptAnyTwice {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// More of something than the broker can number.
    #[error("{count} {what} are too many: at most {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// The program of a command cannot be found or run.
    #[error("the program `{program}` of the pool `{pool}` {why}")]
    Program {
        /// The pool.
        pool: String,
        /// The program as it was written.
        program: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The directory in which a command should run is not there.
    #[error("the directory `{directory}` of the pool `{pool}` {why}")]
    Directory {
        /// The pool.
        pool: String,
        /// The directory.
        directory: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column, .. } => write!(f, "{name}:{line}:{column}"),
            Self::Variable { name } => write!(f, "environment {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Place {
    /// The arrow, and for a file the line with a caret under what is meant.
    fn show(&self, f: &mut fmt::Formatter<'_>, arrow: &str) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::Variable { .. } => write!(f, "\n  {arrow} {self}"),
            Self::File { text: None, .. } => write!(f, "\n  {arrow} {self}"),
            Self::File { line, column, text: Some(text), width, .. } => {
                let number = line.to_string();
                let gutter = " ".repeat(number.len());
                // A tab stays a tab, so that the caret stands under the right character.
                let indent: String =
                    text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                write!(f, "\n  {arrow} {self}\n {gutter} |\n {number} | {text}\n {gutter} | {indent}")?;
                write!(f, "{}", "^".repeat(*width))
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        self.place.show(f, "-->")?;
        if let Some(also) = &self.also {
            also.show(f, "and")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

struct Problems<'a>(&'a [Problem]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "the configuration has {count} problem{plural}")?;
        for problem in self.0 {
            write!(f, "\n\n{problem}")?;
        }
        Ok(())
    }
}
