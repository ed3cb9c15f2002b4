//! Whether each reason fits what was really done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifeboat_tests::act::Deed;
use lifeboat_tests::chaos::{Pool, Tried, is_answered, reasons};
use lifeboat_tests::harness::Metrics;

use super::account::KILL_TIMEOUT;
use super::books::{Books, Call};
use super::injector::Struck;

/// What any work may come to that runs past a limit.
const LIMITS: [&str; 4] = ["attempt_timeout", "deadline", "progress_stall", "output_stall"];

/// What a run of a minute must have seen: otherwise it has proven less than it says.
const SEEN: [&str; 14] = [
    "start_failed",
    "exit",
    "signal",
    "killed_from_outside",
    "stopped_from_outside",
    "connection_closed",
    "connection_error",
    "protocol_violation",
    "slots_exhausted",
    "unresponsive",
    "attempt_timeout",
    "deadline",
    "cancelled",
    "operator",
];

/// Every reason that a caller was told, and every one that was counted, has its cause.
#[expect(clippy::print_stdout, reason = "the account is the test's result")]
pub(super) fn holds(books: &Books, struck: &Struck, metrics: &Metrics) {
    println!("from outside: {:?}", struck.counts);
    let deeds = Deeds { books, struck, by_process: books.by_process() };
    for call in books.calls.values() {
        let all = call.ended.as_ref().map_or(&[][..], |ended| &ended.tried);
        for (at, tried) in all.iter().enumerate() {
            deeds.told_truly(call, tried, is_alone(all, at));
        }
        answered_truly(call);
    }
    for pool in Pool::ALL {
        counted_truly(books, struck, pool, metrics);
    }
    let seen = metrics.by("worker_crashes_total", "reason");
    let missing: Vec<_> = SEEN.iter().filter(|reason| !seen.contains_key(**reason)).collect();
    assert!(missing.is_empty(), "this run has not seen {missing:?}: {seen:?}");
}

/// An answer or a failure is what was asked for.
fn answered_truly(call: &Call) {
    let Some(ended) = &call.ended else { return };
    let done = ended.attempts <= call.sent.until_attempt;
    let deed = &call.sent.deed;
    match ended.outcome.as_str() {
        "ok" => assert!(!done || is_answered(deed), "nothing that is answered: {:?}, {ended:?}", call.sent),
        "failed" => {
            assert!(done && matches!(deed, Deed::Fail { .. }), "it did not fail: {:?}, {ended:?}", call.sent)
        }
        _ => {}
    }
}

/// Its deadline had passed for so long that the evidence of the death was not waited for.
fn ended_before_its_evidence(call: &Call, tried: &Tried) -> bool {
    let late = call.ended.as_ref().map_or(Duration::ZERO, |ended| Duration::from_millis(ended.late_ms));
    tried.end == "timed_out" && late >= KILL_TIMEOUT
}

/// Whether an attempt was a suspect's, which runs alone: the one before had ended by the death of its process, and not by
/// one for the sake of a request or a person.
pub(super) fn is_alone(tried: &[Tried], at: usize) -> bool {
    let of_somebody = |reason: &str| LIMITS.contains(&reason) || ["cancelled", "operator"].contains(&reason);
    let before =
        at.checked_sub(1).and_then(|before| tried.get(before)).filter(|tried| tried.end == "crashed");
    let reason = before.and_then(|tried| tried.reason.as_ref());
    // A panic that costs a slot leaves the process alive.
    reason.is_some_and(|(reason, _)| !of_somebody(reason) && reason != "slot_panicked")
}

/// Who did what to whom.
struct Deeds<'a> {
    books: &'a Books,
    struck: &'a Struck,
    by_process: BTreeMap<u32, BTreeSet<u64>>,
}

impl Deeds<'_> {
    /// The reason of an attempt is among what was done to its process, from inside or outside.
    fn told_truly(&self, call: &Call, tried: &Tried, alone: bool) {
        let Some((reason, confidence)) = &tried.reason else {
            let unharmed = ["ok", "failed", "cancelled", "closed"].contains(&tried.end.as_str());
            assert!(unharmed || ended_before_its_evidence(call, tried), "{tried:?} of {call:?}");
            return;
        };
        assert_ne!(confidence, "unknown", "{tried:?} of {:?}", call.sent);
        let (pool, _) = call.place().expect("an attempt was made in a pool");
        let mut allowed = BTreeSet::from(["operator"]);
        if let Some(outside) = self.struck.may_lead_to.get(&(tried.worker.clone(), tried.incarnation)) {
            allowed.extend(outside);
        }
        if pool == Pool::Plain || alone {
            // One request at a time, and the next when it was answered, or a suspect: nobody pays for another.
            allowed.extend(reasons(&call.sent.deed, pool));
            if tried.end == "timed_out" {
                allowed.extend(LIMITS);
            }
        } else {
            // A neighbour's limit, or a dropped one's end, is the end of all.
            allowed.extend(LIMITS);
            allowed.insert("cancelled");
            allowed.extend(self.by_neighbours(pool, tried));
        }
        assert!(allowed.contains(reason.as_str()), "{tried:?} of {:?}: one of {allowed:?}", call.sent);
    }

    /// What may come of all that a process has executed.
    fn by_neighbours(&self, pool: Pool, tried: &Tried) -> BTreeSet<&'static str> {
        let executed = tried.pid.and_then(|pid| self.by_process.get(&pid)).into_iter().flatten();
        let others = executed.filter_map(|tag| self.books.calls.get(tag));
        others.flat_map(|other| reasons(&other.sent.deed, pool)).copied().collect()
    }
}

/// No reason is counted more often than something was done that leads to it.
fn counted_truly(books: &Books, struck: &Struck, pool: Pool, metrics: &Metrics) {
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for call in books.calls.values().filter(|call| call.place().is_some_and(|(of, _)| of == pool)) {
        let executions = books.executed.get(&call.sent.tag).map_or(0, Vec::len) as u64;
        for reason in reasons(&call.sent.deed, pool) {
            *causes.entry(reason).or_default() += executions;
        }
    }
    let own = format!("{}-", pool.name());
    for ((worker, _), reasons) in &struck.may_lead_to {
        for reason in reasons.iter().filter(|_| worker.starts_with(&own)) {
            *causes.entry(reason).or_default() += 1;
        }
    }
    // What has no count of its own: limits, orders, and the starts that go wrong.
    let unbounded = LIMITS.into_iter().chain(["operator", "cancelled", "start_failed"]);
    let unbounded: BTreeSet<_> = unbounded.collect();
    for (reason, deaths) in metrics.by_of("worker_crashes_total", "reason", &[("pool", pool.name())]) {
        if !unbounded.contains(reason.as_str()) {
            let most = causes.get(reason.as_str()).copied().unwrap_or_default() as f64;
            assert!(deaths <= most, "{deaths} deaths of {reason} in {}, and {most} causes", pool.name());
        }
    }
}
