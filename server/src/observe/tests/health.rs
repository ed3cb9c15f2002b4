//! `/worker-health` says what the view says.

use serde_json::{Value, json};

use super::super::HealthStatus;
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
            "slots": [{
                "state": "idle",
                "currentTask": null,
                "taskStartTime": null,
                "taskDuration": null,
                "timeSinceProgress": null,
            }],
            "lastCrash": null,
            "limits": {
                "memory": null,
                "memoryBy": null,
                "processes": null,
                "openFiles": null,
                "cpuTime": null,
                "fileSize": null,
                "coreSize": null,
                "nice": 0,
                "inheritEnv": null,
                "currentDir": null,
            },
        })
    );
}

#[test]
fn a_busy_worker_tells_its_oldest_task_and_each_slot_its_own() {
    let mut view = view();
    view.workers[0].state = WorkerState::Degraded;
    let failed = SlotView { state: SlotState::Failed, current: None };
    view.workers[0].slots = vec![busy(0xcd, 1, 2_000, 2_000), failed, busy(0xab, 2, 1_400, 2_900), IDLE];
    view.workers[0].last_crash = Some((Timestamp::from_millis(1_200), "signal"));
    let worker = as_json(&view)["workers"]["images-0"].clone();
    let task = json!({ "method": "thumbnail", "requestId": "rab", "attempt": 2 });
    assert_eq!((worker["status"].as_str(), worker["state"].as_str()), (Some("busy"), Some("degraded")));
    assert_eq!(worker["idleTime"], 0);
    assert_eq!(worker["currentTask"], task);
    assert_eq!(worker["taskStartTime"], STARTED * 1_000 + 1_400);
    assert_eq!(worker["taskDuration"], 1_600);
    assert_eq!(worker["timeSinceProgress"], 100);
    let of = |member| [0, 1, 2, 3].map(|slot| worker["slots"][slot][member].clone());
    assert_eq!(of("state"), ["busy", "failed", "busy", "idle"]);
    let other = json!({ "method": "thumbnail", "requestId": "rcd", "attempt": 1 });
    assert_eq!(of("currentTask"), [other, Value::Null, task, Value::Null]);
    let started = |millis: u64| json!(STARTED * 1_000 + millis);
    assert_eq!(of("taskStartTime"), [started(2_000), Value::Null, started(1_400), Value::Null]);
    assert_eq!(of("taskDuration"), [json!(1_000), Value::Null, json!(1_600), Value::Null]);
    assert_eq!(of("timeSinceProgress"), [json!(1_000), Value::Null, json!(100), Value::Null]);
    assert_eq!(worker["lastCrash"], json!({ "at": STARTED * 1_000 + 1_200, "reason": "signal" }));
}

#[test]
fn workers_that_are_not_in_service_say_so() {
    for (state, expected) in [
        (WorkerState::Degraded, HealthStatus::Degraded),
        (WorkerState::Backoff, HealthStatus::Degraded),
        (WorkerState::Disabled, HealthStatus::Degraded),
        (WorkerState::Starting, HealthStatus::Ok),
    ] {
        let mut view = view();
        view.workers[1].state = state;
        assert_eq!(observer().health(&view).status, expected, "{state:?}");
        assert_eq!(as_json(&view)["workers"]["images-1"]["state"], state.label());
    }
}

#[test]
fn the_core_says_who_is_healthy() {
    let mut view = view();
    view.workers[0].consecutive_failures = 50;
    let health = observer().health(&view);
    assert!(health.workers[0].1.healthy);
    assert_eq!(health.status, HealthStatus::Ok);
    view.workers[0].healthy = false;
    let health = observer().health(&view);
    assert!(!health.workers[0].1.healthy);
    assert_eq!(health.status, HealthStatus::Degraded);
}

#[test]
fn a_pool_that_does_not_serve_is_unhealthy() {
    let mut one_waits = view();
    one_waits.workers[0].state = WorkerState::Backoff;
    assert_eq!(observer().health(&one_waits).status, HealthStatus::Degraded, "its neighbour serves");
    let mut none_left = one_waits;
    none_left.workers[1].state = WorkerState::Starting;
    none_left.workers[1].process = None;
    none_left.workers[1].pid = None;
    none_left.workers[1].slots.clear();
    assert_eq!(observer().health(&none_left).status, HealthStatus::Unhealthy);
    assert_eq!(as_json(&none_left)["workers"]["images-1"]["slots"], json!([]));
    for state in PoolState::ALL.into_iter().filter(|state| *state != PoolState::Serving) {
        let mut view = view();
        view.pools[0].state = state;
        assert_eq!(observer().health(&view).status, HealthStatus::Unhealthy, "{state:?}");
    }
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
}
