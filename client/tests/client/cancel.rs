//! Dropping a call cancels it, whatever state it is in.

use tokio::task::JoinSet;

use crate::support::{Broker, Got, Resize, limit, poll_once};

#[tokio::test]
async fn a_call_that_was_never_polled_is_never_sent() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    drop(client.call(Resize { width: 1 }));
    let serve = async {
        let request = peer.request().await;
        assert_eq!(request.width(), 2);
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(client.call(Resize { width: 2 })), serve);
    reply.expect("answered");
}

#[tokio::test]
async fn a_call_that_waits_for_the_window_is_taken_back() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let mut first = client.call(Resize { width: 1 });
    let mut second = client.call(Resize { width: 2 });
    let mut third = client.call(Resize { width: 3 });
    assert!(poll_once(&mut first).await.is_pending());
    assert!(poll_once(&mut second).await.is_pending());
    assert!(poll_once(&mut third).await.is_pending());
    drop(second);
    let serve = async {
        for width in [1, 3] {
            let request = peer.request().await;
            assert_eq!(request.width(), width);
            peer.echo(&request).await;
        }
    };
    let (first, third, ()) = tokio::join!(limit(first), limit(third), serve);
    assert_eq!((first.expect("answered"), third.expect("answered")), (1, 3));
}

#[tokio::test]
async fn calls_behind_a_full_socket_are_taken_back() {
    const CALLS: usize = 200;
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut calls = JoinSet::new();
    // 40 MB: more than a socket buffer takes.
    for _ in 0..CALLS {
        calls.spawn(client.call_raw("big", vec![0xf6; 200_000]));
    }
    // All calls are in the client's hands when the first comes out.
    let first = peer.request().await;
    calls.shutdown().await;
    let last = client.call(Resize { width: 9 });
    let serve = async {
        let mut open = vec![first.route.id];
        let mut seen = 1;
        loop {
            match peer.next().await {
                Got::Request(request) if request.method == "resize" => {
                    peer.echo(&request).await;
                    break;
                }
                Got::Request(request) => {
                    open.push(request.route.id);
                    seen += 1;
                }
                Got::Cancel(id) => {
                    assert!(open.contains(&id), "a cancel for a request that was never sent");
                    open.retain(|open| *open != id);
                }
                got @ (Got::Hello(_) | Got::Operate(..) | Got::Refused(_) | Got::Eof) => {
                    panic!("{got:?}")
                }
            }
        }
        (open, seen)
    };
    let (reply, (open, seen)) = tokio::join!(limit(last), serve);
    reply.expect("answered");
    assert!(open.is_empty(), "requests that were dropped but neither taken back nor cancelled: {open:?}");
    assert!(seen < CALLS, "some were taken back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_written_call_is_cancelled_and_its_answer_ignored() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(1).await;
    let mut call = client.call(Resize { width: 1 });
    assert!(poll_once(&mut call).await.is_pending());
    let request = peer.request().await;
    drop(call);
    assert_eq!(peer.cancel().await, request.route.id);
    // The place in the window is free only when the broker has ended the request.
    let mut next = client.call(Resize { width: 2 });
    assert!(poll_once(&mut next).await.is_pending());
    peer.echo(&request).await;
    let serve = async {
        let request = peer.request().await;
        assert_eq!(request.width(), 2);
        peer.echo(&request).await;
    };
    let (reply, ()) = tokio::join!(limit(next), serve);
    assert_eq!(reply.expect("answered"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_answered_is_not_cancelled() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut answered = client.call(Resize { width: 1 });
    assert!(poll_once(&mut answered).await.is_pending());
    let request = peer.request().await;
    peer.echo(&request).await;
    for width in [2, 3] {
        // The first round makes sure that the answer above has been read.
        let serve = async {
            let request = peer.request().await;
            assert_eq!(request.width(), width);
            peer.echo(&request).await;
        };
        let (reply, ()) = tokio::join!(limit(client.call(Resize { width })), serve);
        reply.expect("answered");
        if width == 2 {
            // Answered, but nobody picked the answer up.
            drop(std::mem::replace(&mut answered, client.call(Resize { width: 99 })));
        }
    }
    drop((client, answered));
    peer.eof().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_clone_closes_the_connection() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let clone = client.clone();
    drop(client);
    let mut call = clone.call(Resize { width: 1 });
    assert!(poll_once(&mut call).await.is_pending());
    drop(clone);
    // A call under way counts as a clone.
    let request = peer.request().await;
    peer.echo(&request).await;
    assert_eq!(limit(&mut call).await.expect("answered"), 1);
    drop(call);
    peer.eof().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_goes_out_before_the_last_clone_closes() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let mut call = client.call(Resize { width: 1 });
    assert!(poll_once(&mut call).await.is_pending());
    let request = peer.request().await;
    drop(client);
    drop(call);
    assert_eq!(peer.cancel().await, request.route.id);
    peer.eof().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_at_any_moment_loses_no_place_in_the_window() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client_with_window(8).await;
    let mut calls = JoinSet::new();
    for width in 0..3_000 {
        let client = client.clone();
        calls.spawn(async move {
            let mut call = client.call(Resize { width });
            match width % 3 {
                0 => drop(poll_once(&mut call).await),
                1 => {
                    drop(poll_once(&mut call).await);
                    tokio::task::yield_now().await;
                    drop(poll_once(&mut call).await);
                }
                _ => assert_eq!(call.await.expect("answered"), width),
            }
        });
    }
    drop(client);
    let serve = async {
        loop {
            match peer.next().await {
                // The end of a request that was cancelled is told all the same.
                Got::Request(request) => peer.echo(&request).await,
                Got::Cancel(_) => {}
                Got::Eof => break,
                got @ (Got::Hello(_) | Got::Operate(..) | Got::Refused(_)) => panic!("{got:?}"),
            }
        }
    };
    let collect = async {
        while let Some(call) = calls.join_next().await {
            call.expect("no panic");
        }
    };
    limit(async { tokio::join!(collect, serve) }).await;
}
