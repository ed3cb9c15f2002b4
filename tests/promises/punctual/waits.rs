//! The limits of requests that wait behind one that never ends, seen by the arrival of their errors.

use std::future::IntoFuture as _;
use std::time::Duration;

use lifeboat_client::{Client, TimeoutWhich};
use lifeboat_protocol::{Ext, Limits, NULL_BODY, OutcomeLabel, Route, TimeLeft, encode_body, put_request};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::clock::now;
use lifeboat_tests::harness::{Broker, RawClient};

use super::lateness::Firing;
use super::{STUCK, nanos};
use crate::common::begun;

/// A request with a limit on its waiting.
fn limited(id: u64, which: TimeoutWhich, limit: Duration) -> Vec<u8> {
    let (left, queue_timeout_ms) = if which == TimeoutWhich::Queue {
        (TimeLeft::NONE, u64::try_from(limit.as_millis()).ok())
    } else {
        (TimeLeft::from_duration(limit), None)
    };
    let ext = Ext { limits: Limits { queue_timeout_ms, ..Limits::default() }, ..Ext::default() };
    let mut frame = Vec::new();
    put_request(&mut frame, Route::request(id, left), STUCK, &ext, NULL_BODY);
    frame
}

/// `count` firings of a limit.
pub(super) async fn fire(broker: &Broker, client: &Client, which: TimeoutWhich, count: u64) -> Vec<Firing> {
    let trace = broker.room().path().join(format!("stuck-{}", now()));
    let act = encode_body(&Act::new(Deed::Hang).traced(&trace)).expect("an act can be encoded");
    let hanging = tokio::spawn(client.request_raw(STUCK, act).into_future());
    begun(&trace).await;
    let mut raw = RawClient::greeted(broker.socket()).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut due = Vec::new();
    for id in 1..=count {
        let limit = Duration::from_millis(random.u64(50..1_000));
        let frame = limited(id, which, limit);
        due.push(now() + nanos(limit));
        raw.send(&frame).await;
    }
    let mut firings = Vec::new();
    for _ in 0..count {
        let told = raw.receive().await.expect("each request has an end");
        let seen = now();
        let id = told.route.expect("an outcome has a route").id;
        let error = told.error();
        let waited = error.outcome == OutcomeLabel::TimedOut && error.attempts.is_empty();
        assert!(waited && error.which == Some(which), "{error:?}");
        firings.push(Firing::at(due[usize::try_from(id - 1).expect("a small number")], seen));
    }
    hanging.abort();
    firings
}
