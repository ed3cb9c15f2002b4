//! A report for people: sections of lines.

use std::fmt::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use crate::cli::remote::shown_ms;
use crate::observe::{Executed, Findings, Life, RecordedSlot, Report, Snapshot, Thread};

/// The whole report. What a worker wrote is in it as it was.
pub(super) fn sections(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = write_sections(&mut text, report);
    text
}

fn write_sections(out: &mut String, report: &Report) -> fmt::Result {
    write_head(out, report)?;
    section(out, "Executing", report.executing.iter().map(|executed| executing(executed, report.at)))?;
    write_evidence(out, &report.evidence, report.at)?;
    if let Some(snapshot) = &report.snapshot {
        write_snapshot(out, snapshot)?;
    }
    if let Some(recorder) = &report.recorder {
        let title = format!("Flight recorder ({} heartbeats)", recorder.beats);
        section(out, &title, recorder.slots.iter().enumerate().map(slot))?;
    }
    section(out, "Last words on stderr", report.stderr.lines().map(str::to_owned))?;
    section(out, "Last words on stdout", report.stdout.lines().map(str::to_owned))?;
    section(out, "Lives of the worker", report.history.iter().map(life))
}

fn write_head(out: &mut String, report: &Report) -> fmt::Result {
    let reason = &report.reason;
    let detail = if reason.detail.is_empty() { String::new() } else { format!(": {}", reason.detail) };
    let by = if reason.killed_by_broker { ", killed by the broker" } else { "" };
    let signature = &report.signature;
    writeln!(out, "report     {}", report.id)?;
    writeln!(out, "at         {}", time(report.at))?;
    let pid = report.pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"));
    writeln!(out, "worker     {}, life {}, {pid}, pool {}", report.worker, report.incarnation, report.pool)?;
    writeln!(out, "reason     {}{detail} ({}{by})", reason.label, report.confidence)?;
    let lived = report.first_sign_at.saturating_sub(report.started_at);
    let fit = if report.productive { "productive" } else { "unproductive" };
    writeln!(out, "lived      {}, {fit}", shown_ms(lived))?;
    writeln!(out, "requeued   {} that had not started", report.requeued)?;
    writeln!(out, "signature  {} ({})", signature.id, signature.text)?;
    writeln!(out, "count      {}, the first at {}", signature.count, time(signature.first_at))?;
    writeln!(out, "lifeboat   {}", report.version)
}

/// A section with its lines, unless there is none. What is within a line breaks none.
fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) -> fmt::Result {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        writeln!(out, "\n{title}")?;
    }
    lines.try_for_each(|line| writeln!(out, "  {}", line.replace('\n', "\u{fffd}")))
}

fn executing(executed: &Executed, at: u64) -> String {
    let since = executed.since.map(|since| format!(", for {}", shown_ms(at.saturating_sub(since))));
    let Executed { request, attempt, method, .. } = executed;
    format!("{request} {method}, attempt {attempt}{}", since.unwrap_or_default())
}

fn write_evidence(out: &mut String, found: &Findings, at: u64) -> fmt::Result {
    let ago = |time: u64| format!("{} before", shown_ms(at.saturating_sub(time)));
    let mut lines = vec![
        format!("wait status   {}", found.wait),
        format!(
            "used          {} user, {} system, {} of memory at most",
            shown_ms(found.user_time),
            shown_ms(found.system_time),
            bytesize::ByteSize(found.max_rss)
        ),
        format!("out of memory {}", found.oom),
    ];
    if let Some(end) = &found.connection {
        lines.push(format!("connection    {end}"));
    }
    if let Some(intent) = &found.intent {
        let signal = intent.signal.as_deref().map(|signal| format!(", {signal} sent")).unwrap_or_default();
        lines.push(format!("intent        {}, {}{signal}", intent.what, ago(intent.at)));
    }
    let rungs = &found.rungs;
    let rungs = [
        ("asked", rungs.asked_at),
        ("SIGTERM", rungs.terminated_at),
        ("SIGKILL", rungs.killed_at),
        ("exited", rungs.exited_at),
    ];
    let climbed = rungs.iter().filter_map(|(rung, at)| Some(format!("{rung} {}", ago((*at)?))));
    lines.push(format!("ladder        {}", climbed.collect::<Vec<_>>().join(", ")));
    if found.exiting_before_kill {
        lines.push("ending        by itself, when the broker was about to kill it".to_owned());
    }
    let (killed, leaked) = (found.descendants_killed, found.descendants_leaked);
    lines.push(format!("descendants   {killed} killed, {leaked} left"));
    let limits = found.limits.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let limits: Vec<String> = limits.map(|(name, value)| format!("{name} {value}")).collect();
    if !limits.is_empty() {
        lines.push(format!("limits        {}", limits.join(", ")));
    }
    if found.output_dropped > 0 {
        lines.push(format!("output        {} lines dropped", found.output_dropped));
    }
    section(out, "Evidence (times before the verdict)", lines.into_iter())
}

fn write_snapshot(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let title = format!("Before the kill: {}", snapshot.doing);
    let left_out = Some(format!("{} more threads", snapshot.left_out)).filter(|_| snapshot.left_out > 0);
    section(out, &title, snapshot.threads.iter().map(thread).chain(left_out))
}

fn thread(thread: &Thread) -> String {
    let mut text = format!("{} {}: {}", thread.id, thread.name, thread.state);
    // Writing to a text cannot fail.
    if let Some(function) = &thread.function {
        let _ = write!(text, " in {function}");
    }
    if let Some(call) = thread.system_call {
        let _ = match &thread.system_call_name {
            Some(name) => write!(text, ", system call {name} ({call})"),
            None => write!(text, ", system call {call}"),
        };
    }
    let _ = write!(text, ", {} CPU", shown_ms(thread.cpu));
    if let (Some(own), Some(forced)) = (thread.voluntary_switches, thread.involuntary_switches) {
        let _ = write!(text, ", {own} voluntary and {forced} involuntary switches");
    }
    text
}

fn slot((number, slot): (usize, &RecordedSlot)) -> String {
    let mut text = format!("slot {number}: {}", slot.state);
    if let (Some(request), Some(attempt)) = (&slot.request, slot.attempt) {
        let _ = write!(text, " {request}, attempt {attempt}");
    }
    if let Some(ago) = slot.ago {
        let _ = write!(text, ", began {} before", shown_ms(ago));
    }
    if let Some(progress) = slot.progress.filter(|progress| *progress > 0) {
        let _ = write!(text, ", {progress} signs of progress");
    }
    text
}

fn life(life: &Life) -> String {
    let lived = shown_ms(life.ended_at.saturating_sub(life.started_at));
    let how =
        if life.planned { format!("stopped ({})", life.how) } else { format!("crashed ({})", life.how) };
    format!("life {}: from {}, {lived}, {how}", life.incarnation, time(life.started_at))
}

/// A point in time: a text that everybody reads alike.
fn time(millis: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    // Beyond the year 9999 there is no such form.
    let at = at.filter(|_| millis < 253_402_300_800_000);
    at.map_or_else(|| format!("{millis} ms"), |at| humantime::format_rfc3339_millis(at).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_has_its_lines_and_empty_ones_are_left_out() {
        let mut report = Report {
            id: "start-7".to_owned(),
            at: 1_700_000_002_500,
            started_at: 1_700_000_000_000,
            first_sign_at: 1_700_000_002_000,
            stderr: "one\nlast words\n".to_owned(),
            ..Report::default()
        };
        report.executing.push(Executed {
            method: "m".to_owned(),
            since: Some(1_700_000_001_000),
            ..Executed::default()
        });
        report.evidence.exiting_before_kill = true;
        let thread = Thread {
            id: 9,
            name: "a\nreport     b".to_owned(),
            state: "sleeping".to_owned(),
            voluntary_switches: Some(4),
            involuntary_switches: Some(2),
            ..Thread::default()
        };
        report.snapshot = Some(Snapshot { threads: vec![thread], ..Snapshot::default() });
        let text = sections(&report);
        for line in [
            "ending        by itself, when the broker was about to kill it",
            "  9 a\u{fffd}report     b: sleeping, 0 ms CPU, 4 voluntary and 2 involuntary switches",
            "report     start-7",
            "at         2023-11-14T22:13:22.500Z",
            "lived      2.0 s, unproductive",
            "Executing\n   m, attempt 0, for 1.5 s",
            "Last words on stderr\n  one\n  last words",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("stdout") && !text.contains("Flight recorder"), "{text}");
    }

    #[test]
    fn no_time_is_too_long() {
        assert_eq!(time(u64::MAX), format!("{} ms", u64::MAX));
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
    }
}
