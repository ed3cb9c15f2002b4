//! The vectors of operations and of what is told of them.

use super::*;

const ASKED: Route = Route::request(9, TimeLeft::NONE);

pub(super) fn vectors() -> Vec<Vector> {
    let operate = |name, operate| control(name, MessageType::Operate, Some(ASKED), operate);
    let operated = |name, operated| control(name, MessageType::Operated, Some(ASKED.answer()), operated);
    let affected = vec!["images-0".into(), "images-1".into()];
    vec![
        operate("operate_workers", Operate::new(Operation::Workers)),
        operate("operate_requests", Operate { limit: Some(20), ..Operate::new(Operation::Requests) }),
        operate("operate_failed_requests", Operate::new(Operation::FailedRequests)),
        operate("operate_reports", Operate::new(Operation::Reports)),
        operate("operate_report", Operate::on(Operation::Report, REPORT)),
        operate("operate_health", Operate::new(Operation::Health)),
        operate("operate_restart", Operate::on(Operation::Restart, "images")),
        operate("operate_drain", Operate::on(Operation::Drain, "images")),
        operate("operate_kill", Operate::on(Operation::Kill, "images-0")),
        operate("operate_quarantine", Operate::new(Operation::Quarantine)),
        operate("operate_release", Operate::on(Operation::Release, ALL_BODIES)),
        operated("operated", Operated { affected, ..Operated::done() }),
        operated("operated_not_done", Operated::not_done("no pool or worker is named `imags`")),
        operated("operated_workers", Operated { pools: pools(), workers: workers(), ..Operated::done() }),
        operated("operated_requests", Operated { requests: requests(), more: true, ..Operated::done() }),
        operated("operated_suspect", Operated { requests: vec![suspect()], ..Operated::done() }),
        operated("operated_quarantine", Operated { quarantine: quarantine(), ..Operated::done() }),
        operated(
            "operated_failed_requests",
            Operated { failed_requests: failed_requests(), ..Operated::done() },
        ),
        operated("operated_reports", Operated { reports: vec![report()], more: true, ..Operated::done() }),
        operated("operated_report", Operated { report: Some("{}".into()), ..Operated::done() }),
        operated(
            "operated_health",
            Operated { pools: pools(), ready: Some(false), draining: Some(false), ..Operated::done() },
        ),
    ]
}

fn pools() -> Vec<PoolRow> {
    vec![
        PoolRow {
            pool: "images".into(),
            state: PoolStateLabel::Serving,
            queue_depth: 2,
            queue_bytes: 4096,
            queue_oldest_ms: Some(120),
            because: None,
        },
        PoolRow {
            pool: "video".into(),
            state: PoolStateLabel::Tripped,
            queue_depth: 0,
            queue_bytes: 0,
            queue_oldest_ms: None,
            because: Some("20 restarts within 60 s".into()),
        },
    ]
}

fn workers() -> Vec<WorkerRow> {
    let busy = SlotRow {
        request: Some(42),
        method: Some("resize".into()),
        attempt: Some(2),
        running_ms: Some(1500),
        progress_ms: Some(300),
        ..SlotRow::new(SlotStateLabel::Busy)
    };
    vec![
        WorkerRow {
            worker: "images-0".into(),
            pool: "images".into(),
            state: "degraded".into(),
            incarnation: Some(3),
            pid: Some(4711),
            held: 1,
            slots: vec![busy, SlotRow::new(SlotStateLabel::Idle), SlotRow::new(SlotStateLabel::Failed)],
            idle_ms: 0,
            consecutive_failures: 1,
            healthy: true,
            recycling: Some("recycle_age".into()),
            last_crash: Some(LastCrash { reason: "signal".into(), ago_ms: 60_000 }),
        },
        WorkerRow {
            worker: "video-0".into(),
            pool: "video".into(),
            state: "backoff".into(),
            incarnation: None,
            pid: None,
            held: 0,
            slots: vec![],
            idle_ms: 7000,
            consecutive_failures: 20,
            healthy: false,
            recycling: None,
            last_crash: None,
        },
    ]
}

/// A request that was never tried.
fn row(request: u64, state: RequestStateLabel) -> RequestRow {
    RequestRow {
        request,
        pool: "images".into(),
        method: "resize".into(),
        state,
        attempt: 0,
        max_attempts: 3,
        age_ms: 120,
        running_ms: None,
        worker: None,
        client_pid: None,
        suspect: false,
    }
}

/// A report's name.
const REPORT: &str = "01h8xkq3v7c2e-12";

fn failed_requests() -> Vec<FailedRow> {
    let crashed = FailedRow {
        request: Some(42),
        pool: Some("images".into()),
        method: Some("resize".into()),
        outcome: "crashed".into(),
        why: None,
        attempts: 3,
        duration_ms: 250,
        ago_ms: 1500,
        reason: Some("signal".into()),
        report_id: Some(REPORT.into()),
    };
    let rejected = FailedRow {
        request: None,
        outcome: "rejected".into(),
        why: Some("queue_full".into()),
        attempts: 0,
        duration_ms: 0,
        reason: None,
        report_id: None,
        ..crashed.clone()
    };
    vec![crashed, rejected]
}

fn report() -> ReportRow {
    ReportRow {
        report_id: REPORT.into(),
        ago_ms: 1500,
        pool: "images".into(),
        worker: "images-0".into(),
        incarnation: 3,
        reason: "signal".into(),
        detail: "signal SIGSEGV".into(),
        methods: vec!["resize".into()],
        signature: "9d1c5a8e2b7f4036".into(),
        text: "images: signal (SIGSEGV) in resize".into(),
        count: 2,
        first_ago_ms: 60_000,
    }
}

fn suspect() -> RequestRow {
    RequestRow { attempt: 1, suspect: true, ..row(45, RequestStateLabel::Queued) }
}

fn quarantine() -> Vec<QuarantineRow> {
    let row = QuarantineRow {
        pool: "images".into(),
        method: "resize".into(),
        digest: "00112233445566778899aabbccddeeff".into(),
        crashes: 3,
        last_crash_ms: 61_000,
        expires_ms: 3_539_000,
        report_id: Some("1a2b3c-17".into()),
    };
    vec![row.clone(), QuarantineRow { report_id: None, ..row }]
}

fn requests() -> Vec<RequestRow> {
    vec![
        RequestRow {
            attempt: 2,
            age_ms: 2750,
            running_ms: Some(1500),
            worker: Some("images-0".into()),
            client_pid: Some(815),
            ..row(42, RequestStateLabel::Running)
        },
        RequestRow { attempt: 1, ..row(43, RequestStateLabel::Backoff) },
        row(44, RequestStateLabel::Queued),
    ]
}
