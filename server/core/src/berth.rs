//! A worker's places for processes.
//!
//! It owns the arithmetic: every worker has two berths, so that a successor can get ready while the present process
//! serves on. It must never decide which one is used.

use crate::ids::WorkerId;
use crate::process::Process;

/// How many berths a worker has.
pub(crate) const BERTHS: usize = 2;

/// A place for one process of a worker.
#[derive(Debug)]
pub(crate) struct Berth {
    /// Whose it is.
    pub(crate) worker: WorkerId,
    pub(crate) process: Option<Process>,
}

/// The two berths of a worker, as places in the list of all.
pub(crate) const fn berths_of(worker: WorkerId) -> [usize; BERTHS] {
    let first = worker.0 as usize * BERTHS;
    [first, first + 1]
}

/// The other berth of the same worker.
pub(crate) const fn other(berth: usize) -> usize {
    berth ^ 1
}
