//! Requests with an idempotency key: lost with their connection, they are sent again on the next.

use std::time::Duration;

use lifeboat_client::{CallError, Client, LostReason, RefusedCode, RejectWhy, RequestBuilder, encode_body};
use lifeboat_protocol::{ErrorBody, OutcomeLabel};

use crate::streams::{all_read, start, word, words};
use crate::support::{Broker, Peer, Request, Resize, limit};

fn keyed(client: &Client, width: u32) -> RequestBuilder<Resize> {
    client.request(Resize { width }).idempotency_key("order-17")
}

async fn keyed_request(peer: &mut Peer) -> Request {
    let request = peer.request().await;
    assert_eq!(request.ext.idempotency_key.as_deref(), Some("order-17"));
    request
}

#[tokio::test]
async fn a_call_is_repeated_and_others_are_not() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = tokio::spawn(keyed(&client, 1).into_future());
    keyed_request(&mut peer).await;
    let other = tokio::spawn(client.call(Resize { width: 2 }));
    peer.request().await;
    drop(peer);
    let error = limit(other).await.expect("no panic").expect_err("lost");
    assert!(matches!(&error, CallError::Disconnected { may_have_executed: true, .. }), "{error:?}");
    let mut peer = broker.accept().await;
    let request = keyed_request(&mut peer).await;
    assert_eq!(request.width(), 1);
    peer.echo(&request).await;
    assert_eq!(*limit(call).await.expect("no panic").expect("answered"), 1);
    all_read(&client, &mut peer).await;
}

#[tokio::test]
async fn a_call_is_repeated_three_times_and_no_more() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = tokio::spawn(keyed(&client, 1).into_future());
    let serve = async {
        keyed_request(&mut peer).await;
        for _ in 0..3 {
            drop(peer);
            peer = broker.accept().await;
            keyed_request(&mut peer).await;
        }
        drop(peer);
    };
    let (call, ()) = tokio::join!(limit(call), serve);
    let error = call.expect("no panic").expect_err("given up");
    assert!(
        matches!(
            &error,
            CallError::Disconnected {
                may_have_executed: true,
                source: LostReason::Closed | LostReason::Io(_)
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_refused_connection_is_no_reason_to_repeat() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = tokio::spawn(keyed(&client, 1).into_future());
    keyed_request(&mut peer).await;
    peer.refuse(RefusedCode::Malformed, "not this").await;
    let error = limit(call).await.expect("no panic").expect_err("refused");
    let CallError::Disconnected { may_have_executed: true, source } = &error else { panic!("{error:?}") };
    assert!(matches!(source, LostReason::Refused { .. }), "{source:?}");
}

#[tokio::test]
async fn without_a_successor_it_may_have_been_executed() {
    let broker = Broker::new();
    let short = Duration::from_millis(100);
    let builder = Client::builder().socket(broker.path()).connect_timeout(short);
    let (client, mut peer) = tokio::join!(limit(builder.connect()), broker.accept());
    let client = client.expect("connected");
    let unlimited = tokio::spawn(keyed(&client, 1).into_future());
    keyed_request(&mut peer).await;
    let limited = tokio::spawn(keyed(&client, 2).timeout(short / 2).into_future());
    keyed_request(&mut peer).await;
    drop((broker, peer));
    let error = limit(unlimited).await.expect("no panic").expect_err("nobody is there");
    assert!(matches!(&error, CallError::Disconnected { may_have_executed: true, .. }), "{error:?}");
    let error = limit(limited).await.expect("no panic").expect_err("nobody is there");
    assert!(
        matches!(&error, CallError::TimedOut { unanswered: true, may_have_executed: true, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_repetition_that_is_rejected_may_have_been_executed() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = tokio::spawn(keyed(&client, 1).into_future());
    keyed_request(&mut peer).await;
    drop(peer);
    let mut peer = broker.accept().await;
    let request = keyed_request(&mut peer).await;
    let mut body = ErrorBody::new(OutcomeLabel::Rejected, "resize");
    body.why = Some(RejectWhy::QueueFull);
    peer.error(request.route.id, 0, &body).await;
    let error = limit(call).await.expect("no panic").expect_err("rejected");
    assert!(matches!(&error, CallError::Rejected { why: RejectWhy::QueueFull, .. }), "{error:?}");
    assert!(error.may_have_executed(), "the first time");
}

#[tokio::test]
async fn a_stream_of_which_nothing_was_read_begins_again() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = keyed(&client, 1).stream();
    let request = start(&mut events, &mut peer).await;
    peer.partial(request.route.id, 1, &1).await;
    peer.attempt_failed(request.route.id, 1).await;
    peer.partial(request.route.id, 2, &2).await;
    all_read(&client, &mut peer).await;
    drop(peer);
    let mut peer = broker.accept().await;
    let request = keyed_request(&mut peer).await;
    peer.partial(request.route.id, 1, &3).await;
    peer.echo(&request).await;
    assert_eq!(words(&mut events).await, ["partial 3 of 1", "done 1 after 1"]);
    assert_eq!(client.unexpected_answers(), 0);
}

#[tokio::test]
async fn a_stream_of_which_its_acceptance_alone_was_read_begins_again() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = keyed(&client, 1).stream();
    let request = start(&mut events, &mut peer).await;
    peer.accepted(request.route.id, 7, Duration::from_secs(1)).await;
    assert_eq!(word(limit(events.next()).await.expect("an event")), "accepted 7 for Some(1s)");
    drop(peer);
    let serve = async {
        let mut peer = broker.accept().await;
        let request = peer.request().await;
        peer.accepted(request.route.id, 9, Duration::from_secs(1)).await;
        peer.echo(&request).await;
        peer
    };
    let (told, _peer) = tokio::join!(words(&mut events), serve);
    assert_eq!(told, ["accepted 9 for Some(1s)", "done 1 after 1"]);
}

#[tokio::test]
async fn a_stream_that_was_read_ends_with_its_connection() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut events = keyed(&client, 1).stream();
    let request = start(&mut events, &mut peer).await;
    peer.partial(request.route.id, 1, &1).await;
    assert_eq!(word(limit(events.next()).await.expect("a partial")), "partial 1 of 1");
    peer.partial(request.route.id, 1, &2).await;
    all_read(&client, &mut peer).await;
    drop(peer);
    let expected = [
        "partial 2 of 1".to_owned(),
        "error the connection to the broker was lost; the request may have been executed".to_owned(),
    ];
    assert_eq!(words(&mut events).await, expected);
}

#[tokio::test]
async fn a_key_that_no_header_holds_is_refused_here() {
    let broker = Broker::new();
    let (client, _peer) = broker.client().await;
    let body = encode_body(&1).expect("encoded");
    let error = limit(client.request_raw("resize", body).idempotency_key("k".repeat(100_000))).await;
    assert!(matches!(error, Err(CallError::Encode { .. })), "{error:?}");
}
