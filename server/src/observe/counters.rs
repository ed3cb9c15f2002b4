//! Everything that is counted, as plain numbers in arrays indexed by pool, method and label.

use lifeboat_core::fact::{Death, Fact, RequestEnded, RetryCause};
use lifeboat_core::ids::{MethodId, PoolId};
use lifeboat_core::reason::{AttemptEnd, CrashReason, OutcomeKind, RejectWhy, StopReason, TimeoutWhich};

use super::histogram::Histogram;
use super::kills;

/// What is counted per method.
#[derive(Clone, Debug, Default)]
pub(super) struct MethodCounters {
    pub(super) outcomes: [u64; OutcomeKind::ALL.len()],
    pub(super) ends: [u64; AttemptEnd::ALL.len()],
    pub(super) timeouts: [u64; TimeoutWhich::ALL.len()],
    pub(super) retries: [u64; RetryCause::COUNT],
    pub(super) queue_wait: Histogram,
    pub(super) attempt_duration: Histogram,
    pub(super) request_duration: Histogram,
}

/// What is counted per pool.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolCounters {
    pub(super) rejected: [u64; RejectWhy::ALL.len()],
    pub(super) crashes: [u64; CrashReason::LABELS.len()],
    pub(super) kills: [u64; CrashReason::LABELS.len()],
    pub(super) stops: [u64; StopReason::ALL.len()],
    pub(super) starts: u64,
    pub(super) requeues_free: u64,
    pub(super) late_answers: u64,
    pub(super) saves: u64,
    pub(super) saves_dropped: u64,
    pub(super) leaks: u64,
    pub(super) panics: u64,
    pub(super) start_time: Histogram,
    pub(super) death_to_verdict: Histogram,
}

/// All counters and histograms since the broker's start.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    /// Per method, and one more at the end: requests for a method that the configuration does not serve.
    methods: Vec<MethodCounters>,
    /// Per pool, and one more at the end: requests that no pool is for.
    pools: Vec<PoolCounters>,
    pub(super) past_deadline: u64,
    pub(super) client_connections: u64,
}

impl Counters {
    pub(super) fn new(pools: usize, methods: usize) -> Self {
        Self {
            methods: vec![MethodCounters::default(); methods + 1],
            pools: vec![PoolCounters::default(); pools + 1],
            past_deadline: 0,
            client_connections: 0,
        }
    }

    /// The counters of the methods of the configuration, in its order.
    pub(super) fn methods(&self) -> &[MethodCounters] {
        &self.methods[..self.methods.len() - 1]
    }

    /// The counters of requests for methods that the configuration does not serve.
    pub(super) fn unknown_method(&self) -> &MethodCounters {
        self.methods.last().expect("made with one more than there are methods")
    }

    /// The counters of the pools, in configuration order.
    pub(super) fn pools(&self) -> &[PoolCounters] {
        &self.pools[..self.pools.len() - 1]
    }

    /// The counters of requests that no pool is for.
    pub(super) fn no_pool(&self) -> &PoolCounters {
        self.pools.last().expect("made with one more than there are pools")
    }

    /// Counts a fact. Allocates nothing.
    #[inline]
    pub(super) fn count(&mut self, fact: &Fact) {
        match fact {
            Fact::RequestEnded(ended) => self.request_ended(ended),
            Fact::AttemptEnded { method, end, duration, .. } => {
                let counters = self.method(Some(*method));
                counters.ends[*end as usize] += 1;
                counters.attempt_duration.observe(*duration);
            }
            Fact::FirstDispatched { method, waited, .. } => {
                self.method(Some(*method)).queue_wait.observe(*waited)
            }
            Fact::Retried { method, cause, .. } => {
                self.method(Some(*method)).retries[cause.label_index()] += 1
            }
            Fact::LimitPassed { method, which, .. } => {
                self.method(Some(*method)).timeouts[*which as usize] += 1
            }
            Fact::RequeuedFree { pool, .. } => self.pool(Some(*pool)).requeues_free += 1,
            Fact::AnswerRefused { pool, .. } => self.pool(Some(*pool)).late_answers += 1,
            Fact::Saved { pool, .. } => self.pool(Some(*pool)).saves += 1,
            Fact::SaveDropped { pool, .. } => self.pool(Some(*pool)).saves_dropped += 1,
            Fact::WorkerStarting { pool, .. } => self.pool(Some(*pool)).starts += 1,
            Fact::WorkerReady { pool, took, .. } => self.pool(Some(*pool)).start_time.observe(*took),
            Fact::WorkerCrashed(death) => self.worker_crashed(death),
            Fact::WorkerStopped { pool, reason, .. } => self.pool(Some(*pool)).stops[*reason as usize] += 1,
            Fact::DescendantsLeaked { pool, count, .. } => self.pool(Some(*pool)).leaks += u64::from(*count),
            Fact::SlotRetired { pool, .. } | Fact::SlotKept { pool, .. } => {
                self.pool(Some(*pool)).panics += 1;
            }
            Fact::Signalled { .. }
            | Fact::SetApart { .. }
            | Fact::RecycleDue { .. }
            | Fact::PoolTripped { .. }
            | Fact::PoolProbed { .. }
            | Fact::PoolRecovered { .. }
            | Fact::Operated { .. }
            | Fact::WorkerBackingOff { .. }
            | Fact::UnkillableDied { .. }
            | Fact::WorkerUnhealthy { .. }
            | Fact::WorkerHealthy { .. }
            | Fact::WorkerDisabled { .. }
            | Fact::Quarantined(_)
            | Fact::QuarantineReleased(_)
            | Fact::DrainBegan => {}
        }
    }

    #[inline]
    fn request_ended(&mut self, ended: &RequestEnded) {
        let counters = self.method(ended.method);
        counters.outcomes[ended.outcome as usize] += 1;
        // A refused request was never accepted: its zero would only make the others look faster.
        if ended.outcome != OutcomeKind::Rejected {
            counters.request_duration.observe(ended.duration);
        }
        if let Some(why) = ended.rejected {
            self.pool(ended.pool).rejected[why as usize] += 1;
        }
        self.past_deadline += u64::from(ended.past_deadline);
    }

    #[cold]
    fn worker_crashed(&mut self, death: &Death) {
        let counters = self.pool(Some(death.pool));
        counters.crashes[death.reason.label_index()] += 1;
        if let Some(label) = kills::killed_by_broker(death) {
            counters.kills[label] += 1;
        }
        counters.death_to_verdict.observe(death.judged_at - death.first_sign_at);
    }

    #[inline]
    fn method(&mut self, id: Option<MethodId>) -> &mut MethodCounters {
        let unknown = self.methods.len() - 1;
        let index = id.map_or(unknown, |id| usize::from(id.0).min(unknown));
        &mut self.methods[index]
    }

    #[inline]
    fn pool(&mut self, id: Option<PoolId>) -> &mut PoolCounters {
        let none = self.pools.len() - 1;
        let index = id.map_or(none, |id| usize::from(id.0).min(none));
        &mut self.pools[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_indexed_by_their_place_in_the_lists() {
        assert!(OutcomeKind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
        assert!(AttemptEnd::ALL.iter().enumerate().all(|(place, end)| *end as usize == place));
        assert!(TimeoutWhich::ALL.iter().enumerate().all(|(place, which)| *which as usize == place));
        assert!(RejectWhy::ALL.iter().enumerate().all(|(place, why)| *why as usize == place));
        assert!(StopReason::ALL.iter().enumerate().all(|(place, reason)| *reason as usize == place));
    }
}
