//! What the store keeps and tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat_core::evidence::{ProcessSnapshot, ThreadSnapshot, ThreadState};
use lifeboat_core::fact::{Death, RequestEnded};
use lifeboat_core::ids::{PoolId, ReportId};
use lifeboat_core::reason::{CrashReason, RejectWhy, StopReason};
use serde_json::Value;

use super::*;
use crate::observe::Observer;
use crate::observe::tests::{IMAGES, STARTED, death, observer, process, request_ended};

fn crash(observer: &mut Observer, number: u64, death: Death) {
    let death = Death { report: ReportId(number), ..death };
    observer.record(&Fact::WorkerCrashed(Arc::new(death)), Timestamp::from_millis(2_004));
}

fn read(observer: &Observer, id: &str) -> Value {
    serde_json::from_str(&observer.report(id).expect("it is kept")).expect("JSON")
}

#[test]
fn a_report_says_all_that_the_death_does() {
    let mut observer = observer();
    for (incarnation, ended) in [(1, 500), (2, 900)] {
        let pool = IMAGES;
        let process = process(0, incarnation);
        observer.record(&Fact::WorkerStarting { pool, process }, Timestamp::from_millis(ended - 400));
        let evidence = Box::default();
        let reason = StopReason::RecycleAge;
        observer
            .record(&Fact::WorkerStopped { pool, process, reason, evidence }, Timestamp::from_millis(ended));
    }
    let mut death = death(0, 3, CrashReason::Exit { code: 3 });
    let thread = ThreadSnapshot {
        id: 7,
        name: "\u{1b}[2J".to_owned(),
        state: ThreadState::Sleeping,
        cpu: Duration::from_millis(3),
        switches: Some((1, 2)),
        function: None,
        system_call: u32::try_from(libc::SYS_futex).ok(),
    };
    death.evidence.snapshot =
        Some(Box::new(ProcessSnapshot { threads: vec![thread], ..ProcessSnapshot::default() }));
    crash(&mut observer, 1, death);
    assert!(!observer.report("start-1").expect("it is kept").contains('\u{1b}'));
    let report = read(&observer, "start-1");
    for (pointer, value) in [
        ("/at", Value::from(STARTED * 1_000 + 2_004)),
        ("/worker", "images-0".into()),
        ("/reason/label", "exit".into()),
        ("/reason/code", 3.into()),
        ("/executing/0/method", "thumbnail".into()),
        ("/executing/0/since", (STARTED * 1_000 + 1_500).into()),
        ("/signature/text", "images: exit (exit code 3) in thumbnail: last words".into()),
        ("/snapshot/threads/0/systemCallName", "futex".into()),
        ("/snapshot/doing", "main thread sleeping".into()),
        ("/stderr", "one\nlast words\n".into()),
        ("/history/0/how", "recycle_age".into()),
        ("/history/1/startedAt", (STARTED * 1_000 + 500).into()),
        ("/history/2/incarnation", 3.into()),
        ("/history/2/planned", false.into()),
    ] {
        assert_eq!(report.pointer(pointer), Some(&value), "{pointer}: {report:#}");
    }
    assert!(observer.report("start-2").is_none() && observer.report("../start-1").is_none());
}

#[test]
fn a_crash_loop_is_counted_and_keeps_the_rare_one() {
    let mut observer = observer();
    crash(&mut observer, 1, death(1, 1, CrashReason::Oom));
    for number in 2..=1_001 {
        crash(&mut observer, number, death(0, 1, CrashReason::Exit { code: 3 }));
    }
    let now = Timestamp::from_millis(3_004);
    let kept: Vec<_> = observer.reports(now).collect();
    let (newest, ago, first_ago) = kept[0];
    assert_eq!((kept.len(), newest.id.as_str(), ago, first_ago), (shelf::MOST, "start-1001", 1_000, 1_000));
    assert_eq!(newest.signature.count, 1_000);
    assert_eq!(kept[shelf::MOST - 1].0.reason.label, "oom");
}

#[test]
fn what_an_earlier_broker_left_is_counted_on() {
    let mut before = observer();
    let dead = || death(0, 1, CrashReason::Exit { code: 3 });
    crash(&mut before, 1, dead());
    crash(&mut before, 2, dead());
    let left = ["start-1", "start-2"].map(|id| serde_json::from_value(read(&before, id)).expect("a report"));
    let mut observer = observer();
    let mut filed = observer.keep_reports_in_files(left.into(), Arc::default());
    crash(&mut observer, 3, dead());
    assert_eq!(read(&observer, "start-3")["signature"]["count"], 3);
    assert_eq!(read(&observer, "start-1")["signature"]["count"], 1, "it is shown again");
    assert_eq!(filed.try_recv().map(|filed| filed.id).as_deref(), Ok("start-3"));
}

#[test]
fn a_disk_that_does_not_keep_up_costs_files_alone() {
    let mut observer = observer();
    let dropped = Arc::new(AtomicU64::new(0));
    let filed = observer.keep_reports_in_files(Vec::new(), Arc::clone(&dropped));
    for number in 1..=WAITING as u64 + 5 {
        crash(&mut observer, number, death(0, 1, CrashReason::Oom));
    }
    assert_eq!((filed.len(), dropped.load(Ordering::Relaxed)), (WAITING, 5));
    assert_eq!(observer.reports(Timestamp::ZERO).count(), WAITING + 5);
    drop(filed);
    crash(&mut observer, 1_000, death(0, 1, CrashReason::Oom));
    assert_eq!(dropped.load(Ordering::Relaxed), 6, "without a keeper as well");
}

#[test]
fn refusals_do_not_hide_what_failed() {
    let mut observer = observer();
    let record = |observer: &mut Observer, outcome, at| {
        let Fact::RequestEnded(ended) = request_ended(outcome, Duration::from_millis(7)) else {
            unreachable!()
        };
        let rejected = (outcome == OutcomeKind::Rejected).then_some(RejectWhy::QueueFull);
        let report = (outcome == OutcomeKind::Crashed).then_some(ReportId(4));
        let ended = RequestEnded { rejected, report, ..ended };
        observer.record(&Fact::RequestEnded(ended), Timestamp::from_millis(at));
    };
    record(&mut observer, OutcomeKind::Crashed, 1);
    record(&mut observer, OutcomeKind::Ok, 2);
    (3..=1_000).for_each(|at| record(&mut observer, OutcomeKind::Rejected, at));
    let rows = observer.failed_requests(Timestamp::from_millis(1_001));
    assert_eq!((rows.len(), rows[0].outcome, rows[0].why), (65, "rejected", Some("queue_full")));
    let last = rows.last().expect("there are some");
    assert_eq!((last.outcome, last.ago_ms, last.duration_ms), ("crashed", 1_000, 7));
    assert_eq!((last.report.as_deref(), last.pool.as_deref()), (Some("start-4"), Some("images")));
    (0..300).for_each(|at| record(&mut observer, OutcomeKind::Failed, 2_000 + at));
    assert_eq!(observer.failed_requests(Timestamp::from_millis(3_000)).len(), 256);
}

/// What a death costs: the longest tails and little beside them. The time that building one takes on the data plane's thread is
/// shown with `--nocapture`.
#[test]
fn a_report_costs_little() {
    let mut observer = observer();
    let mut dead = death(0, 1, CrashReason::Exit { code: 3 });
    dead.evidence.stderr_tail = "a line of some length with 12 numbers\n".repeat(430);
    dead.evidence.stdout_tail = dead.evidence.stderr_tail.clone();
    let tails = 2 * dead.evidence.stderr_tail.replace('\n', "\\n").len();
    let rounds: u32 = 1_000;
    let began = Instant::now();
    for number in 0..u64::from(rounds) {
        crash(&mut observer, number, Death { pool: PoolId(0), ..dead.clone() });
    }
    println!("{:?} for each death", began.elapsed() / rounds);
    let length = observer.report("start-999").expect("it is kept").len();
    assert!((tails..tails + 4_096).contains(&length), "{length} bytes, {tails} of them tails");
}
