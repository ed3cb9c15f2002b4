//! Gauges show the view; hostile names and numbers break nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use super::text::Exposition;
use super::*;

fn exposed(observer: &Observer, view: &BrokerView) -> Exposition {
    Exposition::parse(&observer.snapshot(view).to_text().expect("text"))
}

#[test]
fn gauges_show_the_view() {
    let mut view = view();
    view.pools[0] = PoolView {
        pool: IMAGES,
        queue_depth: 5,
        queue_bytes: 4096,
        quarantined: 2,
        queue_oldest: Some(Timestamp::from_millis(2_500)),
        ..view.pools[0].clone()
    };
    view.workers[0].state = WorkerState::Busy;
    view.workers[0].slots = vec![busy(1, 1, 0, 0)];
    view.workers[1].state = WorkerState::Backoff;
    view.workers[1].slots.clear();
    view.workers[1].consecutive_failures = 4;
    let mut observer = observer();
    observer.client_opened();
    observer.client_opened();
    observer.client_closed();
    let read = exposed(&observer, &view);
    assert_eq!(read.get(r#"lifeboat_queue_depth{pool="images"}"#), 5.0);
    assert_eq!(read.get(r#"lifeboat_queue_bytes{pool="images"}"#), 4096.0);
    assert!(
        (read.get(r#"lifeboat_queue_oldest_timestamp_seconds{pool="images"}"#) - (STARTED as f64 + 2.5))
            .abs()
            < 1e-3
    );
    assert_eq!(read.get(r#"lifeboat_queue_oldest_timestamp_seconds{pool="text"}"#), 0.0);
    assert_eq!(read.get(r#"lifeboat_workers{pool="images",state="busy"}"#), 1.0);
    assert_eq!(read.get(r#"lifeboat_workers{pool="images",state="backoff"}"#), 1.0);
    assert_eq!(read.get(r#"lifeboat_workers{pool="images",state="ready"}"#), 0.0);
    assert_eq!(read.sum("lifeboat_workers"), 3.0, "every worker is in one state");
    assert_eq!(read.get(r#"lifeboat_slots{pool="images",state="busy"}"#), 1.0);
    assert_eq!(read.sum("lifeboat_slots"), 2.0, "a worker in backoff has no slot");
    assert_eq!(read.get(r#"lifeboat_worker_consecutive_failures{pool="images",worker="images-1"}"#), 4.0);
    assert_eq!(read.get(r#"lifeboat_quarantined{pool="images"}"#), 2.0);
    assert_eq!(read.get(r#"lifeboat_quarantined{pool="text"}"#), 0.0);
    assert_eq!(read.get("lifeboat_client_connections"), 1.0);
}

#[test]
fn every_slot_of_every_worker_is_counted() {
    let failed = SlotView { state: SlotState::Failed, current: None };
    let mut view = view();
    view.workers[0].state = WorkerState::Degraded;
    view.workers[0].slots = vec![busy(1, 1, 0, 0), failed, IDLE, busy(2, 1, 0, 0)];
    view.workers[1].state = WorkerState::Disabled;
    view.workers[1].slots = vec![failed, failed];
    let read = exposed(&observer(), &view);
    let of = |what, state: &str| read.get(&format!(r#"lifeboat_{what}{{pool="images",state="{state}"}}"#));
    let slots = SlotState::ALL.map(|state| of("slots", state.label()));
    assert_eq!(slots, [1.0, 2.0, 3.0], "idle, busy, failed");
    assert_eq!((of("workers", "degraded"), of("workers", "disabled")), (1.0, 1.0));
    assert_eq!(read.get(r#"lifeboat_slots{pool="text",state="failed"}"#), 0.0);
}

#[test]
fn a_pool_that_is_being_tried_is_still_tripped() {
    for state in PoolState::ALL {
        let mut view = view();
        view.pools[1].state = state;
        let read = exposed(&observer(), &view);
        let tripped = matches!(state, PoolState::Tripped | PoolState::Probing);
        assert_eq!(
            read.get(r#"lifeboat_pool_tripped{pool="text"}"#),
            f64::from(u8::from(tripped)),
            "{state:?}"
        );
        assert_eq!(read.get(r#"lifeboat_pool_tripped{pool="images"}"#), 0.0);
    }
}

#[test]
fn lines_that_the_log_has_dropped_are_shown() {
    let dropped = Arc::new(AtomicU64::new(0));
    let mut observer = observer();
    observer.show_dropped_log_lines(Arc::clone(&dropped));
    dropped.store(17, Ordering::Relaxed);
    assert_eq!(exposed(&observer, &view()).get("lifeboat_log_lines_dropped_total"), 17.0);
}

#[test]
fn the_memory_of_every_worker_is_shown() {
    let of = |observer: &Observer, pool, worker| {
        let series = format!(r#"lifeboat_worker_memory_bytes{{pool="{pool}",worker="{worker}"}}"#);
        exposed(observer, &view()).get(&series)
    };
    let mut observer = observer();
    assert_eq!(of(&observer, "images", "images-0"), 0.0, "before anybody has looked");
    let memory: Arc<[AtomicU64]> = (1..=3).map(|mib| AtomicU64::new(mib << 20)).collect();
    observer.show_worker_memory(Arc::clone(&memory));
    memory[1].store(9, Ordering::Relaxed);
    let workers = [("images", "images-0"), ("images", "images-1"), ("text", "text-0")];
    let shown = workers.map(|(pool, worker)| of(&observer, pool, worker));
    assert_eq!(shown, [1_048_576.0, 9.0, 3_145_728.0]);
}

#[test]
fn names_that_need_escaping_stay_one_series() {
    let mut settings = settings();
    settings.pools[0].name = "a\"b\\c\nd".to_owned();
    let text = observer_of(&settings).snapshot(&view()).to_text().expect("text");
    let read = Exposition::parse(&text);
    assert_eq!(read.get(r#"lifeboat_workers{pool="a\"b\\c\nd",state="ready"}"#), 2.0);
}

#[test]
fn more_clients_closed_than_opened_is_not_an_overflow() {
    let mut observer = observer();
    observer.client_closed();
    assert_eq!(exposed(&observer, &view()).get("lifeboat_client_connections"), 0.0);
}
