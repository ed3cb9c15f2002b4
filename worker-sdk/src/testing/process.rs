//! The broker's process in a test: which program it is, and how it is ended.
//!
//! It owns the child until that is reaped. Must never wait without a limit.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The variable that names the program.
const PROGRAM_VARIABLE: &str = "LIFEBOAT_BIN";

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How often a broker that is dropped is asked again: each time after the first means at once.
const ASK: Duration = Duration::from_millis(50);

/// How long a broker that is dropped may take before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How long one that is stopped in order may take: `drain_timeout`, the graces, and some.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The program: the one that is given, else the one that the variable names, else the one in `PATH`. The error says what is
/// wrong.
pub(super) fn find_lifeboat(given: Option<PathBuf>) -> Result<PathBuf, String> {
    let named = env::var_os(PROGRAM_VARIABLE).filter(|named| !named.is_empty()).map(PathBuf::from);
    find(given.or(named), &env::var_os("PATH").unwrap_or_default())
}

fn find(named: Option<PathBuf>, path: &OsStr) -> Result<PathBuf, String> {
    if let Some(named) = named {
        return if named.is_file() { Ok(named) } else { Err(format!("{} is no file", named.display())) };
    }
    let found =
        env::split_paths(path).map(|directory| directory.join("lifeboat")).find(|file| file.is_file());
    found.ok_or_else(|| format!("{PROGRAM_VARIABLE} is not set, and PATH has none"))
}

/// The program without what the environment of the person who tests says about brokers.
pub(super) fn lifeboat_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"LIFEBOAT_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A child that is reaped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    pub(super) fn start(mut command: Command) -> std::io::Result<Self> {
        command.spawn().map(|child| Self { child })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a condition while the process lives: whether it was met within the limit.
    ///
    /// # Errors
    ///
    /// How it ended meanwhile.
    pub(super) fn wait_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<bool, ExitStatus> {
        let began = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(status);
            }
            if condition() {
                return Ok(true);
            }
            if began.elapsed() >= limit {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks it to end in order, and waits. `None` if it had to be killed.
    pub(super) fn stop(&mut self) -> Option<ExitStatus> {
        self.ask();
        let ended = self.wait_until(STOP_LIMIT, || false).err();
        if ended.is_none() {
            self.kill();
        }
        ended
    }

    /// Ends it soon, whatever it does.
    pub(super) fn end(&mut self) {
        self.end_within(END_LIMIT);
    }

    fn end_within(&mut self, limit: Duration) {
        let began = Instant::now();
        while began.elapsed() < limit {
            self.ask();
            if self.wait_until(ASK, || false).is_err() {
                return;
            }
        }
        self.kill();
    }

    pub(super) fn kill(&mut self) {
        // Both fail harmlessly when it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// SIGTERM, unless it has ended and been reaped.
    fn ask(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_that_is_named_else_the_one_in_path() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = full.path().join("lifeboat");
        std::fs::write(&program, "").unwrap();
        let path = env::join_paths([empty.path(), full.path()]).unwrap();
        assert_eq!(find(None, &path), Ok(program.clone()));
        assert_eq!(find(Some(program.clone()), OsStr::new("")), Ok(program));
        let missing = find(Some(empty.path().join("lifeboat")), &path).unwrap_err();
        assert!(missing.ends_with("/lifeboat is no file"), "{missing}");
        let none = find(None, empty.path().as_os_str()).unwrap_err();
        assert_eq!(none, "LIFEBOAT_BIN is not set, and PATH has none");
    }

    #[test]
    fn a_process_that_does_not_heed_is_killed_and_one_that_ended_is_known() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo; exec sleep 600"]).stdout(Stdio::piped());
        let mut stubborn = Process::start(command).unwrap();
        let mut line = [0];
        std::io::Read::read_exact(stubborn.child.stdout.as_mut().unwrap(), &mut line).unwrap();
        assert_eq!(stubborn.wait_until(LOOK, || false), Ok(false));
        let began = Instant::now();
        stubborn.end_within(3 * ASK);
        assert!(began.elapsed() >= 3 * ASK);
        let status = stubborn.wait_until(LOOK, || false).unwrap_err();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));

        let mut quick = Process::start(Command::new("false")).unwrap();
        assert_eq!(quick.wait_until(END_LIMIT, || false).unwrap_err().code(), Some(1));
        assert_eq!(quick.stop().and_then(|status| status.code()), Some(1));
    }
}
