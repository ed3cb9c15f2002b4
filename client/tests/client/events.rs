//! What a client tells of its connections.

use lifeboat_client::{Client, ConnectionEvent, ConnectionEvents, LostReason};

use crate::streams::all_read;
use crate::support::{Broker, Resize, limit};

/// The next event as a short text, for comparing.
async fn next(events: &mut ConnectionEvents) -> String {
    match limit(events.next()).await {
        Some(ConnectionEvent::Connected { software }) => format!("connected to {software}"),
        Some(ConnectionEvent::Draining) => "draining".to_owned(),
        Some(ConnectionEvent::Lost { why }) => format!("lost: {why}"),
        Some(ConnectionEvent::Missed { events }) => format!("missed {events}"),
        Some(event) => panic!("an event that is newer than this test: {event:?}"),
        None => "the end".to_owned(),
    }
}

#[tokio::test]
async fn connections_come_and_go() {
    let broker = Broker::new();
    let client = Client::builder().socket(broker.path()).connect_lazily();
    let mut events = client.events();
    assert!(!client.is_connected());
    let (ready, peer) = tokio::join!(limit(client.ready()), broker.accept());
    ready.expect("connected");
    assert!(client.is_connected());
    assert_eq!(next(&mut events).await, "connected to fake-broker");
    drop(peer);
    assert_eq!(next(&mut events).await, "lost: the broker closed the connection");
    assert!(!client.is_connected());
    let accept = broker.accept_with(|hello| hello.software = "another".to_owned());
    let (ready, mut peer) = tokio::join!(limit(client.ready()), accept);
    ready.expect("connected");
    assert_eq!(next(&mut events).await, "connected to another");
    peer.drain().await;
    assert_eq!(next(&mut events).await, "draining");
    assert_eq!(next(&mut events).await, "lost: the broker is shutting down");
    drop(client);
    assert_eq!(next(&mut events).await, "the end");
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let broker = Broker::new();
    let millisecond = std::time::Duration::from_millis(1);
    let builder = Client::builder().socket(broker.path()).reconnect_backoff(millisecond, millisecond);
    let client = builder.connect_lazily();
    let mut slow = client.events();
    let mut quick = client.events();
    for _ in 0..50 {
        let (ready, peer) = tokio::join!(limit(client.ready()), broker.accept());
        ready.expect("connected");
        drop(peer);
        assert_eq!(next(&mut quick).await, "connected to fake-broker");
        assert_eq!(next(&mut quick).await, "lost: the broker closed the connection");
    }
    // 100 were told, and the newest 64 are kept.
    assert_eq!(next(&mut slow).await, "missed 36");
    assert_eq!(next(&mut slow).await, "connected to fake-broker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_keeps_no_client_and_holds_up_nothing() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = client.events();
    all_read(&client, &mut peer).await;
    drop(client);
    peer.eof().await;
    assert_eq!(next(&mut events).await, "the end");
}

#[test]
fn the_end_of_the_runtime_is_told() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = runtime();
    let (client, peer, mut events) = first.block_on(async {
        let broker = Broker::new();
        let (client, mut peer) = broker.client().await;
        let events = client.events();
        all_read(&client, &mut peer).await;
        (client, peer, events)
    });
    drop((first, peer));
    let expected = format!("lost: {}", LostReason::RuntimeStopped);
    runtime().block_on(async {
        assert_eq!(next(&mut events).await, expected);
        assert_eq!(next(&mut events).await, "the end");
        assert!(!client.is_connected());
        limit(client.call(Resize { width: 1 })).await.expect_err("nobody is there any more");
    });
}
