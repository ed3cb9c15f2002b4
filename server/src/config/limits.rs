//! The table `limits` of a pool: what each of its processes may use.
//!
//! Owns its keys and their bounds. Must never set a limit: the process room does.

use std::time::Duration;

use super::pool_tables::{MEMORY, TIB};
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::{Count, Limit, Or, Size, Time};

/// What the kernel bounds for each process of a pool, and for everything that it starts. `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// The most open files.
    pub open_files: Option<u64>,
    /// How much CPU time it may use in its life.
    pub cpu_time: Option<Duration>,
    /// How many bytes a file may have that it writes.
    pub file_size: Option<u64>,
    /// The largest core dump, in bytes; 0 is none, and the default.
    pub core_size: Option<u64>,
    /// How much it yields to others beyond what the broker does, 0 to 19.
    pub nice: u8,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { open_files: None, cpu_time: None, file_size: None, core_size: Some(0), nice: 0 }
    }
}

/// A process has its three standard streams and its socket, and a program opens its libraries.
const FILES: Limit<Count> = Limit(Count { least: 16, most: 1_048_576 });

/// The kernel counts CPU time in seconds here.
const CPU_TIME: Limit<Time> =
    Limit(Time { least: Duration::from_secs(1), most: Duration::from_hours(365 * 24) });

const FILE_SIZE: Limit<Size> = Limit(Size { least: 1, most: 1024 * TIB });

const CORE_SIZE: Or<Limit<Size>> = Or(Limit(Size { least: 4096, most: 1024 * TIB }), "none");

/// The least that a process can yield to others beside not at all, to the most (nice(2)).
const NICE: Count = Count { least: 0, most: 19 };

/// Reads the table: the limit on memory, which the broker itself watches, and those that the kernel does.
pub(super) fn read(reader: &mut Reader<'_>, pool: &mut Section) -> (Set<Option<u64>>, WorkerLimits) {
    let mut section = reader.section(pool, "limits");
    let memory = reader.value(&mut section, "memory", &MEMORY, None);
    let processes = Limit(Count { least: 1, most: 1_000_000 });
    reader.value_not_yet(&mut section, "processes", &processes, None);
    let open_files = reader.value(&mut section, "open_files", &FILES, None).value;
    let cpu_time = reader.value(&mut section, "cpu_time", &CPU_TIME, None).value;
    let file_size = reader.value(&mut section, "file_size", &FILE_SIZE, None).value;
    let core_size = reader.value(&mut section, "core_size", &CORE_SIZE, None).value;
    let nice = reader.value(&mut section, "nice", &NICE, 0).value;
    reader.finish(section, |_| None);
    let limits = WorkerLimits {
        open_files: open_files.map(u64::from),
        cpu_time,
        file_size,
        core_size: core_size.unwrap_or(Some(0)),
        nice: u8::try_from(nice).unwrap_or_default(),
    };
    (memory, limits)
}
