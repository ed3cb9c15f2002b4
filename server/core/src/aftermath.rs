//! What a death leads to: it is told, and what the process held is settled.
//!
//! It owns who pays: the executing attempt alone, and not even that one where a limit of it had passed or a shutdown
//! wanted its end; the rest goes back free of charge. It must never judge: it is given the verdict.

use std::sync::Arc;

use crate::action::{AttemptCause, Outcome};
use crate::core::Core;
use crate::evidence::Evidence;
use crate::fact::{Death, Fact, RetryCause};
use crate::ids::{ReportId, RequestId};
use crate::judge::{End, Verdict};
use crate::reason::{AttemptEnd, Confidence, CrashReason, StopReason, TimeoutWhich};
use crate::retry::Trigger;
use crate::settle::Retriable;
use crate::slot::Held;
use crate::suspects::Blame;

impl<Q, A> Core<Q, A> {
    /// Tells the verdict, weighs it and settles everything that the process held. Once per process. Tells whether its
    /// worker's next process is ordered at once.
    ///
    /// A death that trips its pool, or brings a body into quarantine, does so before it is settled: nothing is granted that
    /// would be refused.
    pub(crate) fn conclude(&mut self, berth: usize, verdict: Verdict, evidence: Evidence) -> bool {
        let process = self.process(berth);
        let awaiting = std::mem::take(&mut process.awaiting_death);
        let line: Vec<Held> =
            process.slots.iter_mut().flat_map(|slot| std::mem::take(&mut slot.line)).collect();
        let death = match verdict.end {
            End::Crash(reason) => {
                let executing: Vec<Held> =
                    line.iter().filter(|held| held.started).chain(&awaiting).copied().collect();
                let requeued = line.iter().filter(|held| !held.started && held.settled.is_none()).count();
                let death = self.crashed(berth, reason, verdict.confidence, evidence, &executing, requeued);
                let spared = self.process(berth).spared;
                self.count_death(&executing, spared, &death);
                Some(death)
            }
            End::Planned(reason) => {
                self.stopped(berth, reason, evidence);
                None
            }
        };
        let fit = death.as_ref().is_none_or(|death| self.weigh(berth, death));
        let shares = self.pool_settings(berth).slots.get() > 1;
        for held in awaiting {
            self.settle_timed_out(held, death.as_ref(), shares);
        }
        for held in line.into_iter().filter(|held| held.settled.is_none()) {
            if held.started {
                self.settle_executing(held, death.as_ref(), shares);
            } else {
                self.requeue_free(held.request);
            }
        }
        if death.is_some() {
            let worker = usize::from(self.worker(berth).id.0);
            self.mind_health(worker);
        }
        fit
    }

    fn stopped(&mut self, berth: usize, reason: StopReason, evidence: Evidence) {
        let pool = self.pool_of(berth);
        let process = self.process(berth).key;
        self.out.tell(Fact::WorkerStopped { pool, process, reason, evidence: Box::new(evidence) });
    }

    fn crashed(
        &mut self,
        berth: usize,
        reason: CrashReason,
        confidence: Confidence,
        evidence: Evidence,
        executing: &[Held],
        requeued: usize,
    ) -> Arc<Death> {
        let now = self.now;
        self.last_report = ReportId(self.last_report.0 + 1);
        let report = self.last_report;
        let stable_after = self.pool_settings(berth).restart.stable_after;
        let pool = self.pool_of(berth);
        let since = |held: &Held| {
            let record = self.requests.get(held.request)?;
            (record.attempt() == held.attempt).then_some(record.started_at)
        };
        let executing_since = executing.iter().map(since).collect();
        let process = self.process(berth);
        let first_sign_at = process.first_sign_at.unwrap_or(now);
        let label = reason.label();
        let death = Arc::new(Death {
            report,
            pool,
            process: process.key,
            pid: process.pid,
            killed_by_broker: if let CrashReason::Killed(why) = &reason { Some(*why) } else { None },
            reason,
            confidence,
            evidence,
            intent: process.intent,
            connection: process.connection.clone(),
            started_at: process.ordered_at,
            first_sign_at,
            rungs: process.rungs,
            judged_at: now,
            productive: process.is_productive(first_sign_at, stable_after),
            executing: executing.iter().map(|held| (held.request, held.attempt, held.method)).collect(),
            executing_since,
            requeued: u32::try_from(requeued).unwrap_or(u32::MAX),
        });
        let counted = process.panicked;
        let worker = self.worker(berth);
        if counted {
            // The panic was counted when it was told; the process's end is its consequence.
            worker.last_crash = Some((now, label));
        } else {
            worker.note_crash(now, label);
        }
        self.out.tell(Fact::WorkerCrashed(Arc::clone(&death)));
        death
    }

    /// The attempt that was executing pays, unless the process was ended because a limit of it had passed. `shares` tells
    /// that it may have had neighbours.
    fn settle_executing(&mut self, held: Held, death: Option<&Arc<Death>>, shares: bool) {
        let id = held.request;
        let limit = self.requests.open_record(id).limit;
        let by_broker = death.is_none_or(|death| death.killed_by_broker.is_some());
        if limit.is_some() && by_broker {
            self.settle_timed_out(held, death, shares);
            return;
        }
        let Some(death) = death else {
            self.end_attempt(id, AttemptEnd::Closed, None);
            self.end_request(id, Outcome::Closed);
            return;
        };
        self.end_attempt(id, AttemptEnd::Crashed, Some(AttemptCause::Death(Arc::clone(death))));
        let max_attempts = self.requests.open_record(id).max_attempts;
        let ask = Retriable {
            trigger: Trigger::Crash,
            cause: RetryCause::Crash(death.reason.label_index()),
            blame: Blame::of(death, false, shares),
            otherwise: Outcome::Crashed { max_attempts },
        };
        self.retry_or_end(id, ask);
    }

    fn settle_timed_out(&mut self, held: Held, death: Option<&Arc<Death>>, shares: bool) {
        let id = held.request;
        let cause = death.map(|death| AttemptCause::Death(Arc::clone(death)));
        self.end_attempt(id, AttemptEnd::TimedOut, cause);
        let which = self.requests.open_record(id).limit.unwrap_or(TimeoutWhich::Deadline);
        let otherwise = self.timed_out(id, which);
        match death {
            Some(death) if which != TimeoutWhich::Deadline => {
                let cause = RetryCause::Crash(death.reason.label_index());
                let trigger = match which {
                    TimeoutWhich::Progress | TimeoutWhich::Output => Trigger::Stall,
                    TimeoutWhich::Attempt | TimeoutWhich::Queue | TimeoutWhich::Deadline => Trigger::Timeout,
                };
                let blame = Blame::of(death, true, shares);
                self.retry_or_end(id, Retriable { trigger, cause, blame, otherwise });
            }
            Some(_) | None => self.end_request(id, otherwise),
        }
    }

    /// A request that never started goes back to the queue, free of charge.
    ///
    /// Unless the pool takes nothing more: then it ends.
    pub(crate) fn requeue_free(&mut self, id: RequestId) {
        let pool = self.requests.open_record(id).pool;
        if self.is_closing(pool) {
            self.end_request(id, Outcome::Closed);
            return;
        }
        if self.tripped_for(pool).is_some()
            && let Some(outcome) = self.outcome_while_tripped(id)
        {
            self.end_request(id, outcome);
            return;
        }
        if self.is_quarantined(id) {
            let outcome = self.outcome_while_quarantined(id);
            self.end_request(id, outcome);
            return;
        }
        self.out.tell(Fact::RequeuedFree { pool, request: id });
        self.put_back(id);
    }
}
