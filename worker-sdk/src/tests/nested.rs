//! What requests that a handler makes have from its own.

use std::thread;
use std::time::Duration;

use lifeboat_protocol::{Ext, MessageType, origin, put_request};
use serde::{Deserialize, Serialize};

use super::Text;
use super::broker::{Broker, route};
use crate::prelude::*;

#[derive(Serialize, Deserialize)]
struct Awaits(u64);

method!("awaits": Awaits => Text);

#[derive(Serialize, Deserialize)]
struct Blocks(u64);

method!("blocks": Blocks => Text);

/// The trace of the request that this thread works for; it must be one with a deadline.
fn trace() -> String {
    let Some(origin) = origin() else { return "nobody's".into() };
    assert!(origin.deadline().is_some());
    origin.trace().map_or_else(|| "none".into(), |(parent, state)| format!("{parent} {state}"))
}

async fn asynchronous(_: Awaits, context: Context) -> Result<Text, HandlerError> {
    let own = trace();
    let (plain, within) = (tokio::spawn(async { trace() }), tokio::spawn(context.within(async { trace() })));
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(Text(format!("{own}, {}, {}, {}", plain.await?, within.await?, trace())))
}

fn blocking(_: Blocks, context: Context) -> Result<Text, HandlerError> {
    let own = trace();
    let [plain, entered] = thread::scope(|threads| {
        let plain = threads.spawn(trace);
        let entered = threads.spawn(|| {
            let _working = context.enter();
            trace()
        });
        [plain.join(), entered.join()].map(|told| told.expect("no panic"))
    });
    Ok(Text(format!("{own}, {plain}, {entered}, {}", trace())))
}

#[test]
fn a_handler_works_for_its_request_and_so_does_what_it_says() {
    let start = || Worker::new().handle::<Awaits>(asynchronous).handle_blocking::<Blocks>(blocking);
    let mut broker = Broker::start(start);
    let ext = Ext { traceparent: Some("up".into()), tracestate: Some("so".into()), ..Ext::default() };
    for (id, method) in [(1, "awaits"), (2, "blocks")] {
        let mut out = Vec::new();
        put_request(&mut out, route(id), method, &ext, b"\x07");
        broker.send(&out);
        let told = broker.next().expect::<String>(MessageType::Answer, id);
        assert_eq!(told, "up so, nobody's, up so, up so", "{method}");
    }
}
