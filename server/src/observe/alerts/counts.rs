//! How many alerts came to what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of an alert: a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::observe) enum AlertResult {
    /// The receiver took it.
    Delivered,
    /// The receiver refused it, or could not be had for as long as it was tried.
    Failed,
}

impl AlertResult {
    /// Every result.
    pub(in crate::observe) const ALL: [Self; 2] = [Self::Delivered, Self::Failed];

    /// The label used in metrics.
    pub(in crate::observe) const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// Counted where alerts are delivered, read where metrics are shown.
#[derive(Clone, Debug, Default)]
pub struct AlertCounts(Arc<[AtomicU64; AlertResult::ALL.len()]>);

impl AlertCounts {
    pub(super) fn count(&self, result: AlertResult) {
        self.0[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far, in the order of [`AlertResult::ALL`].
    pub(in crate::observe) fn read(&self) -> [u64; AlertResult::ALL.len()] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}
