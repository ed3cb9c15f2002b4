//! Deaths on their way to a watcher on another thread: a bounded queue with counted drops.

use std::sync::Arc;

use lifeboat_core::fact::Death;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The sending half.
#[derive(Debug)]
pub(super) struct DeathWatch {
    watcher: mpsc::Sender<Arc<Death>>,
    lost: u64,
}

impl DeathWatch {
    pub(super) const fn new(watcher: mpsc::Sender<Arc<Death>>) -> Self {
        Self { watcher, lost: 0 }
    }

    pub(super) fn tell(&mut self, death: &Arc<Death>) {
        match self.watcher.try_send(Arc::clone(death)) {
            // A watcher that left needs nothing more.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                tracing::warn!(lost = self.lost, "a watcher of deaths does not keep up");
            }
        }
    }
}
