//! The connection goes away: what was written is unknown, what was not is sent again.

use std::error::Error;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, Client, ConnectError, LostReason, RefusedCode, RejectWhy};
use lifeboat_protocol::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::support::{Broker, Resize, limit, poll_once};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_written_call_ends_at_once_and_the_next_one_reconnects() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = tokio::spawn(client.call(Resize { width: 1 }));
    peer.request().await;
    let start = Instant::now();
    drop(peer);
    let error = limit(call).await.expect("no panic").expect_err("the broker died");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(matches!(
        &error,
        CallError::Disconnected { may_have_executed: true, source: LostReason::Closed }
    ));
    assert!(error.may_have_executed() && error.is_retryable() && error.attempts().is_empty());
    assert_eq!(
        error.to_string(),
        "the connection to the broker was lost; the request may have been executed"
    );
    assert_eq!(error.source().expect("a source").to_string(), "the broker closed the connection");

    let serve = async {
        let mut peer = broker.accept().await;
        let request = peer.request().await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 2 })), serve);
    assert_eq!(reply.expect("answered"), 2);
}

#[tokio::test]
async fn calls_not_written_go_to_the_next_broker() {
    let mut broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let written = tokio::spawn(client.call(Resize { width: 1 }));
    peer.request().await;
    let waiting: Vec<_> = (2..5).map(|width| tokio::spawn(client.call(Resize { width }))).collect();
    tokio::task::yield_now().await;
    broker.stop_listening();
    drop(peer);
    let error = limit(written).await.expect("no panic").expect_err("the broker died");
    assert!(error.may_have_executed());

    std::fs::remove_file(broker.path()).expect("removed");
    broker.listen();
    let mut peer = broker.accept().await;
    for width in 2..5 {
        let request = peer.request().await;
        assert_eq!(request.width(), width, "in the order of the calls");
        peer.echo(&request).await;
    }
    for (width, call) in (2..5).zip(waiting) {
        assert_eq!(limit(call).await.expect("no panic").expect("answered"), width);
    }
}

#[tokio::test]
async fn half_a_request_is_sent_again_whole() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = tokio::spawn(client.call_raw("big", vec![0xf6; 15 << 20]));
    let mut some = [0; 1000];
    limit(peer.stream.read_exact(&mut some)).await.expect("the frame's first bytes");
    drop(peer);
    let mut peer = broker.accept().await;
    let request = peer.request().await;
    assert_eq!((request.method.as_str(), request.body.len()), ("big", 15 << 20));
    peer.answer(request.route, &1).await;
    limit(call).await.expect("no panic").expect("answered");
}

#[tokio::test]
async fn half_a_request_is_not_sent_for_ever() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let call = tokio::spawn(client.call_raw("poison", vec![0xf6; 15 << 20]));
    let serve = async {
        // Once, and three times more.
        for connection in 0..4 {
            if connection > 0 {
                peer = broker.accept().await;
            }
            let mut some = [0; 1000];
            limit(peer.stream.read_exact(&mut some)).await.expect("the frame's first bytes");
            limit(peer.stream.shutdown()).await.expect("shut down");
        }
        drop(peer);
    };
    let (call, ()) = tokio::join!(limit(call), serve);
    let error = call.expect("no panic").expect_err("given up");
    assert!(matches!(&error, CallError::Disconnected { may_have_executed: false, .. }), "{error:?}");
    assert!(!error.may_have_executed() && error.to_string().ends_with("the request was not executed"));
}

#[tokio::test]
async fn a_refusal_is_the_source_and_what_was_half_written_is_not_repeated() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    peer.request().await;
    let second = tokio::spawn(client.call_raw("poison", vec![0xf6; 15 << 20]));
    let mut some = [0; 1000];
    limit(peer.stream.read_exact(&mut some)).await.expect("the frame's first bytes");
    peer.refuse(RefusedCode::TooLarge, "no more than 1 MiB").await;
    drop(peer);
    let first = limit(first).await.expect("no panic").map(drop);
    let second = limit(second).await.expect("no panic").map(drop);
    for (reply, executed) in [(first, true), (second, false)] {
        let error = reply.expect_err("refused");
        assert_eq!(error.may_have_executed(), executed);
        let CallError::Disconnected { source, .. } = &error else { panic!("{error:?}") };
        assert!(matches!(source, LostReason::Refused { code: RefusedCode::TooLarge, .. }), "{source:?}");
        assert!(source.to_string().contains("no more than 1 MiB"));
    }
}

#[tokio::test]
async fn answers_written_before_the_death_are_delivered() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    let second = tokio::spawn(client.call(Resize { width: 2 }));
    peer.request().await;
    peer.echo(&request).await;
    peer.send(&[0, 0, 0, 40, 0x82]).await;
    drop(peer);
    assert_eq!(limit(first).await.expect("no panic").expect("written before the end"), 1);
    let error = limit(second).await.expect("no panic").expect_err("half an answer is none");
    assert!(matches!(&error, CallError::Disconnected { may_have_executed: true, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_from_the_broker_ends_the_connection() {
    let garbage: [&[u8]; 4] = [
        &[0xff; 8],                      // a frame too long
        &[0, 0, 0, 0],                   // a frame of nothing
        &[0, 0, 0, 3, 0x81, 0x17, 0xf6], // a message of an unknown type
        &[0, 0, 0, 3, 0x81, 0x00, 0xf6], // a second hello
    ];
    let broker = Broker::new();
    let client = Client::builder().socket(broker.path()).connect_lazily();
    for bytes in garbage {
        let serve = async {
            let mut peer = broker.accept().await;
            peer.request().await;
            peer.send(bytes).await;
            peer.eof().await;
        };
        let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 1 })), serve);
        let error = reply.expect_err("garbage");
        let CallError::Disconnected { may_have_executed: true, source } = &error else { panic!("{error:?}") };
        assert!(matches!(source, LostReason::Protocol(_)), "{source:?}");
    }
}

#[tokio::test]
async fn an_answer_to_nobody_harms_nobody() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let serve = async {
        let request = peer.request().await;
        let mut other = request.route;
        other.id += 1000;
        peer.answer(other, &0).await;
        peer.echo(&request).await;
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 1 })), serve);
    assert_eq!(reply.expect("answered"), 1);
}

#[tokio::test]
async fn new_calls_wait_for_the_successor_of_a_draining_broker() {
    let mut broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    broker.stop_listening();
    std::fs::remove_file(broker.path()).expect("removed");
    peer.drain().await;
    // Read behind the drain, so the drain has been read when this call ends.
    peer.echo(&request).await;
    assert_eq!(limit(first).await.expect("no panic").expect("answered while draining"), 1);
    let second = tokio::spawn(client.call(Resize { width: 2 }));
    // Nothing of this client is left with the broker: the client leaves by itself.
    peer.eof().await;
    broker.listen();
    let mut peer = broker.accept().await;
    let request = peer.request().await;
    assert_eq!(request.width(), 2);
    peer.echo(&request).await;
    assert_eq!(limit(second).await.expect("no panic").expect("answered"), 2);
}

#[tokio::test]
async fn a_drain_without_a_successor_is_told_as_such() {
    let broker = Broker::new();
    let short = Duration::from_millis(500);
    let builder = Client::builder().socket(broker.path()).connect_timeout(short);
    let (client, mut peer) = tokio::join!(limit(builder.connect()), broker.accept());
    let client = client.expect("connected");
    let mut calls = Vec::new();
    let mut requests = Vec::new();
    for width in 1..=2 {
        calls.push(tokio::spawn(client.call(Resize { width })));
        requests.push(peer.request().await);
    }
    peer.drain().await;
    // Read behind the drain, so the drain has been read when this call ends.
    peer.echo(&requests[1]).await;
    let second = calls.pop().expect("two calls");
    limit(second).await.expect("no panic").expect("answered while draining");
    // The broker still has the first call, so the client stays.
    let error = limit(client.call(Resize { width: 3 })).await.expect_err("nobody takes it");
    assert!(matches!(&error, CallError::Rejected { why: RejectWhy::Draining, .. }), "{error:?}");
    assert!(!error.may_have_executed() && error.is_retryable());
    peer.echo(&requests[0]).await;
    let first = calls.pop().expect("two calls");
    assert_eq!(limit(first).await.expect("no panic").expect("answered"), 1);
    peer.eof().await;
}

#[tokio::test]
async fn a_call_that_waits_already_learns_of_a_drain_without_a_successor() {
    let broker = Broker::new();
    let second = Duration::from_secs(1);
    let builder = Client::builder().socket(broker.path()).connect_timeout(second);
    let accept =
        broker.accept_with(|hello| hello.service = Some(Service { max_in_flight: 1, ..Service::default() }));
    let (client, mut peer) = tokio::join!(limit(builder.connect()), accept);
    let client = client.expect("connected");
    let first = tokio::spawn(client.call(Resize { width: 1 }));
    let request = peer.request().await;
    // After this the limit of `connect` is behind us too, and nothing but the drain can wake the client.
    limit(client.request(Resize { width: 2 }).timeout(second)).await.expect_err("no room");
    let mut waiting = client.call(Resize { width: 3 });
    assert!(poll_once(&mut waiting).await.is_pending());
    peer.drain().await;
    let error = limit(waiting).await.expect_err("nobody takes it");
    assert!(matches!(&error, CallError::Rejected { why: RejectWhy::Draining, .. }), "{error:?}");
    peer.echo(&request).await;
    limit(first).await.expect("no panic").expect("answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_all_the_time_leave_no_call_without_an_end() {
    const CALLS: u32 = 600;
    let broker = Broker::new();
    let short = Duration::from_millis(1);
    let client = Client::builder().socket(broker.path()).reconnect_backoff(short, 5 * short).connect_lazily();
    let mut calls = JoinSet::new();
    for width in 0..CALLS {
        calls.spawn({
            let client = client.clone();
            async move { (width, client.call(Resize { width }).await) }
        });
    }
    let serve = async {
        for connection in 0.. {
            let mut peer = broker
                .accept_with(|hello| hello.service = Some(Service { max_in_flight: 8, ..Service::default() }))
                .await;
            for _ in 0..connection % 16 {
                let request = peer.request().await;
                peer.echo(&request).await;
            }
        }
    };
    let collect = async {
        let mut answered = 0;
        while let Some(call) = calls.join_next().await {
            match call.expect("no panic") {
                (width, Ok(reply)) => {
                    assert_eq!(reply, width);
                    answered += 1;
                }
                (_, Err(error)) => assert!(matches!(error, CallError::Disconnected { .. }), "{error:?}"),
            }
        }
        answered
    };
    let answered = tokio::select! {
        () = serve => unreachable!("serves for ever"),
        answered = limit(collect) => answered,
    };
    assert!(answered >= CALLS / 4, "{answered} of {CALLS} answered");
}

#[test]
fn a_runtime_that_ends_takes_its_client_along() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = runtime();
    let (client, written, peer) = first.block_on(async {
        let broker = Broker::new();
        let (client, mut peer) = broker.client().await;
        let mut written = Box::pin(client.call(Resize { width: 1 }));
        tokio::select! {
            _ = &mut written => panic!("nobody answers"),
            _ = peer.request() => {}
        }
        (client, written, peer)
    });
    let mut unwritten = Box::pin(client.call(Resize { width: 2 }));
    let second = runtime();
    second.block_on(async {
        // Started, but the driver's runtime does not turn any more.
        let pending = poll_fn(|cx| Poll::Ready(unwritten.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
    });
    drop((first, peer));
    second.block_on(async {
        let error = limit(written).await.expect_err("nobody is there any more");
        let CallError::Disconnected { may_have_executed: true, source } = &error else { panic!("{error:?}") };
        assert!(matches!(source, LostReason::RuntimeStopped), "{source:?}");
        for call in [unwritten, Box::pin(client.call(Resize { width: 3 }))] {
            let error = limit(call).await.expect_err("nobody is there any more");
            assert!(matches!(&error, CallError::Connect(ConnectError::RuntimeStopped)), "{error:?}");
        }
    });
}
