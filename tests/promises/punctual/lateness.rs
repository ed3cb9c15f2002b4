//! How late firings were, and what of it is the machine's doing.

use std::time::Duration;

use lifeboat_tests::harness::{CoreWaited, Stalled};

use super::{BOUND, nanos};

/// Who must run one after the other until a firing is seen: the broker, and whoever sees it.
const THREADS: usize = 2;

/// So many of a hundred firings may be set aside; with more a round says nothing and is done again.
const MOST_SET_ASIDE: usize = 20;

/// One limit that has fired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Firing {
    /// Before this it would have been early.
    pub(super) earliest: u64,
    /// When it was due, at the latest.
    pub(super) due: u64,
    /// When it was seen.
    pub(super) seen: u64,
}

impl Firing {
    /// One that was due at a moment that is known.
    pub(super) const fn at(due: u64, seen: u64) -> Self {
        Self { earliest: due, due, seen }
    }
}

/// How late firings were.
pub(super) struct Lateness {
    /// In order, without those that were set aside.
    times: Vec<Duration>,
    /// Over the bound for as long as reference threads were not run either, or while the broker was ready to run and waited
    /// for a core half of the time: the machine's doing, or other programs'.
    set_aside: Vec<Duration>,
    /// Over the bound, and for how long of it the machine stood still.
    unexplained: Vec<(Duration, Duration)>,
    /// Not seen at all.
    unseen: usize,
}

impl Lateness {
    /// Of so many firings, those that were seen.
    pub(super) fn of(wanted: usize, firings: &[Firing], stalled: &Stalled, waited: &CoreWaited) -> Self {
        let unseen = wanted - firings.len();
        let mut lateness = Self { times: Vec::new(), set_aside: Vec::new(), unexplained: Vec::new(), unseen };
        for Firing { earliest, due, seen } in firings {
            assert!(seen >= earliest, "early by {:?}", Duration::from_nanos(earliest - seen));
            let late = Duration::from_nanos(seen.saturating_sub(*due));
            // From a little before: after a standstill everybody wants to run at once.
            let stood_still = stalled.within(due - nanos(BOUND), *seen, THREADS);
            // What the broker uses of a core does not count here: its own slowness is no excuse.
            let starved = waited.within(due - nanos(BOUND), *seen) * 2 >= late;
            if late >= BOUND && (late.saturating_sub(stood_still) < BOUND || starved) {
                lateness.set_aside.push(late);
            } else {
                lateness.times.push(late);
                lateness.unexplained.extend((late >= BOUND).then_some((late, stood_still)));
            }
        }
        lateness.times.sort();
        lateness
    }

    /// Prints the distribution and checks the promise.
    ///
    /// # Errors
    ///
    /// When the machine stood still too often to tell.
    ///
    /// # Panics
    ///
    /// When something was late while the machine did not stand still, and the broker had a core.
    #[expect(clippy::print_stdout, reason = "the distribution is the test's result")]
    pub(super) fn check(&self, what: &str, longest: Duration) -> Result<(), String> {
        let aside = self.set_aside.len() + self.unseen;
        let count = self.times.len() + aside;
        if aside * 100 > count * MOST_SET_ASIDE {
            return Err(format!("{what}: {aside} of {count} firings are set aside"));
        }
        let [half, most, worst] = [50, 99, 100].map(|share| self.times[(self.times.len() - 1) * share / 100]);
        println!("{what}: {count} firings; half within {half:?}, 99 % {most:?}, all {worst:?}");
        if let Some(worst) = self.set_aside.iter().max() {
            println!("    {aside} set aside, up to {worst:?}: the machine stood still for up to {longest:?}");
        }
        let late = &self.unexplained;
        assert!(
            half < BOUND / 2 && late.is_empty(),
            "{what}: half within {half:?}, late beside still: {late:?}"
        );
        Ok(())
    }
}
