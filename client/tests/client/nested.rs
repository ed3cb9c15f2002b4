//! Requests that are made on behalf of another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat_client::{CallError, RequestBuilder};
use lifeboat_protocol::{Origin, enter};

use crate::support::{Broker, Peer, Request, Resize, limit};

/// As a worker leaves it for its handlers.
struct Outer {
    deadline: Option<Instant>,
    trace: Option<(&'static str, &'static str)>,
}

impl Origin for Outer {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn trace(&self) -> Option<(&str, &str)> {
        self.trace
    }
}

fn outer(left: Duration) -> Arc<Outer> {
    Arc::new(Outer { deadline: Some(Instant::now() + left), trace: Some(("outer", "state")) })
}

/// What the broker is sent for a request, which it answers.
async fn sent(request: RequestBuilder<Resize>, peer: &mut Peer) -> Request {
    let serve = async {
        let request = peer.request().await;
        peer.echo(&request).await;
        request
    };
    let (reply, sent) = tokio::join!(limit(request), serve);
    assert!(reply.is_ok(), "{reply:?}");
    sent
}

#[tokio::test]
async fn it_has_the_shorter_time_and_the_trace() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let (short, long) = (Duration::from_secs(5), Duration::from_secs(60));
    let requests = {
        let _working = enter(outer(short));
        [
            client.request(Resize { width: 1 }),
            client.request(Resize { width: 2 }).timeout(long),
            client.request(Resize { width: 3 }).timeout(short / 2).trace_context("own", ""),
            client.request(Resize { width: 4 }).timeout(long).detached(),
        ]
    };
    let expected = [
        (short, Some("outer"), Some("state")),
        (short, Some("outer"), Some("state")),
        (short / 2, Some("own"), None),
        (long, None, None),
    ];
    for (request, (most, parent, state)) in requests.into_iter().zip(expected) {
        let sent = sent(request, &mut peer).await;
        let left = sent.route.time_left.as_duration().expect("there is a limit");
        assert!(left <= most && left + Duration::from_secs(2) > most, "{left:?} of {most:?}");
        assert_eq!((sent.ext.traceparent.as_deref(), sent.ext.tracestate.as_deref()), (parent, state));
    }
}

#[tokio::test]
async fn without_time_left_nothing_is_sent() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let request = {
        let _working = enter(outer(Duration::ZERO));
        client.request(Resize { width: 1 })
    };
    let error = limit(request).await.expect_err("it is too late");
    assert!(matches!(error, CallError::TimedOut { unanswered: false, .. }), "{error:?}");
    assert!(!error.may_have_executed());
    drop(client);
    peer.eof().await;
}

#[tokio::test]
async fn outside_of_handlers_it_is_as_it_was() {
    let broker = Broker::new();
    let (client, mut peer) = broker.client().await;
    let request = {
        let _working = enter(Arc::new(Outer { deadline: None, trace: None }));
        client.request(Resize { width: 1 })
    };
    for request in [request, client.request(Resize { width: 2 })] {
        let sent = sent(request, &mut peer).await;
        assert_eq!((sent.route.time_left.as_duration(), sent.ext.traceparent), (None, None));
    }
}
