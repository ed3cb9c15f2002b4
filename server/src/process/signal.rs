//! Sends signals to process trees. It must never signal a pid that may have been reused: leaders by pidfd, groups
//! while their leader is unreaped, adopted orphans while they are our children, others by a pidfd looked at twice.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::proc_fs::{self, Stat};
use super::table::{BrokerMark, Mark, Marking, Process};

/// How long processes are looked at before other work gets its turn. One process takes some 50 µs, one with the
/// largest possible environment 2 ms.
const SEARCH_STEP: Duration = Duration::from_micros(500);

/// SIGTERM to the process group; to the leader alone while the shim has not made the group yet.
pub(super) fn terminate(process: &Process) {
    match rustix::process::kill_process_group(process.pid, Signal::TERM) {
        Ok(()) => {}
        Err(_) => leader(process, Signal::TERM),
    }
}

/// SIGKILL to the leader and to its process group.
pub(super) fn kill(process: &Process) {
    leader(process, Signal::KILL);
    kill_group(process);
}

/// SIGKILL to the process group. The leader's zombie keeps the group's number from being reused.
pub(super) fn kill_group(process: &Process) {
    match rustix::process::kill_process_group(process.pid, Signal::KILL) {
        // No such group: the shim has not made it yet.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::warn!(process = %process.key, %error, "cannot kill a worker's process group"),
    }
}

fn leader(process: &Process, signal: Signal) {
    match rustix::process::pidfd_send_signal(&process.pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::warn!(process = %process.key, ?signal, %error, "cannot signal a worker"),
    }
}

/// SIGKILL to an orphan that we have adopted, and to the process group that it leads.
pub(super) fn kill_orphan(pid: Pid, group: i32) {
    let killed = rustix::process::kill_process(pid, Signal::KILL);
    if group == pid.as_raw_pid() {
        // Its number is taken for as long as the orphan is unreaped. Failing is told by the leader's result.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    match killed {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::warn!(pid = pid.as_raw_pid(), %error, "cannot kill an orphan of a worker"),
    }
}

/// SIGKILL to every process of the system that carries a mark that `wanted` accepts, or is of `leader`'s session or
/// group; adds their pidfds to `killed`.
///
/// The slow way, for descendants that are not our children: those of a leader that will not die, and all of them
/// where orphans are not adopted. Takes about 50 µs a process of the system, in steps of bounded time.
pub(super) async fn kill_marked(
    broker: &BrokerMark,
    leader: Option<Pid>,
    wanted: impl Fn(&Mark) -> bool,
    killed: &mut HashMap<Pid, OwnedFd>,
) {
    let Ok(pids) = proc_fs::all_pids() else { return };
    let own = rustix::process::getpid();
    let leader = leader.map(Pid::as_raw_pid);
    let in_session =
        |stat: &Stat| leader.is_some_and(|leader| stat.session == leader || stat.group == leader);
    let is_wanted = |pid| is_of(broker, pid, in_session, &wanted);
    let mut step = Instant::now();
    for pid in pids {
        if step.elapsed() >= SEARCH_STEP {
            tokio::task::yield_now().await;
            step = Instant::now();
        }
        if pid != own
            && let Some(pidfd) = kill_if(pid, is_wanted)
        {
            killed.insert(pid, pidfd);
        }
    }
}

/// Whether a process lives and carries a mark that `wanted` accepts, or is of a session or group that is accepted.
pub(super) fn is_of(
    broker: &BrokerMark,
    pid: Pid,
    in_session: impl Fn(&Stat) -> bool,
    wanted: impl Fn(&Mark) -> bool,
) -> bool {
    let Some(stat) = proc_fs::stat(pid) else { return false };
    if stat.zombie && stat.threads <= 1 {
        return false;
    }
    // Asked before the mark, which a process that is just dying no longer shows.
    in_session(&stat)
        || match broker.read(pid) {
            Marking::Ours(mark) => wanted(&mark),
            Marking::NotOurs | Marking::Unreadable => false,
        }
}

/// SIGKILL to a process, if it is the one that is wanted; gives its pidfd.
pub(super) fn kill_if(pid: Pid, is_wanted: impl Fn(Pid) -> bool) -> Option<OwnedFd> {
    if !is_wanted(pid) {
        return None;
    }
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Looked at again: now the pidfd holds the process that was looked at, or one that is dead.
    let killed = is_wanted(pid) && rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).is_ok();
    killed.then_some(pidfd)
}

/// Whether the process behind a pidfd has exited.
pub(super) fn has_exited(pidfd: &OwnedFd) -> rustix::io::Result<bool> {
    let mut poll = [PollFd::new(pidfd, PollFlags::IN)];
    Ok(rustix::event::poll(&mut poll, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}
