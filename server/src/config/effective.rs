//! What the broker will really use, and who said so; what `lifeboat check` prints.
//!
//! Owns the listing. Must never show the value of a worker's environment variable: those may be secrets.

use std::fmt;

use super::reader::{Reader, Set};
use super::tree::Origin;

/// One key with the value that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// The whole path, as TOML.
    pub key: String,
    /// The value, as TOML; [`HIDDEN`] for the variables of a worker. `None` is the broker's own, for which TOML has no
    /// word.
    pub value: Option<String>,
    /// Who said so.
    pub origin: ValueOrigin,
    /// The key of a pool's `defaults` that a method has the value from; `None` where nobody has written one, or the
    /// method says it itself.
    pub inherited_from: Option<String>,
}

/// Stands for the value of a variable that a worker is given.
pub const HIDDEN: &str = "\"(hidden)\"";

/// Who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// Nobody; it is built in.
    Default,
    /// The file, on this line, from 1; for an inherited value the line of the key that it is inherited from.
    File {
        /// The line.
        line: usize,
    },
    /// A variable of the broker's environment.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "line {line}"),
            Self::Environment { variable } => write!(f, "environment {variable}"),
        }
    }
}

impl Reader<'_> {
    /// Remembers an effective value.
    pub(super) fn tell<T>(&mut self, key: String, set: &Set<T>) {
        let origin = self.value_origin(&set.origin);
        let inherited = set.key != key && set.origin != Origin::Default;
        let inherited_from = inherited.then(|| set.key.clone());
        self.effective.push(EffectiveValue { key, value: Some(set.shown.clone()), origin, inherited_from });
    }

    /// Remembers that a key was not written, and that the broker's own counts.
    pub(super) fn tell_the_brokers(&mut self, key: String) {
        let origin = ValueOrigin::Default;
        self.effective.push(EffectiveValue { key, value: None, origin, inherited_from: None });
    }

    /// The origin as it is told.
    fn value_origin(&self, origin: &Origin) -> ValueOrigin {
        match origin {
            Origin::Default => ValueOrigin::Default,
            Origin::File(span) => ValueOrigin::File { line: self.source.line(span.start) },
            Origin::Variable(name) => ValueOrigin::Environment { variable: name.clone() },
        }
    }
}
