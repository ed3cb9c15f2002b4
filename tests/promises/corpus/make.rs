//! Makes one death, and asks the broker what it was.

use std::future::IntoFuture as _;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_client::{AttemptReport, CallError, RawRequestBuilder, Reply};
use lifeboat_protocol::{decode_body, encode_body};
use lifeboat_tests::act::{Act, Acted, Deed};
use lifeboat_tests::chaos::Ended;
use lifeboat_tests::harness::{LIMIT, eventually, is_alive, until_some};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;

use super::bed::{Bed, VANISHING};
use super::cause::{Cause, How, Limit, Plan, crash_after};
use super::verdict::{Life, Verdict};
use crate::calls::{all_begun, executions};

/// How long work may take that never ends.
const SHORT: Duration = Duration::from_millis(400);

/// A crash that races with a deadline comes so many milliseconds after its request's begin, which is a little later than the
/// request's own.
const RACED: std::ops::RangeInclusive<u64> = 388..=398;

/// A death that was made, and what the broker made of it.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) verdict: Verdict,
    /// All that is known, for one that was judged wrongly.
    pub(super) evidence: String,
}

/// How a call of a pool's method ended.
type Called = Result<Reply<Bytes>, CallError>;

/// A process that executes what never ends.
struct Hanging {
    call: JoinHandle<Called>,
    pid: u32,
}

/// Makes deaths of a cause.
pub(super) struct Maker<'a> {
    pub(super) bed: &'a Bed,
    pub(super) cause: &'a Cause,
    /// Among all deaths of this broker.
    pub(super) number: usize,
}

/// A request of a pool.
pub(super) fn request(bed: &Bed, pool: &'static str, act: &Act) -> RawRequestBuilder {
    bed.client.request_raw(pool, encode_body(act).expect("an act can be encoded"))
}

impl Maker<'_> {
    /// One death; several where a program cannot be started.
    pub(super) async fn make(&self) -> Vec<Death> {
        vec![match &self.cause.how {
            How::Deed(deed) => self.told(self.request(&Act::new(deed.clone())).await),
            How::Limit(limit) => self.limited(*limit).await,
            How::Race => {
                let act = crash_after(fastrand::u64(RACED));
                self.told(self.request(&act).timeout(SHORT).await)
            }
            How::Outside(signal) => self.struck(*signal).await,
            How::Idle => {
                let acted = self.echo().await;
                strike(acted.pid, Signal::KILL).await;
                self.logged((acted.worker, acted.incarnation)).await
            }
            How::Operator => self.killed_by_a_person().await,
            How::Cancel => self.cancelled().await,
            How::Panics => self.panicked().await,
            How::AfterAChild => self.outlived_its_child().await,
            How::Deaf => self.deaf().await,
            How::Start => return self.never_ready().await,
            How::Vanish => return self.vanished().await,
            How::Planned(plan) => self.planned(*plan).await,
        }]
    }

    fn request(&self, act: &Act) -> RawRequestBuilder {
        request(self.bed, self.cause.pool, act)
    }

    /// Has something done that is answered.
    async fn done(&self, deed: Deed) -> Acted {
        let answer = self.request(&Act::new(deed)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error:?}", self.cause.words));
        decode_body(&answer).expect("an act is answered so")
    }

    async fn echo(&self) -> Acted {
        self.done(Deed::Echo).await
    }

    async fn hang(&self) -> Hanging {
        let trace = self.bed.file(&format!("trace-{}", self.number));
        let request = self.request(&Act::new(Deed::Hang).traced(&trace));
        let call = tokio::spawn(request.into_future());
        all_begun(&trace, 1).await;
        Hanging { call, pid: executions(&trace)[0].pid }
    }

    /// What the caller of the request was told that the process was executing.
    fn told(&self, called: Called) -> Death {
        let error = match called {
            Ok(reply) => panic!("{}: it was answered: {reply:?}", self.cause.words),
            Err(error) => error,
        };
        let ended = Ended::of(0, &error);
        let attempt = only_attempt(&error);
        let reason = attempt.reason.as_ref().unwrap_or_else(|| panic!("no reason: {error:?}"));
        let verdict = Verdict::told(reason);
        let life = (attempt.worker.clone(), attempt.incarnation);
        // It may not be logged yet, or is counted there among others like it.
        if let Some(logged) = Verdict::logged(&self.bed.broker, &life) {
            assert_eq!(verdict, logged, "{}: told and logged differ: {error:?}", self.cause.words);
        }
        let outcome = self.cause.outcome.unwrap_or(&ended.outcome);
        assert_eq!(ended.outcome, outcome, "{}: {error:?}", self.cause.words);
        Death { verdict, evidence: format!("{error:?}") }
    }

    /// What the log says of a life's end.
    async fn logged(&self, life: Life) -> Death {
        let what = format!("{}: the end of {life:?} is logged", self.cause.words);
        let broker = &self.bed.broker;
        let verdict = until_some(LIMIT, &what, async || Verdict::logged(broker, &life)).await;
        let (worker, incarnation) = &life;
        let life = format!("worker=\"{worker}\" incarnation={incarnation} ");
        let log = broker.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&life)).collect();
        Death { verdict, evidence: lines.join("\n") }
    }

    async fn limited(&self, limit: Limit) -> Death {
        let request = self.request(&Act::new(Deed::Hang));
        let request = match limit {
            Limit::Attempt => request.attempt_timeout(SHORT),
            Limit::Progress => request.progress_timeout(SHORT),
            Limit::Output => request.output_timeout(SHORT),
            Limit::Deadline => request.timeout(SHORT),
        };
        self.told(request.await)
    }

    async fn struck(&self, signal: Signal) -> Death {
        let hanging = self.hang().await;
        strike(hanging.pid, signal).await;
        self.told(hanging.call.await.expect("no panic"))
    }

    /// The worker's name and life of a process.
    async fn life_of(&self, pid: u32) -> Life {
        let health = self.bed.broker.health().await;
        let workers = health["workers"].as_object().expect("health has workers");
        let (name, worker) = workers.iter().find(|(_, it)| it["pid"] == pid).expect("it is shown");
        (name.clone(), worker["incarnation"].as_u64().expect("a number"))
    }

    async fn killed_by_a_person(&self) -> Death {
        let hanging = self.hang().await;
        let (worker, _) = self.life_of(hanging.pid).await;
        self.bed.client.admin().kill(worker).await.expect("a person may order");
        self.told(hanging.call.await.expect("no panic"))
    }

    async fn cancelled(&self) -> Death {
        let hanging = self.hang().await;
        let life = self.life_of(hanging.pid).await;
        hanging.call.abort();
        self.logged(life).await
    }

    /// Each panic is told as that of a slot, the death as that of all.
    async fn panicked(&self) -> Death {
        let mut lives = Vec::new();
        for _ in 0..2 {
            let error = self.request(&Act::new(Deed::Panic)).await.expect_err("it panics");
            let attempt = only_attempt(&error);
            let reason = attempt.reason.as_ref().map(|reason| reason.label().to_owned());
            assert_eq!(reason.as_deref(), Some("slot_panicked"), "{error:?}");
            lives.push((attempt.worker.clone(), attempt.incarnation));
        }
        lives.dedup();
        let [life] = &lives[..] else { panic!("one process had two slots: {lives:?}") };
        self.logged(life.clone()).await
    }

    async fn outlived_its_child(&self) -> Death {
        let acted = self.done(Deed::MemoryOfAChild).await;
        let life = format!("worker=\"{}\" incarnation={}", acted.worker, acted.incarnation);
        eventually(LIMIT, "the descendant's end is told", async || {
            let log = self.bed.broker.log();
            log.lines().any(|line| line.contains("a descendant was killed") && line.ends_with(&life))
        })
        .await;
        self.struck(Signal::KILL).await
    }

    async fn deaf(&self) -> Death {
        let answers = Deed::AnswerThen(Box::new(Deed::Hang));
        let acted = self.done(Deed::ShutRead(Box::new(answers))).await;
        let next = self.echo().await;
        assert_ne!(next.pid, acted.pid, "it cannot have read that");
        self.logged((acted.worker, acted.incarnation)).await
    }

    /// The deaths of a pool that has tripped.
    async fn never_ready(&self) -> Vec<Death> {
        let (broker, pool) = (&self.bed.broker, self.cause.pool);
        let own = self.cause.right[0].reason.clone();
        until_some(LIMIT, &format!("{pool} has tripped, and all is logged"), async || {
            let metrics = broker.metrics().await;
            let dead = metrics.count("worker_crashes_total", &[("pool", pool), ("reason", &own)]);
            let mut verdicts = Verdict::of_pool(broker, pool);
            // What was done to a process that served is none of these.
            verdicts.retain(|verdict| verdict.reason != "exit");
            let tripped = metrics.count("pool_tripped", &[("pool", pool)]) == 1;
            let all = tripped && dead > 0 && verdicts.len() as u64 == dead;
            all.then(|| verdicts.into_iter().map(|verdict| Death { verdict, evidence: pool.to_owned() }))
        })
        .await
        .collect()
    }

    async fn vanished(&self) -> Vec<Death> {
        self.echo().await;
        std::fs::remove_file(self.bed.file(VANISHING)).expect("it is there");
        let error = self.request(&Act::new(Deed::Exit(1))).await.expect_err("it exits");
        assert_eq!(error.crash_reason().and_then(|reason| reason.exit_code()), Some(1), "{error:?}");
        self.never_ready().await
    }

    async fn planned(&self, plan: Plan) -> Death {
        let recycle = || Deed::Recycle(Box::new(Deed::Echo));
        let acted = self.done(if plan == Plan::Recycle { recycle() } else { Deed::Echo }).await;
        let (worker, admin) = (acted.worker, self.bed.client.admin());
        match plan {
            Plan::Recycle => {}
            Plan::Requests => assert_eq!(self.echo().await.pid, acted.pid, "it may answer twice"),
            Plan::Restart => drop(admin.restart(&worker).await.expect("a person may order")),
            Plan::Drain => drop(admin.drain(&worker).await.expect("a person may order")),
        }
        let death = self.logged((worker.clone(), acted.incarnation)).await;
        if plan == Plan::Drain {
            admin.restart(worker).await.expect("a person may order");
        }
        death
    }
}

fn only_attempt(error: &CallError) -> &AttemptReport {
    let [attempt] = error.attempts() else { panic!("one attempt: {error:?}") };
    attempt
}

/// Sends a signal until the process is dead: one that a runtime has a handler for may take two.
async fn strike(pid: u32, signal: Signal) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    eventually(LIMIT, "it dies of a signal", async || {
        // It may be dead already of the one before.
        let _ = kill_process(process, signal);
        !is_alive(pid)
    })
    .await;
}
