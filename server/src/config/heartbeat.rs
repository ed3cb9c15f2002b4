//! The `heartbeat` key: `"on"`, `"off"`, or a table that says how often and how many may be missing.
//!
//! Owns its shapes. Must never allow so little that a busy host is taken for a hung process.

use std::time::Duration;

use lifeboat_core::settings::Heartbeat;

use super::pool::small;
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::{Count, DAY, Time};
use super::texts::WordOrTable;
use super::tree::{Origin, Value};
use super::units::show_duration;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_MISSED: u32 = 3;

/// Shorter than this a process may be kept waiting by a scheduler that is at work.
const INTERVAL: Time = Time { least: Duration::from_millis(10), most: DAY };

/// With 1, whatever comes a moment later than the one before would be too late.
const MISSED: Count = Count { least: 2, most: 1000 };

const WORD: WordOrTable<bool> =
    WordOrTable { words: &[("on", true), ("off", false)], table: "{ interval = \"2s\", missed = 3 }" };

/// How a pool's processes are watched.
pub(super) struct Beat {
    interval: Set<Duration>,
    missed: Set<u32>,
}

/// Reads the key of a pool; `None` is off.
pub(super) fn read(reader: &mut Reader<'_>, pool: &mut Section) -> Option<Beat> {
    match reader.take(pool, "heartbeat") {
        Some(entry) if matches!(entry.node.value, Value::Table(_)) => pool.put_back(entry),
        Some(entry) => {
            let path = pool.path("heartbeat");
            let is_on = reader.read(path.clone(), &entry, &WORD, &true);
            if !is_on.value {
                reader.tell(path, &is_on);
                return None;
            }
        }
        None => {}
    }
    let mut section = reader.section(pool, "heartbeat");
    let interval = reader.value(&mut section, "interval", &INTERVAL, DEFAULT_INTERVAL);
    let missed = reader.value(&mut section, "missed", &MISSED, DEFAULT_MISSED);
    reader.finish(section, |_| None);
    Some(Beat { interval, missed })
}

impl Beat {
    /// What the core is told.
    pub(super) fn settings(&self) -> Heartbeat {
        Heartbeat { interval: self.interval.value, missed: small(self.missed.value) }
    }

    /// Warns of a patience that outlasts every request.
    pub(super) fn check(&self, reader: &mut Reader<'_>, deadlines: impl Iterator<Item = Duration>) {
        let Self { interval, missed } = self;
        let patience = self.settings().patience();
        let is_written = interval.origin != Origin::Default || missed.origin != Origin::Default;
        let Some(longest) = deadlines.max().filter(|longest| is_written && patience >= *longest) else {
            return;
        };
        let message = format!(
            "`{}` ({}) times `{}` ({}) is {}, and no method of the pool has a `deadline` beyond {}: a process that \
             hangs in a request is always ended by that first",
            interval.key,
            interval.told(),
            missed.key,
            missed.told(),
            show_duration(patience),
            show_duration(longest),
        );
        reader.warn_at_first(&[&interval.origin, &missed.origin], message);
    }
}
