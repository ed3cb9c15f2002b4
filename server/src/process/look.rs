//! A look at a process just before it is killed: what its threads do, by `/proc`.
//!
//! It owns how much is looked at and for how long: a kill must not wait for it. It must never touch the process, nor fail:
//! what cannot be read is left out, and without the main thread there is nothing to tell.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use lifeboat_core::evidence::{CpuLately, ProcessSnapshot, ThreadSnapshot, ThreadState};
use rustix::process::Pid;

use super::proc_fs;
use super::table::Process;

/// After this time a look goes on to no further thread. A thread takes some 20 µs, so that this is more than enough where the
/// machine is not at its limits, and where it is, it keeps kills on time: a deadline is to fire within 20 ms. The main
/// thread is looked at in any case, and one read may wait for some ticks of the kernel's clock (`syscall`, until a thread that runs
/// elsewhere is off its core).
const LONGEST: Duration = Duration::from_millis(5);

/// In any such time ...
const WINDOW: Duration = Duration::from_millis(100);

/// ... no more than this goes into looks: where many are killed at once, the last one waits no longer than this.
const MOST_IN_WINDOW: Duration = Duration::from_millis(10);

/// What looks at one process have found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its CPU time when it was last looked at, and when that was.
    cpu: Cell<Option<(Instant, Duration)>>,
    snapshot: RefCell<Option<Box<ProcessSnapshot>>>,
}

impl Seen {
    /// Takes note of the CPU time so far, so that a later look can tell what was used since.
    pub(super) fn note_cpu(&self, pid: Pid) {
        if let Some(process) = proc_fs::stat(pid) {
            self.cpu.set(Some((Instant::now(), process.cpu)));
        }
    }

    /// What was seen just before it was killed.
    pub(super) fn take_snapshot(&self) -> Option<Box<ProcessSnapshot>> {
        self.snapshot.take()
    }
}

/// How much was looked at lately.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// When the present window began, and how much of it went into looks.
    window: Cell<Option<(Instant, Duration)>>,
}

impl Looks {
    /// Looks at a process that is about to be killed, unless too many are.
    pub(super) fn look(&self, process: &Process) {
        let began = Instant::now();
        if !self.has_time(began) {
            return;
        }
        if let Some(snapshot) = look_at(process.pid, process.seen.cpu.get()) {
            process.seen.snapshot.replace(Some(Box::new(snapshot)));
        }
        self.spend(began.elapsed());
    }

    /// Whether another look may begin now.
    fn has_time(&self, now: Instant) -> bool {
        let window = self.window.get().filter(|(began, _)| now.duration_since(*began) < WINDOW);
        let (began, spent) = window.unwrap_or((now, Duration::ZERO));
        self.window.set(Some((began, spent)));
        spent < MOST_IN_WINDOW
    }

    /// A look took that long.
    fn spend(&self, took: Duration) {
        self.window.update(|window| window.map(|(began, spent)| (began, spent + took)));
    }
}

fn look_at(pid: Pid, cpu_before: Option<(Instant, Duration)>) -> Option<ProcessSnapshot> {
    let began = Instant::now();
    let process = proc_fs::stat(pid)?;
    let mut threads = vec![look_at_thread(pid, pid)?];
    // Where there are thousands, the list takes longer than the looks: no more of it is read than is looked at.
    let others = proc_fs::threads(pid).into_iter().flatten().filter(|id| *id != pid);
    let mut others: Vec<_> = others.take(ProcessSnapshot::MOST_THREADS - 1).collect();
    others.sort_unstable_by_key(|id| id.as_raw_pid());
    let mut looked_at = 1;
    for id in others {
        if began.elapsed() >= LONGEST {
            break;
        }
        looked_at += 1;
        threads.extend(look_at_thread(pid, id));
    }
    let lately = |(at, before): (Instant, Duration)| CpuLately {
        used: process.cpu.saturating_sub(before),
        within: began.saturating_duration_since(at),
    };
    Some(ProcessSnapshot {
        threads,
        left_out: u32::try_from(process.threads.saturating_sub(looked_at)).unwrap_or(u32::MAX),
        cpu: process.cpu,
        cpu_lately: cpu_before.map(lately),
        took: began.elapsed(),
    })
}

/// `None` when it has ended meanwhile.
fn look_at_thread(pid: Pid, thread: Pid) -> Option<ThreadSnapshot> {
    let read = |file: &str| {
        proc_fs::text(&format!("/proc/{}/task/{}/{file}", pid.as_raw_pid(), thread.as_raw_pid())).ok()
    };
    let stat = proc_fs::thread_stat(pid, thread)?;
    // Exact, where the kernel keeps it; else in its ticks.
    let exact = read("schedstat").and_then(|text| first_number(&text)).map(Duration::from_nanos);
    Some(ThreadSnapshot {
        id: thread.as_raw_pid().unsigned_abs(),
        name: stat.name,
        state: ThreadState::of_letter(stat.state),
        cpu: exact.unwrap_or(stat.cpu),
        switches: read("status").and_then(|text| switches(&text)),
        function: read("wchan").filter(|name| !matches!(name.as_str(), "" | "0")),
        system_call: read("syscall").and_then(|text| first_number(&text)),
    })
}

fn first_number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn switches(status: &str) -> Option<(u64, u64)> {
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((value("voluntary_ctxt_switches:")?, value("nonvoluntary_ctxt_switches:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_many_are_killed_at_once_not_all_are_looked_at() {
        let looks = Looks::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut skipped = Vec::new();
        // Somebody is killed every 4 ms, and each look takes as long.
        for millis in (0..240).step_by(4) {
            if looks.has_time(at(millis)) {
                looks.spend(Duration::from_millis(4));
            } else {
                skipped.push(millis);
            }
        }
        // Three of each window: the third begins within what a window has for looks.
        let expected = (0..240).step_by(4).filter(|millis| millis % 100 >= 12);
        assert_eq!(skipped, expected.collect::<Vec<_>>());
    }

    #[test]
    fn who_cannot_be_read_is_not_told_of() {
        let mut gone = std::process::Command::new("true").spawn().expect("it is there");
        let pid = Pid::from_child(&gone);
        gone.wait().expect("our child");
        assert!(look_at(pid, Some((Instant::now(), Duration::ZERO))).is_none(), "not 0 % CPU");
        assert!(look_at(rustix::process::getpid(), None).is_some());
    }

    #[test]
    fn switches_are_both_there_or_none() {
        let text = "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(switches(text), Some((12, 3)));
        assert_eq!(switches("voluntary_ctxt_switches:\t12\n"), None);
    }

    #[test]
    fn a_call_is_a_number_or_nothing() {
        assert_eq!(first_number::<u32>("202 0x7f 0x80\n"), Some(202));
        assert_eq!((first_number::<u32>("running\n"), first_number::<u32>("-1 0x7ff 0x0\n")), (None, None));
    }
}
