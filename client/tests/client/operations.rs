//! Operations: what is asked of the broker itself, beside calls and never instead of them.

use lifeboat_client::{
    ALL_BODIES, EncodeError, LastCrash, Operate, OperateError, Operation, PoolRow, PoolStateLabel,
    QuarantineRow, RequestRow, RequestStateLabel, SlotRow, SlotStateLabel, WorkerRow,
};
use lifeboat_protocol::Operated;

use crate::support::{Broker, Peer, limit};

/// Answers the next operation, and returns what it was.
pub(crate) async fn answer(peer: &mut Peer, operated: Operated) -> Operate {
    let (id, operate) = peer.operation().await;
    peer.operated(id, &operated).await;
    operate
}

fn pool(state: PoolStateLabel) -> PoolRow {
    PoolRow {
        pool: "images".into(),
        state,
        queue_depth: 2,
        queue_bytes: 4096,
        queue_oldest_ms: Some(120),
        because: None,
    }
}

#[tokio::test]
async fn workers_are_shown_with_their_pools() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let worker = WorkerRow {
        worker: "images-0".into(),
        pool: "images".into(),
        state: "on_holiday".into(), // newer than this client
        incarnation: Some(3),
        pid: Some(4711),
        held: 1,
        slots: vec![SlotRow::new(SlotStateLabel::Idle)],
        idle_ms: 7,
        consecutive_failures: 1,
        healthy: true,
        recycling: None,
        last_crash: Some(LastCrash { reason: "signal".into(), ago_ms: 60_000 }),
    };
    let operated = Operated {
        pools: vec![pool(PoolStateLabel::Serving)],
        workers: vec![worker.clone()],
        ..Operated::done()
    };
    let admin = client.admin();
    let (shown, operate) = tokio::join!(limit(admin.workers()), answer(&mut peer, operated.clone()));
    let shown = shown.expect("shown");
    assert_eq!((shown.pools, shown.workers, shown.more), (operated.pools, vec![worker], false));
    assert_eq!(operate, Operate { operation: "workers".into(), target: None, limit: None });
}

#[tokio::test]
async fn requests_are_shown_up_to_a_limit() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let row = RequestRow {
        request: 42,
        pool: "images".into(),
        method: "resize".into(),
        state: RequestStateLabel::Running,
        attempt: 2,
        max_attempts: 3,
        age_ms: 2750,
        running_ms: Some(1500),
        worker: Some("images-0".into()),
        client_pid: Some(815),
        suspect: true,
    };
    let operated = Operated { requests: vec![row.clone()], more: true, ..Operated::done() };
    let admin = client.admin();
    let (shown, operate) = tokio::join!(limit(admin.requests(1)), answer(&mut peer, operated.clone()));
    let shown = shown.expect("shown");
    assert_eq!((shown.requests, shown.more), (vec![row], true));
    assert_eq!(operate, Operate { operation: "requests".into(), target: None, limit: Some(1) });
}

#[tokio::test]
async fn health_is_whole_or_an_error() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let admin = client.admin();
    let operated = Operated {
        ready: Some(false),
        draining: Some(true),
        pools: vec![pool(PoolStateLabel::Tripped)],
        ..Operated::done()
    };
    let (health, operate) = tokio::join!(limit(admin.health()), answer(&mut peer, operated.clone()));
    let health = health.expect("told");
    assert_eq!((health.ready, health.draining, health.pools), (false, true, operated.pools));
    assert_eq!(operate.operation, "health");
    let vague = Operated { ready: None, ..Operated { draining: Some(false), ..Operated::done() } };
    let (health, _) = tokio::join!(limit(admin.health()), answer(&mut peer, vague));
    assert!(matches!(health.expect_err("vague"), OperateError::Decode { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_are_restarted_drained_and_killed() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let admin = client.admin();
    let affected = vec!["images-0".to_owned(), "images-1".to_owned()];
    let operated = Operated { affected: affected.clone(), ..Operated::done() };
    let (names, operate) = tokio::join!(limit(admin.restart("images")), answer(&mut peer, operated.clone()));
    assert_eq!((names.expect("done"), operate.operation.as_str()), (affected.clone(), "restart"));
    let (names, operate) = tokio::join!(limit(admin.drain("images")), answer(&mut peer, operated.clone()));
    assert_eq!((names.expect("done"), operate.operation.as_str()), (affected.clone(), "drain"));
    let (names, operate) = tokio::join!(limit(admin.kill("images")), answer(&mut peer, operated.clone()));
    assert_eq!((names.expect("done"), operate.operation.as_str()), (affected, "kill"));
    assert_eq!(operate.target.as_deref(), Some("images"));
}

#[tokio::test]
async fn bodies_in_quarantine_are_shown_and_released() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let row = QuarantineRow {
        pool: "images".into(),
        method: "resize".into(),
        digest: "00112233445566778899aabbccddeeff".into(),
        crashes: 3,
        last_crash_ms: 61_000,
        expires_ms: 3_539_000,
        report_id: Some("1a2b3c-17".into()),
    };
    let operated = Operated { quarantine: vec![row.clone()], more: true, ..Operated::done() };
    let admin = client.admin();
    let (shown, operate) = tokio::join!(limit(admin.quarantine()), answer(&mut peer, operated.clone()));
    let shown = shown.expect("shown");
    assert_eq!((shown.bodies, shown.more), (vec![row.clone()], true));
    assert_eq!(operate, Operate::new(Operation::Quarantine));
    let (released, operate) = tokio::join!(limit(admin.release(ALL_BODIES)), answer(&mut peer, operated));
    assert_eq!(released.expect("done").bodies, [row]);
    assert_eq!(operate, Operate::on(Operation::Release, "all"));
}

#[tokio::test]
async fn what_the_broker_does_not_do_it_explains() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let admin = client.admin();
    let no = Operated::not_done("no pool or worker is named `imags`");
    let (done, _) = tokio::join!(limit(admin.kill("imags")), answer(&mut peer, no));
    let error = done.expect_err("not done");
    assert_eq!(error.to_string(), "the broker did not do `kill`: no pool or worker is named `imags`");
    assert!(!error.may_have_executed());
    let newer = Operate { operation: "promote".into(), target: None, limit: None };
    let silent = Operated { message: None, ..Operated::not_done("") };
    let (done, sent) = tokio::join!(limit(admin.operate(&newer)), answer(&mut peer, silent));
    assert_eq!(sent, newer);
    assert_eq!(
        done.expect_err("not done").to_string(),
        "the broker did not do `promote`: it did not say why"
    );
}

#[tokio::test]
async fn a_target_too_long_for_any_broker_is_not_sent() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let error = limit(client.admin().kill("x".repeat(5000))).await.expect_err("too long");
    let OperateError::Encode { source: EncodeError::LongOperation { .. }, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(!error.may_have_executed());
    drop(client);
    peer.eof().await;
}
