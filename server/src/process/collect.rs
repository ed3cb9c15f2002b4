//! The death procedure of one process, from its exit to its evidence.
//!
//! The order of the steps is what matters. The leader stays a zombie until its tree is dead: that keeps its pid,
//! session and group from being reused while they are signalled. Nothing here judges why it died.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use lifeboat_core::evidence::{Evidence, OomEvidence, Usage, WaitStatus};
use rustix::process::Pid;

use super::cgroup::Group;
use super::orders::Report;
use super::plane::Plane;
use super::signal;
use super::sys::{self, Take};
use super::table::Process;

/// How long the descendants' dying is waited for. Most die within milliseconds; the rest is counted as leaked, and
/// looked after in the background.
const TREE_LIMIT: Duration = Duration::from_millis(500);

/// The pause between two rounds of the sweep.
const ROUND_PAUSE: Duration = Duration::from_millis(1);

/// How long a status that is withheld is waited for. A tracer (a debugger, `strace`) is told of the death first, and
/// the parent learns it when the tracer has taken note.
const REAP_LIMIT: Duration = Duration::from_millis(500);

/// The pause between two looks at what cannot be waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// By how much the kernel's count of this broker's peak may be off (its counters are per CPU and folded lazily).
const PEAK_SLACK: u64 = 4 * 1024 * 1024;

/// Waits for the leader's exit, gathers the evidence, kills and reaps the tree, reports.
pub(super) async fn collect(plane: Rc<Plane>, process: Rc<Process>) {
    wait_for_exit(&process).await;
    process.exited.set(true);
    process.output.read_last_words();
    // A process that was dying when the kill came did not die of it.
    let killed_by_us = process.kill_sent.get() && !process.was_exiting.get();
    // The own counter is proof, for and against; the shared ones are for those that have none.
    let own = process.group.borrow().as_ref().and_then(Group::killed_for_memory);
    // Its rise is theirs too, and explains nobody else's death.
    plane.oom.borrow_mut().claim(own.unwrap_or(0));
    let judge = |status| match own {
        Some(0) => OomEvidence::NotSeen,
        Some(_) => OomEvidence::OwnCounterRose,
        None => plane.oom.borrow_mut().judge(status, killed_by_us),
    };
    let peeked = sys::wait(process.pidfd.as_fd(), Take::Peek).ok().flatten();
    let judged = peeked.map(|(status, _)| judge(status));
    // Who is reaped has no clock any more.
    let cpu_counted =
        process.cpu_limit.filter(|_| peeked.is_some()).and_then(|_| sys::cpu_counted(process.pid));
    let leaked = kill_tree(&plane, &process).await;
    let reaped = reap_within(&process, REAP_LIMIT).await;
    if reaped.is_some() {
        plane.release(&process);
    } else {
        tracing::warn!(
            process = %process.key,
            pid = process.pid.as_raw_pid(),
            "the status of a worker that has exited is withheld (a debugger?); it is reaped when that ends"
        );
        plane.keep_unreaped(&process);
    }
    let (wait, usage) = reaped.unwrap_or_default();
    let oom = judged.unwrap_or_else(|| judge(wait));
    process.reader.abort();
    // Before the evidence, so that no line comes after it.
    let last_words = process.output.finish();
    if process.forgotten.get() {
        return;
    }
    let evidence = Evidence {
        wait,
        usage,
        oom,
        cpu_limit: process.cpu_limit,
        cpu_counted,
        stdout_tail: last_words.stdout_tail,
        stderr_tail: last_words.stderr_tail,
        output_dropped: last_words.dropped,
        exiting_before_kill: process.was_exiting.get(),
        snapshot: process.seen.take_snapshot(),
        descendants_killed: process.descendants_killed.get(),
        descendants_leaked: leaked,
        // The data plane has it.
        recorder: None,
    };
    plane.report(Report::Evidence { process: process.key, evidence: Box::new(evidence) });
}

/// Returns at once when the leader has exited already, which it normally has.
async fn wait_for_exit(process: &Process) {
    let Err(error) = wait_by_pidfd(process).await else { return };
    tracing::warn!(process = %process.key, %error, "cannot wait for a worker's exit by its pidfd; looking often");
    while !signal::has_exited(&process.pidfd).is_ok_and(|exited| exited) {
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn wait_by_pidfd(process: &Process) -> io::Result<()> {
    if signal::has_exited(&process.pidfd)? {
        return Ok(());
    }
    let pidfd = sys::watch_readable(Rc::new(process.pidfd.try_clone()?))?;
    // A pidfd stays readable from the exit on, so its readiness is never cleared.
    pidfd.readable().await?.retain_ready();
    Ok(())
}

/// Kills what is left of the tree; says how many would not die.
async fn kill_tree(plane: &Plane, process: &Process) -> u32 {
    let started = Instant::now();
    signal::kill_group(process);
    let mut killed = HashSet::new();
    loop {
        let in_group = plane.kill_group_of(process);
        let round = plane.sweep(Some(process.key));
        if round.is_clean() && in_group.is_empty() {
            break;
        }
        if started.elapsed() >= TREE_LIMIT {
            return round.remaining.max(count(in_group.len()));
        }
        killed.extend(in_group);
        if round.reaped == 0 {
            tokio::time::sleep(ROUND_PAUSE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    if plane.adopts_orphans { 0 } else { kill_marked_tree(plane, process, killed, started).await }
}

/// The same where orphans do not come to us: they are searched for in the whole system, and nobody's reaping tells how many of
/// them were killed, also of those that were by their cgroup.
async fn kill_marked_tree(
    plane: &Plane,
    process: &Process,
    mut killed: HashSet<Pid>,
    started: Instant,
) -> u32 {
    let mut found = HashMap::new();
    loop {
        let before = found.len();
        signal::kill_marked(&plane.mark, Some(process.pid), |mark| mark.names(process), &mut found).await;
        let dead = |pidfd: &OwnedFd| signal::has_exited(pidfd).is_ok_and(|exited| exited);
        let alive = found.values().filter(|pidfd| !dead(pidfd)).count();
        let none_new = found.len() == before;
        if (none_new && alive == 0) || started.elapsed() >= TREE_LIMIT {
            killed.extend(found.iter().filter(|(_, pidfd)| dead(pidfd)).map(|(pid, _)| *pid));
            killed.remove(&process.pid);
            process.descendants_killed.set(process.descendants_killed.get() + count(killed.len()));
            return count(alive);
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

fn count(processes: usize) -> u32 {
    u32::try_from(processes).unwrap_or(u32::MAX)
}

/// Tries again those leaders whose status was withheld when they were collected.
pub(super) fn reap_withheld(plane: &Plane) {
    let withheld: Vec<_> =
        plane.table.borrow().iter().filter(|process| process.unreaped.get()).cloned().collect();
    for process in withheld {
        if reap(&process).is_some() {
            plane.release(&process);
        }
    }
}

/// Reaps the leader as soon as that is possible; `None` when it is not for that long.
async fn reap_within(process: &Process, limit: Duration) -> Option<(WaitStatus, Usage)> {
    let started = Instant::now();
    loop {
        let reaped = reap(process);
        if reaped.is_some() || started.elapsed() >= limit {
            return reaped;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Reaps the leader; `None` while its status is withheld. One that somebody else took is `Unknown`, never a guess.
fn reap(process: &Process) -> Option<(WaitStatus, Usage)> {
    match sys::wait(process.pidfd.as_fd(), Take::Reap) {
        Ok(reaped) => {
            let (status, usage) = reaped?;
            Some((status, Usage { max_rss_bytes: true_peak(process, usage), ..usage }))
        }
        Err(error) => {
            tracing::warn!(process = %process.key, %error, "somebody else has reaped a worker; its status is lost");
            Some((WaitStatus::Unknown, Usage::default()))
        }
    }
}

/// The kernel counts the memory that a process had before exec, and after `posix_spawn` that is the broker's own. A
/// peak not above the broker's says nothing of the worker: then what was seen while it lived is taken, 0 where
/// nothing was.
fn true_peak(process: &Process, usage: Usage) -> u64 {
    let is_the_broker_s = usage.max_rss_bytes <= process.broker_peak + PEAK_SLACK;
    if is_the_broker_s { process.seen_peak.get() } else { usage.max_rss_bytes }
}
