//! The `quarantine` key: `"off"`, or a table that says after how many crashes a body is refused and for how long.
//!
//! Owns its two shapes. Must never refuse anything that nobody asked for: the default is `"off"`.

use std::num::NonZeroU32;

use lifeboat_core::settings::QuarantineSettings;

use super::reader::{Reader, Set};
use super::retry::{Rows, keep, untold};
use super::section::Section;
use super::shapes::{Count, DAY, Shape, Time};
use super::texts::WordOrTable;
use super::tree::{Origin, Value};

const WORD: WordOrTable<()> =
    WordOrTable { words: &[("off", ())], table: "{ crash_limit = 3, expiry = \"1h\" }" };

/// More crashes than this prove no more.
const CRASH_LIMIT: Count = Count { least: 1, most: 1000 };

const EXPIRY: Time = Time { least: std::time::Duration::from_secs(1), most: DAY.saturating_mul(365) };

/// A quarantine with what is told about it.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    pub(super) settings: Option<QuarantineSettings>,
    rows: Rows,
}

impl Quarantine {
    /// The default: off.
    pub(super) fn off(key: String, origin: Origin) -> Self {
        let row = Set { key, value: (), origin, shown: WORD.show(&()), sound: true };
        Self { settings: None, rows: vec![("", row)] }
    }

    /// Reads the key of a policy, or inherits.
    pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section, inherited: &Self) -> Self {
        let path = section.path("quarantine");
        let quarantine = match reader.take(section, "quarantine") {
            None => inherited.clone(),
            Some(entry) if matches!(entry.node.value, Value::Table(_)) => {
                section.put_back(entry);
                Self::read_table(reader, section)
            }
            Some(entry) => {
                let word = reader.read(path.clone(), &entry, &WORD, &());
                Self::off(path.clone(), word.origin)
            }
        };
        for (key, row) in &quarantine.rows {
            let key = if key.is_empty() { path.clone() } else { format!("{path}.{key}") };
            reader.tell(key, row);
        }
        quarantine
    }

    fn read_table(reader: &mut Reader<'_>, parent: &mut Section) -> Self {
        let mut section = reader.section(parent, "quarantine");
        let mut rows = Vec::new();
        let default = QuarantineSettings::default();
        let crash_limit =
            untold(reader, &mut section, "crash_limit", &CRASH_LIMIT, default.crash_limit.get());
        keep(&mut rows, "crash_limit", &crash_limit);
        let expiry = untold(reader, &mut section, "expiry", &EXPIRY, default.expiry);
        keep(&mut rows, "expiry", &expiry);
        reader.finish(section, |_| None);
        let crash_limit = NonZeroU32::new(crash_limit.value).unwrap_or(NonZeroU32::MIN);
        Self { settings: Some(QuarantineSettings { crash_limit, expiry: expiry.value }), rows }
    }
}
