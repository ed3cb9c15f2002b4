//! Everything that `/metrics` shows, as owned data that can cross to the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat_core::view::{BrokerView, SlotState, WorkerState};

use super::alerts::{AlertCounts, AlertResult};
use super::counters::Counters;
use super::names::Names;
use super::wall_clock::WallClock;

/// The broker's counters, histograms and gauges at one moment. Made by [`Observer::snapshot`](super::Observer::snapshot)
/// on the data plane, in time proportional to the number of methods and workers; turned into text by
/// [`MetricsSnapshot::to_text`] elsewhere.
#[derive(Clone, Debug)]
pub struct MetricsSnapshot {
    pub(super) names: Arc<Names>,
    pub(super) counters: Counters,
    /// Per pool, in configuration order.
    pub(super) pools: Vec<PoolGauges>,
    /// `consecutiveFailures` per worker, in the order of their ids.
    pub(super) consecutive_failures: Vec<u32>,
    /// Whether it is unhealthy, per worker, in the order of their ids.
    pub(super) unhealthy: Vec<bool>,
    /// Bytes of memory per worker, in the order of their ids.
    pub(super) worker_memory: Vec<u64>,
    /// Lines of the broker's log that were dropped.
    pub(super) log_lines_dropped: u64,
    /// Reports that were not written to files.
    pub(super) reports_dropped: u64,
    /// Alerts, in the order of [`AlertResult::ALL`].
    pub(super) alerts: [u64; AlertResult::ALL.len()],
}

/// Numbers that others keep, and that are read when they are asked for.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Lines of the broker's log that were dropped.
    pub(super) log_lines_dropped: Arc<AtomicU64>,
    /// Bytes of memory per worker, in the order of their ids; empty where nobody looks.
    pub(super) worker_memory: Arc<[AtomicU64]>,
    /// Reports that were not written to files.
    pub(super) reports_dropped: Arc<AtomicU64>,
    /// What became of alerts.
    pub(super) alerts: AlertCounts,
}

impl Outside {
    fn worker_memory(&self, workers: usize) -> Vec<u64> {
        let mut bytes: Vec<_> =
            self.worker_memory.iter().map(|place| place.load(Ordering::Relaxed)).collect();
        bytes.resize(workers, 0);
        bytes
    }
}

/// A pool's present state in numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolGauges {
    pub(super) workers: [u32; WorkerState::ALL.len()],
    pub(super) slots: [u32; SlotState::ALL.len()],
    pub(super) queue_depth: usize,
    pub(super) queue_bytes: usize,
    /// Seconds since 1970; 0 while nothing waits.
    pub(super) queue_oldest: f64,
    pub(super) is_tripped: bool,
    pub(super) quarantined: usize,
}

impl MetricsSnapshot {
    pub(super) fn new(
        names: Arc<Names>,
        counters: Counters,
        view: &BrokerView,
        clock: &WallClock,
        outside: &Outside,
    ) -> Self {
        let mut pools = vec![PoolGauges::default(); names.pool_count()];
        let mut consecutive_failures = vec![0; names.worker_count()];
        let mut unhealthy = vec![false; names.worker_count()];
        for pool in &view.pools {
            if let Some(gauges) = pools.get_mut(usize::from(pool.pool.0)) {
                gauges.queue_depth = pool.queue_depth;
                gauges.queue_bytes = pool.queue_bytes;
                gauges.queue_oldest = pool.queue_oldest.map_or(0.0, |oldest| clock.unix_seconds(oldest));
                gauges.is_tripped = pool.state.is_tripped();
                gauges.quarantined = pool.quarantined;
            }
        }
        for worker in &view.workers {
            if let Some(gauges) = pools.get_mut(usize::from(worker.pool.0)) {
                gauges.workers[worker.state as usize] += 1;
                for slot in &worker.slots {
                    gauges.slots[slot.state as usize] += 1;
                }
            }
            if let Some(failures) = consecutive_failures.get_mut(usize::from(worker.worker.0)) {
                *failures = worker.consecutive_failures;
            }
            if let Some(unhealthy) = unhealthy.get_mut(usize::from(worker.worker.0)) {
                *unhealthy = !worker.healthy;
            }
        }
        let worker_memory = outside.worker_memory(names.worker_count());
        let log_lines_dropped = outside.log_lines_dropped.load(Ordering::Relaxed);
        let reports_dropped = outside.reports_dropped.load(Ordering::Relaxed);
        let alerts = outside.alerts.read();
        Self {
            names,
            counters,
            pools,
            consecutive_failures,
            unhealthy,
            worker_memory,
            log_lines_dropped,
            reports_dropped,
            alerts,
        }
    }
}
