//! A pool's `unhealthy_after`, `unhealthy_on_failed` and `disable_unhealthy`.
//!
//! Owns when a worker counts as unhealthy, as the file says it. Must never look at a worker: the core counts.

use std::num::NonZeroU32;

use lifeboat_core::settings::HealthSettings;

use super::reader::Reader;
use super::section::Section;
use super::shapes::Count;
use super::texts::Flag;

/// A row that no worker comes to within a reasonable time is no alarm.
const LONGEST_ROW: u32 = 1000;

pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section) -> HealthSettings {
    let built_in = HealthSettings::default();
    let row = Count { least: 1, most: LONGEST_ROW };
    let after = reader.value(section, "unhealthy_after", &row, built_in.unhealthy_after.get()).value;
    HealthSettings {
        unhealthy_after: NonZeroU32::new(after).unwrap_or(built_in.unhealthy_after),
        on_failed: reader.value(section, "unhealthy_on_failed", &Flag, built_in.on_failed).value,
        disable: reader.value(section, "disable_unhealthy", &Flag, built_in.disable).value,
    }
}
