//! A request under a key, whose broker is killed while it runs: it is repeated by the next one, under the same key.

use std::fs;

use lifeboat_client::CallError;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Start, Turn, is_alive};

use crate::calls::{all_begun, ended, executions, open, sent};
use crate::common::{config, echo};

const KEY: &str = "order-17";

#[tokio::test]
async fn a_request_under_a_key_outlives_its_broker() {
    let _turn = Turn::shared();
    let text = config("sdk", 2, "", "");
    let broker = Broker::start(text.as_str()).await;
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let file = |name| broker.room().path().join(name);
    let (trace, other_trace, gate) = (file("trace"), file("other-trace"), file("gate"));
    let act = |trace| Act::when(&gate, Deed::Echo).tag(17).traced(trace);
    let keyed = sent(client.request(act(&trace)).idempotency_key(KEY).timeout(LIMIT));
    let other = sent(client.request(act(&other_trace)).timeout(LIMIT));
    all_begun(&trace, 1).await;
    all_begun(&other_trace, 1).await;

    let room = broker.kill();
    let next = Start::new(text).in_room(&room).start().await;

    let lost = ended(other).await.expect_err("nobody may repeat it");
    assert!(matches!(lost, CallError::Disconnected { .. }) && lost.may_have_executed(), "{lost:?}");
    all_begun(&trace, 2).await;
    open(&gate);
    let reply = ended(keyed).await.expect("the next broker's worker answers");
    let [first, second] = executions(&trace)[..] else { panic!("two executions") };
    assert_eq!((reply.tag, reply.pid, reply.attempts()), (17, second.pid, 1), "the first of the next broker");
    assert!(first.pid != second.pid && !is_alive(first.pid), "the first worker died with its broker");
    let text = fs::read_to_string(&trace).expect("it was written twice");
    let keys: Vec<_> = text.lines().map(|line| line.split(' ').nth(3)).collect();
    assert_eq!(keys, [Some(KEY); 2], "{text}");
    assert_eq!(executions(&other_trace).len(), 1, "without a key nothing is repeated");
    echo(&client, 1).await;
    let outcomes = next.metrics().await.by("requests_total", "outcome");
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [("ok".to_owned(), 2.0)]);
    assert_eq!(client.unexpected_answers(), 0);
    next.stop();
}
