//! The `retry` key: `"never"`, or a table that says after which ends, how often and when.
//!
//! Owns its two shapes. Must never make a retry that nobody asked for: the default is `"never"`.

use std::num::NonZeroU16;

use lifeboat_core::settings::{RetryOn, RetryPolicy};

use super::backoff::{self, Waits};
use super::error::ProblemKind;
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::{Count, Shape, Wrong, part};
use super::texts::WordOrTable;
use super::tree::{Node, Origin, Value};

const WORD: WordOrTable<()> =
    WordOrTable { words: &[("never", ())], table: "{ on = [\"crash\"], max_attempts = 3 }" };

/// A bound on what one request can cost; every attempt is kept with its error.
const MOST_ATTEMPTS: u32 = 100;

const DEFAULT_MAX_ATTEMPTS: u32 = 2;

/// A retry policy with what is told about it.
#[derive(Clone, Debug)]
pub(super) struct Retry {
    pub(super) policy: RetryPolicy,
    pub(super) origin: Origin,
    /// The key that says so.
    pub(super) key: String,
    /// The waits, to be compared with the deadline.
    pub(super) waits: Option<Waits>,
    rows: Rows,
}

/// What `check` prints: keys within `retry` (empty for `retry` itself) and their values.
pub(super) type Rows = Vec<(&'static str, Set<()>)>;

impl Retry {
    /// The default: never.
    pub(super) fn never(key: String, origin: Origin) -> Self {
        let shown = WORD.show(&());
        let row = Set { key: key.clone(), value: (), origin: origin.clone(), shown, sound: true };
        Self { policy: RetryPolicy::Never, origin, key, waits: None, rows: vec![("", row)] }
    }

    /// Reads the key of a policy, or inherits.
    pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section, inherited: &Self) -> Self {
        let path = section.path("retry");
        let retry = match reader.take(section, "retry") {
            None => inherited.clone(),
            Some(entry) if matches!(entry.node.value, Value::Table(_)) => {
                section.put_back(entry);
                Self::read_table(reader, section, path.clone())
            }
            Some(entry) => {
                let word = reader.read(path.clone(), &entry, &WORD, &());
                Self::never(path.clone(), word.origin)
            }
        };
        for (key, row) in &retry.rows {
            let key = if key.is_empty() { path.clone() } else { format!("{path}.{key}") };
            reader.tell(key, row);
        }
        retry
    }

    fn read_table(reader: &mut Reader<'_>, parent: &mut Section, path: String) -> Self {
        let mut section = reader.section(parent, "retry");
        let mut rows = Vec::new();
        let on = read_on(reader, &mut section);
        keep(&mut rows, "on", &on);
        let attempts = Count { least: 1, most: MOST_ATTEMPTS };
        let max_attempts = untold(reader, &mut section, "max_attempts", &attempts, DEFAULT_MAX_ATTEMPTS);
        keep(&mut rows, "max_attempts", &max_attempts);
        let waits = backoff::read(reader, &mut section, &mut rows, max_attempts.clone());
        let origin = section.origin.clone();
        reader.finish(section, |_| None);
        if max_attempts.sound && max_attempts.value == 1 {
            let why = "it counts the first attempt";
            never_retries(reader, &max_attempts, why);
        }
        let max_attempts = u16::try_from(max_attempts.value).ok().and_then(NonZeroU16::new);
        let max_attempts = max_attempts.unwrap_or(NonZeroU16::MIN);
        let policy = RetryPolicy::Retry { on: on.value, max_attempts, backoff: waits.backoff };
        Self { policy, origin, key: path, waits: Some(waits), rows }
    }
}

fn never_retries<T>(reader: &mut Reader<'_>, set: &Set<T>, why: &'static str) {
    let help = "write retry = \"never\" if that is meant".to_owned();
    reader.problem(&set.origin, ProblemKind::NeverRetries { key: set.key.clone(), why }, Some(help));
}

/// Reads a key whose row is told later, also for those that inherit it.
pub(super) fn untold<S: Shape>(
    reader: &mut Reader<'_>,
    section: &mut Section,
    key: &'static str,
    shape: &S,
    default: S::Value,
) -> Set<S::Value> {
    let path = section.path(key);
    match reader.take(section, key) {
        Some(entry) => reader.read(path, &entry, shape, &default),
        None => Set {
            shown: shape.show(&default),
            key: path,
            value: default,
            origin: Origin::Default,
            sound: true,
        },
    }
}

pub(super) fn keep<T>(rows: &mut Rows, key: &'static str, set: &Set<T>) {
    let (origin, shown) = (set.origin.clone(), set.shown.clone());
    rows.push((key, Set { key: set.key.clone(), value: (), origin, shown, sound: set.sound }));
}

fn read_on(reader: &mut Reader<'_>, section: &mut Section) -> Set<RetryOn> {
    let on = untold(reader, section, "on", &Ends, RetryOn::default());
    let nothing = RetryOn { crash: false, stall: false, timeout: false, failed: false };
    if on.sound && on.value == nothing {
        never_retries(reader, &on, "it is empty");
    }
    on
}

/// The ends of an attempt that are retried.
struct Ends;

impl Shape for Ends {
    type Value = RetryOn;

    fn read(&self, node: &Node) -> Result<RetryOn, Wrong> {
        let expected = || "a list of \"crash\", \"stall\", \"timeout\" and \"failed\"".to_owned();
        let Value::List(items) = &node.value else {
            return Err(Wrong::Type(expected()));
        };
        let mut on = RetryOn { crash: false, stall: false, timeout: false, failed: false };
        for item in items {
            let Value::Text(word) = &item.value else {
                return Err(part(item, Wrong::Type(expected())));
            };
            match word.as_str() {
                "crash" => on.crash = true,
                "stall" => on.stall = true,
                "timeout" => on.timeout = true,
                "failed" => on.failed = true,
                other => {
                    let wrong = Wrong::Text { expected: expected(), found: other.to_owned() };
                    return Err(part(item, wrong));
                }
            }
        }
        Ok(on)
    }

    fn show(&self, on: &RetryOn) -> String {
        let all = [("crash", on.crash), ("stall", on.stall), ("timeout", on.timeout), ("failed", on.failed)];
        let words: Vec<_> = all.iter().filter(|(_, set)| *set).map(|(word, _)| format!("{word:?}")).collect();
        format!("[{}]", words.join(", "))
    }
}
