//! The table `limits` of a pool: what each of its processes may use.
//!
//! Owns its keys and their bounds. Must never set a limit: the process room does.

use std::time::Duration;

use super::broker::Cgroups;
use super::pool_tables::{MEMORY, TIB};
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::{Count, Limit, Or, Size, Time};

/// What the kernel bounds for each process of a pool, and for everything that it starts. `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// The most processes and threads of a tree at once. Takes a cgroup.
    pub processes: Option<u64>,
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
        Self {
            processes: None,
            open_files: None,
            cpu_time: None,
            file_size: None,
            core_size: Some(0),
            nice: 0,
        }
    }
}

/// Threads are counted too, and each is one of the system's numbers (`kernel.pid_max`).
const PROCESSES: Limit<Count> = Limit(Count { least: 1, most: 1_000_000 });

/// A process has its three standard streams and its socket, and a program opens its libraries.
const FILES: Limit<Count> = Limit(Count { least: 16, most: 1_048_576 });

/// The kernel counts CPU time in seconds here.
const CPU_TIME: Limit<Time> =
    Limit(Time { least: Duration::from_secs(1), most: Duration::from_hours(365 * 24) });

const FILE_SIZE: Limit<Size> = Limit(Size { least: 1, most: 1024 * TIB });

const CORE_SIZE: Or<Limit<Size>> = Or(Limit(Size { least: 4096, most: 1024 * TIB }), "none");

/// The least that a process can yield to others beside not at all, to the most (nice(2)).
const NICE: Count = Count { least: 0, most: 19 };

/// Reads the table: the limit on memory, which the broker itself watches where the kernel cannot, and the others.
pub(super) fn read(
    reader: &mut Reader<'_>,
    pool: &mut Section,
    cgroups: &Set<Cgroups>,
) -> (Set<Option<u64>>, WorkerLimits) {
    let mut section = reader.section(pool, "limits");
    let memory = reader.value(&mut section, "memory", &MEMORY, None);
    let processes = reader.value(&mut section, "processes", &PROCESSES, None);
    check_processes(reader, &processes, cgroups);
    let open_files = reader.value(&mut section, "open_files", &FILES, None).value;
    let cpu_time = reader.value(&mut section, "cpu_time", &CPU_TIME, None).value;
    let file_size = reader.value(&mut section, "file_size", &FILE_SIZE, None).value;
    let core_size = reader.value(&mut section, "core_size", &CORE_SIZE, None).value;
    let nice = reader.value(&mut section, "nice", &NICE, 0).value;
    reader.finish(section, |_| None);
    let limits = WorkerLimits {
        processes: processes.value.map(u64::from),
        open_files: open_files.map(u64::from),
        cpu_time,
        file_size,
        core_size: core_size.unwrap_or(Some(0)),
        nice: u8::try_from(nice).unwrap_or_default(),
    };
    (memory, limits)
}

/// Nothing but a cgroup can bound a tree.
fn check_processes(reader: &mut Reader<'_>, processes: &Set<Option<u32>>, cgroups: &Set<Cgroups>) {
    if processes.value.is_some() && cgroups.value == Cgroups::Off {
        let message = format!("`{}` has no effect, because `{}` is off", processes.key, cgroups.key);
        reader.warn_at_first(&[&processes.origin, &cgroups.origin], message);
    }
}
