//! What a caller may wish for with one request, beside its limits.

use std::time::Duration;

use lifeboat_client::{Accepted, CallError, Event, RejectWhy};
use lifeboat_tests::act::{Act, Deed, Wait};
use lifeboat_tests::harness::{Broker, LIMIT, Turn};

use crate::commands::lifeboat;
use crate::common::config;

/// One pool names the method, another takes any.
const NAMED_AND_ANY: &str = r#"
[pools.named]
command = ["misbehave", "sdk"]
[pools.named.methods.act]

[pools.any]
command = ["misbehave", "sdk"]
accept_any_method = true
"#;

#[tokio::test]
async fn a_request_for_one_pool_is_served_by_that_pool_or_by_none() {
    let _turn = Turn::shared();
    let broker = Broker::start(NAMED_AND_ANY).await;
    let client = broker.client().await;
    let request = || client.request(Act::echo(1)).timeout(LIMIT);
    for request in [request(), request().pool("named")] {
        assert_eq!(request.await.expect("an echo").worker, "named-0");
    }

    let wait = || client.request(Wait { millis: 0 }).timeout(LIMIT);
    assert!(wait().pool("any").await.is_ok(), "the pool takes any method");
    // Not even a pool that takes any method: it has other limits than the method's own.
    let errors = [
        request().pool("any").await.expect_err("the method has a pool of its own"),
        wait().pool("named").await.expect_err("the pool does not take any method"),
        wait().pool("nowhere").await.expect_err("there is no such pool"),
    ];
    for error in errors {
        let CallError::Rejected { why: RejectWhy::UnknownMethod, .. } = &error else { panic!("{error:?}") };
        assert!(!error.may_have_executed() && !error.is_retryable());
        assert!(error.to_string().contains("or to another than asked for"), "{error}");
    }
    let said = lifeboat(&broker, &["call", "act", "--pool", "nowhere"]).await;
    said.not_done(1, &["'act' was rejected (unknown_method)"]);
    broker.stop();
}

#[tokio::test]
async fn a_client_is_told_how_long_each_method_may_take() {
    let _turn = Turn::shared();
    let broker = Broker::start(
        r#"
[pools.p]
command = ["misbehave", "sdk"]
kill_timeout = "1500ms"
[pools.p.methods.act]
deadline = "30s"
"#,
    )
    .await;
    let client = broker.client().await;
    assert_eq!(client.answer_within("act"), Some(Duration::from_millis(31_500)));
    assert_eq!(client.answer_within("wait"), None);
    broker.stop();
}

#[tokio::test]
async fn a_stream_begins_with_its_acceptance() {
    let _turn = Turn::shared();
    let broker = Broker::start(&config("sdk", 1, "", "")).await;
    let client = broker.client().await;
    let mut running = client.request(Act::new(Deed::Hang)).timeout(LIMIT).stream();
    let mut waiting = client.request(Act::echo(2)).timeout(LIMIT).stream();
    for events in [&mut running, &mut waiting] {
        let Some(Event::Accepted(Accepted { request_id, time_left, .. })) = events.next().await else {
            panic!("accepted first")
        };
        assert!(time_left.is_some_and(|left| left <= LIMIT && left > LIMIT / 2), "{time_left:?}");
        let rows = client.admin().requests(10).await.expect("they are listed").requests;
        assert_eq!(rows.last().map(|row| row.request), Some(request_id), "{rows:?}");
    }
    drop(running);
    let Some(Event::Done(Ok(reply))) = waiting.next().await else { panic!("it is answered") };
    assert_eq!(reply.tag, 2);

    let mut unknown = client.request_raw("nothing", Vec::new()).stream();
    assert!(matches!(unknown.next().await, Some(Event::Done(Err(_)))), "rejected, so never accepted");
    broker.stop();
}
