//! The kill ladder, rung by rung, as a worker that heeds nothing sees it and as the death's line in the log tells it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lifeboat_client::{CallError, TimeoutWhich};
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::clock::now;
use lifeboat_tests::harness::{Broker, LIMIT, SLACK, Turn, eventually, is_alive};

use crate::common::{config, crashes, echo, within};

const ATTEMPT: Duration = Duration::from_millis(300);
const CANCEL_GRACE: Duration = Duration::from_millis(400);
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A time of the machine's clock.
type Nanos = u64;

fn since(from: Nanos, at: Nanos) -> Duration {
    Duration::from_nanos(at.checked_sub(from).expect("one after the other"))
}

/// The rungs that a worker has noted, in order.
fn noted(file: &Path) -> Vec<(String, Nanos)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let note = |line: &str| {
        let (rung, at) = line.split_once(' ').expect("a rung and a time");
        (rung.to_owned(), at.parse().expect("a time is a number"))
    };
    text.lines().map(note).collect()
}

/// The rungs that the log tells of the one death, each with the time since the first.
fn told(broker: &Broker) -> Vec<(String, Duration)> {
    let log = broker.log();
    let death = log.lines().find(|line| line.contains("worker crashed")).expect("the death is logged");
    let (_, ladder) = death.split_once("ladder=\"").unwrap_or_else(|| panic!("no ladder: {death}"));
    let (ladder, _) = ladder.split_once('"').expect("a text has an end");
    let rung = |text: &str| {
        let (rung, at) = text.split_once(" +").expect("a rung and a time");
        let millis = at.strip_suffix(" ms").and_then(|millis| millis.parse().ok());
        (rung.to_owned(), Duration::from_millis(millis.expect("a number of milliseconds")))
    };
    ladder.split(", ").map(rung).collect()
}

/// The names of rungs, without their times.
fn names<T>(rungs: &[(String, T)]) -> Vec<&str> {
    rungs.iter().map(|(name, _)| name.as_str()).collect()
}

/// A worker that heeds nothing, and what became of it.
struct Heedless {
    error: CallError,
    /// What it noted, each with the time since the request was sent.
    seen: Vec<(String, Duration)>,
    /// When its caller was told.
    ended: Duration,
    /// What the log tells.
    ladder: Vec<(String, Duration)>,
}

impl Heedless {
    /// Has a request run into its `attempt_timeout`, and perhaps into its deadline; the death is counted as `reason`.
    async fn runs(graces: [&str; 2], deadline: Duration, reason: &str) -> Self {
        let keys = format!("cancel_grace = \"{}\"\nstop_grace = \"{}\"", graces[0], graces[1]);
        let broker = Broker::start(config("raw", 1, &keys, "attempt_timeout = \"300ms\"")).await;
        let client = broker.client().await;
        let before = echo(&client, 1).await;
        let notes = broker.room().path().join("rungs");
        let request = client.request(Act::new(Deed::NoteRungs(notes.clone()))).timeout(deadline);
        let sent = now();
        let error = request.await.expect_err("it heeds nothing");
        let ended = since(sent, now());
        assert!(!is_alive(before.pid), "dead when it is told");
        crashes(&broker, reason, 1).await;
        assert_eq!(echo(&client, 2).await.incarnation, before.incarnation + 1);
        let seen = noted(&notes).into_iter().map(|(rung, at)| (rung, since(sent, at))).collect();
        let ladder = told(&broker);
        broker.stop();
        Self { error, seen, ended, ladder }
    }

    fn timed_out(&self, wanted: TimeoutWhich) {
        let told = matches!(&self.error, CallError::TimedOut { which, .. } if *which == wanted);
        assert!(told, "{:?}", self.error);
    }
}

/// Cancel frame, SIGTERM, SIGKILL, dead: each when its grace has passed, and never before. The times of the worker and of
/// the log are taken apart from each other.
#[tokio::test]
async fn each_rung_has_its_time() {
    let _turn = Turn::shared();
    let Heedless { error, seen, ended, ladder } =
        Heedless::runs(["400ms", "500ms"], LIMIT, "attempt_timeout").await;
    let CallError::TimedOut { which, limit, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*which, *limit), (TimeoutWhich::Attempt, Some(ATTEMPT)));
    assert_eq!(names(&seen), ["cancel", "sigterm"], "each once");
    let (terminated, killed) = (ATTEMPT + CANCEL_GRACE, ATTEMPT + CANCEL_GRACE + STOP_GRACE);
    within(seen[0].1, ATTEMPT, ATTEMPT + SLACK);
    within(seen[1].1, terminated, terminated + SLACK);
    within(ended, killed, killed + SLACK);

    assert_eq!(names(&ladder), ["asked", "terminated", "killed", "exited", "verified"], "{ladder:?}");
    let at: Vec<Duration> = ladder.iter().map(|(_, at)| *at).collect();
    assert_eq!(at[0], Duration::ZERO);
    within(at[1], CANCEL_GRACE, CANCEL_GRACE + SLACK);
    within(at[2], CANCEL_GRACE + STOP_GRACE, CANCEL_GRACE + STOP_GRACE + SLACK);
    assert!(at.is_sorted(), "{ladder:?}");
    within(at[4] - at[2], Duration::ZERO, SLACK);
}

/// The deadline cuts the graces short: SIGKILL at once.
#[tokio::test]
async fn a_deadline_cuts_it_short() {
    const DEADLINE: Duration = Duration::from_millis(700);
    let _turn = Turn::shared();
    let heedless = Heedless::runs(["20s", "20s"], DEADLINE, "deadline").await;
    heedless.timed_out(TimeoutWhich::Deadline);
    within(heedless.ended, DEADLINE, DEADLINE + SLACK);
    assert_eq!(names(&heedless.seen), ["cancel"], "there was no time for more");
    let ladder = heedless.ladder;
    assert_eq!(names(&ladder), ["asked", "killed", "exited", "verified"], "{ladder:?}");
    assert!(ladder[1].1 <= DEADLINE - ATTEMPT + SLACK, "{ladder:?}");
}

/// Without graces there is nothing between the rungs.
#[tokio::test]
async fn a_grace_of_zero_is_at_once() {
    let _turn = Turn::shared();
    let heedless = Heedless::runs(["0s", "0s"], LIMIT, "attempt_timeout").await;
    heedless.timed_out(TimeoutWhich::Attempt);
    within(heedless.ended, ATTEMPT, ATTEMPT + SLACK);
    let killed = heedless.ladder.iter().find(|(rung, _)| rung == "killed").expect("it was killed");
    within(killed.1, Duration::ZERO, SLACK);
}

/// What a process says of a request that has ended is refused and counted, and is nobody else's answer: neither of the
/// request that it executes by then, nor of one behind it.
#[tokio::test]
async fn answers_after_the_end_are_nobodys() {
    const ROUNDS: u64 = 20;
    let _turn = Turn::shared();
    let broker = Broker::start(config("raw", 1, "prefetch = 3", "")).await;
    let client = broker.client().await;
    let before = echo(&client, 1).await;
    for round in 0..ROUNDS {
        let (first, second, third) = (10 * round, 10 * round + 1, 10 * round + 2);
        let (twice, next, last) = tokio::join!(
            client.call(Act::new(Deed::AnswerTwice).tag(first)),
            client.call(Act::new(Deed::EchoAfter(2)).tag(second)),
            client.call(Act::echo(third)),
        );
        let tags = [twice, next, last].map(|result| {
            let acted = result.expect("each has its own answer");
            assert_eq!(acted.pid, before.pid, "the process serves on");
            acted.tag
        });
        assert_eq!(tags, [first, second, third]);
    }
    eventually(LIMIT, "each second answer is counted", async || {
        broker.metrics().await.count("late_answers_total", &[("pool", "p")]) == ROUNDS
    })
    .await;
    let metrics = broker.metrics().await;
    assert_eq!(metrics.count("requests_total", &[("outcome", "ok")]), 3 * ROUNDS + 1);
    assert!(metrics.by("worker_crashes_total", "reason").is_empty());
    broker.stop();
}

/// SIGKILL leaves no moment to speak: the worker says before it what is about to be cut.
#[tokio::test]
async fn what_is_about_to_be_cut_is_told_on_stderr() {
    let _turn = Turn::shared();
    let keys = "cancel_grace = \"10ms\"\nstop_grace = \"2s\"";
    let broker = Broker::start(config("sdk", 1, keys, "attempt_timeout = \"50ms\"")).await;
    let client = broker.client().await;
    let error = client.call(Act::new(Deed::Hang)).await.expect_err("it never comes back");
    assert!(matches!(error, CallError::TimedOut { which: TimeoutWhich::Attempt, .. }), "{error:?}");
    let words = "still runs 1.5s after SIGTERM, the broker's grace is 2s: `act` (request ";
    eventually(LIMIT, "the log has the worker's words", async || broker.log().contains(words)).await;
    crashes(&broker, "attempt_timeout", 1).await;
    broker.stop();
}
