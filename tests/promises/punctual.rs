//! Limits fire on time while two thousand other requests are in flight: never early, and not 20 ms late.
//!
//! Each firing is seen by whom it concerns, and all clocks are `CLOCK_MONOTONIC`: the worker notes when it reads the cancel
//! frame, the test when the kernel says that a process is dead and when a waiting request's error arrives. All of these come
//! after the firing, so that it is shown later than it was, never earlier. A request's time begins a little after its
//! sending and counts from there here: a firing shows later than it was by that way, too.

use std::fs;
use std::future::IntoFuture as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use lifeboat_client::{CallError, Client, TimeoutWhich};
use lifeboat_protocol::{Ext, NULL_BODY, OutcomeLabel, Route, TimeLeft, encode_body, put_request};
use lifeboat_tests::act::{Act, Deed, Told};
use lifeboat_tests::clock::now;
use lifeboat_tests::harness::{
    Broker, LIMIT, MARK_VARIABLE, RawClient, Stalled, Stalls, Turn, caller, until_some,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::task::JoinSet;

use crate::common::begun;

/// The promise.
const BOUND: Duration = Duration::from_millis(20);

/// Callers, each a process with a connection of its own, and the calls that each keeps in flight.
const CALLERS: usize = 10;
const CALLS: usize = 200;

/// Workers on which limits fire, each with one request at a time.
const TIMED: u64 = 8;

/// Any method that no pool names.
const STUCK: &str = "stuck";

/// Who must run one after the other until a firing is seen: the broker, and whoever sees it.
const THREADS: usize = 2;

/// So many of a hundred firings may be set aside; with more a round says nothing and is done again, so often in all.
const MOST_SET_ASIDE: usize = 20;
const ROUNDS: usize = 3;

/// A pool that is never without work, one whose requests run into limits, and one whose only worker hangs.
fn config() -> String {
    format!(
        r#"
[pools.load]
command = ["misbehave", "sdk"]
workers = 6
queue = {{ max_requests = 8192 }}
[pools.load.methods.wait]

[pools.timed]
command = ["misbehave", "raw"]
workers = {TIMED}
cancel_grace = "5s"
restart = {{ initial = "1ms", max = "10ms", max_restarts = "unlimited" }}
[pools.timed.methods.act]

[pools.stuck]
command = ["misbehave", "raw"]
accept_any_method = true
cancel_grace = "0s"
stop_grace = "0s"
"#
    )
}

/// One limit that has fired.
#[derive(Clone, Copy, Debug)]
struct Firing {
    /// When it was due, if the broker took the request the moment it was sent.
    due: u64,
    /// When it was seen.
    seen: u64,
}

/// The callers, ended when this is dropped.
struct Load(Vec<Child>);

impl Load {
    async fn start(broker: &Broker) -> Self {
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let mut command = Command::new(caller());
            command.arg(broker.socket()).args([&CALLS.to_string(), "5", "again"]);
            command.env(MARK_VARIABLE, broker.room().mark().value()).stdout(Stdio::piped());
            callers.push(command.spawn().expect("the caller starts"));
        }
        for caller in &mut callers {
            let mut line = String::new();
            let out = caller.stdout.as_mut().expect("it is piped");
            BufReader::new(out).read_line(&mut line).expect("it says something");
            assert_eq!(line.trim(), "sent");
        }
        let load = Self(callers);
        load.flies(broker).await;
        load
    }

    /// Two thousand requests are in flight, but for those that are between an answer and the next call.
    async fn flies(&self, broker: &Broker) {
        until_some(LIMIT, "two thousand requests are in flight", async || {
            let metrics = broker.metrics().await;
            let waiting = metrics.sum("queue_depth", &[("pool", "load")]);
            (waiting >= (CALLERS * CALLS) as f64 * 0.95).then_some(())
        })
        .await;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for caller in &mut self.0 {
            // It may have ended by itself, which its calls' errors would tell.
            drop(caller.kill());
            drop(caller.wait());
        }
    }
}

fn millis(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(40..400))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a short time")
}

/// `attempt_timeout`, seen by workers that read their cancel frame, answer, and serve on.
async fn attempts(client: &Client, each: usize) -> Vec<Firing> {
    let mut tasks = JoinSet::new();
    for task in 0..TIMED {
        let client = client.clone();
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            let mut firings = Vec::new();
            for _ in 0..each {
                let limit = millis(&mut random);
                let sent = now();
                let request = client.request(Act::new(Deed::AnswerLate(Told::Cancel))).attempt_timeout(limit);
                let reply = request.await.expect("an answer within cancel_grace counts");
                assert!(reply.late(), "{reply:?}");
                let seen = reply.told_at.expect("the worker has noted the time");
                firings.push(Firing { due: sent + nanos(limit), seen });
            }
            firings
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// The deadline of what runs, seen by the death of its process.
async fn deadlines_running(broker: &Broker, client: &Client, each: usize) -> Vec<Firing> {
    let mut tasks = JoinSet::new();
    for task in 0..TIMED / 2 {
        let (client, room) = (client.clone(), broker.room().path().to_owned());
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            let mut firings = Vec::new();
            for number in 0..each {
                let trace = room.join(format!("trace-{task}-{number}-{}", now()));
                let deadline = Duration::from_millis(100) + millis(&mut random);
                let request = client.request(Act::new(Deed::Hang).traced(&trace)).timeout(deadline);
                let sent = now();
                let death = tokio::task::spawn_blocking(move || death_of(&trace));
                let error = request.await.expect_err("it hangs");
                let seen = death.await.expect("no panic");
                let timed_out = matches!(error, CallError::TimedOut { which: TimeoutWhich::Deadline, .. });
                assert!(timed_out && error.attempts().len() == 1, "{error:?}");
                firings.push(Firing { due: sent + nanos(deadline), seen });
            }
            firings
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// When the process that leaves its trace in this file died. Blocks; gives up if nobody has left one after [`LIMIT`].
fn death_of(trace: &Path) -> u64 {
    let give_up = now() + nanos(LIMIT);
    let pid = loop {
        let line = fs::read_to_string(trace).unwrap_or_default();
        if let Some(pid) = line.split(' ').nth(1).and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw) {
            break pid;
        }
        assert!(now() < give_up, "no handler has begun");
        thread::sleep(Duration::from_millis(1));
    };
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("it lives until its deadline");
    while poll(&mut [PollFd::new(&process, PollFlags::IN)], None).is_err() {}
    now()
}

/// The deadlines of requests that wait, seen by the arrival of their errors.
async fn deadlines_waiting(broker: &Broker, client: &Client, count: u64) -> Vec<Firing> {
    let trace = broker.room().path().join(format!("stuck-{}", now()));
    let act = encode_body(&Act::new(Deed::Hang).traced(&trace)).expect("an act can be encoded");
    let hanging = tokio::spawn(client.request_raw(STUCK, act).into_future());
    begun(&trace).await;
    let mut raw = RawClient::greeted(broker.socket()).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut due = Vec::new();
    for id in 1..=count {
        let deadline = Duration::from_millis(random.u64(50..1_000));
        let mut frame = Vec::new();
        let route = Route::request(id, TimeLeft::from_duration(deadline));
        put_request(&mut frame, route, STUCK, &Ext::default(), NULL_BODY);
        due.push(now() + nanos(deadline));
        raw.send(&frame).await;
    }
    let mut firings = Vec::new();
    for _ in 0..count {
        let told = raw.receive().await.expect("each request has an end");
        let seen = now();
        let id = told.route.expect("an outcome has a route").id;
        let error = told.error();
        let waited = error.outcome == OutcomeLabel::TimedOut && error.attempts.is_empty();
        assert!(waited && error.which == Some(TimeoutWhich::Deadline), "{error:?}");
        firings.push(Firing { due: due[usize::try_from(id - 1).expect("a small number")], seen });
    }
    hanging.abort();
    firings
}

/// How late firings were.
struct Lateness {
    /// In order, without those that were set aside.
    times: Vec<Duration>,
    /// Over the bound for as long as reference threads were not run either: the machine's doing, and nobody's lateness.
    set_aside: Vec<Duration>,
}

impl Lateness {
    fn of(firings: &[Firing], stalled: &Stalled) -> Self {
        let mut lateness = Self { times: Vec::new(), set_aside: Vec::new() };
        for Firing { due, seen } in firings {
            assert!(seen >= due, "early by {:?}", Duration::from_nanos(due - seen));
            let late = Duration::from_nanos(seen - due);
            // From a little before: after a standstill everybody wants to run at once.
            let stood_still = stalled.within(due - nanos(BOUND), *seen, THREADS);
            if late >= BOUND && late.saturating_sub(stood_still) < BOUND {
                lateness.set_aside.push(late);
            } else {
                lateness.times.push(late);
            }
        }
        lateness.times.sort();
        lateness
    }

    /// Prints the distribution and checks the promise.
    ///
    /// # Errors
    ///
    /// When the machine stood still too often to tell.
    #[expect(clippy::print_stdout, reason = "the distribution is the test's result")]
    fn check(&self, what: &str, longest: Duration) -> Result<(), String> {
        let (count, aside) = (self.times.len() + self.set_aside.len(), self.set_aside.len());
        if aside * 100 > count * MOST_SET_ASIDE {
            return Err(format!("{what}: {aside} of {count} firings are set aside"));
        }
        let [half, most, worst] = [50, 99, 100].map(|share| self.times[(self.times.len() - 1) * share / 100]);
        println!("{what}: {count} firings; half within {half:?}, 99 % {most:?}, all {worst:?}");
        if let Some(worst) = self.set_aside.iter().max() {
            println!("    {aside} set aside, up to {worst:?}: the machine stood still for up to {longest:?}");
        }
        assert!(half < BOUND / 2 && most < BOUND && worst < BOUND, "{what}: {half:?}, {most:?}, {worst:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_fire_on_time_under_load() {
    let _turn = Turn::alone();
    let broker = Broker::start(config()).await;
    let client = broker.client().await;
    broker.all_up().await;
    let load = Load::start(&broker).await;
    let mut stalled_rounds = Vec::new();
    loop {
        let stalls = Stalls::watch();
        let attempts = attempts(&client, 25).await;
        load.flies(&broker).await;
        let running = deadlines_running(&broker, &client, 15).await;
        load.flies(&broker).await;
        let waiting = deadlines_waiting(&broker, &client, 500).await;
        load.flies(&broker).await;
        let stalled = stalls.end();
        let round = [
            ("attempt_timeout, its cancel frame read", attempts),
            ("deadline of what runs, its process dead", running),
            ("deadline of what waits, its error read", waiting),
        ]
        .map(|(what, firings)| Lateness::of(&firings, &stalled).check(what, stalled.longest()));
        let Err(why) = round.into_iter().collect::<Result<(), _>>() else { break };
        stalled_rounds.push(why);
        assert!(
            stalled_rounds.len() < ROUNDS,
            "this machine stands still too often to tell: {stalled_rounds:?}"
        );
    }
    drop(load);
    assert_eq!(broker.metrics().await.count("requests_past_deadline_total", &[]), 0);
    broker.stop();
}
