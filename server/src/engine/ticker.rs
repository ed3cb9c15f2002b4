//! The one timer of the data plane: coarse, and off when nothing is pending.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use super::ports::{LinkPort, ProcessPort};

/// Two wake-ups are at least this far apart, so that a burst of limits costs one.
///
/// Source: limits must fire within 20 ms of their time; a quarter of that leaves room for scheduling.
const TICK: Duration = Duration::from_millis(5);

/// Wakes the engine whenever a limit is due. Runs as long as the data plane; dropping it stops the timers.
pub async fn run<L: LinkPort, P: ProcessPort>(engine: Shared<L, P>) {
    let rearm = Rc::clone(&engine.borrow().rearm);
    let mut not_before = Instant::now();
    loop {
        let Some(wait) = engine.borrow_mut().next_timeout() else {
            rearm.notified().await;
            continue;
        };
        let wake_at = (Instant::now() + wait).max(not_before);
        tokio::select! {
            () = tokio::time::sleep_until(wake_at) => {
                engine.borrow_mut().handle_timeout();
                not_before = Instant::now() + TICK;
            }
            () = rearm.notified() => {}
        }
    }
}
