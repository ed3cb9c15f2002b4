//! Streams whose worker is killed: what was told stands, and nothing is told twice or out of order.

use lifeboat_client::{CallError, Event, EventStream};
use lifeboat_tests::act::{Act, Deed, Sign};
use lifeboat_tests::harness::{Broker, LIMIT, Turn, eventually, is_alive};
use rustix::process::Signal;

use crate::calls::{executions, open, signal};
use crate::common::{config, crashes, echo};

/// Crashes are retried; whether a stream is as well is its caller's to say.
const TWICE: &str = r#"retry = { on = ["crash"], max_attempts = 2 }"#;

/// What a reader is told, and what counts of it here.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// A part, with its attempt.
    Part(u16, u64),
    /// This attempt failed, and another follows.
    Failed(u16, String),
    /// Answered, after so many attempts.
    Answered(u16),
    /// Crashed for this reason, after so many attempts of so many.
    Crashed(usize, u16, String),
}

/// The next of it, if there is one; that the request was accepted is read over.
async fn told(stream: &mut EventStream<Act>) -> Option<Told> {
    loop {
        return match stream.next().await? {
            Event::Accepted(_) => continue,
            Event::Partial(part) => Some(Told::Part(part.attempt(), *part)),
            Event::AttemptFailed(report) => {
                let reason = report.reason.expect("its process died");
                Some(Told::Failed(report.number, reason.label().to_owned()))
            }
            Event::Done(Ok(reply)) => Some(Told::Answered(reply.attempts())),
            Event::Done(Err(CallError::WorkerCrashed { reason, max_attempts, attempts, .. })) => {
                Some(Told::Crashed(attempts.len(), max_attempts, reason.label().to_owned()))
            }
            other @ (Event::Progress(_) | Event::Done(Err(_)) | _) => panic!("not expected: {other:?}"),
        };
    }
}

/// All that the reader of a stream of so many parts is told, whose worker is killed when its second part is read. No
/// attempt is answered before that worker is dead.
async fn killed_after_its_second_part(times: u64, restartable: bool) -> Vec<Told> {
    let broker = Broker::start(config("sdk", 2, "", TWICE)).await;
    broker.ready().await.all_idle().await;
    let client = broker.client().await;
    let (trace, gate) = (broker.room().path().join("trace"), broker.room().path().join("gate"));
    let then = Box::new(Deed::When(gate.clone(), Box::new(Deed::Echo)));
    let parts = Act::new(Deed::Signs { sign: Sign::Partial, times, pause: 0, then }).traced(&trace);
    let mut stream = client.request(parts).timeout(LIMIT).restartable(restartable).stream();
    let mut all = Vec::new();
    while all.len() < 2 {
        all.push(told(&mut stream).await.expect("two parts come first"));
    }
    let pid = executions(&trace)[0].pid;
    signal(pid, Signal::KILL);
    eventually(LIMIT, "it is dead", async || !is_alive(pid)).await;
    open(&gate);
    while let Some(one) = told(&mut stream).await {
        all.push(one);
    }

    let attempts = if restartable { 2 } else { 1 };
    let numbers: Vec<_> = executions(&trace).iter().map(|execution| execution.attempt).collect();
    assert_eq!(numbers, (1..=attempts).collect::<Vec<_>>(), "each attempt is executed once");
    crashes(&broker, "killed_from_outside", 1).await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.sum("retries_total", &[("method", "act")]), f64::from(attempts - 1));
    assert_eq!(client.unexpected_answers(), 0);
    echo(&client, 1).await;
    broker.stop();
    all
}

fn failed() -> Told {
    Told::Failed(1, "killed_from_outside".to_owned())
}

#[tokio::test]
async fn one_that_may_not_restart_ends_with_what_was_read() {
    let _turn = Turn::shared();
    let all = killed_after_its_second_part(2, false).await;
    let crashed = Told::Crashed(1, 2, "killed_from_outside".to_owned());
    assert_eq!(all, [Told::Part(1, 1), Told::Part(1, 2), crashed]);
}

#[tokio::test]
async fn one_that_may_restart_is_given_anew() {
    let _turn = Turn::shared();
    let all = killed_after_its_second_part(2, true).await;
    let parts = |attempt| [Told::Part(attempt, 1), Told::Part(attempt, 2)];
    let wanted: Vec<_> =
        parts(1).into_iter().chain([failed()]).chain(parts(2)).chain([Told::Answered(2)]).collect();
    assert_eq!(all, wanted);
}

/// The same with a worker that dies while it gives its parts.
#[tokio::test]
async fn amid_many_parts_none_is_lost_or_comes_twice() {
    const PARTS: u64 = 500;
    let _turn = Turn::shared();
    let all = killed_after_its_second_part(PARTS, true).await;
    let first = all.iter().position(|one| *one == failed()).expect("the first attempt failed");
    let first = u64::try_from(first).expect("a small number");
    assert!((2..=PARTS).contains(&first), "{first} parts of attempt 1");
    let wanted: Vec<_> = (1..=first)
        .map(|number| Told::Part(1, number))
        .chain([failed()])
        .chain((1..=PARTS).map(|number| Told::Part(2, number)))
        .chain([Told::Answered(2)])
        .collect();
    assert_eq!(all, wanted);
}
