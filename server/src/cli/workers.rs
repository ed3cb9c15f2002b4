//! `lifeboat workers`: what every worker is doing.

use std::fmt::Write as _;

use lifeboat_client::{PoolRow, PoolStateLabel, SlotRow, SlotStateLabel, WorkerRow};
use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Remote, RemoteError, shown_ms};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct WorkersArgs {
    #[command(flatten)]
    remote: Remote,
    /// Print one JSON object: pools and workers, times in ms
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    pools: &'a [PoolRow],
    workers: &'a [WorkerRow],
}

/// Runs the command.
pub(super) fn run(args: &WorkersArgs) -> Exit {
    remote::run(async {
        let found = args.remote.connect().await?.admin().workers().await?;
        if args.json {
            remote::print_json(&Shown { pools: &found.pools, workers: &found.workers })?;
        } else {
            show(&found.pools, &found.workers)?;
        }
        Ok(Exit::Done)
    })
}

fn show(pools: &[PoolRow], workers: &[WorkerRow]) -> Result<(), RemoteError> {
    for pool in pools.iter().filter(|pool| pool.state != PoolStateLabel::Serving) {
        let because = pool.because.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        remote::print_line(&format!("pool {} is {}{because}", pool.pool, pool.state))?;
    }
    let headings = ["WORKER", "STATE", "PID", "LIFE", "HELD", "EXECUTES", "IDLE", "FAILURES", "LAST CRASH"];
    let mut table = remote::table(&headings);
    for worker in workers {
        table.add_row([
            worker.worker.clone(),
            state(worker),
            worker.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            worker.incarnation.map(|life| life.to_string()).unwrap_or_default(),
            worker.held.to_string(),
            executes(&worker.slots),
            if worker.idle_ms > 0 { shown_ms(worker.idle_ms) } else { String::new() },
            worker.consecutive_failures.to_string(),
            worker.last_crash.as_ref().map(last_crash).unwrap_or_default(),
        ]);
    }
    remote::print_line(&table.trim_fmt())
}

fn state(worker: &WorkerRow) -> String {
    let mut state = worker.state.clone();
    if let Some(reason) = &worker.recycling {
        // Writing to a text cannot fail.
        let _ = write!(state, " ({reason})");
    }
    if !worker.healthy {
        state.push_str(", unhealthy");
    }
    state
}

fn executes(slots: &[SlotRow]) -> String {
    let busy = slots.iter().filter_map(|slot| {
        let method = slot.method.as_ref()?;
        let attempt = slot.attempt.filter(|attempt| *attempt > 1);
        let attempt = attempt.map(|attempt| format!(" (attempt {attempt})")).unwrap_or_default();
        Some(format!("{method}{attempt} for {}", shown_ms(slot.running_ms.unwrap_or_default())))
    });
    let mut told: Vec<String> = busy.collect();
    let failed = slots.iter().filter(|slot| slot.state == SlotStateLabel::Failed).count();
    if failed > 0 {
        told.push(format!("{failed} of {} slots failed", slots.len()));
    }
    told.join(", ")
}

fn last_crash(crash: &lifeboat_client::LastCrash) -> String {
    format!("{}, {} ago", crash.reason, shown_ms(crash.ago_ms))
}
