//! Timeouts, on both sides of the write.

use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client, ConnectError, TimeoutWhich};
use lifeboat_protocol::{ErrorBody, OutcomeLabel};

use crate::support::{Broker, Resize, limit};

const SHORT: Duration = Duration::from_millis(50);

fn assert_never_sent(error: &CallError) {
    let CallError::TimedOut { which, limit, unanswered, output_so_far, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((*which, *limit, *unanswered), (TimeoutWhich::Deadline, Some(SHORT), false));
    assert!(output_so_far.is_empty() && error.attempts().is_empty());
    assert!(!error.may_have_executed() && error.is_retryable());
}

#[tokio::test]
async fn before_there_is_a_connection() {
    let broker = Broker::absent();
    let client = Client::builder().socket(broker.path()).connect_lazily();
    let start = Instant::now();
    let error = limit(client.request(Resize { width: 1 }).timeout(SHORT)).await.expect_err("no broker");
    assert_never_sent(&error);
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn while_the_broker_does_not_say_hello() {
    let broker = Broker::new();
    let client = Client::builder().socket(broker.path()).timeout(SHORT).connect_lazily();
    let (reply, _silent) = tokio::join!(limit(client.call(Resize { width: 1 })), broker.accept_silently());
    assert_never_sent(&reply.expect_err("no hello"));
}

#[tokio::test]
async fn while_the_window_is_full() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let error = limit(client.request(Resize { width: 2 }).timeout(SHORT)).await.expect_err("no room");
    assert_never_sent(&error);
    peer.echo(&request).await;
    limit(first).await.expect("no panic").expect("answered");
    drop(client);
    peer.eof().await;
}

#[tokio::test]
async fn behind_a_full_socket() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let big = tokio::spawn(client.call_raw("big", vec![0xf6; 15 << 20]));
    // The frame's first bytes are here, its last cannot be: no socket buffer is that large.
    limit(peer.stream.readable()).await.expect("readable");
    let error = limit(client.request(Resize { width: 2 }).timeout(SHORT)).await.expect_err("no room");
    assert_never_sent(&error);
    let request = peer.request().await;
    assert_eq!(request.body.len(), 15 << 20);
    peer.answer(request.route, &1).await;
    limit(big).await.expect("no panic").expect("answered");
    drop(client);
    peer.eof().await;
}

#[tokio::test]
async fn the_brokers_word_wins_after_the_deadline() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let request = peer.request().await;
        let left = request.route.time_left.as_duration().expect("a limit");
        assert!(left <= SHORT);
        // The broker takes its time to kill; this call is longer than its deadline and says nothing by itself.
        tokio::time::sleep(SHORT * 3).await;
        let mut body = ErrorBody::new(OutcomeLabel::TimedOut, "resize");
        body.which = Some(TimeoutWhich::Attempt);
        peer.error(request.route.id, 1, &body).await;
    };
    let (reply, ()) = tokio::join!(limit(client.request(Resize { width: 1 }).timeout(SHORT)), serve);
    let error = reply.expect_err("timed out");
    let CallError::TimedOut { which, unanswered, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*which, *unanswered), (TimeoutWhich::Attempt, false));
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_given_up_and_told_so() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let start = Instant::now();
    let serve = async {
        let request = peer.request().await;
        assert_eq!(peer.cancel().await, request.route.id);
        request
    };
    let (reply, request) = tokio::join!(limit(client.request(Resize { width: 1 }).timeout(SHORT)), serve);
    let error = reply.expect_err("timed out");
    assert!(matches!(&error, CallError::TimedOut { unanswered: true, .. }), "{error:?}");
    assert!(error.may_have_executed());
    assert_eq!(
        error.to_string(),
        "'resize' timed out: deadline of 50ms; the broker did not say how it ended"
    );
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(4), "{waited:?}");
    // What it says at last frees the place.
    peer.echo(&request).await;
    let serve = async {
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 2 })), serve);
    assert_eq!(reply.expect("answered"), 2);
}

#[tokio::test]
async fn no_connection_within_the_connect_timeout() {
    let broker = Broker::absent();
    let builder = Client::builder().socket(broker.path()).connect_timeout(SHORT);
    let error = limit(builder.clone().connect()).await.expect_err("no broker");
    assert!(error.to_string().contains("is `lifeboat serve` running"), "{error}");
    let ConnectError::TimedOut { last, after, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(last.as_deref(), Some(ConnectError::Socket { .. })) && *after == SHORT);
    assert!(error.is_transient());

    let error = limit(builder.connect_lazily().call(Resize { width: 1 })).await.expect_err("no broker");
    assert!(matches!(&error, CallError::Connect(ConnectError::TimedOut { .. })), "{error:?}");
    assert!(!error.may_have_executed() && error.is_retryable());
}

#[tokio::test]
async fn endless_timeouts_are_taken() {
    let broker = Broker::new();
    let builder = Client::builder()
        .socket(broker.path())
        .timeout(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .reconnect_backoff(Duration::MAX, Duration::MAX);
    let (client, mut peer) = tokio::join!(limit(builder.connect()), broker.accept());
    let client = client.expect("connected");
    let serve = async {
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 2 })), serve);
    assert_eq!(reply.expect("answered"), 2);
}
