//! Methods as services, alone and behind layers.

#[path = "../../examples/tower/again.rs"]
mod again;

use std::time::Duration;

use lifeboat_client::{CallError, Client, RawRequest, RejectWhy, encode_body};
use lifeboat_protocol::{ErrorBody, OutcomeLabel};
use tower::{Service, ServiceBuilder, ServiceExt};

use self::again::Again;
use crate::support::{Broker, Got, Peer, Resize, limit, poll_once};

/// Rejects the next request, after so many attempts.
async fn reject(peer: &mut Peer, attempts: u16) {
    let request = peer.request().await;
    let mut body = ErrorBody::new(OutcomeLabel::Rejected, "resize");
    body.why = Some(RejectWhy::QueueFull);
    peer.error(request.route.id, attempts, &body).await;
}

#[tokio::test]
async fn a_service_is_ready_while_there_is_room() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(2).await;
    let mut service = client.service::<Resize>();
    let mut calls = Vec::new();
    for width in 1..=2 {
        assert!(client.has_room());
        calls.push(tokio::spawn(limit(service.ready()).await.expect("ready").call(Resize { width })));
        tokio::task::yield_now().await;
    }
    assert!(!client.has_room());
    let mut clone = service.clone();
    let mut ready = Box::pin(service.ready());
    let mut other = Box::pin(clone.ready());
    assert!(poll_once(&mut ready).await.is_pending());
    assert!(poll_once(&mut other).await.is_pending());
    let requests = [peer.request().await, peer.request().await];
    peer.echo(&requests[0]).await;
    // Both are woken: nothing is reserved.
    limit(ready).await.expect("ready");
    limit(other).await.expect("ready");
    assert!(client.has_room());
    peer.echo(&requests[1]).await;
    for (width, call) in (1..).zip(calls) {
        assert_eq!(limit(call).await.expect("no panic").expect("answered"), width);
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_waits_makes_room() {
    let broker = Broker::absent();
    let client = Client::builder().socket(broker.path()).max_in_flight(1).connect_lazily();
    let mut service = client.service::<Resize>();
    let mut call =
        limit(service.ready()).await.expect("ready without a connection").call(Resize { width: 1 });
    assert!(poll_once(&mut call).await.is_pending());
    let mut ready = Box::pin(service.ready());
    assert!(poll_once(&mut ready).await.is_pending());
    drop(call);
    limit(ready).await.expect("ready");
}

#[tokio::test]
async fn a_lost_connection_makes_room() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let call = tokio::spawn(client.call(Resize { width: 1 }));
    peer.request().await;
    let mut service = client.service::<Resize>();
    let mut ready = Box::pin(service.ready());
    assert!(poll_once(&mut ready).await.is_pending());
    drop(peer);
    limit(ready).await.expect("ready");
    limit(call).await.expect("no panic").expect_err("lost");
}

#[tokio::test]
async fn a_raw_service_calls_by_name() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let request = RawRequest::new("resize", encode_body(&Resize { width: 7 }).expect("encoded"));
    let serve = async {
        let request = peer.request().await;
        assert_eq!(request.method, "resize");
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.raw_service().oneshot(request)), serve);
    assert_eq!(reply.expect("answered"), encode_body(&7).expect("encoded"));
}

#[tokio::test]
async fn a_service_says_its_options_of_each_request() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let typed = client.service_with::<Resize>(|request| request.timeout(Duration::from_secs(7)).retry(3));
    let raw = client.raw_service_with(|request| request.pool("sandbox").metadata("via", "gateway"));
    let serve = async {
        for _ in 0..2 {
            let request = peer.request().await;
            assert_eq!(request.route.time_left.as_duration(), Some(Duration::from_secs(7)));
            assert_eq!(request.ext.retry.as_ref().and_then(|retry| retry.max_attempts), Some(3));
            peer.echo(&request).await;
        }
        let request = peer.request().await;
        assert_eq!(request.ext.pool.as_deref(), Some("sandbox"));
        assert_eq!(request.ext.metadata, [("via".to_owned(), "gateway".to_owned())]);
        peer.echo(&request).await;
    };
    let calls = async {
        // A clone says the same.
        for (service, width) in [(typed.clone(), 1), (typed, 2)] {
            assert_eq!(limit(service.oneshot(Resize { width })).await.expect("answered"), width);
        }
        let body = encode_body(&Resize { width: 3 }).expect("encoded");
        limit(raw.oneshot(RawRequest::new("resize", body))).await.expect("answered");
    };
    tokio::join!(calls, serve);
}

#[tokio::test]
async fn what_was_not_executed_is_tried_again_and_nothing_else() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let stack = || ServiceBuilder::new().retry(Again { left: 2 }).service(client.service::<Resize>());
    let serve = async {
        reject(&mut peer, 0).await;
        reject(&mut peer, 0).await;
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(stack().oneshot(Resize { width: 1 })), serve);
    assert_eq!(reply.expect("answered"), 1);
    // One attempt was made: not safe.
    let (reply, ()) = tokio::join!(limit(stack().oneshot(Resize { width: 2 })), reject(&mut peer, 1));
    let error = reply.expect_err("rejected");
    assert!(error.is_retryable() && error.may_have_executed(), "{error:?}");
    // The policy's tries are used up.
    let serve = async {
        for _ in 0..3 {
            reject(&mut peer, 0).await;
        }
    };
    let (reply, ()) = tokio::join!(limit(stack().oneshot(Resize { width: 3 })), serve);
    assert!(matches!(reply, Err(CallError::Rejected { .. })), "{reply:?}");
}

#[tokio::test]
async fn a_whole_stack_limits_times_out_and_retries() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let stack = ServiceBuilder::new()
        .timeout(Duration::from_millis(300))
        .concurrency_limit(1)
        .retry(Again { left: 2 })
        .service(client.service::<Resize>());
    let (mut first, mut second) = (stack.clone(), stack);
    let call = limit(first.ready()).await.expect("ready").call(Resize { width: 1 });
    let mut ready = Box::pin(second.ready());
    assert!(poll_once(&mut ready).await.is_pending(), "one at a time");
    let serve = async {
        reject(&mut peer, 0).await;
        peer.request().await
    };
    // The second try is never answered.
    let (reply, request) = tokio::join!(limit(call), serve);
    let error = reply.expect_err("timed out");
    assert!(error.is::<tower::timeout::error::Elapsed>(), "{error:?}");
    let got = peer.next().await;
    assert!(matches!(got, Got::Cancel(id) if id == request.route.id), "{got:?}");
    peer.echo(&request).await;
    let call = limit(ready).await.expect("ready").call(Resize { width: 2 });
    let serve = async {
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(call), serve);
    assert_eq!(reply.expect("answered"), 2);
}

#[tokio::test]
async fn a_full_window_sheds_load() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let call = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let service = ServiceBuilder::new().load_shed().service(client.service::<Resize>());
    let error = limit(service.oneshot(Resize { width: 2 })).await.expect_err("no room");
    assert!(error.is::<tower::load_shed::error::Overloaded>(), "{error:?}");
    peer.echo(&request).await;
    assert_eq!(limit(call).await.expect("no panic").expect("answered"), 1);
}
