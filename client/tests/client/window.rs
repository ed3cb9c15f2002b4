//! How many requests are open at a time.

use std::time::Duration;

use lifeboat_client::{CallError, Client};
use lifeboat_protocol::Service;

use crate::streams::all_read;
use crate::support::{Broker, Peer, Resize, limit, poll_once};

/// A client that wants a window of `ours`, at a broker that allows `theirs`.
async fn client(broker: &Broker, ours: usize, theirs: u32) -> (Client, Peer) {
    let accept = broker
        .accept_with(|hello| hello.service = Some(Service { max_in_flight: theirs, ..Service::default() }));
    let builder = Client::builder().socket(broker.path()).max_in_flight(ours);
    let (client, peer) = tokio::join!(limit(builder.connect()), accept);
    (client.expect("connected"), peer)
}

/// Makes five calls; at no time more than `window` of them may be with the broker, and they come in order.
async fn serve_five(ours: usize, theirs: u32, window: usize) {
    let broker = Broker::new();
    let (client, mut peer) = client(&broker, ours, theirs).await;
    let mut calls: Vec<_> = (0..5).map(|width| client.call(Resize { width })).collect();
    for call in &mut calls {
        assert!(poll_once(call).await.is_pending());
    }
    let mut open = std::collections::VecDeque::new();
    for width in 0..5 {
        if open.len() == window {
            let oldest = open.pop_front().expect("a window is not empty");
            // Had more been sent, they would have come before this operation, which needs no place in the window.
            let admin = client.admin();
            let mut health = Box::pin(admin.health());
            assert!(poll_once(&mut health).await.is_pending());
            peer.operation().await;
            peer.echo(&oldest).await;
        }
        let request = peer.request().await;
        assert_eq!(request.width(), width);
        open.push_back(request);
    }
    for request in open {
        peer.echo(&request).await;
    }
    for (width, call) in (0..5).zip(calls) {
        assert_eq!(limit(call).await.expect("answered"), width);
    }
}

#[tokio::test]
async fn more_calls_than_the_client_wants_wait_in_order() {
    serve_five(2, 100, 2).await;
}

#[tokio::test]
async fn the_broker_may_allow_less() {
    serve_five(100, 3, 3).await;
}

#[tokio::test]
async fn there_is_always_room_for_one() {
    serve_five(0, 100, 1).await;
}

#[tokio::test]
async fn the_timeout_runs_while_a_call_waits() {
    let broker = Broker::new();
    let (client, mut peer) = client(&broker, 1, 100).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let error = limit(client.request(Resize { width: 2 }).timeout(Duration::from_millis(20))).await;
    let error = error.expect_err("no room");
    assert!(matches!(&error, CallError::TimedOut { may_have_executed: false, .. }), "{error:?}");
    peer.echo(&request).await;
    limit(first).await.expect("no panic").expect("answered");
    all_read(&client, &mut peer).await;
}
