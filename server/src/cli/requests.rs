//! `lifeboat requests`: the open requests, oldest first, or the last that did not end `ok`.

use lifeboat_client::{FailedRow, MAX_ROWS, RequestRow};
use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Remote, RemoteError, shown_ms};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct RequestsArgs {
    #[command(flatten)]
    remote: Remote,
    /// Show the last requests that did not end `ok`, the newest first; the broker remembers 256
    #[arg(long)]
    failed: bool,
    /// Show so many at most
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_ROWS as u64))]
    limit: u64,
    /// Print one JSON object: requests or failed_requests, times in ms
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    requests: &'a [RequestRow],
    more: bool,
}

#[derive(Serialize)]
struct ShownFailed<'a> {
    failed_requests: &'a [FailedRow],
    more: bool,
}

/// Runs the command.
pub(super) fn run(args: &RequestsArgs) -> Exit {
    remote::run(async {
        let admin = args.remote.connect().await?.admin();
        if args.failed {
            let found = admin.failed_requests(args.limit).await?;
            if args.json {
                remote::print_json(&ShownFailed { failed_requests: &found.requests, more: found.more })?;
            } else {
                show_failed(&found.requests, found.more)?;
            }
            return Ok(Exit::Done);
        }
        let found = admin.requests(args.limit).await?;
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

fn show_failed(requests: &[FailedRow], more: bool) -> Result<(), RemoteError> {
    if requests.is_empty() {
        return remote::print_line("every request since the broker's start has ended ok, or is open");
    }
    let headings = ["REQUEST", "METHOD", "POOL", "OUTCOME", "ATTEMPTS", "TOOK", "AGO", "REASON", "REPORT"];
    let mut table = remote::table(&headings);
    for request in requests {
        let why = request.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        table.add_row([
            request.request.map(|id| format!("r{id:x}")).unwrap_or_default(),
            request.method.clone().unwrap_or_default(),
            request.pool.clone().unwrap_or_default(),
            format!("{}{why}", request.outcome),
            request.attempts.to_string(),
            shown_ms(request.duration_ms),
            shown_ms(request.ago_ms),
            request.reason.clone().unwrap_or_default(),
            request.report_id.clone().unwrap_or_default(),
        ]);
    }
    remote::print_line(&table.trim_fmt())?;
    if more { remote::print_line("there are more; see --limit") } else { Ok(()) }
}

/// Where it is, and whether it has to be alone there.
fn state(request: &RequestRow) -> String {
    if request.suspect { format!("{} (suspect)", request.state) } else { request.state.to_string() }
}
