//! `lifeboat quarantine`: the bodies that are refused for the processes that they crashed, and their release.

use lifeboat_client::{ALL_BODIES, Quarantine, QuarantineRow};
use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Remote, RemoteError, shown_ms};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct QuarantineArgs {
    #[command(flatten)]
    remote: Remote,
    /// Let the body with this digest run again, or each of them
    #[arg(long, value_name = "DIGEST|all")]
    release: Option<String>,
    /// Print one JSON object: the bodies in quarantine, or those that were released; times in ms
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    bodies: &'a [QuarantineRow],
    more: bool,
}

/// Runs the command.
pub(super) fn run(args: &QuarantineArgs) -> Exit {
    remote::run(async {
        let admin = args.remote.connect().await?.admin();
        let found = match &args.release {
            Some(which) => admin.release(which.as_str()).await?,
            None => admin.quarantine().await?,
        };
        match &args.release {
            _ if args.json => remote::print_json(&Shown { bodies: &found.bodies, more: found.more })?,
            Some(which) => show_released(which, &found)?,
            None => show(&found)?,
        }
        Ok(Exit::Done)
    })
}

fn show_released(which: &str, Quarantine { bodies, more, .. }: &Quarantine) -> Result<(), RemoteError> {
    if bodies.is_empty() && which == ALL_BODIES {
        return remote::print_line("no body is in quarantine");
    }
    for body in bodies {
        remote::print_line(&format!("released {} of {}", body.digest, body.method))?;
    }
    if *more { remote::print_line("and more") } else { Ok(()) }
}

fn show(Quarantine { bodies, more, .. }: &Quarantine) -> Result<(), RemoteError> {
    if bodies.is_empty() {
        return remote::print_line("no body is in quarantine");
    }
    let headings = ["DIGEST", "METHOD", "POOL", "CRASHES", "LAST CRASH", "EXPIRES", "LAST REPORT"];
    let mut table = remote::table(&headings);
    for body in bodies {
        table.add_row([
            body.digest.clone(),
            body.method.clone(),
            body.pool.clone(),
            body.crashes.to_string(),
            format!("{} ago", shown_ms(body.last_crash_ms)),
            format!("in {}", shown_ms(body.expires_ms)),
            body.report_id.clone().unwrap_or_default(),
        ]);
    }
    remote::print_line(&table.trim_fmt())?;
    if *more { remote::print_line("there are more") } else { Ok(()) }
}
