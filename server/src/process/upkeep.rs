//! What the plane looks after by itself, again and again: orphans, leaders that could not be reaped, leaks, memory, the warden.

use std::rc::Rc;
use std::time::Duration;

use super::plane::Plane;
use super::warden::Warden;
use super::{collect, memory};

/// How often orphans of living workers and the out-of-memory counters are looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_millis(500);

/// At every which upkeep the memory of all processes is looked at: about 40 µs a process.
const MEMORY_TICKS: u32 = 4;

impl Plane {
    /// Replaces a warden that is gone: without it the broker's own death would leave something behind.
    fn keep_warden(&self) {
        if self.warden.borrow_mut().is_there() {
            return;
        }
        match Warden::start(&self.options.shim, &self.mark, self.home.paths()) {
            Ok(warden) => {
                tracing::warn!("the warden was gone; there is another one");
                self.sweeper.borrow_mut().warden_is(warden.pid());
                self.table.borrow().iter().for_each(|process| warden.there_is(process.pid));
                *self.warden.borrow_mut() = warden;
            }
            Err(error) => tracing::warn!(%error, "the warden is gone, and another one cannot be started"),
        }
    }

    /// Orphans of living workers, leaders that could not be reaped, leaks, out-of-memory counters.
    pub(super) async fn keep_up(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count: u32 = 0;
        loop {
            ticks.tick().await;
            self.keep_warden();
            if !self.table.borrow().is_empty() || self.sweeper.borrow().has_work() {
                collect::reap_withheld(&self);
                self.sweep(None);
                self.oom.borrow_mut().refresh();
                memory::sample_rarely(&self).await;
            }
            self.home.clear();
            count = count.wrapping_add(1);
            if count.is_multiple_of(MEMORY_TICKS) {
                memory::look_at_all(&self).await;
            }
        }
    }
}
