//! Requests that go on when their future is dropped.

use std::time::Duration;

use lifeboat_client::{CallError, Client, Event};
use lifeboat_protocol::MessageType;

use crate::streams::{all_read, start};
use crate::support::{Broker, Got, Resize, limit, poll_once, told_of};

/// Sends a request, drops its future and returns.
async fn let_go(client: &Client, width: u32) {
    let mut call = client.request(Resize { width }).no_cancel_on_drop().into_future();
    assert!(poll_once(&mut call).await.is_pending());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_written_request_is_not_cancelled_and_keeps_its_place() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let_go(&client, 1).await;
    let first = peer.request().await;
    assert_eq!(first.width(), 1);
    let mut second = client.call(Resize { width: 2 });
    assert!(poll_once(&mut second).await.is_pending());
    peer.echo(&first).await;
    let serve = async {
        // A cancel would come here.
        let request = peer.request().await;
        assert_eq!(request.width(), 2);
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(second), serve);
    assert_eq!(reply.expect("answered"), 2);
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn one_that_waits_is_sent_in_its_turn() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let_go(&client, 2).await;
    let third = tokio::spawn(client.call(Resize { width: 3 }));
    peer.echo(&request).await;
    for width in [2, 3] {
        let request = peer.request().await;
        assert_eq!(request.width(), width);
        peer.echo(&request).await;
    }
    limit(first).await.expect("no panic").expect("answered");
    limit(third).await.expect("no panic").expect("answered");
}

#[tokio::test]
async fn one_without_a_connection_is_sent_on_the_next() {
    let mut broker = Broker::absent();
    let client = Client::builder().socket(broker.path()).connect_lazily();
    let_go(&client, 1).await;
    broker.listen();
    let mut peer = broker.accept().await;
    let request = peer.request().await;
    assert_eq!(request.width(), 1);
    peer.echo(&request).await;
    all_read(&client, &mut peer).await;
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn one_that_was_never_polled_is_never_sent() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    drop(client.request(Resize { width: 1 }).no_cancel_on_drop().into_future());
    all_read(&client, &mut peer).await;
}

#[tokio::test]
async fn its_deadline_holds_on() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let short = Duration::from_millis(20);
    let mut second = client.request(Resize { width: 2 }).timeout(short).no_cancel_on_drop().into_future();
    assert!(poll_once(&mut second).await.is_pending());
    drop(second);
    // Later than the second's deadline.
    limit(client.request(Resize { width: 3 }).timeout(2 * short)).await.expect_err("no room");
    peer.echo(&request).await;
    limit(first).await.expect("no panic").expect("answered");
    // The second is not sent any more.
    all_read(&client, &mut peer).await;
}

#[tokio::test]
async fn one_that_was_written_is_not_sent_again() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let_go(&client, 1).await;
    peer.request().await;
    drop(peer);
    let reconnect = async {
        let mut peer = broker.accept().await;
        let request = peer.request().await;
        assert_eq!(request.width(), 2, "the first was written, and may have been executed");
        peer.echo(&request).await;
    };
    let call = async {
        // One that finds the old connection is lost with it.
        while limit(client.call(Resize { width: 2 })).await.is_err() {}
    };
    tokio::join!(call, reconnect);
}

#[tokio::test]
async fn one_with_a_key_is_sent_again_though_nobody_waits_for_it() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let keyed = client.request(Resize { width: 1 }).no_cancel_on_drop().idempotency_key("one");
    let mut keyed = keyed.into_future();
    assert!(poll_once(&mut keyed).await.is_pending());
    drop(keyed);
    peer.request().await;
    drop(peer);
    let mut peer = broker.accept().await;
    let request = peer.request().await;
    assert_eq!((request.width(), request.ext.idempotency_key.as_deref()), (1, Some("one")));
    peer.echo(&request).await;
    all_read(&client, &mut peer).await;
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn a_stream_that_ends_by_what_cannot_be_read_is_cancelled_all_the_same() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).no_cancel_on_drop().stream();
    let request = start(&mut events, &mut peer).await;
    let id = request.route.id;
    peer.control(MessageType::AttemptFailed, Some(told_of(id, 1)), &"no report").await;
    let end = limit(events.next()).await;
    assert!(matches!(end, Some(Event::Done(Err(CallError::Decode { .. })))), "{end:?}");
    assert_eq!(peer.cancel().await, id, "while its reader still holds the stream");
    assert!(limit(events.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_clone_does_not_wait_for_it() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let_go(&client, 1).await;
    peer.request().await;
    drop(client);
    // And no cancel before it: the pool's `on_disconnect` decides.
    peer.eof().await;
}

#[tokio::test]
async fn what_is_told_of_a_stream_that_was_let_go_is_thrown_away() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).no_cancel_on_drop().stream();
    let request = start(&mut events, &mut peer).await;
    drop(events);
    for _ in 0..2000 {
        peer.partial(request.route.id, 1, &7).await;
    }
    peer.echo(&request).await;
    all_read(&client, &mut peer).await;
    assert_eq!(client.unexpected_answers(), 0);
    drop(client);
    let got = peer.next().await;
    assert!(matches!(got, Got::Eof), "no cancel: {got:?}");
}
