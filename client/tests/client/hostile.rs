//! A broker that tells what it should not: the one call concerned takes no harm or is ended, and no other notices.

use lifeboat_client::{CallError, Client, Event, EventStream, LostReason, OperateError};
use lifeboat_protocol::{MessageType, Operated, put_partial};

use crate::support::{Broker, Peer, Request, Resize, limit, poll_once, told_of};

/// A client with a stream whose request has arrived.
async fn streaming(broker: &Broker) -> (Client, Peer, EventStream<Resize>, Request) {
    let (client, mut peer) = broker.client().await;
    let mut events = client.request(Resize { width: 1 }).retry(3).restartable(true).stream();
    assert!(poll_once(&mut Box::pin(events.next())).await.is_pending());
    let request = peer.request().await;
    (client, peer, events, request)
}

async fn next_partial(events: &mut EventStream<Resize>) -> (u16, u32) {
    let Some(Event::Partial(partial)) = limit(events.next()).await else { panic!("a partial") };
    (partial.attempt(), partial.deserialized().expect("a number"))
}

async fn assert_done(events: &mut EventStream<Resize>, width: u32) {
    let Some(Event::Done(reply)) = limit(events.next()).await else { panic!("the end") };
    assert_eq!(*reply.expect("answered"), width);
    assert!(limit(events.next()).await.is_none());
}

/// The stream ends with what could not be read, its request is cancelled, and the connection lives.
async fn ends_unread(client: Client, mut peer: Peer, mut events: EventStream<Resize>, id: u64) {
    let Some(Event::Done(Err(error))) = limit(events.next()).await else { panic!("the end") };
    assert!(matches!(&error, CallError::Decode { .. }) && error.may_have_executed(), "{error:?}");
    assert_eq!(peer.cancel().await, id);
    assert!(limit(events.next()).await.is_none());
    let call = tokio::spawn(client.call(Resize { width: 2 }));
    let request = peer.request().await;
    peer.echo(&request).await;
    assert_eq!(limit(call).await.expect("no panic").expect("answered"), 2);
}

#[tokio::test]
async fn events_of_unknown_requests_are_passed_over_and_counted() {
    let broker = Broker::new();
    let (client, mut peer, mut events, request) = streaming(&broker).await;
    for id in [0, request.route.id + 1, u64::MAX] {
        peer.progress(id, 1, "x").await;
        peer.partial(id, 1, &1).await;
        peer.attempt_failed(id, 1).await;
        peer.operated(id, &Operated::done()).await;
    }
    peer.echo(&request).await;
    assert_done(&mut events, 1).await;
    assert_eq!(client.unexpected_answers(), 12);
}

#[tokio::test]
async fn events_after_the_outcome_are_passed_over_and_counted() {
    let broker = Broker::new();
    let (client, mut peer, mut events, request) = streaming(&broker).await;
    let id = request.route.id;
    peer.echo(&request).await;
    peer.partial(id, 1, &1).await;
    peer.progress(id, 1, "x").await;
    peer.attempt_failed(id, 1).await;
    peer.echo(&request).await;
    let call = tokio::spawn(client.call(Resize { width: 2 }));
    let request = peer.request().await;
    peer.echo(&request).await;
    assert_eq!(limit(call).await.expect("no panic").expect("answered"), 2);
    assert_done(&mut events, 1).await;
    assert_eq!(client.unexpected_answers(), 4);
}

#[tokio::test]
async fn events_of_a_call_that_does_not_stream_are_passed_over_and_counted() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let request = peer.request().await;
        assert!(!request.ext.stream);
        peer.progress(request.route.id, 1, "x").await;
        peer.partial(request.route.id, 1, &1).await;
        peer.attempt_failed(request.route.id, 1).await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 1 })), serve);
    assert_eq!(reply.expect("answered"), 1);
    assert_eq!(client.unexpected_answers(), 3);
}

#[tokio::test]
async fn an_attempt_fails_once_and_is_then_over() {
    let broker = Broker::new();
    let (client, mut peer, mut events, request) = streaming(&broker).await;
    let id = request.route.id;
    peer.partial(id, 0, &0).await; // there is no such attempt
    peer.partial(id, 1, &1).await;
    peer.attempt_failed(id, 1).await;
    peer.attempt_failed(id, 1).await;
    peer.partial(id, 1, &2).await;
    peer.progress(id, 1, "x").await;
    peer.partial(id, 2, &3).await;
    peer.partial(id, 1, &4).await;
    peer.echo(&request).await;
    assert_eq!(next_partial(&mut events).await, (1, 1));
    let failed = limit(events.next()).await;
    assert!(matches!(&failed, Some(Event::AttemptFailed(attempt)) if attempt.number == 1), "{failed:?}");
    assert_eq!(next_partial(&mut events).await, (2, 3));
    assert_done(&mut events, 1).await;
    assert_eq!(client.unexpected_answers(), 5);
}

#[tokio::test]
async fn progress_that_cannot_be_read_says_nothing() {
    let broker = Broker::new();
    let (client, mut peer, mut events, request) = streaming(&broker).await;
    let route = Some(told_of(request.route.id, 1));
    peer.control(MessageType::Progress, route, &"no map").await;
    peer.control(MessageType::Progress, route, &vec![0; 100_000]).await;
    // Not even CBOR: an array whose items are missing.
    let mut frame = Vec::new();
    put_partial(&mut frame, told_of(request.route.id, 1), &[0x9f]);
    frame[5] = MessageType::Progress.number();
    peer.send(&frame).await;
    peer.echo(&request).await;
    for _ in 0..3 {
        let Some(Event::Progress(progress)) = limit(events.next()).await else { panic!("progress") };
        assert_eq!((progress.done, progress.total, &progress.text), (None, None, &None));
        assert_eq!((progress.attempt, progress.skipped, progress.fraction()), (1, 0, None));
    }
    assert_done(&mut events, 1).await;
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn a_partial_that_cannot_be_read_ends_the_stream_and_cancels() {
    let broker = Broker::new();
    let (client, mut peer, events, request) = streaming(&broker).await;
    let mut frame = Vec::new();
    put_partial(&mut frame, told_of(request.route.id, 1), &[0x9f]);
    peer.send(&frame).await;
    ends_unread(client, peer, events, request.route.id).await;
}

#[tokio::test]
async fn a_failed_attempt_that_cannot_be_read_ends_the_stream_and_cancels() {
    let broker = Broker::new();
    let (client, mut peer, mut events, request) = streaming(&broker).await;
    let route = told_of(request.route.id, 1);
    peer.partial(request.route.id, 1, &1).await;
    peer.control(MessageType::AttemptFailed, Some(route), &"no map").await;
    assert_eq!(next_partial(&mut events).await, (1, 1));
    ends_unread(client, peer, events, request.route.id).await;
}

#[tokio::test]
async fn messages_that_no_client_knows_end_the_connection() {
    let broker = Broker::new();
    let (_client, mut peer, mut events, request) = streaming(&broker).await;
    peer.partial(request.route.id, 1, &1).await;
    let mut frame = Vec::new();
    put_partial(&mut frame, told_of(request.route.id, 1), &[0xf6]);
    frame[5] = 23; // a type that this version does not have
    peer.send(&frame).await;
    peer.eof().await;
    assert_eq!(next_partial(&mut events).await, (1, 1));
    let Some(Event::Done(Err(error))) = limit(events.next()).await else { panic!("the end") };
    let CallError::Disconnected { may_have_executed: true, source } = &error else { panic!("{error:?}") };
    assert!(matches!(source, LostReason::Protocol(_)), "{source:?}");
}

#[tokio::test]
async fn requests_and_operations_do_not_take_each_others_ends() {
    let broker = Broker::new();
    let (client, mut peer, mut events, request) = streaming(&broker).await;
    let admin = client.admin();
    let serve = async {
        let (id, _) = peer.operation().await;
        peer.answer(told_of(id, 1), &1).await;
        peer.partial(id, 1, &1).await;
        peer.operated(request.route.id, &Operated::done()).await;
        peer.operated(id, &"no map at all").await;
        peer.operated(id, &Operated::done()).await;
        peer.echo(&request).await;
    };
    let (operated, ()) = tokio::join!(limit(admin.kill("images")), serve);
    let error = operated.expect_err("cannot be read");
    assert!(matches!(&error, OperateError::Decode { .. }) && error.may_have_executed(), "{error:?}");
    assert_done(&mut events, 1).await;
    assert_eq!(client.unexpected_answers(), 4);
}
