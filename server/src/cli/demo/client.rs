//! A client process of the demo: keeps a number of requests in flight, asks for a fault now and then, and counts.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use lifeboat_client::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::faults::Faults;
use super::tally::{ClientLine, Tally, label};
use super::worker::Work;
use crate::cli::exit::Exit;

/// One request in so many is asked to say no.
const REFUSED_ONE_IN: u32 = 500;

/// One fault in so many is committed at every attempt, so that the request ends `crashed`.
const POISON_ONE_IN: u32 = 12;

/// A request that is not answered within this is lost, as far as this client is concerned.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// What a client process of the demo is told on its command line.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct ClientArgs {
    #[arg(long)]
    pub(super) socket: PathBuf,
    #[arg(long)]
    pub(super) seconds: f64,
    #[arg(long)]
    pub(super) seed: u64,
    /// Which client this is; part of every nonce.
    #[arg(long)]
    pub(super) index: u16,
    #[arg(long)]
    pub(super) in_flight: u16,
    /// The mean time between two faults that this client asks for, in milliseconds.
    #[arg(long)]
    pub(super) fault_every_ms: u64,
    /// The process that must outlive this one.
    #[arg(long)]
    pub(super) parent: u32,
}

/// What the tasks of one client share.
struct Shared {
    args: ClientArgs,
    random: fastrand::Rng,
    faults: Faults,
    tally: Tally,
    next_nonce: u64,
    next_fault: Instant,
    ends: Instant,
}

/// Runs as a client process of the demo.
pub(super) fn run(args: ClientArgs) -> Exit {
    if !die_with_parent(args.parent) {
        return Exit::Failed;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
    {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::cli::serve::complain(&format!("a client of the demo cannot start: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(load(args)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            crate::cli::serve::complain(&format!("a client of the demo failed: {error:#}"));
            Exit::Failed
        }
    }
}

/// Asks the kernel to end this process with its parent; false if the parent is gone already.
fn die_with_parent(parent: u32) -> bool {
    let asked = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let present = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    asked.is_ok() && present == Some(parent)
}

async fn load(args: ClientArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.socket).await?;
    let now = Instant::now();
    let mut random = fastrand::Rng::with_seed(args.seed);
    let shared = Rc::new(RefCell::new(Shared {
        faults: Faults::shuffled(&mut random),
        random,
        tally: Tally::default(),
        next_nonce: u64::from(args.index) << 48,
        next_fault: now,
        ends: now + Duration::from_secs_f64(args.seconds),
        args,
    }));
    let mut callers = JoinSet::new();
    for _ in 0..shared.borrow().args.in_flight {
        callers.spawn_local(call_until_the_end(client.clone(), Rc::clone(&shared)));
    }
    let second = Duration::from_secs(1);
    let mut every_second = tokio::time::interval_at(now + second / 2, second);
    loop {
        tokio::select! {
            caller = callers.join_next() => match caller {
                None => break,
                Some(ended) => ended?,
            },
            _ = every_second.tick() => print(&shared.borrow().tally, false)?,
        }
    }
    let mut tally = shared.borrow().tally.clone();
    tally.answered_twice = client.unexpected_answers();
    print(&tally, true)?;
    Ok(())
}

async fn call_until_the_end(client: Client, shared: Rc<RefCell<Shared>>) {
    loop {
        let (work, started) = {
            let mut shared = shared.borrow_mut();
            let now = Instant::now();
            if now >= shared.ends {
                return;
            }
            shared.tally.sent += 1;
            (shared.next_work(now), now)
        };
        let nonce = work.nonce;
        let ended = client.request(work).timeout(REQUEST_TIMEOUT).await;
        let mut shared = shared.borrow_mut();
        let tally = &mut shared.tally;
        match ended {
            Ok(reply) => {
                tally.mismatched += u64::from(reply.nonce != nonce);
                tally.count("ok", u64::from(reply.attempts()));
            }
            Err(error) => tally.count(label(&error), error.attempts().len() as u64),
        }
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tally.slowest_ms = tally.slowest_ms.max(took);
    }
}

impl Shared {
    fn next_work(&mut self, now: Instant) -> Work {
        self.next_nonce += 1;
        let random = &mut self.random;
        let mut work = Work {
            nonce: self.next_nonce,
            rounds: random.u32(10..200),
            fault: None,
            until_attempt: 1,
            refuse: random.u32(..REFUSED_ONE_IN) == 0,
        };
        if now >= self.next_fault && !work.refuse {
            let mean = self.args.fault_every_ms;
            self.next_fault = now + Duration::from_millis(random.u64(mean / 2..=mean + mean / 2));
            work.fault = Some(self.faults.next(random));
            if random.u32(..POISON_ONE_IN) == 0 {
                work.until_attempt = u16::MAX;
            }
        }
        work
    }
}

fn print(tally: &Tally, last: bool) -> io::Result<()> {
    let line = serde_json::to_string(&ClientLine { tally: tally.clone(), last })?;
    writeln!(io::stdout().lock(), "{line}")
}
