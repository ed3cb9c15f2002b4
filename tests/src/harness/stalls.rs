//! When the machine itself stood still: what nobody's timer can be blamed for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::clock::now;

/// How often each reference thread wants to run.
const TICK: Duration = Duration::from_micros(250);

/// A wait beyond the tick that is worth noting: on a machine with room to spare it is far less.
const NOTED: u64 = 1_000_000;

/// Reference threads, one on each core that this process may use, until [`Stalls::end`].
///
/// Each sleeps for a moment, as a timer's thread does, and notes when it was not run in time. A thread that spins instead
/// would take a core from what is measured, and would be kept waiting just for having used it.
#[derive(Debug)]
pub struct Stalls {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Gap>>>,
}

/// A time in which a core ran nobody who asked for it, by `CLOCK_MONOTONIC` in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    from: u64,
    to: u64,
}

/// When each core stood still.
#[derive(Clone, Debug)]
pub struct Stalled(Vec<Vec<Gap>>);

impl Stalls {
    /// Begins to watch.
    ///
    /// # Panics
    ///
    /// When the system does not tell which cores there are.
    #[must_use]
    pub fn watch() -> Self {
        let cores = sched_getaffinity(None).expect("a process may ask for its cores");
        let over = Arc::new(AtomicBool::new(false));
        let cores = (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core));
        let threads = cores.map(|core| {
            let over = Arc::clone(&over);
            thread::spawn(move || tick_on(core, &over))
        });
        Self { threads: threads.collect(), over }
    }

    /// Ends watching and tells what was seen.
    ///
    /// # Panics
    ///
    /// When a reference thread did.
    #[must_use]
    pub fn end(self) -> Stalled {
        self.over.store(true, Ordering::Relaxed);
        Stalled(self.threads.into_iter().map(|thread| thread.join().expect("it only sleeps")).collect())
    }
}

fn tick_on(core: usize, over: &AtomicBool) -> Vec<Gap> {
    let mut own = CpuSet::new();
    own.set(core);
    sched_setaffinity(None, &own).expect("a thread may choose among its cores");
    let tick = u64::try_from(TICK.as_nanos()).expect("a short time");
    let (mut gaps, mut last) = (Vec::new(), now());
    while !over.load(Ordering::Relaxed) {
        thread::sleep(TICK);
        let woken = now();
        if woken - last > tick + NOTED {
            gaps.push(Gap { from: last + tick, to: woken });
        }
        last = woken;
    }
    gaps
}

impl Stalled {
    /// For how much of a time the machine kept `threads` waiting that had to run one after the other: the sum over as many
    /// cores, those that stood still longest.
    #[must_use]
    pub fn within(&self, from: u64, to: u64, threads: usize) -> Duration {
        let overlap = |gap: &Gap| gap.to.min(to).saturating_sub(gap.from.max(from));
        let mut cores: Vec<u64> = self.0.iter().map(|gaps| gaps.iter().map(overlap).sum()).collect();
        cores.sort_unstable();
        Duration::from_nanos(cores.iter().rev().take(threads).sum())
    }

    /// The longest that any core stood still.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let longest = self.0.iter().flatten().map(|gap| gap.to - gap.from).max();
        Duration::from_nanos(longest.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cores_that_stood_still_longest_count() {
        let gap = |from, to| Gap { from, to };
        let stalled = Stalled(vec![vec![gap(10, 20), gap(30, 35)], vec![gap(12, 33)], Vec::new()]);
        let within = |from, to, threads| stalled.within(from, to, threads).as_nanos();
        assert_eq!(
            [within(0, 100, 1), within(0, 12, 1), within(15, 32, 1), within(36, 100, 1)],
            [21, 2, 17, 0]
        );
        assert_eq!(
            [within(0, 100, 2), within(0, 12, 2), within(15, 32, 2), within(0, 100, 9)],
            [36, 2, 24, 36]
        );
        assert_eq!(stalled.longest().as_nanos(), 21);
    }
}
