//! The shapes a value can have: how each is read from the tree and written back as TOML. Numbers, durations and sizes are
//! here, words and paths in `texts`.
//!
//! Owns types and bounds of single values. Must never look at a second key: relations are `order`'s.

use std::time::Duration;

use super::tree::{Node, Value};
use super::units;

/// How a value is read and written.
pub(super) trait Shape {
    /// What it is once read.
    type Value: Clone;
    /// Reads it.
    fn read(&self, node: &Node) -> Result<Self::Value, Wrong>;
    /// Writes it as TOML.
    fn show(&self, value: &Self::Value) -> String;
    /// Whether a limit of this shape can be switched off by the word.
    fn can_be_off(&self) -> bool {
        false
    }
}

/// What is wrong with a single value; the reader adds the key.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Another type; what belongs there.
    Type(String),
    /// The right type, but it says nothing here; what belongs there.
    Text { expected: String, found: String },
    /// Zero where zero makes no sense; the smallest value that does.
    Zero { least: String },
    /// Outside the bounds.
    Range { found: String, least: String, most: String },
    /// A part of a list, which is where the mistake is.
    Part { node: Node, wrong: Box<Self> },
}

/// A duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// Zero allows `"0s"`; a value that is not zero is at least [`TICK`].
    pub(super) least: Duration,
    pub(super) most: Duration,
}

/// The broker's limits count milliseconds; so does the wire.
pub(super) const TICK: Duration = Duration::from_millis(1);

pub(super) const DAY: Duration = Duration::from_hours(24);

/// The longest limit: a request's remaining time crosses the wire as milliseconds in 32 bits, 49 days.
pub(super) const MONTH: Duration = Duration::from_hours(30 * 24);

impl Time {
    /// A timeout: not zero.
    pub(super) const TIMEOUT: Self = Self { least: TICK, most: MONTH };
    /// A grace: zero is at once.
    pub(super) const GRACE: Self = Self { least: Duration::ZERO, most: DAY };
    /// An age: not zero, up to a year.
    pub(super) const AGE: Self = Self { least: TICK, most: Duration::from_hours(365 * 24) };
}

impl Shape for Time {
    type Value = Duration;

    fn read(&self, node: &Node) -> Result<Duration, Wrong> {
        const EXPECTED: &str = "a duration such as \"10s\"";
        let Value::Text(text) = &node.value else {
            return Err(Wrong::Type(EXPECTED.to_owned()));
        };
        let Some(value) = units::duration(text) else {
            return Err(Wrong::Text { expected: EXPECTED.to_owned(), found: text.clone() });
        };
        let least = self.least.max(TICK);
        if value.is_zero() {
            return if self.least.is_zero() {
                Ok(value)
            } else {
                Err(Wrong::Zero { least: self.show(&least) })
            };
        }
        if value < least || value > self.most {
            let found = text.trim().to_owned();
            return Err(Wrong::Range { found, least: self.plain(least), most: self.plain(self.most) });
        }
        Ok(value)
    }

    fn show(&self, value: &Duration) -> String {
        format!("\"{}\"", self.plain(*value))
    }
}

impl Time {
    fn plain(self, value: Duration) -> String {
        units::show_duration(value)
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Shape for Size {
    type Value = u64;

    fn read(&self, node: &Node) -> Result<u64, Wrong> {
        const EXPECTED: &str = "a size such as \"16MiB\"";
        let Value::Text(text) = &node.value else {
            return Err(Wrong::Type(EXPECTED.to_owned()));
        };
        let Some(value) = units::size(text) else {
            return Err(Wrong::Text { expected: EXPECTED.to_owned(), found: text.clone() });
        };
        if value == 0 {
            return Err(Wrong::Zero { least: self.show(&self.least) });
        }
        if value < self.least || value > self.most {
            let (least, most) = (units::show_size(self.least), units::show_size(self.most));
            return Err(Wrong::Range { found: text.trim().to_owned(), least, most });
        }
        Ok(value)
    }

    fn show(&self, value: &u64) -> String {
        format!("\"{}\"", units::show_size(*value))
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) least: u32,
    pub(super) most: u32,
}

impl Shape for Count {
    type Value = u32;

    fn read(&self, node: &Node) -> Result<u32, Wrong> {
        let Value::Integer(number) = node.value else {
            return Err(Wrong::Type("a whole number".to_owned()));
        };
        if number == 0 && self.least > 0 {
            return Err(Wrong::Zero { least: self.least.to_string() });
        }
        u32::try_from(number).ok().filter(|value| (self.least..=self.most).contains(value)).ok_or_else(|| {
            let (least, most) = (self.least.to_string(), self.most.to_string());
            Wrong::Range { found: number.to_string(), least, most }
        })
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }
}

/// A number that may have a fraction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub(super) least: u16,
    pub(super) most: u16,
}

impl Shape for Factor {
    type Value = f64;

    fn read(&self, node: &Node) -> Result<f64, Wrong> {
        let number = match &node.value {
            Value::Integer(number) => i32::try_from(*number).map_or(f64::INFINITY, f64::from),
            Value::Float(number) => *number,
            Value::Text(_) | Value::Flag(_) | Value::Datetime | Value::List(_) | Value::Table(_) => {
                return Err(Wrong::Type("a number such as 2 or 1.5".to_owned()));
            }
        };
        if (f64::from(self.least)..=f64::from(self.most)).contains(&number) {
            return Ok(number);
        }
        let (least, most) = (self.least.to_string(), self.most.to_string());
        Err(Wrong::Range { found: number.to_string(), least, most })
    }

    fn show(&self, value: &f64) -> String {
        format!("{value:?}")
    }
}

/// A limit that the word `unlimited` switches off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit<S>(pub(super) S);

impl<S: Shape> Shape for Limit<S> {
    type Value = Option<S::Value>;

    fn read(&self, node: &Node) -> Result<Self::Value, Wrong> {
        if matches!(&node.value, Value::Text(text) if text == "unlimited") {
            return Ok(None);
        }
        self.0.read(node).map(Some).map_err(|wrong| match wrong {
            Wrong::Type(expected) => Wrong::Type(format!("{expected}, or \"unlimited\"")),
            Wrong::Text { expected, found } => {
                Wrong::Text { expected: format!("{expected}, or \"unlimited\""), found }
            }
            Wrong::Zero { least } => Wrong::Zero { least },
            Wrong::Range { found, least, most } => Wrong::Range { found, least, most },
            Wrong::Part { node, wrong } => Wrong::Part { node, wrong },
        })
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| "\"unlimited\"".to_owned(), |value| self.0.show(value))
    }

    fn can_be_off(&self) -> bool {
        true
    }
}

/// Something that a word leaves out altogether.
#[derive(Clone, Copy, Debug)]
pub(super) struct Or<S>(pub(super) S, pub(super) &'static str);

impl<S: Shape> Shape for Or<S> {
    type Value = Option<S::Value>;

    fn read(&self, node: &Node) -> Result<Self::Value, Wrong> {
        let Self(shape, word) = self;
        if matches!(&node.value, Value::Text(text) if text == word) {
            return Ok(None);
        }
        shape.read(node).map(Some).map_err(|wrong| match wrong {
            Wrong::Type(expected) => Wrong::Type(format!("{expected}, or \"{word}\"")),
            Wrong::Text { expected, found } => {
                Wrong::Text { expected: format!("{expected}, or \"{word}\""), found }
            }
            Wrong::Zero { least } => Wrong::Zero { least: format!("{least}, or \"{word}\"") },
            Wrong::Range { .. } | Wrong::Part { .. } => wrong,
        })
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| format!("\"{}\"", self.1), |value| self.0.show(value))
    }
}

/// A mistake in a part of a list.
pub(super) fn part(node: &Node, wrong: Wrong) -> Wrong {
    Wrong::Part { node: node.clone(), wrong: Box::new(wrong) }
}
