//! Requests that only one pool may serve, and brokers that are too old to keep to that.

use lifeboat_client::{CallError, Event, RejectWhy};
use lifeboat_protocol::Hello;

use crate::support::{Broker, Resize, limit};

/// A broker of before.
fn old(hello: &mut Hello) {
    hello.features.clear();
}

/// The request was refused here, and nobody has seen it.
fn refused_here(error: &CallError) {
    let CallError::Rejected { why: RejectWhy::UnknownMethod, .. } = error else { panic!("{error:?}") };
    assert!(!error.may_have_executed() && !error.is_retryable(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("only the pool 'sandbox'") && text.contains("upgrade the broker"), "{text}");
}

#[tokio::test]
async fn a_broker_that_keeps_to_pools_is_told_which() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let request = peer.request().await;
        assert_eq!(request.ext.pool.as_deref(), Some("sandbox"));
        peer.echo(&request).await;
    };
    let call = limit(client.request(Resize { width: 1 }).pool("sandbox"));
    assert_eq!(*tokio::join!(call, serve).0.expect("answered"), 1);
}

#[tokio::test]
async fn an_older_broker_is_not_asked() {
    let broker = Broker::new();
    let client = lifeboat_client::Client::builder().socket(broker.path()).connect_lazily();
    let calls = async {
        let error = limit(client.request(Resize { width: 1 }).pool("sandbox")).await.expect_err("too old");
        refused_here(&error);
        let mut events = client.request(Resize { width: 2 }).pool("sandbox").stream();
        let Some(Event::Done(Err(error))) = limit(events.next()).await else { panic!("it is not sent") };
        refused_here(&error);
        limit(client.call(Resize { width: 3 })).await
    };
    let serve = async {
        let mut peer = broker.accept_with(old).await;
        let request = peer.request().await;
        assert_eq!(request.width(), 3, "nothing came before");
        peer.echo(&request).await;
        peer
    };
    let (reply, _peer) = tokio::join!(calls, serve);
    assert_eq!(reply.expect("answered"), 3);
    assert!(client.has_room(), "what was refused takes no place");
}

#[tokio::test]
async fn what_waited_is_not_sent_to_an_older_broker_either() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    peer.request().await;
    let waiting = tokio::spawn(client.request(Resize { width: 2 }).pool("sandbox").into_future());
    let other = tokio::spawn(client.call(Resize { width: 3 }));
    tokio::task::yield_now().await;
    drop(peer);
    limit(first).await.expect("no panic").expect_err("lost");
    let mut peer = broker.accept_with(old).await;
    let request = peer.request().await;
    assert_eq!(request.width(), 3);
    peer.echo(&request).await;
    refused_here(&limit(waiting).await.expect("no panic").expect_err("too old"));
    assert_eq!(limit(other).await.expect("no panic").expect("answered"), 3);
}

#[tokio::test]
async fn what_was_sent_before_may_have_been_executed_all_the_same() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let keyed = client.request(Resize { width: 1 }).pool("sandbox").idempotency_key("one");
    let call = tokio::spawn(keyed.into_future());
    peer.request().await;
    drop(peer);
    let _peer = broker.accept_with(old).await;
    let error = limit(call).await.expect("no panic").expect_err("too old");
    assert!(matches!(error, CallError::Disconnected { may_have_executed: true, .. }), "{error:?}");
}
