//! What each worker of a pool may use, as it is shown beside what it is doing. Must never find out: it is told.

use serde::Serialize;

/// The limits in force for the processes of a pool. `None` is no limit of the pool's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsInForce {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Who sees to that.
    pub memory_by: Option<MemoryBy>,
    /// Processes and threads of a worker's tree at once.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// CPU time of each process's life, in milliseconds.
    pub cpu_time: Option<u64>,
    /// Bytes of each file that is written.
    pub file_size: Option<u64>,
    /// Bytes of a core dump; 0 is none.
    pub core_size: Option<u64>,
    /// How much they yield to others beyond what the broker does.
    pub nice: u8,
    /// The variables of the broker's environment that they get; `None` is all.
    pub inherit_env: Option<Vec<String>>,
    /// Where they run; `None` is the broker's own directory.
    pub current_dir: Option<String>,
}

/// Who sees to a limit on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryBy {
    /// The kernel, for the whole tree and at once.
    Cgroup,
    /// The broker, which looks at each process of it now and then.
    Sampling,
}
