//! What `/proc` says of processes: children, ancestry, environment, memory. Reads only, and trusts nothing: a process
//! may vanish between two reads, which is "not there", never an error.

use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use rustix::process::Pid;

/// How much of an environment is read: four times what the kernel grants arguments and environment by default.
const ENVIRON_LIMIT: u64 = 8 * 1024 * 1024;

/// Some of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Its name, which it may have chosen, lossily as text.
    pub(super) name: String,
    /// The kernel's letter for what it does; of a process, for what its main thread does.
    pub(super) state: char,
    /// It is dead and waits to be reaped, or its main thread is and others live on.
    pub(super) zombie: bool,
    /// The parent.
    pub(super) parent: i32,
    /// The process group.
    pub(super) group: i32,
    /// The session.
    pub(super) session: i32,
    /// It is dead or dying; of a process, its main thread is.
    pub(super) exiting: bool,
    /// The CPU time that it has used, user and system, in ticks of the kernel's clock.
    pub(super) cpu: Duration,
    /// How many threads there are, dead ones that are not reaped included.
    pub(super) threads: usize,
    /// When it started, in clock ticks since boot.
    pub(super) started: u64,
}

/// A text of `/proc`. The kernel writes names as they are, and cuts them anywhere: what is no UTF-8 is replaced.
pub(super) fn text(path: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// The children of this process, of all its threads: those it started and those it adopted, zombies included.
///
/// Complete while nobody else reaps them: new ones are appended.
pub(super) fn own_children(children: &mut Vec<Pid>) -> io::Result<()> {
    children.clear();
    let mut text = String::new();
    for task in fs::read_dir("/proc/self/task")? {
        let mut path = task?.path();
        path.push("children");
        text.clear();
        match fs::File::open(&path).and_then(|mut file| file.read_to_string(&mut text)) {
            Ok(_) => children.extend(text.split_ascii_whitespace().filter_map(parse_pid)),
            // The thread has ended, and its children went to another one; or the kernel has no such lists.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.parent().is_some_and(|task| task.exists()) {
                    return children_by_search(children);
                }
            }
            // The thread ended while it was read.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The same for a kernel built without `CONFIG_PROC_CHILDREN`.
fn children_by_search(children: &mut Vec<Pid>) -> io::Result<()> {
    let own = rustix::process::getpid().as_raw_pid();
    children.clear();
    children.extend(all_pids()?.filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == own)));
    Ok(())
}

/// Every process there is.
pub(super) fn all_pids() -> io::Result<impl Iterator<Item = Pid>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| parse_pid(entry.ok()?.file_name().to_str()?)))
}

/// The children that a process's main thread has started; empty when it is gone.
pub(super) fn children_of(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_pid();
    let children = text(&format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(parse_pid).collect()
}

/// Ancestry and start of a process; there for zombies too.
pub(super) fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&text(&format!("/proc/{}/stat", pid.as_raw_pid())).ok()?)
}

/// The same of one thread of a process.
pub(super) fn thread_stat(pid: Pid, thread: Pid) -> Option<Stat> {
    let path = format!("/proc/{}/task/{}/stat", pid.as_raw_pid(), thread.as_raw_pid());
    parse_stat(&text(&path).ok()?)
}

/// The threads of a process.
pub(super) fn threads(pid: Pid) -> io::Result<impl Iterator<Item = Pid>> {
    let entries = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid()))?;
    Ok(entries.filter_map(|entry| parse_pid(entry.ok()?.file_name().to_str()?)))
}

fn parse_stat(text: &str) -> Option<Stat> {
    /// The flag of a thread that has begun to exit (`PF_EXITING`).
    const EXITING: u32 = 0x4;
    // The name, in parentheses, may hold anything, parentheses and blanks included. Behind it: state, parent, group, session,
    // the flags as the 7th, user and system time as the 12th and 13th, the number of threads as the 18th, the start time
    // as the 20th.
    let (head, rest) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(2)?.parse().ok()?;
    let user: u64 = fields.nth(4)?.parse().ok()?;
    let cpu = ticks(user.saturating_add(fields.next()?.parse().ok()?));
    let threads = fields.nth(4)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    let zombie = matches!(state, 'Z' | 'X' | 'x');
    let exiting = zombie || flags & EXITING != 0;
    Some(Stat { name, state, zombie, parent, group, session, exiting, cpu, threads, started })
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1))
}

/// The environment that a process was started with; `None` for a zombie, one that is just being started or one
/// that may not be looked at. Where the main thread is dead and others live, they show it.
pub(super) fn environ(pid: Pid) -> Option<Vec<u8>> {
    let number = pid.as_raw_pid();
    read_environ(&format!("/proc/{number}/environ")).or_else(|| {
        let mut others = threads(pid).ok()?.filter(|thread| *thread != pid);
        others
            .find_map(|thread| read_environ(&format!("/proc/{number}/task/{}/environ", thread.as_raw_pid())))
    })
}

fn read_environ(path: &str) -> Option<Vec<u8>> {
    let file = fs::File::open(path).ok()?;
    let mut environ = Vec::new();
    file.take(ENVIRON_LIMIT).read_to_end(&mut environ).ok()?;
    (!environ.is_empty()).then_some(environ)
}

/// The value of a variable in an environment as read by [`environ`].
pub(super) fn variable<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The resident set of a process, in bytes; `None` when it is gone.
pub(super) fn resident(pid: Pid) -> Option<u64> {
    let statm = text(&format!("/proc/{}/statm", pid.as_raw_pid())).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The largest resident set that a process has had since its exec, in bytes; `None` when it is gone.
pub(super) fn peak(pid: Pid) -> Option<u64> {
    let status = text(&format!("/proc/{}/status", pid.as_raw_pid())).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_ascii_whitespace().next())?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

/// Whether SIGKILL waits for a process's main thread to take notice.
pub(super) fn is_being_killed(pid: Pid) -> bool {
    const SIGKILL: u64 = 1 << 8;
    let status = text(&format!("/proc/{}/status", pid.as_raw_pid())).unwrap_or_default();
    let pending =
        |line: &str| u64::from_str_radix(line.trim(), 16).is_ok_and(|signals| signals & SIGKILL != 0);
    let mut lists = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    lists.any(pending)
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_traps_does_not_shift_the_fields() {
        let line = "12 (a) R 1 (b) Z 7 11 10 0 -1 4194560 9 0 0 0 1 2 3 4 20 0 3 0 98765 1000 5\n";
        let stat = Stat {
            name: "a) R 1 (b".to_owned(),
            state: 'Z',
            zombie: true,
            parent: 7,
            group: 11,
            session: 10,
            exiting: true,
            cpu: ticks(3),
            threads: 3,
            started: 98765,
        };
        assert_eq!(parse_stat(line), Some(stat));
        let exiting = |flags| {
            let line = format!("12 (a) D 7 11 10 0 -1 {flags} 9 0 0 0 1 2 3 4 20 0 1 0 98765 1000 5\n");
            parse_stat(&line).map(|stat| (stat.zombie, stat.exiting))
        };
        assert_eq!(exiting(4_194_560 + 4), Some((false, true)));
        assert_eq!(exiting(4_194_560), Some((false, false)));
        assert_eq!(parse_stat("12 (cut) S 7 11"), None);
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat("12 (cut)"), None);
    }

    #[test]
    fn what_is_no_text_is_read_all_the_same() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), b"12 (m\xc3\xbcll\xc3) S 7 11 10 0 -1 0 9 0 0 0 1 2 3 4 20 0 3 0 98765 5\n")
            .expect("writable");
        let text = text(file.path().to_str().expect("text")).expect("it is there");
        let stat = parse_stat(&text).expect("it is whole");
        assert_eq!((stat.name.as_str(), stat.parent), ("müll\u{fffd}", 7));
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environ = b"XLIFEBOAT_WORKER=no\0LIFEBOAT_WORKERS=no\0LIFEBOAT_WORKER=images-0\0";
        assert_eq!(variable(environ, "LIFEBOAT_WORKER"), Some(&b"images-0"[..]));
        assert_eq!(variable(environ, "LIFEBOAT_INCARNATION"), None);
    }

    #[test]
    fn this_process_is_there() {
        let own = stat(rustix::process::getpid()).expect("we live");
        assert_eq!(own.parent, Pid::as_raw(rustix::process::getppid()));
        assert!(resident(rustix::process::getpid()).expect("we live") > 100_000);
        assert!(peak(rustix::process::getpid()).expect("we live") > 100_000);
    }
}
