//! Reports and requests that did not end `ok`, as rows.

use lifeboat_protocol::{FailedRow, ReportRow};

use crate::engine::{FailedRequest, ReportHead};

/// A report, with how long ago it and the first of its signature were.
pub(in crate::link) fn report_row((head, ago_ms, first_ago_ms): (&ReportHead, u64, u64)) -> ReportRow {
    ReportRow {
        report_id: head.id.clone(),
        ago_ms,
        pool: head.pool.clone(),
        worker: head.worker.clone(),
        incarnation: head.incarnation.into(),
        reason: head.reason.label.clone(),
        detail: head.reason.detail.clone(),
        methods: head.methods.clone(),
        signature: head.signature.id.clone(),
        text: head.signature.text.clone(),
        count: head.signature.count,
        first_ago_ms,
    }
}

pub(in crate::link) fn failed_row(failed: FailedRequest) -> FailedRow {
    FailedRow {
        request: failed.request,
        pool: failed.pool,
        method: failed.method,
        outcome: failed.outcome.to_owned(),
        why: failed.why.map(str::to_owned),
        attempts: failed.attempts,
        duration_ms: failed.duration_ms,
        ago_ms: failed.ago_ms,
        reason: failed.reason.map(str::to_owned),
        report_id: failed.report,
    }
}
