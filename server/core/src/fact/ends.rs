//! What is told of a request's end and of a process's unplanned one.

use std::time::Duration;

use crate::evidence::{ConnectionEnd, Evidence, Intent, Rungs};
use crate::ids::{AttemptNumber, ClientId, MethodId, PoolId, ProcessKey, ReportId, RequestId};
use crate::reason::{Confidence, CrashReason, KillReason, OutcomeKind, RejectWhy};
use crate::time::Timestamp;

/// A request's end.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnded {
    /// The pool; `None` where no pool serves the method.
    pub pool: Option<PoolId>,
    /// The method; `None` where the configuration does not serve it.
    pub method: Option<MethodId>,
    /// Who asked.
    pub client: ClientId,
    /// Its id; `None` where it was refused before it got one.
    pub request: Option<RequestId>,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Why it was refused.
    pub rejected: Option<RejectWhy>,
    /// From acceptance to outcome.
    pub duration: Duration,
    /// How many attempts were made.
    pub attempts: u16,
    /// It ended later than its deadline and `kill_timeout`: a broken promise.
    pub past_deadline: bool,
    /// The answer came after a limit had fired.
    pub late: bool,
    /// The label of what ended its last attempt, where that crashed or was killed and no answer came.
    pub reason: Option<&'static str>,
    /// The report of the death that ended it.
    pub report: Option<ReportId>,
}

/// A process's unplanned end: the verdict, and the evidence beside it.
#[derive(Clone, Debug)]
pub struct Death {
    /// Its report.
    pub report: ReportId,
    /// The pool.
    pub pool: PoolId,
    /// Which process.
    pub process: ProcessKey,
    /// Its process id, where it got one.
    pub pid: Option<u32>,
    /// Why.
    pub reason: CrashReason,
    /// How sure that is.
    pub confidence: Confidence,
    /// The raw facts.
    pub evidence: Evidence,
    /// What the broker had decided before.
    pub intent: Option<Intent>,
    /// How its connection ended, if that was seen.
    pub connection: Option<ConnectionEnd>,
    /// When the process was ordered.
    pub started_at: Timestamp,
    /// When the first sign of its death was seen.
    pub first_sign_at: Timestamp,
    /// The rungs of the ladder that were climbed, and when.
    pub rungs: Rungs,
    /// When it was judged: its tree was verified dead just before.
    pub judged_at: Timestamp,
    /// The broker killed it.
    pub killed_by_broker: Option<KillReason>,
    /// It had answered `ok` or was stable: its replacement starts at once.
    pub productive: bool,
    /// What it was executing.
    pub executing: Vec<(RequestId, AttemptNumber, MethodId)>,
    /// Since when it was executing each of them; `None` where the request had its outcome before.
    pub executing_since: Vec<Option<Timestamp>>,
    /// Requests it held that had not started and were put back.
    pub requeued: u32,
}
