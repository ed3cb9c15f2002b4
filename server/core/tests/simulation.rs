//! Random adversarial histories under a virtual clock, watched by a shadow model that knows the promises and not the
//! core.
//!
//! * `LIFEBOAT_SIM_SEED=n` replays the one history with that seed;
//! * `LIFEBOAT_SIM_EVENTS=n` sets how many events are told in all (default 1 000 000);
//! * `LIFEBOAT_SIM_TRACE=1` prints every event, action and fact.
//!
//! The sweep is meant for the `sim` profile, optimised with every assertion kept:
//! `cargo test --profile sim -p lifeboat-core --test simulation`.
#![expect(clippy::disallowed_methods, reason = "seeds and sizes come from the environment")]
#![expect(clippy::unwrap_used, reason = "a test helper may fail the test")]
#![expect(clippy::print_stdout, reason = "a sweep tells its seed and what it met")]

mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use sim::coverage::Coverage;
use sim::history::History;

const DEFAULT_EVENTS: u64 = 1_000_000;

#[test]
fn every_promise_holds_in_random_histories() {
    let mut coverage = Coverage::default();
    if let Some(seed) = number("LIFEBOAT_SIM_SEED") {
        run(seed, &mut coverage);
        return;
    }
    let wanted = number("LIFEBOAT_SIM_EVENTS").unwrap_or(DEFAULT_EVENTS);
    let mut seed = 1;
    while coverage.events < wanted {
        run(seed, &mut coverage);
        seed += 1;
    }
    println!("{} histories, {coverage}", seed - 1);
    if wanted >= DEFAULT_EVENTS {
        coverage.assert_complete();
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 14, 159] {
        let [first, second] = [(); 2].map(|()| {
            let mut history = History::new(seed);
            history.keep_trace();
            history.run(&mut Coverage::default());
            history.trace_hash()
        });
        assert_eq!(first, second, "seed {seed}");
        let mut other = History::new(seed + 1);
        other.keep_trace();
        other.run(&mut Coverage::default());
        assert_ne!(first, other.trace_hash(), "another seed gives another trace");
    }
}

/// Runs one history. A failure names its seed.
fn run(seed: u64, coverage: &mut Coverage) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut history = History::new(seed);
        if number("LIFEBOAT_SIM_TRACE").is_some() {
            history.print_trace();
        }
        history.run(coverage);
    }));
    if let Err(panic) = outcome {
        println!("replay with LIFEBOAT_SIM_SEED={seed} LIFEBOAT_SIM_TRACE=1");
        resume_unwind(panic);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
