//! The warden: a process beside the broker that outlives it, and ends what is left of its workers.
//!
//! Owns both sides: the broker's handle, which tells it of every worker's process, and its own process, which waits for the
//! broker's end. When the broker is killed, the kernel ends the leaders of its workers (parent-death signal), and nobody
//! but the warden their descendants. It must never signal anything while the broker lives, nor ever anything that neither
//! carries the broker's mark nor belongs to the session or the cgroup of one of its workers.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::shim::SHIM_ARG;
use super::table::BrokerMark;
use super::{cgroup, proc_fs, signal, sys};

/// What follows [`SHIM_ARG`] where the program is to be the warden; its mark follows, and the broker's folders of cgroups.
pub(super) const WARDEN_WORD: &str = "warden";

/// How long what is left may resist SIGKILL before it is given up.
const LIMIT: Duration = Duration::from_secs(10);

/// Between two searches: what was about to be started while the first looked is there then.
const PAUSE: Duration = Duration::from_millis(5);

/// So many searches in a row must find nothing.
const CLEAN: u32 = 2;

/// A number on the pipe: a process that there is from now on, or negative, one that is reaped.
const NUMBER: usize = size_of::<i32>();

/// The broker's handle. Dropping it ends the warden, and first of all what the warden was for, if any of that is left.
#[derive(Debug)]
pub(super) struct Warden {
    child: Child,
    /// Its other end is the warden's stdin: the end of the broker is the end of that.
    tell: OwnedFd,
}

impl Warden {
    /// Starts it. It has nothing of the broker's but its environment.
    pub(super) fn start<'a>(
        program: &Path,
        mark: &BrokerMark,
        cgroups: impl Iterator<Item = &'a Path>,
    ) -> io::Result<Self> {
        let (heard, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&tell, true)?;
        let child = Command::new(program)
            .arg0("lifeboat-warden")
            .args([SHIM_ARG, WARDEN_WORD, mark.value()])
            .args(cgroups)
            .stdin(Stdio::from(heard))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, tell })
    }

    /// Which process it is.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// There is this worker's process, which leads a session.
    pub(super) fn there_is(&self, leader: Pid) {
        self.tell(leader.as_raw_pid());
    }

    /// It is reaped: its number may be anybody's.
    pub(super) fn is_gone(&self, leader: Pid) {
        self.tell(-leader.as_raw_pid());
    }

    fn tell(&self, number: i32) {
        // Four bytes are written whole or not at all.
        match rustix::io::write(&self.tell, &number.to_ne_bytes()) {
            // One that is gone is noticed and replaced, and the next one is told of all.
            Ok(_) | Err(Errno::PIPE) => {}
            Err(error) => tracing::warn!(%error, "the warden could not be told of a worker's process"),
        }
    }

    /// Whether it still runs. One that does not is reaped.
    pub(super) fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        // All processes are dead and reaped: there is nothing for it to do.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            tracing::warn!(%error, "the warden could not be ended");
        }
    }
}

/// Becomes the warden; `args` is what follows [`WARDEN_WORD`]. Never returns but for an error that came before it began.
pub(super) fn run(mut args: impl Iterator<Item = OsString>) -> io::Result<Infallible> {
    let mark = args.next().and_then(|mark| mark.into_string().ok()).filter(|mark| !mark.is_empty());
    let mark = BrokerMark::of(mark.ok_or(io::ErrorKind::InvalidInput)?);
    let cgroups: Vec<_> = args.map(PathBuf::from).collect();
    // Whoever stops the broker's group, terminal or service does not stop it before its time.
    rustix::process::setsid()?;
    sys::ignore_polite_signals()?;
    sys::close_from(3)?;
    rustix::process::chdir("/")?;
    let sessions = hear()?;
    end_all(&mark, &sessions, &cgroups);
    // Whom that could be told is gone; the next broker tries again.
    cgroups.iter().for_each(|folder| drop(cgroup::take_down(folder)));
    std::process::exit(0)
}

/// Waits for the broker's end; gives the sessions of the workers' processes that there are then.
fn hear() -> io::Result<BTreeSet<i32>> {
    let mut sessions = BTreeSet::new();
    let mut heard = Vec::new();
    let mut some = [0; 1024 * NUMBER];
    loop {
        match io::stdin().read(&mut some) {
            Ok(0) => return Ok(sessions),
            Ok(len) => heard.extend_from_slice(&some[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let (numbers, rest) = heard.as_chunks::<NUMBER>();
        for number in numbers.iter().map(|bytes| i32::from_ne_bytes(*bytes)) {
            if number > 0 {
                sessions.insert(number);
            } else {
                sessions.remove(&-number);
            }
        }
        heard = rest.to_vec();
    }
}

/// SIGKILL to all that is left, until there is nothing.
fn end_all(mark: &BrokerMark, sessions: &BTreeSet<i32>, cgroups: &[PathBuf]) {
    let until = Instant::now() + LIMIT;
    let mut clean = 0;
    while clean < CLEAN && Instant::now() < until {
        let in_cgroups =
            cgroups.iter().map(|folder| cgroup::end_all_in(folder)).fold(false, |any, it| any | it);
        let found = kill_all(mark, sessions) || in_cgroups;
        clean = if found { 0 } else { clean + 1 };
        std::thread::sleep(PAUSE);
    }
}

/// One search; whether it found anything.
fn kill_all(mark: &BrokerMark, sessions: &BTreeSet<i32>) -> bool {
    // Without /proc there is nothing to be found; trying again costs little.
    let Ok(pids) = proc_fs::all_pids() else { return true };
    let own = rustix::process::getpid();
    let is_left = |pid| {
        signal::is_of(
            mark,
            pid,
            |stat| sessions.contains(&stat.session) || sessions.contains(&stat.group),
            |_| true,
        )
    };
    let mut found = false;
    for pid in pids.filter(|pid| *pid != own) {
        found |= signal::kill_if(pid, is_left).is_some();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_begun_without_a_mark() {
        for args in [&[][..], &[""]] {
            let begun = run(args.iter().map(OsString::from));
            assert_eq!(begun.map(|never| match never {}).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
