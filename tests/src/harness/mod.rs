//! The harness: starts real brokers, watches them from outside, and leaves nothing behind.
//!
//! Owns processes, directories and waiting with limits. Must never sleep for a guessed time, use a fixed port or path,
//! or let a test pass that left a process alive.

mod broker;
mod cgroups;
mod core_waits;
mod held;
mod http;
mod mark;
mod metrics;
mod proc_fs;
mod programs;
mod raw_client;
mod receiver;
mod room;
mod stalls;
mod start;
mod turn;

use std::time::{Duration, Instant};

pub use broker::Broker;
pub use cgroups::cgroups_of;
pub use core_waits::{CoreWaited, CoreWaits};
pub use held::Held;
pub use http::{Page, get};
pub use mark::{MARK_VARIABLE, Mark, Marked};
pub use metrics::Metrics;
pub use proc_fs::{Usage, is_alive, running_with, threads_of, usage, zombies_of};
pub use programs::{ballast, broker_program, caller, chaos_client, misbehave, workspace};
pub use raw_client::{RawClient, Received, hello, request_frame};
pub use receiver::{Answer, Receiver};
pub use room::Room;
pub use stalls::{Stalled, Stalls};
pub use start::{Refusal, Start, run_lifeboat};
pub use turn::Turn;

/// How long anything may take that should be quick: far more than needed, so that only a real hang reaches it.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What a busy two-core machine may add to any time that is measured.
pub const SLACK: Duration = Duration::from_millis(400);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until a condition holds.
///
/// # Panics
///
/// When it does not within `limit`; the text says what was waited for.
pub async fn eventually(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    until_some(limit, what, async || condition().await.then_some(())).await;
}

/// Waits until there is a value.
///
/// # Panics
///
/// When there is none within `limit`; the text says what was waited for.
pub async fn until_some<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + limit;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < give_up, "not within {limit:?}: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits, without a runtime, until a condition holds; tells whether it did within `limit`.
fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let give_up = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= give_up {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}
