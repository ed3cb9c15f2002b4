//! Gauges show the view; hostile names and numbers break nothing.

use lifeboat_core::view::CurrentTask;

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
        queue_oldest: Some(Timestamp::from_millis(2_500)),
    };
    view.workers[0].state = WorkerState::Busy;
    view.workers[0].current = Some(CurrentTask {
        request: RequestId(1),
        method: THUMBNAIL,
        attempt: AttemptNumber::FIRST,
        started_at: Timestamp::ZERO,
    });
    view.workers[1].state = WorkerState::Backoff;
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
    assert_eq!(read.get("lifeboat_client_connections"), 1.0);
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
