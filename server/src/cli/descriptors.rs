//! The limit on file descriptors, and what it leaves for clients.
//!
//! Owns the count of what everything takes. Must never open one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::broker::StartError;

/// Descriptors kept for everything but clients and workers: some 30 of the broker's own, 81 for HTTP (its listener, 64
/// connections and 16 that are being refused), and what a spawn and a look into `/proc` take for a moment.
const RESERVED_DESCRIPTORS: u64 = 128;

/// Descriptors of one client: its socket, and a writer's duplicate while it does not read.
const DESCRIPTORS_PER_CLIENT: u64 = 2;

/// Descriptors of one process: socket, two pidfds, two pipes, its flight recorder, and a writer's duplicate.
const DESCRIPTORS_PER_PROCESS: u64 = 7;

/// No broker takes more clients than this, however many descriptors it may have.
const MOST_CLIENTS: u64 = 16_384;

/// What the limit on descriptors allows.
pub(super) struct Descriptors {
    /// Clients that there is room for.
    pub(super) max_clients: usize,
    /// The soft limit before it was raised; `None` is unlimited.
    pub(super) before: Option<u64>,
}

/// Raises the soft limit on descriptors to the hard one, for the broker alone.
pub(super) fn raise(processes: usize) -> Result<Descriptors, StartError> {
    let Rlimit { current: before, maximum } = getrlimit(Resource::Nofile);
    if let Err(errno) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%errno, "the limit on file descriptors could not be raised");
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = RESERVED_DESCRIPTORS + DESCRIPTORS_PER_PROCESS * processes as u64;
    let clients = (limit.saturating_sub(needed) / DESCRIPTORS_PER_CLIENT).min(MOST_CLIENTS);
    if clients == 0 {
        return Err(StartError::Descriptors { processes, needed, limit });
    }
    Ok(Descriptors { max_clients: usize::try_from(clients).unwrap_or(usize::MAX), before })
}
