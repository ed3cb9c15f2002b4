//! Operations on their way: past calls that wait, to a broker that drains, and when the connection is lost.

use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client, ConnectError, OperateError, RejectWhy};
use lifeboat_protocol::{Operated, RefusedCode};
use tokio::io::AsyncReadExt;

use crate::operations::answer;
use crate::support::{Broker, Resize, limit, poll_once, told_of};

#[tokio::test]
async fn operations_overtake_a_full_window_and_ids_still_rise() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let mut calls: Vec<_> = (2..6).map(|width| client.call(Resize { width })).collect();
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    let admin = client.admin();
    for _ in 0..3 {
        let (names, _) = tokio::join!(limit(admin.kill("images")), answer(&mut peer, Operated::done()));
        assert_eq!(names.expect("done"), Vec::<String>::new());
    }
    peer.echo(&request).await;
    limit(first).await.expect("no panic").expect("answered");
    // The peer checks that ids rise. One of the calls that were overtaken is cancelled under its new number.
    let overtaken = peer.request().await;
    assert_eq!(overtaken.width(), 2);
    drop(calls.remove(0));
    assert_eq!(peer.cancel().await, overtaken.route.id);
    peer.echo(&overtaken).await;
    for (width, call) in (3..6).zip(calls) {
        let serve = async {
            let overtaken = peer.request().await;
            assert_eq!(overtaken.width(), width, "in the order of the calls");
            // The number that it had before was never written, so it means nothing.
            peer.answer(told_of(request.route.id + u64::from(width) - 1, 1), &0).await;
            peer.echo(&overtaken).await;
        };
        let (reply, ()) = tokio::join!(limit(call), serve);
        assert_eq!(reply.expect("answered"), width);
    }
    let last = tokio::spawn(client.call(Resize { width: 9 }));
    let request = peer.request().await;
    peer.echo(&request).await;
    assert_eq!(limit(last).await.expect("no panic").expect("answered"), 9);
    assert_eq!(client.unexpected_answers(), 3);
}

#[tokio::test]
async fn an_overtaken_call_goes_to_the_next_broker_like_any_other() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let mut overtaken = client.call_raw("big", vec![0xf6; 15 << 20]);
    let mut behind = client.call(Resize { width: 3 });
    assert!(poll_once(&mut overtaken).await.is_pending());
    assert!(poll_once(&mut behind).await.is_pending());
    let admin = client.admin();
    let (names, _) = tokio::join!(limit(admin.kill("images")), answer(&mut peer, Operated::done()));
    names.expect("done");
    peer.echo(&request).await;
    limit(first).await.expect("no panic").expect("answered");
    // Half of it arrives, under its other number.
    let mut some = [0; 1000];
    limit(peer.stream.read_exact(&mut some)).await.expect("the frame's first bytes");
    drop(peer);
    let mut peer = broker.accept().await;
    let big = peer.request().await;
    assert_eq!((big.method.as_str(), big.body.len()), ("big", 15 << 20));
    assert_eq!(big.route.id, request.route.id + 1, "nothing overtook it here");
    peer.answer(big.route, &1).await;
    let request = peer.request().await;
    assert_eq!(request.width(), 3);
    peer.echo(&request).await;
    limit(overtaken).await.expect("answered");
    assert_eq!(limit(behind).await.expect("answered"), 3);
}

#[tokio::test]
async fn a_broker_that_drains_is_asked_all_the_same() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let held = peer.request().await;
    let second = tokio::spawn(client.call(Resize { width: 2 }));
    let request = peer.request().await;
    peer.drain().await;
    // Read behind the drain, so the drain has been read when this call ends.
    peer.echo(&request).await;
    limit(second).await.expect("no panic").expect("answered");
    let admin = client.admin();
    let mut waiting = client.call(Resize { width: 3 });
    assert!(poll_once(&mut waiting).await.is_pending());
    let operated = Operated { ready: Some(false), draining: Some(true), ..Operated::done() };
    let (health, _) = tokio::join!(limit(admin.health()), answer(&mut peer, operated.clone()));
    assert!(health.expect("told").draining);
    // While one is open the client stays, though no request is.
    let order = tokio::spawn({
        let admin = admin.clone();
        async move { admin.kill("images").await }
    });
    let (id, _) = peer.operation().await;
    peer.echo(&held).await;
    limit(first).await.expect("no panic").expect("answered");
    peer.operated(id, &Operated::done()).await;
    limit(order).await.expect("no panic").expect("done");
    peer.eof().await;
    drop(waiting);
}

#[tokio::test]
async fn a_broker_that_drains_has_an_operations_whole_timeout() {
    let broker = Broker::new();
    let builder = Client::builder().socket(broker.path()).connect_timeout(Duration::from_millis(500));
    let (client, mut peer) = tokio::join!(limit(builder.connect()), broker.accept());
    let client = client.expect("connected");
    let big = tokio::spawn(client.call_raw("big", vec![0xf6; 15 << 20]));
    limit(peer.stream.readable()).await.expect("readable");
    peer.drain().await;
    let admin = client.admin();
    let mut order = Box::pin(admin.kill("images"));
    assert!(poll_once(&mut order).await.is_pending());
    // A request is given up after the time in which there had to be another broker.
    let error = limit(client.call(Resize { width: 1 })).await.expect_err("the broker drains");
    assert!(matches!(&error, CallError::Rejected { why: RejectWhy::Draining, .. }), "{error:?}");
    let serve = async {
        let request = peer.request().await;
        peer.answer(request.route, &1).await;
        answer(&mut peer, Operated::done()).await;
    };
    let (done, ()) = tokio::join!(limit(order), serve);
    done.expect("done");
    limit(big).await.expect("no panic").expect("answered");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_not_waited_for() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let short = Duration::from_millis(50);
    let admin = client.admin().timeout(short);
    let start = Instant::now();
    let (done, (id, _)) = tokio::join!(limit(admin.kill("images")), peer.operation());
    let error = done.expect_err("no answer");
    let OperateError::TimedOut { may_have_executed: true, limit: told, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*told, short);
    // A request would be given 2 s more.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(error.to_string(), "no answer to `kill` within 50ms; it may have been done");
    // What it says at last is taken as such, and nothing was cancelled.
    peer.operated(id, &Operated::done()).await;
    let admin = client.admin();
    let (done, _) = tokio::join!(limit(admin.kill("images")), answer(&mut peer, Operated::done()));
    done.expect("done");
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn behind_a_full_socket_an_operation_is_not_done() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let big = tokio::spawn(client.call_raw("big", vec![0xf6; 15 << 20]));
    // The frame's first bytes are here, its last cannot be: no socket buffer is that large.
    limit(peer.stream.readable()).await.expect("readable");
    let admin = client.admin().timeout(Duration::from_millis(50));
    let error = limit(admin.kill("images")).await.expect_err("no room");
    assert!(matches!(&error, OperateError::TimedOut { may_have_executed: false, .. }), "{error:?}");
    let request = peer.request().await;
    peer.answer(request.route, &1).await;
    limit(big).await.expect("no panic").expect("answered");
    drop((client, admin));
    peer.eof().await;
}

#[tokio::test]
async fn without_a_broker_the_error_says_so() {
    let broker = Broker::absent();
    let short = Duration::from_millis(50);
    let client = Client::builder().socket(broker.path()).connect_timeout(short).connect_lazily();
    let error = limit(client.admin().health()).await.expect_err("no broker");
    assert!(matches!(&error, OperateError::Connect(ConnectError::TimedOut { .. })), "{error:?}");
    assert!(!error.may_have_executed());
    let waits = Client::builder().socket(broker.path()).timeout(short).connect_lazily();
    let error = limit(waits.admin().health()).await.expect_err("no broker");
    assert!(matches!(&error, OperateError::TimedOut { may_have_executed: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_lost_connection_leaves_an_operation_unknown() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let admin = client.admin();
    let order = tokio::spawn(async move { admin.kill("images").await });
    peer.operation().await;
    peer.refuse(RefusedCode::Unexpected, "what is that?").await;
    drop(peer);
    let error = limit(order).await.expect("no panic").expect_err("lost");
    assert!(matches!(&error, OperateError::Disconnected { may_have_executed: true, .. }), "{error:?}");
    assert!(error.may_have_executed());
    assert_eq!(error.to_string(), "the connection to the broker was lost; it may have been done");
}

#[tokio::test]
async fn an_operation_that_was_not_written_goes_to_the_next_broker() {
    let broker = Broker::new();
    let (client, peer) = broker.client().await;
    let big = tokio::spawn(client.call_raw("big", vec![0xf6; 15 << 20]));
    limit(peer.stream.readable()).await.expect("readable");
    let admin = client.admin();
    let mut order = Box::pin(admin.kill("images"));
    assert!(poll_once(&mut order).await.is_pending());
    drop(peer);
    let mut peer = broker.accept().await;
    let serve = async {
        let request = peer.request().await;
        peer.answer(request.route, &1).await;
        answer(&mut peer, Operated::done()).await;
    };
    let (done, ()) = tokio::join!(limit(order), serve);
    done.expect("done");
    limit(big).await.expect("no panic").expect("answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_an_operation_cancels_nothing() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let admin = client.admin();
    let mut order = Box::pin(admin.kill("images"));
    assert!(poll_once(&mut order).await.is_pending());
    let (id, _) = peer.operation().await;
    drop(order);
    peer.operated(id, &Operated::done()).await;
    let mut unsent = Box::pin(admin.drain("images"));
    assert!(poll_once(&mut unsent).await.is_pending());
    peer.operation().await;
    drop(unsent);
    // Neither a cancel nor anything else is left.
    drop((client, admin));
    peer.eof().await;
}
