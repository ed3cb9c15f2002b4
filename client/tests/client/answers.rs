//! Answers reach the call they belong to.

use std::time::Duration;

use lifeboat_client::{Bytes, CallError, Client, Method, RejectWhy, RequestError, RetryOn};
use lifeboat_protocol::{Limits, RetryExt, Route, RouteFlags, TimeLeft, decode_body, encode_body};
use tokio::task::JoinSet;

use crate::support::{Broker, Got, Resize, limit};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let request = peer.request().await;
        assert_eq!((request.method.as_str(), request.width()), ("resize", 64));
        assert_eq!((request.route.attempt, request.route.time_left), (0, TimeLeft::NONE));
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 64 })), serve);
    assert_eq!(reply.expect("answered"), 64);
}

#[tokio::test]
async fn options_travel_and_the_reply_knows_its_story() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = client
        .request(Resize { width: 1 })
        .timeout(Duration::from_secs(7))
        .attempt_timeout(Duration::from_micros(2_500))
        .queue_timeout(Duration::from_secs(1))
        .progress_timeout(Duration::from_millis(250))
        .output_timeout(Duration::MAX)
        .restartable(true)
        .retry(3)
        .retry_on([RetryOn::Crash, RetryOn::Stall])
        .metadata("tenant", "a")
        .metadata("tenant", "b")
        .trace_context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "");
    let serve = async {
        let request = peer.request().await;
        let left = request.route.time_left.as_duration().expect("a limit");
        assert!(left <= Duration::from_secs(7) && left > Duration::from_secs(5), "{left:?}");
        let ext = &request.ext;
        assert_eq!(
            ext.limits,
            Limits {
                attempt_timeout_ms: Some(3),
                queue_timeout_ms: Some(1000),
                progress_timeout_ms: Some(250),
                output_timeout_ms: Some(u64::MAX),
            }
        );
        assert!(ext.restartable && !ext.stream);
        let retry = RetryExt { max_attempts: Some(3), on: vec!["crash".into(), "stall".into()] };
        assert_eq!(ext.retry, Some(retry));
        assert_eq!(ext.metadata, [("tenant".to_owned(), "b".to_owned())]);
        assert!(ext.traceparent.is_some() && ext.tracestate.is_none());
        let route = Route { attempt: 2, flags: RouteFlags::LATE, ..request.route };
        peer.answer(route, &9_u32).await;
        request.route.id
    };
    let (reply, id) = tokio::join!(limit(call), serve);
    let reply = reply.expect("answered");
    assert_eq!((reply.attempts(), reply.request_id(), reply.late()), (2, id, true));
    assert_eq!((*reply, reply.into_inner()), (9, 9));
}

#[tokio::test]
async fn no_attempts_at_all_are_one_attempt() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = client.request(Resize { width: 64 }).retry(0);
    let serve = async {
        let request = peer.request().await;
        assert_eq!(request.ext.retry, Some(RetryExt { max_attempts: Some(1), on: Vec::new() }));
        peer.answer(request.route, &9_u32).await;
    };
    let (reply, ()) = tokio::join!(limit(call), serve);
    assert_eq!(*reply.expect("answered"), 9);
}

#[tokio::test]
async fn raw_calls_carry_any_cbor_both_ways() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let body = encode_body(&("x", 1)).expect("encoded");
    let serve = async {
        for _ in 0..2 {
            let request = peer.request().await;
            peer.answer(request.route, &request.body.len()).await;
        }
    };
    let calls = async {
        let len = limit(client.call_raw("any", body.clone())).await.expect("answered");
        assert_eq!(decode_body::<usize>(&len).expect("a number"), body.len());
        // No body at all stands for null.
        let len = limit(client.request_raw(String::from("any"), Bytes::new())).await.expect("answered");
        assert_eq!(len.decode::<usize>().expect("a number"), 1);
        assert!(len.decode::<String>().is_err());
    };
    tokio::join!(calls, serve);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_at_once_get_their_own_answers() {
    const CALLS: u32 = 5_000;
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut calls = JoinSet::new();
    for width in 0..CALLS {
        let client = client.clone();
        calls.spawn(async move { (width, client.call(Resize { width }).await) });
    }
    let serve = async {
        let mut requests = Vec::new();
        for _ in 0..CALLS {
            requests.push(peer.request().await);
            // Answered out of order, some while others are still coming.
            if requests.len() == 700 {
                for request in requests.drain(350..).rev() {
                    peer.echo(&request).await;
                }
            }
        }
        for request in requests.iter().rev() {
            peer.echo(request).await;
        }
    };
    let collect = async {
        while let Some(call) = calls.join_next().await {
            let (width, reply) = call.expect("no panic");
            assert_eq!(reply.expect("answered"), width);
        }
    };
    limit(async { tokio::join!(serve, collect) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_travel_both_ways_among_small_ones() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let lens = [10, 100_000, 15 << 20, 64 * 1024, 1, 3 << 20];
    let calls = async {
        let mut calls = JoinSet::new();
        for len in lens {
            let body = encode_body(&vec![7_u8; len / 2]).expect("encoded");
            let call = client.call_raw("echo", body.clone());
            calls.spawn(async move { assert_eq!(call.await.expect("answered"), body) });
        }
        while let Some(call) = calls.join_next().await {
            call.expect("the same body");
        }
    };
    let serve = async {
        for _ in lens {
            let request = peer.request().await;
            let mut out = Vec::new();
            lifeboat_protocol::put_answer(&mut out, request.route, &request.body);
            peer.send(&out).await;
        }
    };
    limit(async { tokio::join!(calls, serve) }).await;
}

#[tokio::test]
async fn the_brokers_window_is_kept() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(2).await;
    let mut calls = JoinSet::new();
    for width in 0..6 {
        calls.spawn(client.call(Resize { width }));
    }
    let (first, second) = (peer.request().await, peer.request().await);
    // Whatever else the client had in mind would be here before the answer to this.
    let mut byte = [0];
    assert!(peer.stream.try_read(&mut byte).is_err(), "a third request beyond the window");
    peer.echo(&second).await;
    peer.echo(&first).await;
    for _ in 2..6 {
        let request = peer.request().await;
        peer.echo(&request).await;
    }
    while let Some(call) = limit(calls.join_next()).await {
        call.expect("no panic").expect("answered");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_never_leaves() {
    struct Nameless;
    impl Method for Nameless {
        const NAME: &'static str = "";
        type Request = u32;
        type Reply = u32;
        type Partial = ();
        type Encoding = lifeboat_client::Cbor;
    }
    let broker = Broker::new();
    let accept = broker.accept_with(|hello| hello.max_body = 1000);
    let (client, peer) = tokio::join!(limit(Client::connect(broker.path())), accept);
    let (client, mut peer) = (client.expect("connected"), peer);

    let error = limit(client.call_as::<Nameless>(1)).await.expect_err("no name");
    assert!(matches!(&error, CallError::Encode { source: RequestError::Method(_), .. }), "{error}");
    let error = limit(client.request(Resize { width: 1 }).metadata("m", "x".repeat(70_000))).await;
    let error = error.expect_err("too much metadata");
    assert!(matches!(&error, CallError::Encode { source: RequestError::Metadata { .. }, .. }), "{error}");
    let error = limit(client.call_raw("big", vec![0xf6; 1001])).await.expect_err("too large");
    assert!(matches!(&error, CallError::Rejected { why: RejectWhy::TooLarge, .. }), "{error}");
    assert!(!error.may_have_executed() && !error.is_retryable());

    drop(client);
    assert!(matches!(peer.next().await, Got::Eof), "nothing was sent");
}

#[tokio::test]
async fn a_reply_of_another_type_is_said_to_be_one() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let request = peer.request().await;
        peer.answer(request.route, &"text").await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 64 })), serve);
    let error = reply.expect_err("not a number");
    assert!(matches!(&error, CallError::Decode { .. }) && error.may_have_executed() && !error.is_retryable());
}

#[test]
fn calls_may_be_spawned_anywhere() {
    fn needs<T: Send + 'static>(_: impl FnOnce(Client) -> T) {}
    needs(|client| client.call(Resize { width: 1 }));
    needs(|client| client.request(Resize { width: 1 }).into_future());
    needs(|client| client.call_raw("m", ""));
    needs(|client| async move { client.request(Resize { width: 1 }).stream().next().await.is_some() });
    needs(|client| async move { client.request_raw("m", "").stream().next().await.is_some() });
    needs(|client| async move { client.admin().kill("images").await });
}
