//! A look at a process just before it is killed: what its threads do, by `/proc`.
//!
//! It owns how much is looked at and for how long: a kill must not wait for it. It must never touch the process, nor fail:
//! what cannot be read is left out.

use std::cell::{Cell, RefCell};
use std::fs;
use std::time::{Duration, Instant};

use lifeboat_core::evidence::{CpuLately, ProcessSnapshot, ThreadSnapshot, ThreadState};
use rustix::process::Pid;

use super::proc_fs;
use super::table::Process;

/// How long one look may take. A thread takes some 20 µs, so that this is more than enough where the machine is not at
/// its limits, and where it is, it keeps kills on time: a deadline is to fire within 20 ms.
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
        if let Some(cpu) = proc_fs::cpu_time(pid) {
            self.cpu.set(Some((Instant::now(), cpu)));
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
        let now = Instant::now();
        let window = self.window.get().filter(|(began, _)| now.duration_since(*began) < WINDOW);
        let (began, spent) = window.unwrap_or((now, Duration::ZERO));
        if spent >= MOST_IN_WINDOW {
            return;
        }
        let snapshot = look_at(process.pid, process.seen.cpu.get());
        self.window.set(Some((began, spent + snapshot.took)));
        process.seen.snapshot.replace(Some(Box::new(snapshot)));
    }
}

fn look_at(pid: Pid, cpu_before: Option<(Instant, Duration)>) -> ProcessSnapshot {
    let began = Instant::now();
    let mut ids: Vec<Pid> = proc_fs::threads(pid).map(Iterator::collect).unwrap_or_default();
    ids.sort_unstable_by_key(|id| (*id != pid, id.as_raw_pid()));
    let mut threads = Vec::new();
    let mut looked_at = 0;
    for id in ids.iter().take(ProcessSnapshot::MOST_THREADS) {
        if began.elapsed() >= LONGEST {
            break;
        }
        looked_at += 1;
        threads.extend(look_at_thread(pid, *id));
    }
    let cpu = proc_fs::cpu_time(pid).unwrap_or_default();
    let lately = |(at, before): (Instant, Duration)| CpuLately {
        used: cpu.saturating_sub(before),
        within: began.saturating_duration_since(at),
    };
    let left_out = u32::try_from(ids.len() - looked_at).unwrap_or(u32::MAX);
    ProcessSnapshot { threads, left_out, cpu, cpu_lately: cpu_before.map(lately), took: began.elapsed() }
}

/// `None` when it has ended meanwhile.
fn look_at_thread(pid: Pid, thread: Pid) -> Option<ThreadSnapshot> {
    let read = |file: &str| {
        fs::read_to_string(format!("/proc/{}/task/{}/{file}", pid.as_raw_pid(), thread.as_raw_pid()))
    };
    let (name, state) = name_and_state(&read("stat").ok()?)?;
    let cpu = read("schedstat").ok().and_then(|text| first_number(&text)).unwrap_or_default();
    Some(ThreadSnapshot {
        id: thread.as_raw_pid().unsigned_abs(),
        name,
        state,
        cpu: Duration::from_nanos(cpu),
        switches: read("status").ok().and_then(|text| switches(&text)),
        function: read("wchan").ok().filter(|name| !matches!(name.as_str(), "" | "0")),
        system_call: read("syscall").ok().and_then(|text| first_number(&text)),
    })
}

/// What stands in parentheses, which may hold anything, and the letter behind it.
fn name_and_state(stat: &str) -> Option<(String, ThreadState)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let letter = rest.trim_start().chars().next()?;
    Some((name.to_owned(), ThreadState::of_letter(letter)))
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
    fn names_and_states_are_read() {
        let read = |line: &str| name_and_state(line);
        assert_eq!(read("7 (worker) S 1 7"), Some(("worker".to_owned(), ThreadState::Sleeping)));
        assert_eq!(read("7 (a) R (b)) T 1 7"), Some(("a) R (b)".to_owned(), ThreadState::Stopped)));
        assert_eq!((read("7 (cut"), read("7 (cut)"), read("")), (None, None, None));
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
