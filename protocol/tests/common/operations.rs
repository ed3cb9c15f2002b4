//! Arbitrary operations and what is told of them.
//!
//! Owns their generators. Must never encode or decode anything with the code under test.

use lifeboat_protocol::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::{methods, texts};

pub(crate) fn operates() -> impl Strategy<Value = Operate> {
    let known = select(Operation::ALL).prop_map(|operation| operation.as_str().to_owned());
    let operate = (prop_oneof![known, texts()], of(texts()), of(any::<u64>()));
    operate.prop_map(|(operation, target, limit)| Operate { operation, target, limit })
}

pub(crate) fn operateds() -> impl Strategy<Value = Operated> {
    let told = (any::<bool>(), of(texts()), vec(texts(), 0..4));
    let rows = (vec(pool_rows(), 0..3), vec(worker_rows(), 0..3), vec(request_rows(), 0..3), any::<bool>());
    let rows = (rows, vec(quarantine_rows(), 0..3));
    let reports = (vec(failed_rows(), 0..3), vec(report_rows(), 0..3), of(texts()));
    let health = (of(any::<bool>()), of(any::<bool>()));
    (told, rows, reports, health).prop_map(
        |(
            (ok, message, affected),
            ((pools, workers, requests, more), quarantine),
            (failed_requests, reports, report),
            (ready, draining),
        )| Operated {
            ok,
            message,
            affected,
            pools,
            workers,
            requests,
            failed_requests,
            reports,
            report,
            quarantine,
            more,
            ready,
            draining,
        },
    )
}

fn report_rows() -> impl Strategy<Value = ReportRow> {
    let worker = (texts(), texts(), any::<u64>());
    let why = (texts(), texts(), vec(methods(), 0..3));
    let signature = (texts(), texts(), any::<u64>(), any::<u64>());
    (texts(), any::<u64>(), worker, why, signature).prop_map(
        |(report_id, ago_ms, (pool, worker, incarnation), (reason, detail, methods), signature)| ReportRow {
            report_id,
            ago_ms,
            pool,
            worker,
            incarnation,
            reason,
            detail,
            methods,
            signature: signature.0,
            text: signature.1,
            count: signature.2,
            first_ago_ms: signature.3,
        },
    )
}

fn failed_rows() -> impl Strategy<Value = FailedRow> {
    let what = (of(any::<u64>()), of(texts()), of(methods()), texts(), of(texts()));
    let times = (any::<u16>(), any::<u64>(), any::<u64>());
    (what, times, of(texts()), of(texts())).prop_map(
        |((request, pool, method, outcome, why), (attempts, duration_ms, ago_ms), reason, report_id)| {
            FailedRow {
                request,
                pool,
                method,
                outcome,
                why,
                attempts,
                duration_ms,
                ago_ms,
                reason,
                report_id,
            }
        },
    )
}

fn pool_rows() -> impl Strategy<Value = PoolRow> {
    let state = select(PoolStateLabel::ALL);
    (texts(), state, any::<u64>(), any::<u64>(), of(any::<u64>()), of(texts())).prop_map(
        |(pool, state, queue_depth, queue_bytes, queue_oldest_ms, because)| PoolRow {
            pool,
            state,
            queue_depth,
            queue_bytes,
            queue_oldest_ms,
            because,
        },
    )
}

fn worker_rows() -> impl Strategy<Value = WorkerRow> {
    let names = (texts(), texts(), texts());
    let process = (of(any::<u64>()), of(any::<u32>()), any::<u64>(), vec(slot_rows(), 0..4));
    let health = (any::<u64>(), any::<u64>(), any::<bool>());
    let last_crash = (texts(), any::<u64>()).prop_map(|(reason, ago_ms)| LastCrash { reason, ago_ms });
    (names, process, health, of(texts()), of(last_crash)).prop_map(
        |((worker, pool, state), (incarnation, pid, held, slots), health, recycling, last_crash)| WorkerRow {
            worker,
            pool,
            state,
            incarnation,
            pid,
            held,
            slots,
            idle_ms: health.0,
            consecutive_failures: health.1,
            healthy: health.2,
            recycling,
            last_crash,
        },
    )
}

fn slot_rows() -> impl Strategy<Value = SlotRow> {
    let state = select(SlotStateLabel::ALL);
    let times = (of(any::<u64>()), of(any::<u64>()));
    (state, of(any::<u64>()), of(methods()), of(any::<u16>()), times).prop_map(
        |(state, request, method, attempt, (running_ms, progress_ms))| SlotRow {
            state,
            request,
            method,
            attempt,
            running_ms,
            progress_ms,
        },
    )
}

fn request_rows() -> impl Strategy<Value = RequestRow> {
    let what = (any::<u64>(), texts(), methods(), select(RequestStateLabel::ALL));
    let attempts = (any::<u16>(), any::<u16>());
    let running = (of(any::<u64>()), of(texts()));
    (what, attempts, any::<u64>(), running, (of(any::<u32>()), any::<bool>())).prop_map(
        |((request, pool, method, state), attempts, age_ms, (running_ms, worker), (client_pid, suspect))| {
            RequestRow {
                request,
                pool,
                method,
                state,
                attempt: attempts.0,
                max_attempts: attempts.1,
                age_ms,
                running_ms,
                worker,
                client_pid,
                suspect,
            }
        },
    )
}

fn quarantine_rows() -> impl Strategy<Value = QuarantineRow> {
    let (names, numbers) = ((texts(), methods(), texts()), (any::<u32>(), any::<u64>(), any::<u64>()));
    (names, numbers, of(texts())).prop_map(
        |((pool, method, digest), (crashes, last_crash_ms, expires_ms), report_id)| QuarantineRow {
            pool,
            method,
            digest,
            crashes,
            last_crash_ms,
            expires_ms,
            report_id,
        },
    )
}
