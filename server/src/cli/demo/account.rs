//! The account: what was sent, what became of it, who died of what, and whether it all adds up.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use lifeboat_core::fact::Death;
use serde::Serialize;

use super::Counted;
use super::scrape::Samples;
use super::worker::Entry;

/// The demo's result. The fields' names are stable.
#[derive(Debug, Serialize)]
pub(super) struct Account {
    /// Requests that the clients sent.
    sent: u64,
    /// By outcome, as the clients saw it.
    outcomes: BTreeMap<String, u64>,
    /// Attempts made.
    attempts: u64,
    /// Attempts beyond the first.
    retries: u64,
    /// Unplanned deaths by reason, as the broker judged them.
    deaths: BTreeMap<String, u64>,
    /// Committed faults by kind.
    injected: BTreeMap<String, u64>,
    /// Faults without a death of an allowed reason, and deaths without a fault.
    unmatched: u64,
    /// Requests without an outcome.
    lost: u64,
    /// Outcomes beyond the first of a request, and answers that belong to another.
    answered_twice: u64,
    /// Everything adds up, with `/metrics` too.
    pub(super) balanced: bool,
    /// Where HTTP listened.
    http: String,
    /// What does not add up, in words.
    discrepancies: Vec<String>,
    /// The slowest request, in milliseconds.
    slowest_ms: u64,
    /// Repeats the choice of faults.
    seed: u64,
}

impl Account {
    /// Takes the account.
    pub(super) fn take(counted: &Counted, judged: &[Arc<Death>], samples: &Samples) -> Self {
        let Counted { tally, unfinished, injector, http, seed } = counted;
        let ledger = injector.entries();
        let mut injected = BTreeMap::new();
        for entry in &ledger {
            *injected.entry(entry.fault.label().to_owned()).or_default() += 1;
        }
        let mut deaths = BTreeMap::new();
        for death in judged {
            *deaths.entry(death.reason.label().to_owned()).or_default() += 1;
        }
        let mut discrepancies = Vec::new();
        if *unfinished > 0 {
            discrepancies.push(format!("{unfinished} clients did not come to their end"));
        }
        if tally.sent == 0 {
            discrepancies.push("nothing was sent".to_owned());
        }
        let unmatched = match_faults(&ledger, judged, &mut discrepancies);
        let mut account = Self {
            sent: tally.sent,
            outcomes: tally.outcomes.clone(),
            attempts: tally.attempts,
            retries: tally.retries,
            deaths,
            injected,
            unmatched,
            lost: tally.sent - tally.ended(),
            answered_twice: tally.answered_twice + tally.mismatched,
            balanced: false,
            http: format!("http://{http}"),
            discrepancies,
            slowest_ms: tally.slowest_ms,
            seed: *seed,
        };
        account.compare(samples);
        account.balanced = account.discrepancies.is_empty();
        account
    }

    /// Compares what was counted here with what the broker counted.
    fn compare(&mut self, samples: &Samples) {
        let same = [
            ("outcomes", self.outcomes.clone(), samples.sum_by("lifeboat_requests_total", "outcome")),
            ("deaths", self.deaths.clone(), samples.sum_by("lifeboat_worker_crashes_total", "reason")),
        ];
        for (what, here, there) in same {
            if here != there {
                self.discrepancies.push(format!("{what}: {here:?} here, {there:?} in /metrics"));
            }
        }
        let sum = |name, label| samples.sum_by(name, label).values().sum::<u64>();
        let numbers = [
            ("attempts", self.attempts, sum("lifeboat_attempts_total", "end")),
            ("retries", self.retries, sum("lifeboat_retries_total", "reason")),
        ];
        for (what, here, there) in numbers {
            if here != there {
                self.discrepancies.push(format!("{what}: {here} here, {there} in /metrics"));
            }
        }
        match samples.single("lifeboat_requests_past_deadline_total") {
            Some(0) => {}
            Some(count) => self.discrepancies.push(format!("{count} requests ended past their deadline")),
            None => {
                self.discrepancies.push("/metrics has no lifeboat_requests_past_deadline_total".to_owned())
            }
        }
        let zero =
            [("lost", self.lost), ("answered twice", self.answered_twice), ("unmatched", self.unmatched)];
        for (what, count) in zero {
            if count != 0 {
                self.discrepancies.push(format!("{what}: {count}"));
            }
        }
    }

    /// One JSON object on stdout.
    pub(super) fn write_json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, self)?;
        writeln!(out)
    }

    /// The account for people, on stdout.
    pub(super) fn write_table(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let list = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(label, count)| format!("{label} {count}")).collect::<Vec<_>>().join(", ")
        };
        let total = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        writeln!(out)?;
        writeln!(out, "sent             {}", self.sent)?;
        writeln!(out, "outcomes         {}", list(&self.outcomes))?;
        writeln!(out, "attempts         {} ({} of them retries)", self.attempts, self.retries)?;
        writeln!(out, "slowest          {} ms", self.slowest_ms)?;
        writeln!(out, "faults injected  {} ({})", total(&self.injected), list(&self.injected))?;
        writeln!(out, "deaths           {} ({})", total(&self.deaths), list(&self.deaths))?;
        writeln!(out, "unmatched        {}", self.unmatched)?;
        writeln!(out, "lost             {}", self.lost)?;
        writeln!(out, "answered twice   {}", self.answered_twice)?;
        for discrepancy in &self.discrepancies {
            writeln!(out, "NOT BALANCED     {discrepancy}")?;
        }
        writeln!(out, "{}", if self.balanced { "balanced" } else { "NOT BALANCED" })
    }
}

/// Matches each fault, by worker and incarnation, with one death whose reason its kind allows. Gives the number of faults
/// and deaths that are left over.
fn match_faults(ledger: &[Entry], judged: &[Arc<Death>], discrepancies: &mut Vec<String>) -> u64 {
    let mut open: BTreeMap<(String, u64), &Arc<Death>> = BTreeMap::new();
    let mut unmatched = 0;
    for death in judged {
        let key = (worker_name(death), u64::from(death.process.incarnation.0));
        if open.insert(key, death).is_some() {
            discrepancies.push(format!("{} died twice", death.process));
            unmatched += 1;
        }
    }
    for entry in ledger {
        let allowed = entry.fault.allowed();
        match open.remove(&(entry.worker.clone(), entry.incarnation)) {
            Some(death) if allowed.contains(&death.reason.label()) => {}
            Some(death) => {
                unmatched += 1;
                discrepancies.push(format!(
                    "{} of {}#{} led to {}, not to one of {allowed:?}",
                    entry.fault.label(),
                    entry.worker,
                    entry.incarnation,
                    death.reason.label(),
                ));
            }
            None => {
                unmatched += 1;
                discrepancies.push(format!(
                    "{} of {}#{} led to no death",
                    entry.fault.label(),
                    entry.worker,
                    entry.incarnation
                ));
            }
        }
    }
    for ((worker, incarnation), death) in open {
        unmatched += 1;
        discrepancies
            .push(format!("{worker}#{incarnation} died of {} and nobody asked", death.reason.label()));
    }
    unmatched
}

/// The demo has one pool; its workers are numbered like their ids.
fn worker_name(death: &Death) -> String {
    format!("demo-{}", death.process.worker.0)
}
