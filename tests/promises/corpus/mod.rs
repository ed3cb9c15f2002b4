//! The corpus of deaths: each made for real with a cause that is known, in random order and beside calls that go on, and each
//! verdict compared with that cause, its detail and its confidence included.
//!
//! Each cause twice; `LIFEBOAT_CORPUS=1000` (`tests/run --corpus 1000`) makes at least a thousand deaths, and with
//! `LIFEBOAT_BLESS=1` writes what they were found to be into `docs/stories.md`.

mod bed;
mod cause;
mod make;
mod table;
mod verdict;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use lifeboat_client::CallError;
use lifeboat_tests::act::{Act, Deed};
use lifeboat_tests::harness::{LIMIT, Turn, eventually};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use self::bed::{Bed, workers};
use self::cause::{Cause, How, causes};
use self::make::{Death, Maker, request};
use self::table::Table;
use self::verdict::PLANNED;

/// Says how many deaths there are to be.
const VARIABLE: &str = "LIFEBOAT_CORPUS";

/// How often each cause is made by one broker: as often as its log tells each death in full.
const EACH: usize = 4;
const EACH_OF_FEW: usize = 2;

/// Who makes deaths at a time.
const MAKERS: usize = 12;

/// The pool of the broker without cgroups.
const BARE: &str = "bare";

/// The pools whose workers are called beside, by so many.
const LOADED: [&str; 3] = ["sdk", "raw", "wide"];

/// Attempts that a call beside may need: whoever executes it may be about to die.
const ATTEMPTS: u16 = 10;

/// What is counted of ends: by the metric, the pool and the reason.
type Counts = BTreeMap<(&'static str, &'static str, String), usize>;

/// One pair of brokers, with all that is done to them.
struct Round {
    made: Bed,
    bare: Bed,
    causes: Vec<Cause>,
    /// The causes that are still to be made.
    plan: RefCell<Vec<usize>>,
    /// How many deaths a pool can take at a time.
    room: BTreeMap<&'static str, Semaphore>,
    deaths: RefCell<Vec<(usize, Death)>>,
    /// Numbers what is made.
    begun: Cell<usize>,
    over: Cell<bool>,
}

impl Round {
    async fn new(each: usize) -> Self {
        let (made, bare, causes) = (Bed::made().await, Bed::bare().await, causes());
        let mut plan = Vec::new();
        for (at, cause) in causes.iter().enumerate() {
            let times = if cause.is_of_start() { 1 } else { each };
            plan.extend(std::iter::repeat_n(at, if made.has(cause.needs) { times } else { 0 }));
        }
        fastrand::shuffle(&mut plan);
        let room = causes.iter().map(|cause| (cause.pool, Semaphore::new(workers(cause.pool)))).collect();
        let (plan, deaths) = (RefCell::new(plan), RefCell::default());
        Self { made, bare, causes, plan, room, deaths, begun: Cell::new(0), over: Cell::new(false) }
    }

    /// Makes deaths until all are made.
    async fn make(&self) {
        loop {
            let Some(at) = self.plan.borrow_mut().pop() else { return };
            let cause = &self.causes[at];
            let _room = self.room[cause.pool].acquire().await.expect("it is never closed");
            let number = self.begun.replace(self.begun.get() + 1);
            let bed = if cause.pool == BARE { &self.bare } else { &self.made };
            let deaths = Maker { bed, cause, number }.make().await;
            self.deaths.borrow_mut().extend(deaths.into_iter().map(|death| (at, death)));
        }
    }

    /// Calls a pool's workers until all deaths are made. None of the calls is lost.
    async fn load(&self, pool: &'static str) -> Result<(), CallError> {
        while !self.over.get() {
            request(&self.made, pool, &Act::new(Deed::EchoAfter(1))).retry(ATTEMPTS).await?;
        }
        Ok(())
    }

    /// What must have been counted.
    fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for (at, death) in &*self.deaths.borrow() {
            let (cause, verdict) = (&self.causes[*at], &death.verdict);
            let planned = verdict.confidence == PLANNED;
            let metric = if planned { "worker_recycles_total" } else { "worker_crashes_total" };
            *counts.entry((metric, cause.pool, verdict.reason.clone())).or_default() += 1;
            if matches!(cause.how, How::Vanish) {
                // The process that served is ended by an exit, once.
                counts.insert((metric, cause.pool, "exit".to_owned()), 1);
            }
        }
        counts
    }

    /// What was counted.
    async fn counted(&self) -> Counts {
        let mut counts = Counts::new();
        let pools: Vec<_> = self.room.keys().copied().collect();
        for bed in [&self.made, &self.bare] {
            let metrics = bed.broker.metrics().await;
            for metric in ["worker_recycles_total", "worker_crashes_total"] {
                for pool in &pools {
                    for (reason, count) in metrics.by_of(metric, "reason", &[("pool", pool)]) {
                        #[expect(
                            clippy::cast_possible_truncation,
                            clippy::cast_sign_loss,
                            reason = "a small, whole number"
                        )]
                        counts.insert((metric, *pool, reason), count as usize);
                    }
                }
            }
        }
        counts
    }

    /// Every death that the broker has counted was made here, and the brokers end without any further one.
    async fn close(self, table: &mut Table) -> Vec<String> {
        let made = self.counts();
        eventually(LIMIT, "all that was made is counted", async || {
            let counted = self.counted().await;
            made.iter().all(|(key, count)| counted.get(key) >= Some(count))
        })
        .await;
        assert_eq!(self.counted().await, made, "deaths that were counted, and made");
        let mut wrong = Vec::new();
        for (at, death) in self.deaths.into_inner() {
            let cause = &self.causes[at];
            table.add(cause, &death.verdict);
            if !cause.right.contains(&death.verdict) {
                wrong.push(format!("{:?}, not {:?}: {}", cause.words, cause.right, death.evidence));
            }
        }
        for bed in [self.made, self.bare] {
            drop(bed.client);
            bed.broker.stop();
        }
        wrong
    }
}

/// Makes each cause so often.
async fn round(each: usize, table: &mut Table) -> Vec<String> {
    let round = Rc::new(Round::new(each).await);
    let local = LocalSet::new();
    local
        .run_until(async {
            let (mut makers, mut callers) = (JoinSet::new(), JoinSet::new());
            for pool in LOADED {
                let round = Rc::clone(&round);
                callers.spawn_local(async move { round.load(pool).await });
            }
            for _ in 0..MAKERS {
                let round = Rc::clone(&round);
                makers.spawn_local(async move { round.make().await });
            }
            while let Some(made) = makers.join_next().await {
                made.expect("what is made is judged");
            }
            round.over.set(true);
            while let Some(called) = callers.join_next().await {
                called.expect("no panic").expect("no call beside is lost");
            }
        })
        .await;
    let round = Rc::into_inner(round).expect("whoever used it has ended");
    round.close(table).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_death_is_judged_by_its_true_cause() {
    let _turn = Turn::shared();
    let wanted = std::env::var(VARIABLE).ok();
    let wanted: usize =
        wanted.map_or(0, |said| said.parse().unwrap_or_else(|_| panic!("{VARIABLE} is a number of deaths")));
    let each = if wanted > 0 { EACH } else { EACH_OF_FEW };
    let (mut table, mut wrong) = (Table::default(), Vec::new());
    while wrong.is_empty() && (table.deaths() == 0 || table.deaths() < wanted) {
        wrong = round(each, &mut table).await;
    }
    println!("{}", table.text(&causes()));
    assert!(wrong.is_empty(), "{} verdicts are wrong:\n{}", wrong.len(), wrong.join("\n"));
    if wanted >= 1_000 && std::env::var("LIFEBOAT_BLESS").is_ok_and(|it| it == "1") {
        table.bless(&causes());
    }
}

#[test]
fn the_document_has_the_deaths_of_each_cause_and_no_wrong_verdict() {
    table::check_document(&causes());
}

#[test]
fn causes_have_words_of_their_own() {
    let causes = causes();
    for (at, cause) in causes.iter().enumerate() {
        assert!(!cause.words.contains('|') && !cause.right.is_empty(), "{cause:?}");
        assert!(causes[..at].iter().all(|other| other.words != cause.words), "two are {}", cause.words);
    }
}
