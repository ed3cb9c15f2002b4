//! `lifeboat healthcheck`: whether the broker can serve, as an exit code for container and service managers.

use lifeboat_client::{PoolRow, PoolStateLabel};
use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Remote, RemoteError};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct HealthcheckArgs {
    #[command(flatten)]
    remote: Remote,
    /// Only ask whether the broker answers, however its pools are
    #[arg(long)]
    live: bool,
    /// Print one JSON object: ready, draining, pools
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    ready: bool,
    draining: bool,
    pools: &'a [PoolRow],
}

/// Runs the command: 0 if the broker is ready (with `--live`, if it answers), else 1.
pub(super) fn run(args: &HealthcheckArgs) -> Exit {
    remote::run(async {
        let found = args.remote.connect().await?.admin().health().await?;
        if args.json {
            remote::print_json(&Shown { ready: found.ready, draining: found.draining, pools: &found.pools })?;
        } else {
            show(found.ready, found.draining, &found.pools)?;
        }
        Ok(if found.ready || args.live { Exit::Done } else { Exit::Failed })
    })
}

fn show(ready: bool, draining: bool, pools: &[PoolRow]) -> Result<(), RemoteError> {
    if ready {
        return remote::print_line("ready");
    }
    remote::print_line(if draining { "not ready: the broker is shutting down" } else { "not ready" })?;
    for pool in pools.iter().filter(|pool| pool.state != PoolStateLabel::Serving || pool.because.is_some()) {
        let because = pool.because.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        remote::print_line(&format!("pool {} is {}{because}", pool.pool, pool.state))?;
    }
    Ok(())
}
