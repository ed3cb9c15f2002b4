//! `/worker-health` and `/readyz` say what the view says.

use lifeboat_core::view::CurrentTask;
use serde_json::{Value, json};

use super::super::{HealthStatus, UNHEALTHY_AFTER};
use super::*;

fn as_json(view: &BrokerView) -> Value {
    serde_json::to_value(observer().health(view)).expect("json")
}

#[test]
fn an_idle_worker_in_full() {
    let health = as_json(&view());
    assert_eq!(health["status"], "ok");
    assert_eq!(health["timestamp"], STARTED * 1_000 + 3_000);
    assert_eq!(
        health["workers"]["images-1"],
        json!({
            "status": "idle",
            "pid": 4001,
            "lastActivity": STARTED * 1_000 + 1_000,
            "idleTime": 2_000,
            "currentTask": null,
            "taskStartTime": null,
            "taskDuration": null,
            "timeSinceProgress": null,
            "consecutiveFailures": 0,
            "healthy": true,
            "pool": "images",
            "state": "ready",
            "incarnation": 1,
            "slots": [{ "state": "idle", "currentTask": null }],
            "lastCrash": null,
        })
    );
}

#[test]
fn a_busy_worker_tells_its_task() {
    let mut view = view();
    view.workers[0].state = WorkerState::Busy;
    view.workers[0].current = Some(CurrentTask {
        request: RequestId(0xab),
        method: THUMBNAIL,
        attempt: AttemptNumber(2),
        started_at: Timestamp::from_millis(1_400),
    });
    view.workers[0].last_crash = Some((Timestamp::from_millis(1_200), "signal"));
    let worker = as_json(&view)["workers"]["images-0"].clone();
    let task = json!({ "method": "thumbnail", "requestId": "rab", "attempt": 2 });
    assert_eq!(worker["status"], "busy");
    assert_eq!(worker["idleTime"], 0);
    assert_eq!(worker["currentTask"], task);
    assert_eq!(worker["taskStartTime"], STARTED * 1_000 + 1_400);
    assert_eq!(worker["taskDuration"], 1_600);
    assert_eq!(worker["slots"], json!([{ "state": "busy", "currentTask": task }]));
    assert_eq!(worker["lastCrash"], json!({ "at": STARTED * 1_000 + 1_200, "reason": "signal" }));
}

#[test]
fn handler_errors_alone_leave_a_worker_healthy() {
    let mut view = view();
    view.workers[0].consecutive_failures = 50;
    view.workers[0].consecutive_crashes = UNHEALTHY_AFTER - 1;
    let health = observer().health(&view);
    assert!(health.workers[0].1.healthy);
    assert_eq!(health.status, HealthStatus::Ok);
    view.workers[0].consecutive_crashes = UNHEALTHY_AFTER;
    let health = observer().health(&view);
    assert!(!health.workers[0].1.healthy);
    assert_eq!(health.status, HealthStatus::Degraded);
}

#[test]
fn a_pool_without_a_ready_worker_is_unhealthy_and_unready() {
    let mut view = view();
    view.workers[0].state = WorkerState::Backoff;
    assert_eq!(observer().health(&view).status, HealthStatus::Degraded);
    assert!(observer().readiness(&view).ready, "its neighbour serves");
    view.workers[1].state = WorkerState::Starting;
    view.workers[1].process = None;
    view.workers[1].pid = None;
    assert_eq!(observer().health(&view).status, HealthStatus::Unhealthy);
    let readiness = observer().readiness(&view);
    assert_eq!(readiness.reasons, ["pool images has no ready worker: 1 starting, 1 backoff"]);
    assert!(!readiness.ready);
    assert_eq!(as_json(&view)["workers"]["images-1"]["slots"], json!([]));
}

#[test]
fn busy_is_ready_and_draining_is_not() {
    let mut view = view();
    for worker in &mut view.workers {
        worker.state = WorkerState::Busy;
    }
    assert!(observer().readiness(&view).ready);
    view.draining = true;
    let readiness = observer().readiness(&view);
    assert!(!readiness.ready);
    assert!(readiness.reasons[0].contains("draining"), "{:?}", readiness.reasons);
}

#[test]
fn workers_keep_the_order_of_the_configuration() {
    let mut settings = settings();
    settings.pools[0].workers = NonZeroU16::new(11).expect("not zero");
    let mut view = view();
    view.workers = (0..11).map(|number| idle_worker(number, IMAGES)).collect();
    let text = serde_json::to_string(&observer_of(&settings).health(&view)).expect("json");
    let place = |name: &str| text.find(name).unwrap_or_else(|| panic!("no {name}"));
    assert!(place("\"images-2\"") < place("\"images-10\""));
}

#[test]
fn a_view_without_workers_breaks_nothing() {
    assert_eq!(observer().health(&BrokerView::default()).status, HealthStatus::Unhealthy);
    assert_eq!(observer().readiness(&BrokerView::default()).reasons.len(), 2);
}
