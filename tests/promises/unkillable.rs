//! Processes that do not die of SIGKILL: their requests end, others take their places, and they are seen to their end.

use std::time::Duration;

use lifeboat_client::{CallError, TimeoutWhich};
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::harness::{Broker, Held, LIMIT, SLACK, Turn, eventually, is_alive};

use crate::common::{config, crashes, echo, timed, within};

const ATTEMPT: Duration = Duration::from_millis(300);
const KILL_TIMEOUT: Duration = Duration::from_millis(500);

/// How long its broker's end takes at most: what it gives the last processes, and a little.
const ITS_END: Duration = Duration::from_secs(6);

/// A broker, and its only worker's process, which is killed after [`ATTEMPT`] and held then.
async fn held() -> (Broker, Acted, Held) {
    let keys = "cancel_grace = \"0s\"\nstop_grace = \"0s\"\nkill_timeout = \"500ms\"";
    let policy = "attempt_timeout = \"300ms\"\nretry = { on = [\"timeout\"], max_attempts = 2 }";
    let broker = Broker::start(config("raw", 1, keys, policy)).await;
    let worker = echo(&broker.client().await, 1).await;
    let held = Held::on_its_way_out(worker.pid);
    (broker, worker, held)
}

fn timed_out(error: &CallError) {
    assert!(matches!(error, CallError::TimedOut { which: TimeoutWhich::Attempt, .. }), "{error:?}");
}

#[tokio::test]
async fn story_15_it_is_replaced_and_its_late_end_touches_nobody() {
    let _turn = Turn::shared();
    let (broker, before, held) = held().await;
    let client = broker.client().await;

    let (result, took) = timed(client.request(Act::new(Deed::Litter(Box::new(Deed::Hang)))).retry(1)).await;

    let error = result.expect_err("it hangs");
    timed_out(&error);
    within(took, ATTEMPT + KILL_TIMEOUT, ATTEMPT + KILL_TIMEOUT + SLACK);
    let [attempt] = error.attempts() else { panic!("one attempt: {error:?}") };
    let reason = attempt.reason.as_ref().expect("its process was killed");
    assert_eq!((attempt.pid, reason.label()), (Some(before.pid), "unkillable"));
    let left = broker.tree_of(&before.worker, before.incarnation);
    let pids: Vec<u32> = left.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [before.pid], "what it had started is dead: {left:?}");
    let after = echo(&client, 2).await;
    assert_eq!((&after.worker, after.incarnation), (&before.worker, before.incarnation + 1));
    crashes(&broker, "unkillable", 1).await;

    held.let_go();
    eventually(LIMIT, "it is dead", async || !is_alive(before.pid)).await;
    eventually(LIMIT, "its end is told", async || broker.log().contains("unkillable process died after all"))
        .await;
    crashes(&broker, "unkillable", 1).await;
    assert_eq!(echo(&client, 3).await.pid, after.pid, "nobody else is touched");
    broker.stop();
}

/// The end of the broker does not wait long for it, and is no success.
#[tokio::test]
async fn the_brokers_end_does_not_wait_long_for_it() {
    let _turn = Turn::shared();
    let (mut broker, before, held) = held().await;
    let client = broker.client().await;
    let hanging = client.request(Act::new(Deed::Hang)).retry(1);
    timed_out(&hanging.await.expect_err("it hangs"));

    broker.terminate();
    let (status, took) = broker.wait_for_exit(ITS_END);
    assert_eq!(status.code(), Some(1), "{took:?}");
    assert!(broker.log().contains("processes are left that could not be killed"));
    assert!(is_alive(before.pid), "the kernel holds it");
    held.let_go();
    eventually(LIMIT, "it is dead", async || !is_alive(before.pid)).await;
    eventually(LIMIT, "nothing is left", async || broker.alive().is_empty()).await;
}
