//! The file's text as a tree of values that remember where they were written.
//!
//! Owns parsing and places. Must never know a key: what the keys mean is read elsewhere.

use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::error::{Place, Problem, ProblemKind};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nowhere: the built-in value.
    Default,
    /// In the file, at these bytes.
    File(Range<usize>),
    /// In an environment variable of this name.
    Variable(String),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key was written.
    pub(super) origin: Origin,
    pub(super) node: Node,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
    /// The text of a variable, for keys that take any text: `8080` may be meant as one.
    pub(super) raw: Option<String>,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// Clamped to what 64 bits hold, which is outside every bound.
    Integer(i64),
    Float(f64),
    Flag(bool),
    Datetime,
    List(Vec<Node>),
    /// In the order of the file.
    Table(Vec<Entry>),
}

impl Value {
    /// The type's name, with its article.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a fraction",
            Self::Flag(_) => "true or false",
            Self::Datetime => "a date or time",
            Self::List(items) if items.is_empty() => "an empty list",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// What the parser says of a key that is named twice.
const TWICE: &str = "duplicate key";

/// The file's name and text, from which places are made.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The file as a tree, and what is not TOML in it.
    pub(super) fn parse(&self) -> (Vec<Entry>, Vec<Problem>) {
        let (table, mut errors) = DeTable::parse_recoverable(self.text);
        let start = |error: &Error| error.span().map_or(0, |span| span.start);
        errors.sort_by_key(start);
        // After the first error of form the parser guesses; a key named twice is clear whatever else there is.
        let formal = errors.iter().position(|error| error.message() != TWICE);
        let clear =
            errors.iter().enumerate().filter(|(at, error)| Some(*at) == formal || error.message() == TWICE);
        let problems = clear.map(|(_, error)| Problem {
            place: self.place(&Origin::File(error.span().unwrap_or(0..0))),
            kind: ProblemKind::Syntax { message: error.message().to_owned() },
            also: None,
            help: None,
        });
        let problems = problems.collect();
        (entries(table.into_inner(), None), problems)
    }

    /// The line, column and text of an origin.
    pub(super) fn place(&self, origin: &Origin) -> Place {
        match origin {
            Origin::Default => Place::Default,
            Origin::Variable(name) => Place::Variable { name: name.clone() },
            Origin::File(span) => {
                let start = floor(self.text, span.start);
                let end = floor(self.text, span.end).max(start);
                let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
                let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
                let text = self.text[line_start..line_end].trim_end_matches('\r');
                let marked = &self.text[start..end.min(line_end)];
                let is_secret = may_hold_a_secret(&self.text[..line_start], text);
                Place::File {
                    name: self.name.to_owned(),
                    line: self.line(start),
                    column: self.text[line_start..start].chars().count() + 1,
                    text: if is_secret { None } else { Some(text.to_owned()) },
                    width: marked.trim_end().chars().count().max(1),
                }
            }
        }
    }

    /// The line, from 1, on which a byte stands.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text[..floor(self.text, at)].matches('\n').count() + 1
    }
}

/// Whether a line may hold the address of the webhook: it names one, or is of the table `[alerts]` or of one whose name has a slip.
/// What is no TOML has no tree, so that only the text can tell, and rather once too often.
fn may_hold_a_secret(before: &str, line: &str) -> bool {
    let names = |line: &str, word| line.to_lowercase().contains(word);
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let mut upwards = std::iter::once(line).chain(before.lines().rev());
    let table = upwards.find(|line| names(line, "alert") || is_header(line));
    names(line, "hook") || table.is_some_and(|line| names(line, "alert"))
}

/// The value of a variable: TOML where it is TOML, else text.
pub(super) fn variable_value(name: &str, text: &str) -> Node {
    let origin = Origin::Variable(name.to_owned());
    let mut node = DeValue::parse(text).map_or_else(
        |_| Node { origin: origin.clone(), value: Value::Text(text.to_owned()), raw: None },
        |value| node(value.into_inner(), origin.clone(), Some(name)),
    );
    node.raw = Some(text.to_owned());
    node
}

/// The nearest character boundary at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn entries(table: DeTable<'_>, variable: Option<&str>) -> Vec<Entry> {
    let origin = |span| variable.map_or_else(|| Origin::File(span), |name| Origin::Variable(name.to_owned()));
    let mut keyed: Vec<_> = table.into_iter().collect();
    // The parser's table is sorted by name; we keep the order in which things were written.
    keyed.sort_by_key(|(key, _)| key.span().start);
    keyed
        .into_iter()
        .map(|(key, value)| {
            let span = value.span();
            Entry {
                origin: origin(key.span()),
                node: node(value.into_inner(), origin(span), variable),
                key: key.into_inner().into_owned(),
            }
        })
        .collect()
}

fn node(value: DeValue<'_>, origin: Origin, variable: Option<&str>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(integer(number.as_str(), number.radix())),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| {
                    let span = item.span();
                    let origin = variable.map_or_else(|| Origin::File(span), |_| origin.clone());
                    node(item.into_inner(), origin, variable)
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(table, variable)),
    };
    Node { origin, value, raw: None }
}

fn integer(digits: &str, radix: u32) -> i64 {
    let clamped = if digits.starts_with('-') { i64::MIN } else { i64::MAX };
    i64::from_str_radix(digits, radix).unwrap_or(clamped)
}
