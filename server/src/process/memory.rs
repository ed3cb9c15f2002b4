//! Looks at the memory of processes: often at those that have a limit, now and then at all. Must never kill.

use std::rc::Rc;
use std::time::Duration;

use super::orders::Report;
use super::plane::Plane;
use super::proc_fs;
use super::table::{Process, Table};

/// How often memory is sampled. At this pace a process that grows by 10 GB/s is 0.5 GB late.
const INTERVAL: Duration = Duration::from_millis(50);

/// How many processes of one tree are looked at: wrappers are short chains.
const TREE_LIMIT: usize = 32;

/// Samples until no process with a limit lives.
pub(super) async fn sample(plane: Rc<Plane>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let processes: Vec<_> =
            plane.table.borrow().iter().filter(|process| process.memory_limit.is_some()).cloned().collect();
        if processes.is_empty() {
            plane.sampling.set(false);
            return;
        }
        for process in processes {
            look(&plane, &process);
        }
    }
}

/// Notes the peaks so far, for evidence: what the kernel says at the end may be the broker's own (see `collect`).
pub(super) fn note_peaks(table: &Table) {
    for process in table.iter().filter(|process| !process.exited.get()) {
        if let Some(peak) = proc_fs::peak(process.pid) {
            process.seen_peak.set(process.seen_peak.get().max(peak));
        }
    }
}

fn look(plane: &Plane, process: &Process) {
    let Some(limit) = process.memory_limit else { return };
    if process.exited.get() {
        return;
    }
    let resident = largest_resident(process);
    process.seen_peak.set(process.seen_peak.get().max(resident));
    if resident > limit && !process.memory_told.replace(true) && !process.forgotten.get() {
        plane.report(Report::MemoryExceeded { process: process.key, resident, limit });
    }
}

/// The largest resident set of any one process of the tree, so that a wrapper (`sh -c`, `nice`) does not hide the
/// program that it starts. Not the sum: it would count pages shared after a fork twice and accuse the innocent.
/// Of descendants only those are seen that main threads have started.
fn largest_resident(process: &Process) -> u64 {
    let mut open = vec![process.pid];
    let mut seen = 0;
    let mut largest = 0;
    while let Some(pid) = open.pop() {
        seen += 1;
        if seen > TREE_LIMIT {
            break;
        }
        largest = largest.max(proc_fs::resident(pid).unwrap_or(0));
        open.extend(proc_fs::children_of(pid));
    }
    largest
}
