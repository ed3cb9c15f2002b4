//! Whether what the clients counted, what the workers did and what the broker says agree.

use std::collections::BTreeMap;
use std::time::Duration;

use lifeboat_tests::chaos::{Class, METHODS, NOBODYS, Pool};
use lifeboat_tests::harness::{Metrics, SLACK};

use super::books::{Books, Call};

type Counts = BTreeMap<String, u64>;

/// Outcomes that a call may have while the broker lives.
const OUTCOMES: [&str; 8] =
    ["ok", "failed", "crashed", "timed_out", "cancelled", "rejected", "closed", "dropped"];

/// The pools' own, by default.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// What the broker calls the method that no pool serves.
const OTHER: &str = "_other";

fn count_by(calls: impl Iterator<Item = String>) -> Counts {
    let mut counts = Counts::new();
    for word in calls {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// Everything adds up.
pub(super) fn balances(books: &Books, metrics: &Metrics) {
    show(books, metrics);
    every_end_is_one_of(books, &OUTCOMES);
    outcomes_agree(books, metrics);
    clients_that_did_not_wait_are_within_bounds(books, metrics);
    refusals_agree(books, metrics);
    attempts_agree(books, metrics);
    executions_agree(books);
    kills_agree(metrics);
    nobody_waits_beyond_the_deadline(books);
    assert_eq!(metrics.count("requests_past_deadline_total", &[]), 0);
    assert_eq!(metrics.count("process_leaks_total", &[]), 0);
    assert_eq!(metrics.count("log_lines_dropped_total", &[]), 0);
}

/// The broker was told to end while clients were sending: each call has its end, as a caller may be told it.
#[expect(clippy::print_stdout, reason = "the account is the test's result")]
pub(super) fn ends_with_the_broker(books: &Books) {
    let mut outcomes = OUTCOMES.to_vec();
    outcomes.extend(["disconnected", "unconnected"]);
    every_end_is_one_of(books, &outcomes);
    executions_agree(books);
    let ends = count_by(books.of(true).map(|call| call.outcome().to_owned()));
    println!("at the broker's end: {ends:?}");
}

#[expect(clippy::print_stdout, reason = "the account is the test's result")]
fn show(books: &Books, metrics: &Metrics) {
    let ends = count_by(books.of(true).map(|call| match &call.ended {
        Some(ended) if !ended.detail.is_empty() => format!("{} ({})", ended.outcome, ended.detail),
        Some(ended) => ended.outcome.clone(),
        None => String::new(),
    }));
    let (whole, torn) = (books.of(true).count(), books.of(false).count());
    println!("calls: {whole} of clients that lived, {torn} of clients that were killed\n    {ends:?}");
    for (name, label) in [
        ("requests_total", "outcome"),
        ("attempts_total", "end"),
        ("retries_total", "reason"),
        ("worker_crashes_total", "reason"),
        ("worker_kills_total", "reason"),
        ("worker_recycles_total", "reason"),
        ("timeouts_total", "which"),
        ("rejected_total", "why"),
        ("requeues_free_total", "pool"),
        ("late_answers_total", "pool"),
    ] {
        println!("{name}: {:?}", metrics.by(name, label));
    }
}

fn every_end_is_one_of(books: &Books, outcomes: &[&str]) {
    for call in books.calls.values() {
        let Some(ended) = &call.ended else { continue };
        assert!(outcomes.contains(&ended.outcome.as_str()), "{:?} ended as {ended:?}", call.sent);
    }
}

/// What callers were told is what was counted, method by method.
fn outcomes_agree(books: &Books, metrics: &Metrics) {
    let kept = METHODS.iter().filter(|(_, _, class)| *class == Class::Kept).map(|(name, ..)| (*name, *name));
    for (method, label) in kept.chain([(NOBODYS, OTHER)]) {
        let calls = books.of(true).filter(|call| call.sent.method == method);
        let told = count_by(calls.map(|call| call.outcome().to_owned()));
        let counted = metrics.by_of("requests_total", "outcome", &[("method", label)]);
        let told: BTreeMap<_, _> = told.into_iter().map(|(outcome, calls)| (outcome, calls as f64)).collect();
        assert_eq!(told, counted, "outcomes of {method}: told, and counted by the broker");
    }
}

/// Calls that were dropped, or whose client died, may never have been written; those that were executed were.
fn clients_that_did_not_wait_are_within_bounds(books: &Books, metrics: &Metrics) {
    for (method, _, class) in METHODS {
        if class == Class::Kept {
            continue;
        }
        let counted = metrics.count("requests_total", &[("method", method)]);
        let calls: Vec<_> = books.calls.values().filter(|call| call.sent.method == method).collect();
        let begun = |call: &&&Call| books.executed.contains_key(&call.sent.tag) || !call.outcome().is_empty();
        let told = |call: &&&Call| begun(call) && call.outcome() != "dropped";
        let (least, most) = (calls.iter().filter(told).count() as u64, calls.len() as u64);
        assert!((least..=most).contains(&counted), "{method}: {counted} counted, of {least} to {most}");
    }
}

/// Refusals are counted twice, and alike.
fn refusals_agree(books: &Books, metrics: &Metrics) {
    for pool in Pool::ALL.map(Pool::name).into_iter().chain(["_none"]) {
        let rejected = metrics.count("rejected_total", &[("pool", pool)]);
        let requests = metrics.count("requests_total", &[("pool", pool), ("outcome", "rejected")]);
        assert_eq!(rejected, requests, "refusals of {pool}, by reason and by outcome");
    }
    let details = |outcome: &str| {
        let calls = books.of(true).filter(move |call| call.outcome() == outcome);
        count_by(calls.filter_map(|call| Some(call.ended.as_ref()?.detail.clone())))
    };
    for (why, told) in details("rejected") {
        let counted = metrics.count("rejected_total", &[("why", &why)]);
        assert!(told <= counted, "{told} were told {why}, {counted} are counted");
    }
    for (which, told) in details("timed_out") {
        let counted = metrics.count("timeouts_total", &[("which", &which)]);
        assert!(told <= counted, "{told} were told {which}, {counted} are counted");
    }
}

/// Attempts that callers were told of are those that were counted; further ones were granted before they were made.
fn attempts_agree(books: &Books, metrics: &Metrics) {
    for pool in Pool::ALL {
        let method = pool.method(Class::Kept);
        let calls: Vec<_> = books.of(true).filter(|call| call.sent.method == method).collect();
        let attempts = |call: &&Call| call.ended.as_ref().map_or(0, |ended| u64::from(ended.attempts));
        let told: u64 = calls.iter().map(attempts).sum();
        let counted = metrics.count("attempts_total", &[("method", method)]);
        assert_eq!(told, counted, "attempts of {method}: told, and counted by the broker");
        let ok = metrics.count("attempts_total", &[("method", method), ("end", "ok")]);
        let oks = calls.iter().filter(|call| call.outcome() == "ok").count() as u64;
        assert_eq!(ok, oks, "attempts of {method} that ended ok, and outcomes");

        let made: u64 = calls.iter().map(|call| attempts(call).saturating_sub(1)).sum();
        // Granted, and then its deadline came, the pool was drained, or it tripped.
        let never_made = ["timed_out", "closed", "rejected", "crashed", "failed"];
        let ended = calls.iter().filter(|call| never_made.contains(&call.outcome())).count() as u64;
        let granted = metrics.count("retries_total", &[("method", method)]);
        assert!((made..=made + ended).contains(&granted), "{method}: {granted} retries, {made} made");
        assert!(pool == Pool::Wide || granted == 0, "{method}: nobody asked for retries");
    }
}

/// No attempt is executed twice, none that is not told of, and none of a call that was not executed.
fn executions_agree(books: &Books) {
    for call in books.calls.values() {
        let Some(executions) = books.executed.get(&call.sent.tag) else {
            assert!(
                !["ok", "failed"].contains(&call.outcome()),
                "answered and never executed: {:?}",
                call.sent
            );
            continue;
        };
        let mut attempts: Vec<_> = executions.iter().map(|(_, attempt)| *attempt).collect();
        attempts.sort_unstable();
        let many = attempts.len();
        attempts.dedup();
        assert_eq!(attempts.len(), many, "executed twice: {:?}, {executions:?}", call.sent);
        let Some((pool, _)) = call.place() else { panic!("nobody serves it: {:?}", call.sent) };
        assert!(
            pool == Pool::Wide || many == 1,
            "tried again without a retry: {:?}, {executions:?}",
            call.sent
        );
        let Some(ended) = &call.ended else { continue };
        assert!(ended.may_have_executed, "executed, though it cannot have been: {ended:?}, {executions:?}");
        let told = call.is_kept() && ended.outcome != "disconnected";
        let last = attempts.last().copied().unwrap_or_default();
        assert!(ended.outcome != "ok" || last == ended.attempts, "{ended:?} is not of {executions:?}");
        // A request that ended while it was held behind another may be executed without having made an attempt.
        let held = ["timed_out", "closed"].contains(&ended.outcome.as_str());
        assert!(!told || last <= ended.attempts || held, "{ended:?}, but {executions:?}");
    }
}

/// A call ends at its deadline, or when the work that it ran into is dead.
#[expect(clippy::print_stdout, reason = "the account is the test's result")]
fn nobody_waits_beyond_the_deadline(books: &Books) {
    let ends = books.calls.values().filter_map(|call| call.ended.as_ref());
    let latest = ends.max_by_key(|ended| ended.late_ms).expect("there were calls");
    println!("the latest end was {} ms after its deadline", latest.late_ms);
    assert!(Duration::from_millis(latest.late_ms) < KILL_TIMEOUT + SLACK, "{latest:?}");
}

/// Who is killed is dead, and some die of nothing else.
fn kills_agree(metrics: &Metrics) {
    let [died, killed] =
        ["worker_crashes_total", "worker_kills_total"].map(|name| metrics.by(name, "reason"));
    for (reason, kills) in &killed {
        let deaths = died.get(reason).copied().unwrap_or_default();
        assert!(*kills <= deaths, "{kills} kills for {reason}, {deaths} deaths");
    }
    let always_kills = [
        "attempt_timeout",
        "progress_stall",
        "output_stall",
        "deadline",
        "memory_limit",
        "cancelled",
        "operator",
        "unresponsive",
        "connection_closed",
        "connection_error",
        "protocol_violation",
    ];
    for reason in always_kills {
        assert_eq!(killed.get(reason), died.get(reason), "kills and deaths of {reason}");
    }
}
