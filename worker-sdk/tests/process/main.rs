//! Real worker processes: exit codes, signals, inherited descriptors.
//!
//! Each test starts this very test binary again as a worker (the test `worker::worker_process`, told by an environment
//! variable what to be) with its socket as descriptor 3, and plays the broker.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod abort;
mod broker;
mod ends;
mod heartbeat;
mod recorder;
mod slots;
mod worker;

use std::time::Duration;

/// How long anything that must happen may take.
const LIMIT: Duration = Duration::from_secs(20);
