//! A pool's breaker: the count of unproductive incarnations, and whether the pool is tripped.
//!
//! It owns the window and the states. It must never refuse a request or order a process: `trip` does.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::fact::Death;
use crate::ids::RequestId;
use crate::settings::RestartSettings;
use crate::time::Timestamp;

/// Whether a pool takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// It does.
    #[default]
    Closed,
    /// It is tripped until then.
    Open {
        /// Its next chance.
        until: Timestamp,
    },
    /// It has its chance: one request at a time.
    HalfOpen,
}

/// The breaker of a pool.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    pub(crate) state: BreakerState,
    /// When unproductive incarnations ended, within the window.
    recent: VecDeque<Timestamp>,
    /// The last of them, until an attempt is answered `ok`.
    pub(crate) because: Option<Arc<Death>>,
    /// The request that was let in while half open.
    pub(crate) probe: Option<RequestId>,
}

impl Breaker {
    pub(crate) fn is_closed(&self) -> bool {
        self.state == BreakerState::Closed
    }

    pub(crate) fn is_half_open(&self) -> bool {
        self.state == BreakerState::HalfOpen
    }

    /// Takes note of an unproductive incarnation. Tells whether there are too many within the window.
    pub(crate) fn note(&mut self, death: Arc<Death>, settings: &RestartSettings, now: Timestamp) -> bool {
        self.because = Some(death);
        let Some(most) = settings.max_restarts.map(|most| most.get() as usize) else { return false };
        self.recent.push_back(now);
        let is_old = |at: &Timestamp| now - *at > settings.window;
        while self.recent.len() > most || self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
        self.recent.len() >= most
    }

    /// How many incarnations of the window were unproductive, as far as they were counted.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }

    /// Back to the beginning.
    pub(crate) fn reset(&mut self) {
        self.state = BreakerState::Closed;
        self.recent.clear();
        self.because = None;
        self.probe = None;
    }
}
