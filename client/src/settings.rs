//! The settings of a client, as they hold.
//!
//! Owns what the builder was told, cut to what can be done. Must never be changed once the client is there.

use std::path::PathBuf;
use std::time::Duration;

/// Durations are cut to this (a century), so that adding them to a point in time cannot overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What the builder was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) software: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) max_body: Option<usize>,
    /// At least 1.
    pub(crate) max_in_flight: usize,
    /// Callers write by themselves when nothing else is under way. Saves the wake-up of another thread, which costs
    /// more than all the rest of a call; where the driver runs on the callers' thread there is none to save, and a
    /// write of its own for the first call of a burst costs throughput (measured: a third of it, with 64 calls under
    /// way).
    pub(crate) direct: bool,
}
