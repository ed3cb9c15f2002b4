//! Workers that break the protocol: killed, told truthfully, and nobody else notices.

use lifeboat_client::{CallError, Client, ConfidenceLabel};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually, is_alive};

use crate::common::{config, crashes, echo, failing};

async fn start() -> (Broker, Client) {
    let broker = Broker::start(config("raw", 1, "", "")).await;
    let client = broker.client().await;
    (broker, client)
}

/// Has a worker do a deed that ends in its death for the protocol's sake; gives the reason's own text.
async fn violates(deed: Deed, label: &str) -> Option<String> {
    let (broker, client) = start().await;
    let before = echo(&client, 1).await;
    let error = failing(&client, deed).await;
    let CallError::WorkerCrashed { reason, attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!((reason.label(), reason.confidence()), (label, ConfidenceLabel::Proven), "{error:?}");
    assert_eq!(attempts[0].pid, Some(before.pid));
    assert!(!is_alive(before.pid), "it would have lived on, had the broker not killed it");
    crashes(&broker, label, 1).await;
    echo(&client, 2).await;
    broker.stop();
    reason.message().map(str::to_owned)
}

#[tokio::test]
async fn garbage() {
    let _turn = Turn::shared();
    let text = violates(Deed::Garbage, "protocol_violation").await;
    assert!(text.is_some_and(|text| !text.is_empty()), "a violation says what was wrong");
}

#[tokio::test]
async fn an_oversized_frame_is_refused_by_its_length_alone() {
    let _turn = Turn::shared();
    let text =
        violates(Deed::Oversized, "protocol_violation").await.expect("a violation says what was wrong");
    assert!(text.contains("4294967295"), "the length is named: {text}");
}

#[tokio::test]
async fn an_answer_to_a_request_that_it_never_got() {
    let _turn = Turn::shared();
    let text =
        violates(Deed::AnswerStranger, "protocol_violation").await.expect("a violation says what was wrong");
    assert!(text.contains("never"), "{text}");
}

#[tokio::test]
async fn a_closed_socket() {
    let _turn = Turn::shared();
    violates(Deed::CloseAndLive, "connection_closed").await;
}

/// The second answer is refused and counted, or ends the process; the caller has one answer, and the next request is not
/// touched.
#[tokio::test]
async fn a_second_answer() {
    let _turn = Turn::shared();
    let (broker, client) = start().await;
    let twice = client.request(Act::new(Deed::AnswerTwice).tag(5)).await.expect("the first answer counts");
    assert_eq!((twice.tag, twice.attempts()), (5, 1));
    for tag in 10..20 {
        echo(&client, tag).await;
    }
    eventually(LIMIT, "the second answer is counted once", async || {
        let metrics = broker.metrics().await;
        let refused = metrics.count("late_answers_total", &[("pool", "p")]);
        let killed =
            metrics.count("worker_crashes_total", &[("pool", "p"), ("reason", "protocol_violation")]);
        refused + killed == 1
    })
    .await;
    assert_eq!(broker.metrics().await.count("requests_total", &[("outcome", "ok")]), 11);
    broker.stop();
}

/// While one worker does its worst, over and over, the others serve without a single error.
#[tokio::test]
async fn story_10_the_others_do_not_notice() {
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 3, "", "")).await;
    let (bad, good) = (broker.client().await, broker.client().await);
    let worst = async {
        let deeds = [Deed::Garbage, Deed::Oversized, Deed::AnswerStranger, Deed::CloseAndLive];
        for deed in deeds.iter().cycle().take(20).cloned() {
            let error = failing(&bad, deed).await;
            assert!(matches!(error, CallError::WorkerCrashed { .. }), "{error:?}");
            // Nothing can be sent to it any more, which is found out with the next request that it is given.
            let deaf = Deed::ShutRead(Box::new(Deed::AnswerThen(Box::new(Deed::Hang))));
            bad.call(Act::new(deaf)).await.expect("its answer comes before");
        }
    };
    let best = async {
        for tag in 0..300 {
            echo(&good, tag).await;
        }
    };
    tokio::join!(worst, best);
    eventually(LIMIT, "whoever cannot be sent anything was found out", async || {
        echo(&good, 1).await;
        broker.metrics().await.count("worker_crashes_total", &[("reason", "connection_error")]) == 20
    })
    .await;
    crashes(&broker, "protocol_violation", 15).await;
    crashes(&broker, "connection_closed", 5).await;
    broker.stop();
}
