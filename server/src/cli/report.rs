//! `lifeboat report`: the crashes that the broker keeps reports of, and all that one of them says.

mod show;

use lifeboat_client::{MAX_ROWS, ReportRow};
use serde::Serialize;

use super::exit::Exit;
use super::remote::{self, Remote, RemoteError, shown_ms};
use crate::observe::{Report, harmless};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Show all that this report says; a request's error and the log name it
    #[arg(value_name = "REPORT", conflicts_with_all = ["grouped", "limit"])]
    id: Option<String>,
    #[command(flatten)]
    remote: Remote,
    /// Show one line for all crashes of a kind
    #[arg(long)]
    grouped: bool,
    /// Show so many at most, the newest first
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST))]
    limit: Option<u64>,
    /// Print one JSON object: reports or groups, times in ms; or the report
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    reports: &'a [ReportRow],
    more: bool,
}

#[derive(Serialize)]
struct Grouped<'a> {
    groups: &'a [Group],
}

/// Crashes of a kind.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Group {
    signature: String,
    text: String,
    count: u64,
    first_ago_ms: u64,
    last_ago_ms: u64,
    newest: String,
}

/// More than the broker ever keeps, and all that it tells at once.
const MOST: u64 = MAX_ROWS as u64;

/// Runs the command.
pub(super) fn run(args: &ReportArgs) -> Exit {
    remote::run(async {
        let admin = args.remote.connect().await?.admin();
        if let Some(id) = &args.id {
            let text = admin.report(id).await?;
            return show_one(&text, args.json).map(|()| Exit::Done);
        }
        let most = args.limit.unwrap_or(if args.grouped { MOST } else { 100 });
        let found = admin.reports(if args.grouped { MOST } else { most }).await?;
        if args.grouped {
            let mut groups = groups(&found.reports);
            groups.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            show_groups(&groups, args.json)?;
        } else if args.json {
            remote::print_json(&Shown { reports: &found.reports, more: found.more })?;
        } else {
            show_list(&found.reports, found.more)?;
        }
        Ok(Exit::Done)
    })
}

fn show_one(text: &str, json: bool) -> Result<(), RemoteError> {
    if json {
        return remote::print_line(text);
    }
    let report: Report = serde_json::from_str(text)?;
    remote::print_line(harmless(&show::sections(&report)).trim_end())
}

fn show_list(reports: &[ReportRow], more: bool) -> Result<(), RemoteError> {
    if reports.is_empty() {
        return remote::print_line("no crash is known");
    }
    let mut table =
        remote::table(&["REPORT", "AGO", "WORKER", "LIFE", "REASON", "METHODS", "COUNT", "SIGNATURE"]);
    for row in reports {
        let reason = if row.detail.is_empty() {
            row.reason.clone()
        } else {
            format!("{}: {}", row.reason, row.detail)
        };
        table.add_row([
            row.report_id.clone(),
            shown_ms(row.ago_ms),
            row.worker.clone(),
            row.incarnation.to_string(),
            reason,
            row.methods.join(", "),
            row.count.to_string(),
            row.signature.clone(),
        ]);
    }
    remote::print_line(&harmless(&table.trim_fmt()))?;
    if more { remote::print_line("there are more; see --limit") } else { Ok(()) }
}

/// One for each signature, the one with the newest crash first. `rows` are the newest first.
fn groups(rows: &[ReportRow]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        // The newest of a signature knows of all.
        if groups.iter().any(|group| group.signature == row.signature) {
            continue;
        }
        groups.push(Group {
            signature: row.signature.clone(),
            text: row.text.clone(),
            count: row.count,
            first_ago_ms: row.first_ago_ms,
            last_ago_ms: row.ago_ms,
            newest: row.report_id.clone(),
        });
    }
    groups
}

fn show_groups(groups: &[Group], json: bool) -> Result<(), RemoteError> {
    if json {
        return remote::print_json(&Grouped { groups });
    }
    if groups.is_empty() {
        return remote::print_line("no crash is known");
    }
    let mut table = remote::table(&["COUNT", "FIRST", "LAST", "NEWEST REPORT", "CRASHES OF THIS KIND"]);
    for group in groups {
        table.add_row([
            group.count.to_string(),
            format!("{} ago", shown_ms(group.first_ago_ms)),
            format!("{} ago", shown_ms(group.last_ago_ms)),
            group.newest.clone(),
            group.text.clone(),
        ]);
    }
    remote::print_line(&harmless(&table.trim_fmt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, signature: &str, count: u64) -> ReportRow {
        ReportRow {
            report_id: format!("start-{number}"),
            ago_ms: 1_000 - number,
            pool: String::new(),
            worker: String::new(),
            incarnation: 1,
            reason: String::new(),
            detail: String::new(),
            methods: Vec::new(),
            signature: signature.to_owned(),
            text: String::new(),
            count,
            first_ago_ms: 900,
        }
    }

    #[test]
    fn a_group_is_told_by_its_newest_report() {
        let found = groups(&[row(9, "a", 5), row(8, "b", 1), row(7, "a", 4)]);
        let told: Vec<_> = found.iter().map(|group| (group.newest.as_str(), group.count)).collect();
        assert_eq!(told, [("start-9", 5), ("start-8", 1)]);
        assert_eq!((found[0].first_ago_ms, found[0].last_ago_ms), (900, 991));
    }
}
