//! A client process of the chaos: keeps calls in flight, some of which ask for a fault, and writes down what it sent and
//! what came of it, until its stdin ends.

use std::future::IntoFuture as _;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Parser;
use lifeboat_client::{Client, Reply, decode_body, encode_body};
use lifeboat_tests::act::{Act, Acted};
use lifeboat_tests::chaos::{Class, Ended, Entry, Journal, NOBODYS, Plan, Sent};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Calls that each client keeps in flight.
const IN_FLIGHT: usize = 6;

/// One call in so many is dropped by a client that lives.
const DROPPED_ONE_IN: u32 = 8;

/// One call in so many is for a method that nobody serves.
const NOBODYS_ONE_IN: u32 = 300;

/// How long a caller that was refused waits before it tries something else.
const REFUSED: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, Parser)]
struct Args {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    journal: PathBuf,
    /// Where workers leave their traces.
    #[arg(long)]
    trace: PathBuf,
    #[arg(long)]
    seed: u64,
    /// The bits of every tag that are this process's own.
    #[arg(long)]
    tags: u64,
    /// This process may be killed.
    #[arg(long)]
    mortal: bool,
    /// The mean time between two faults that this client asks for, in milliseconds.
    #[arg(long)]
    fault_every: u64,
}

/// What the callers of one client share.
struct Shared {
    args: Args,
    journal: Journal,
    random: fastrand::Rng,
    next_tag: u64,
    next_fault: Instant,
    over: bool,
}

type Desk = Arc<Mutex<Shared>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let client =
        Client::builder().socket(&args.socket).connect_timeout(Duration::from_secs(5)).connect().await?;
    let desk: Desk = Arc::new(Mutex::new(Shared {
        journal: Journal::create(&args.journal)?,
        random: fastrand::Rng::with_seed(args.seed),
        next_tag: args.tags,
        next_fault: Instant::now(),
        over: false,
        args,
    }));
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        callers.spawn(call_until_the_end(client.clone(), Arc::clone(&desk)));
    }
    // It ends, or the process that holds its other end does.
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    lock(&desk).over = true;
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    lock(&desk).journal.write(&Entry::Over { unexpected: client.unexpected_answers() })?;
    Ok(())
}

fn lock(desk: &Desk) -> MutexGuard<'_, Shared> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call_until_the_end(client: Client, desk: Desk) -> anyhow::Result<()> {
    loop {
        let Some((tag, method, plan, trace)) = lock(&desk).next()? else { return Ok(()) };
        let act = Act {
            tag,
            until_attempt: plan.until_attempt,
            padding: plan.padding,
            ..Act::new(plan.deed.clone())
        };
        let body = encode_body(&act.traced(trace))?;
        let began = Instant::now();
        let mut ended = call(&client, tag, method, &plan, body).await;
        ended.late_ms = u64::try_from(began.elapsed().saturating_sub(plan.deadline).as_millis())?;
        lock(&desk).journal.write(&Entry::Ended(ended.clone()))?;
        if ended.outcome == "rejected" {
            tokio::time::sleep(REFUSED).await;
        }
    }
}

/// Makes a call and says what came of it.
async fn call(client: &Client, tag: u64, method: &'static str, plan: &Plan, body: Vec<u8>) -> Ended {
    let mut request = client.request_raw(method, body).timeout(plan.deadline);
    if let Some(limit) = plan.attempt_timeout {
        request = request.attempt_timeout(limit);
    }
    if let Some(limit) = plan.queue_timeout {
        request = request.queue_timeout(limit);
    }
    if let Some(limit) = plan.stall_timeout {
        request = request.progress_timeout(limit).output_timeout(limit);
    }
    let result = match plan.drop_after {
        None => request.await,
        Some(after) => match tokio::time::timeout(after, request.into_future()).await {
            Ok(result) => result,
            Err(_) => return Ended::new(tag, "dropped"),
        },
    };
    match result {
        Ok(reply) => answered(tag, plan, &reply),
        Err(error) => Ended::of(tag, &error),
    }
}

/// Whether an answer is the call's own.
fn answered(tag: u64, plan: &Plan, reply: &Reply<bytes::Bytes>) -> Ended {
    let attempts = reply.attempts();
    let right = decode_body::<Acted>(reply).is_ok_and(|acted| {
        acted.tag == tag && acted.attempt == attempts && acted.padding.len() == plan.padding
    });
    Ended { attempts, ..Ended::new(tag, if right { "ok" } else { "wrong" }) }
}

/// The next call: its tag, its method, what it asks for, and where workers leave its traces.
type Next = (u64, &'static str, Plan, PathBuf);

impl Shared {
    /// Chooses and writes down the next call.
    fn next(&mut self) -> anyhow::Result<Option<Next>> {
        if self.over {
            return Ok(None);
        }
        self.next_tag += 1;
        let random = &mut self.random;
        let class = match (self.args.mortal, random.u32(..DROPPED_ONE_IN)) {
            (true, _) => Class::Mortal,
            (false, 0) => Class::Dropped,
            (false, _) => Class::Kept,
        };
        let now = Instant::now();
        let fault = now >= self.next_fault;
        if fault {
            self.next_fault = now + Duration::from_millis(random.u64(1..=self.args.fault_every * 2));
        }
        let plan = Plan::choose(random, class, fault);
        let nobodys = class == Class::Kept && random.u32(..NOBODYS_ONE_IN) == 0;
        let method = if nobodys { NOBODYS } else { plan.pool.method(class) };
        let sent = Sent {
            tag: self.next_tag,
            method: method.to_owned(),
            deed: plan.deed.clone(),
            until_attempt: plan.until_attempt,
        };
        self.journal.write(&Entry::Sent(sent))?;
        Ok(Some((self.next_tag, method, plan, self.args.trace.clone())))
    }
}
