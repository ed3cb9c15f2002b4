//! `lifeboat requests`: the open requests, oldest first.

use lifeboat_client::RequestRow;
use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Remote, RemoteError, shown_ms};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct RequestsArgs {
    #[command(flatten)]
    remote: Remote,
    /// Show so many at most, the oldest first
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Print one JSON object: requests, times in ms
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    requests: &'a [RequestRow],
    more: bool,
}

/// Runs the command.
pub(super) fn run(args: &RequestsArgs) -> Exit {
    remote::run(async {
        let found = args.remote.connect().await?.admin().requests(args.limit).await?;
        if args.json {
            remote::print_json(&Shown { requests: &found.requests, more: found.more })?;
        } else {
            show(&found.requests, found.more)?;
        }
        Ok(Exit::Done)
    })
}

fn show(requests: &[RequestRow], more: bool) -> Result<(), RemoteError> {
    if requests.is_empty() {
        return remote::print_line("no request is open");
    }
    let headings =
        ["REQUEST", "METHOD", "POOL", "STATE", "ATTEMPT", "AGE", "RUNNING", "WORKER", "CLIENT PID"];
    let mut table = remote::table(&headings);
    for request in requests {
        table.add_row([
            format!("r{:x}", request.request),
            request.method.clone(),
            request.pool.clone(),
            state(request),
            format!("{} of {}", request.attempt, request.max_attempts),
            shown_ms(request.age_ms),
            request.running_ms.map(shown_ms).unwrap_or_default(),
            request.worker.clone().unwrap_or_default(),
            request.client_pid.map(|pid| pid.to_string()).unwrap_or_default(),
        ]);
    }
    remote::print_line(&table.trim_fmt())?;
    if more { remote::print_line("there are more; see --limit") } else { Ok(()) }
}

/// Where it is, and whether it has to be alone there.
fn state(request: &RequestRow) -> String {
    if request.suspect { format!("{} (suspect)", request.state) } else { request.state.to_string() }
}
