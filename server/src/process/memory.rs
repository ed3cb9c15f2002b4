//! Looks at the memory of processes: often at those that have a limit, now and then at all, and at whom the kernel has killed
//! for want of it. Must never kill.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::orders::Report;
use super::plane::Plane;
use super::table::{Process, Table};
use super::{exiting, proc_fs, signal};

/// How often memory is sampled. At this pace a process that grows by 10 GB/s is 0.5 GB late.
const INTERVAL: Duration = Duration::from_millis(50);

/// How many processes are looked at before other work gets its turn, at some 30 µs each.
const STEP: usize = 16;

/// How many processes of one tree are looked at: wrappers are short chains.
const TREE_LIMIT: usize = 32;

/// Samples until no process with a limit lives.
pub(super) async fn sample(plane: Rc<Plane>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        explain_oom_kills(&plane, |process| process.kernel_bounds_memory);
        let sampled = look_at(&plane, |process| process.memory_limit.is_some()).await;
        if sampled == 0 && !plane.table.borrow().iter().any(|process| process.kernel_bounds_memory) {
            plane.sampling.set(false);
            return;
        }
    }
}

/// Tells of descendants that the kernel has killed for want of memory, so that they do not explain their leader's death.
fn explain_oom_kills(plane: &Plane, wanted: impl Fn(&Process) -> bool) {
    for process in plane.table.borrow().iter().filter(|process| wanted(process) && !process.exited.get()) {
        let lives_on = || {
            let has_exited = signal::has_exited(&process.pidfd).is_ok_and(|exited| exited);
            !has_exited && !exiting::is_exiting(process.pid) && !proc_fs::is_being_killed(process.pid)
        };
        let group = process.group.borrow();
        let killed = group.as_ref().map_or(0, |group| group.explain_by_descendants(lives_on));
        if killed > 0 {
            plane.oom.borrow_mut().claim(killed);
            let (worker, incarnation) = (&process.worker_name, process.key.incarnation.0);
            tracing::warn!(
                worker,
                incarnation,
                "a descendant was killed by the OOM killer; its worker lives on"
            );
        }
    }
}

/// The rarer looks: at those that have only a soft limit and are not known to have passed it, and at the out-of-memory
/// counters of those that have no limit.
pub(super) async fn sample_rarely(plane: &Plane) {
    explain_oom_kills(plane, |process| !process.kernel_bounds_memory);
    let only_soft = |process: &Process| process.memory_high.is_some() && process.memory_limit.is_none();
    look_at(plane, |process| only_soft(process) && !process.memory_high_told.get()).await;
}

/// Looks at those processes that are wanted; says how many there are.
async fn look_at(plane: &Plane, wanted: impl Fn(&Process) -> bool) -> usize {
    let processes: Vec<_> = plane.table.borrow().iter().filter(|process| wanted(process)).cloned().collect();
    for (index, process) in processes.iter().enumerate() {
        if index % STEP == STEP - 1 {
            tokio::task::yield_now().await;
        }
        look(plane, process);
    }
    processes.len()
}

/// One look at all, limit or not, for those who watch the broker.
pub(super) async fn look_at_all(plane: &Plane) {
    note_peaks(&plane.table.borrow());
    look_at(plane, |_| true).await;
    plane.show_memory();
}

/// Puts each worker's memory where it is shown: the most that any process of it uses, while one is being replaced too.
pub(super) fn show(table: &Table, places: &[AtomicU64]) {
    let mut largest = vec![0; places.len()];
    for process in table.iter().filter(|process| !process.exited.get()) {
        if let Some(seen) = largest.get_mut(usize::from(process.key.worker.0)) {
            *seen = process.resident.get().max(*seen);
        }
    }
    for (place, bytes) in places.iter().zip(largest) {
        place.store(bytes, Ordering::Relaxed);
    }
}

/// Notes the peaks so far, for evidence: what the kernel says at the end may be the broker's own (see `collect`).
fn note_peaks(table: &Table) {
    for process in table.iter().filter(|process| !process.exited.get()) {
        if let Some(peak) = proc_fs::peak(process.pid) {
            process.seen_peak.set(process.seen_peak.get().max(peak));
        }
    }
}

fn look(plane: &Plane, process: &Process) {
    if process.exited.get() {
        return;
    }
    let resident = largest_resident(process);
    process.resident.set(resident);
    process.seen.note_cpu(process.pid);
    process.seen_peak.set(process.seen_peak.get().max(resident));
    let tells = |told: &Cell<bool>| !told.replace(true) && !process.forgotten.get();
    let is_over = |limit: Option<u64>| limit.filter(|limit| resident > *limit);
    if is_over(process.memory_high).is_some() && tells(&process.memory_high_told) {
        plane.report(Report::MemoryHigh { process: process.key, resident });
    }
    if let Some(limit) = is_over(process.memory_limit)
        && tells(&process.memory_told)
    {
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
