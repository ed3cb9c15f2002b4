//! `/readyz` says whether every pool serves, and if not, why and what comes next.

use lifeboat_core::fact::TripWhy;

use super::super::Readiness;
use super::*;

fn reasons(view: &BrokerView) -> Vec<String> {
    let Readiness { ready, reasons } = observer().readiness(view);
    assert_eq!(ready, reasons.is_empty());
    reasons
}

#[test]
fn busy_and_degraded_are_ready_and_draining_is_not() {
    let mut view = view();
    for worker in &mut view.workers {
        worker.state = WorkerState::Busy;
    }
    view.workers[2].state = WorkerState::Degraded;
    assert_eq!(reasons(&view), [""; 0]);
    view.draining = true;
    assert_eq!(reasons(&view), ["the broker is draining: it takes no new requests"]);
}

#[test]
fn a_pool_without_a_ready_worker_says_what_they_do_and_who_died() {
    let mut view = view();
    view.workers[0].state = WorkerState::Backoff;
    assert_eq!(reasons(&view), [""; 0], "its neighbour serves");
    view.workers[1].state = WorkerState::Starting;
    assert_eq!(reasons(&view), ["pool images has no ready worker: 1 starting, 1 backoff"]);
    view.pools[0].because = Some(Arc::new(death(1, 3, CrashReason::Exit { code: 3 })));
    let expected = "pool images has no ready worker: 1 starting, 1 backoff; \
                    the last to die was images-1: exit (exit code 3), last words \"last words\"";
    assert_eq!(reasons(&view), [expected]);
}

#[test]
fn a_tripped_pool_says_why_and_when_it_is_tried_again() {
    let mut last = death(1, 20, CrashReason::Signal { signal: 11, core_dumped: true });
    last.evidence.stderr_tail = "no \u{1b}[31mmodel\n".to_owned();
    let because = Arc::new(last);
    let mut view = view();
    view.pools[0].state = PoolState::Tripped;
    view.pools[0].because = Some(Arc::clone(&because));
    view.workers[0].state = WorkerState::Backoff;
    let mut observer = observer();
    let wait = Duration::from_millis(12_500);
    let tripped = Fact::PoolTripped { pool: IMAGES, why: TripWhy::TooMany(20), because, wait };
    observer.record(&tripped, Timestamp::from_millis(2_900));
    let last = "the last to die was images-1: signal (signal SIGSEGV, core dumped), last words \"no \u{fffd}[31mmodel\"";
    let expected = format!(
        "pool images is tripped: its processes die before they serve; {last}; it is tried again in 12.4 s"
    );
    assert_eq!(observer.readiness(&view).reasons, [expected]);
    view.pools[0].state = PoolState::Probing;
    let expected =
        format!("pool images is tripped: it is being tried with one process, one request at a time; {last}");
    assert_eq!(observer.readiness(&view).reasons, [expected], "although a worker is ready");
    view.pools[0].state = PoolState::Serving;
    assert!(observer.readiness(&view).ready);
}

#[test]
fn a_drained_pool_says_how_it_comes_back() {
    let mut view = view();
    view.pools[1].state = PoolState::Draining;
    assert_eq!(reasons(&view), ["pool text is being drained by a person: what runs is finished"]);
    view.pools[1].state = PoolState::Drained;
    view.workers[2].state = WorkerState::Disabled;
    assert_eq!(reasons(&view), ["pool text was drained by a person; a restart lets it serve again"]);
}

#[test]
fn every_reason_is_told_at_once() {
    let mut view = view();
    view.draining = true;
    view.pools[0].state = PoolState::Tripped;
    view.workers[2].state = WorkerState::Disabled;
    let reasons = reasons(&view);
    assert_eq!(reasons.len(), 3, "{reasons:#?}");
    assert_eq!(reasons[2], "pool text has no ready worker: 1 disabled");
    assert_eq!(observer().readiness(&BrokerView::default()).reasons.len(), 2, "an empty view breaks nothing");
}
