//! What is counted is what was told; everything known is there from the start.

use lifeboat_core::fact::RetryCause;
use lifeboat_core::ids::{MethodId, RequestId, SlotId};
use lifeboat_core::reason::{KillReason, StartFailure, StopReason, TimeoutWhich};
use lifeboat_core::view::SlotState;

use super::text::Exposition;
use super::*;

fn now() -> Timestamp {
    Timestamp::from_millis(3_000)
}

fn after(facts: &[Fact]) -> Exposition {
    let mut observer = observer();
    for fact in facts {
        observer.record(fact, now());
    }
    // Gauges of the view stay out of the way: nothing runs.
    Exposition::parse(&observer.snapshot(&BrokerView::default()).to_text().expect("text"))
}

#[test]
fn everything_known_is_there_at_zero() {
    let start = after(&[]);
    assert_eq!(start.non_zero(), vec![]);
    for (pool, method) in [("images", "thumbnail"), ("images", "convert"), ("text", "_other")] {
        for outcome in OutcomeKind::ALL {
            let label = outcome.label();
            start.get(&format!(
                r#"lifeboat_requests_total{{pool="{pool}",method="{method}",outcome="{label}"}}"#
            ));
        }
        for end in AttemptEnd::ALL {
            let label = end.label();
            start
                .get(&format!(r#"lifeboat_attempts_total{{pool="{pool}",method="{method}",end="{label}"}}"#));
        }
        for which in TimeoutWhich::ALL {
            let label = which.label();
            start.get(&format!(
                r#"lifeboat_timeouts_total{{pool="{pool}",method="{method}",which="{label}"}}"#
            ));
        }
        for histogram in ["queue_wait", "attempt_duration", "request_duration"] {
            start.get(&format!(
                r#"lifeboat_{histogram}_seconds_bucket{{pool="{pool}",method="{method}",le="300"}}"#
            ));
        }
    }
    for pool in ["images", "text"] {
        for state in WorkerState::ALL {
            start.get(&format!(r#"lifeboat_workers{{pool="{pool}",state="{}"}}"#, state.label()));
        }
        for reason in CrashReason::LABELS.into_iter().filter(|label| *label != "slot_panicked") {
            start.get(&format!(r#"lifeboat_worker_crashes_total{{pool="{pool}",reason="{reason}"}}"#));
        }
        for state in SlotState::ALL {
            start.get(&format!(r#"lifeboat_slots{{pool="{pool}",state="{}"}}"#, state.label()));
        }
        for reason in StopReason::ALL {
            let reason = reason.label();
            start.get(&format!(r#"lifeboat_worker_recycles_total{{pool="{pool}",reason="{reason}"}}"#));
        }
        start.get(&format!(r#"lifeboat_pool_tripped{{pool="{pool}"}}"#));
    }
    start.get(r#"lifeboat_requests_total{pool="_none",method="_other",outcome="rejected"}"#);
    start.get(r#"lifeboat_rejected_total{pool="_none",why="unknown_method"}"#);
    start.get(r#"lifeboat_worker_consecutive_failures{pool="text",worker="text-0"}"#);
    start.get(r#"lifeboat_worker_memory_bytes{pool="text",worker="text-0"}"#);
    start.get(r#"lifeboat_retries_total{pool="images",method="thumbnail",reason="failed"}"#);
    start.get(r#"lifeboat_worker_kills_total{pool="images",reason="attempt_timeout"}"#);
    start.get("lifeboat_requests_past_deadline_total");
    start.get("lifeboat_log_lines_dropped_total");
    assert!(start.get("process_start_time_seconds") > 0.0);
}

#[test]
fn requests_attempts_and_waits_are_counted_exactly() {
    let ms = Duration::from_millis;
    let read = after(&[
        request_ended(OutcomeKind::Ok, ms(7)),
        request_ended(OutcomeKind::Ok, ms(400)),
        request_ended(OutcomeKind::Crashed, ms(9)),
        attempt_ended(AttemptEnd::Ok, ms(6)),
        Fact::FirstDispatched { pool: IMAGES, method: THUMBNAIL, waited: ms(1) },
    ]);
    assert_eq!(read.get(r#"lifeboat_requests_total{pool="images",method="thumbnail",outcome="ok"}"#), 2.0);
    assert_eq!(
        read.get(r#"lifeboat_requests_total{pool="images",method="thumbnail",outcome="crashed"}"#),
        1.0
    );
    assert_eq!(read.sum("lifeboat_requests_total"), 3.0);
    assert_eq!(read.sum("lifeboat_attempts_total"), 1.0);
    let labels = r#"pool="images",method="thumbnail""#;
    let duration = "lifeboat_request_duration_seconds";
    assert_eq!(read.get(&format!(r#"{duration}_bucket{{{labels},le="0.005"}}"#)), 0.0);
    assert_eq!(read.get(&format!(r#"{duration}_bucket{{{labels},le="0.01"}}"#)), 2.0);
    assert_eq!(read.get(&format!(r#"{duration}_bucket{{{labels},le="0.5"}}"#)), 3.0);
    assert_eq!(read.get(&format!("{duration}_count{{{labels}}}")), 3.0);
    assert!((read.get(&format!("{duration}_sum{{{labels}}}")) - 0.416).abs() < 1e-9);
    assert_eq!(read.get(&format!(r#"lifeboat_queue_wait_seconds_bucket{{{labels},le="0.001"}}"#)), 1.0);
    assert_eq!(read.get(&format!("lifeboat_attempt_duration_seconds_count{{{labels}}}")), 1.0);
}

#[test]
fn refusals_are_counted_by_reason_and_do_not_touch_the_durations() {
    let read = after(&[
        request_refused(Some(IMAGES), Some(THUMBNAIL), RejectWhy::QueueFull),
        request_refused(None, None, RejectWhy::UnknownMethod),
        request_refused(None, None, RejectWhy::Draining),
        // Ids that no configuration has must not break anything.
        request_refused(Some(PoolId(900)), Some(MethodId(900)), RejectWhy::TooLarge),
    ]);
    assert_eq!(read.get(r#"lifeboat_rejected_total{pool="images",why="queue_full"}"#), 1.0);
    assert_eq!(read.get(r#"lifeboat_rejected_total{pool="_none",why="unknown_method"}"#), 1.0);
    assert_eq!(read.get(r#"lifeboat_rejected_total{pool="_none",why="draining"}"#), 1.0);
    assert_eq!(read.get(r#"lifeboat_rejected_total{pool="_none",why="too_large"}"#), 1.0);
    assert_eq!(read.get(r#"lifeboat_requests_total{pool="_none",method="_other",outcome="rejected"}"#), 3.0);
    assert_eq!(read.sum("lifeboat_rejected_total"), read.sum("lifeboat_requests_total"));
    assert_eq!(read.sum("lifeboat_request_duration_seconds_count"), 0.0);
}

#[test]
fn crashes_and_kills_are_told_apart() {
    let killed = CrashReason::Killed(KillReason::AttemptTimeout);
    let by_broker = Death { killed_by_broker: Some(KillReason::AttemptTimeout), ..death(0, 3, killed) };
    let read = after(&[
        crashed(0, 1, CrashReason::Exit { code: 0 }),
        crashed(0, 2, CrashReason::Exit { code: 9 }),
        Fact::WorkerCrashed(Arc::new(by_broker)),
        crashed(1, 1, CrashReason::Unresponsive),
        crashed(1, 2, CrashReason::StartFailed(StartFailure::TimedOut)),
        crashed(1, 3, CrashReason::StartFailed(StartFailure::Exit { code: 1 })),
    ]);
    let of = |what, reason| {
        read.get(&format!(r#"lifeboat_worker_{what}_total{{pool="images",reason="{reason}"}}"#))
    };
    for (reason, crashes, kills) in
        [("attempt_timeout", 1.0, 1.0), ("unresponsive", 1.0, 1.0), ("start_failed", 2.0, 1.0)]
    {
        assert_eq!((of("crashes", reason), of("kills", reason)), (crashes, kills), "{reason}");
    }
    assert_eq!(of("crashes", "exit"), 2.0);
    assert_eq!(read.sum("lifeboat_worker_crashes_total"), 6.0);
    assert_eq!(read.sum("lifeboat_worker_kills_total"), 3.0);
    // Each was judged after 4 ms.
    let within =
        |edge| read.get(&format!(r#"lifeboat_death_to_verdict_seconds_bucket{{pool="images",le="{edge}"}}"#));
    assert_eq!((within("0.0025"), within("0.005")), (0.0, 6.0));
}

/// The fact moves this series by this much, and nothing else.
fn moves_alone(fact: Fact, series: &str, value: f64) {
    assert_eq!(after(&[fact]).non_zero(), vec![(format!("lifeboat_{series}").as_str(), value)]);
}

#[test]
fn a_retry_and_a_limit_move_their_own_counter_alone() {
    let (pool, method, request) = (IMAGES, THUMBNAIL, RequestId(77));
    let retried = |cause| {
        let (next, backoff) = (AttemptNumber(2), Duration::ZERO);
        Fact::Retried { pool, method, request, next, cause, backoff, suspect: false }
    };
    let exit = RetryCause::Crash(CrashReason::Exit { code: 0 }.label_index());
    moves_alone(retried(exit), r#"retries_total{pool="images",method="thumbnail",reason="exit"}"#, 1.0);
    moves_alone(
        retried(RetryCause::Failed),
        r#"retries_total{pool="images",method="thumbnail",reason="failed"}"#,
        1.0,
    );
    let limit = Fact::LimitPassed { pool: TEXT, method: TEXT_OTHER, request, which: TimeoutWhich::Deadline };
    moves_alone(limit, r#"timeouts_total{pool="text",method="_other",which="deadline"}"#, 1.0);
    let late = RequestEnded { past_deadline: true, ..ended(OutcomeKind::TimedOut, Duration::from_secs(1)) };
    assert_eq!(after(&[Fact::RequestEnded(late)]).get("lifeboat_requests_past_deadline_total"), 1.0);
}

#[test]
fn a_death_counts_once_however_many_slots_were_busy() {
    let mut death = death(0, 1, CrashReason::Oom);
    death.executing = (0..4).map(|slot| (RequestId(slot), AttemptNumber::FIRST, THUMBNAIL)).collect();
    let mut facts = vec![Fact::WorkerCrashed(Arc::new(death))];
    for _ in 0..4 {
        facts.push(attempt_ended(AttemptEnd::Crashed, Duration::from_millis(5)));
        facts.push(request_ended(OutcomeKind::Crashed, Duration::from_millis(6)));
    }
    let read = after(&facts);
    assert_eq!(read.sum("lifeboat_worker_crashes_total"), 1.0);
    assert_eq!(read.sum("lifeboat_death_to_verdict_seconds_count"), 1.0);
    assert_eq!((read.sum("lifeboat_attempts_total"), read.sum("lifeboat_requests_total")), (4.0, 4.0));
}

#[test]
fn the_facts_of_a_pool_move_their_own_counter_alone() {
    let (pool, process) = (TEXT, process(2, 1));
    let requeued = Fact::RequeuedFree { pool, request: RequestId(1) };
    moves_alone(requeued, r#"requeues_free_total{pool="text"}"#, 1.0);
    moves_alone(Fact::AnswerRefused { pool, process }, r#"late_answers_total{pool="text"}"#, 1.0);
    moves_alone(Fact::WorkerStarting { pool, process }, r#"worker_starts_total{pool="text"}"#, 1.0);
    let request = RequestId(1);
    moves_alone(Fact::Saved { pool, request }, r#"saves_total{pool="text"}"#, 1.0);
    let dropped = Fact::SaveDropped { pool, method: MethodId(2), request, bytes: 9 };
    moves_alone(dropped, r#"saves_dropped_total{pool="text"}"#, 1.0);
    let (slot, message, location) = (SlotId(0), String::new(), None);
    let kept = Fact::SlotKept { pool, process, slot, message: message.clone(), location: None };
    moves_alone(kept, r#"slot_panics_total{pool="text"}"#, 1.0);
    let retired = Fact::SlotRetired { pool, process, slot, left: 1, message, location };
    moves_alone(retired, r#"slot_panics_total{pool="text"}"#, 1.0);
    let leaked = Fact::DescendantsLeaked { pool, process, count: 3 };
    moves_alone(leaked, r#"process_leaks_total{pool="text"}"#, 3.0);
    for reason in StopReason::ALL {
        let stopped = Fact::WorkerStopped { pool, process, reason, evidence: Box::default() };
        let series = format!(r#"worker_recycles_total{{pool="text",reason="{}"}}"#, reason.label());
        moves_alone(stopped, &series, 1.0);
    }
    let ready = Fact::WorkerReady { pool, process, pid: 9, took: Duration::from_millis(20) };
    assert_eq!(after(&[ready]).get(r#"lifeboat_worker_start_seconds_count{pool="text"}"#), 1.0);
}
