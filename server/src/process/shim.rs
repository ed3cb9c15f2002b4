//! The shim: the same binary, started in place of the worker, sets up its own process and becomes the worker.
//!
//! It owns what must happen inside the new process, so that the broker never forks: parent-death signal, cgroup, socket
//! to its number, stdin, session, limits, directory, signals, descriptors, exec. It is single-threaded, must never return
//! to its caller and must never print when it succeeds. By other words it becomes the warden instead, or tries a cgroup.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::limits::ProcessLimits;
use super::sys;
use super::warden::{self, WARDEN_WORD};

/// The first argument by which a program knows that it is to be the shim.
pub const SHIM_ARG: &str = "__shim";

/// The word after [`SHIM_ARG`] that makes it join a cgroup, by the file that follows, and end.
pub(super) const JOIN_WORD: &str = "join";

/// The descriptor at which a worker finds its socket, said in `LIFEBOAT_FD`.
pub const WORKER_SOCKET_FD: RawFd = 3;

/// The descriptor at which a worker finds the memory of its flight recorder, said in `LIFEBOAT_RECORDER`.
pub(super) const WORKER_RECORDER_FD: RawFd = 4;

/// The shim's exit code when setting up the process failed. As used by `env`, `nohup` and container runtimes.
pub const EXIT_SHIM_FAILED: i32 = 125;

/// The shim's exit code when the program was found and could not be executed. As used by shells.
pub const EXIT_CANNOT_EXECUTE: i32 = 126;

/// The shim's exit code when the program was not found. As used by shells.
pub const EXIT_NOT_FOUND: i32 = 127;

/// Sets up this process as a worker and becomes it. `args` is what follows [`SHIM_ARG`].
///
/// Must be called first thing in `main`, before any other thread exists. When a step fails, prints one line to
/// stderr and exits with one of the `EXIT_` codes.
pub fn run_shim(args: impl IntoIterator<Item = OsString>) -> ! {
    let mut args = args.into_iter().peekable();
    if args.next_if(|word| word == WARDEN_WORD).is_some() {
        match warden::run(args) {
            Ok(never) => match never {},
            Err(_) => std::process::exit(EXIT_SHIM_FAILED),
        }
    }
    if args.next_if(|word| word == JOIN_WORD).is_some() {
        let doors: Vec<_> = args.map(PathBuf::from).collect();
        let Err(error) = join(&doors) else { std::process::exit(0) };
        // Nobody is left to tell when stderr is gone as well.
        let _ = write!(io::stderr(), "{error}");
        std::process::exit(EXIT_SHIM_FAILED);
    }
    let error = match ShimCall::parse(args).and_then(ShimCall::become_worker) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // Nobody is left to tell when stderr is gone as well.
    let _ = writeln!(io::stderr(), "lifeboat: {error}");
    std::process::exit(error.exit_code());
}

/// What the broker asks of the shim: its argument list, written by one and read by the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShimCall {
    /// Who must still be the parent once the parent-death signal is set.
    pub(super) parent: Pid,
    /// The files by which it joins its cgroup.
    pub(super) cgroup: Vec<PathBuf>,
    /// Where the memory of the flight recorder is.
    pub(super) recorder: Option<RawFd>,
    /// What the kernel is to bound.
    pub(super) limits: ProcessLimits,
    /// Where to start.
    pub(super) current_dir: Option<PathBuf>,
    /// The worker's program.
    pub(super) program: OsString,
    /// Its arguments.
    pub(super) args: Vec<OsString>,
}

impl ShimCall {
    /// The arguments that follow [`SHIM_ARG`].
    pub(super) fn to_args(&self) -> Vec<OsString> {
        let recorder = self.recorder.map(|fd| fd.to_string()).unwrap_or_default();
        let mut args = vec![OsString::from(self.parent.as_raw_pid().to_string()), recorder.into()];
        args.push(OsString::from(self.cgroup.len().to_string()));
        args.extend(self.cgroup.iter().map(|door| door.clone().into_os_string()));
        args.extend(self.limits.to_words());
        args.extend([
            self.current_dir.clone().unwrap_or_default().into_os_string(),
            OsString::from("--"),
            self.program.clone(),
        ]);
        args.extend(self.args.iter().cloned());
        args
    }

    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ShimError> {
        let mut args = args.into_iter();
        let parent = number(args.next()).and_then(Pid::from_raw).ok_or(ShimError::BadCall)?;
        let recorder = args.next().ok_or(ShimError::BadCall)?;
        let recorder =
            if recorder.is_empty() { None } else { Some(number(Some(recorder)).ok_or(ShimError::BadCall)?) };
        let doors =
            number(args.next()).and_then(|doors| usize::try_from(doors).ok()).ok_or(ShimError::BadCall)?;
        let cgroup: Vec<_> = args.by_ref().take(doors).map(PathBuf::from).collect();
        let limits = ProcessLimits::from_words(&mut args).ok_or(ShimError::BadCall)?;
        let current_dir = args.next().ok_or(ShimError::BadCall)?;
        let current_dir = (!current_dir.is_empty()).then(|| PathBuf::from(current_dir));
        if args.next().as_deref() != Some(OsStr::new("--")) {
            return Err(ShimError::BadCall);
        }
        let program = args.next().ok_or(ShimError::BadCall)?;
        Ok(Self { parent, recorder, cgroup, limits, current_dir, program, args: args.collect() })
    }

    /// Sets the process up and replaces it by the worker; returns only when a step failed.
    fn become_worker(self) -> Result<Infallible, ShimError> {
        die_with_parent(self.parent)?;
        // Before anything could be started that would be outside.
        join(&self.cgroup).map_err(|source| ShimError::step("join its cgroup", source))?;
        let beyond = place_descriptors(self.recorder)?;
        rustix::process::setsid().map_err(|errno| ShimError::step("start a session", errno.into()))?;
        let limited = |(step, errno): (_, Errno)| ShimError::step(step, errno.into());
        self.limits.apply().map_err(limited)?;
        if let Some(dir) = &self.current_dir {
            std::env::set_current_dir(dir)
                .map_err(|source| ShimError::Directory { dir: dir.clone(), source })?;
        }
        sys::reset_signals().map_err(|source| ShimError::step("reset its signals", source))?;
        sys::close_on_exec_from(beyond)
            .map_err(|source| ShimError::step("close foreign descriptors", source))?;
        self.limits.apply_to_open_files().map_err(limited)?;
        let source = Command::new(&self.program).args(&self.args).exec();
        Err(ShimError::from_exec(self.program, source))
    }
}

fn number(word: Option<OsString>) -> Option<i32> {
    word?.to_str()?.parse().ok()
}

fn join(cgroup: &[PathBuf]) -> io::Result<()> {
    cgroup.iter().try_for_each(|door| std::fs::write(door, "0"))
}

/// Has this process killed when the broker's spawning thread ends, and looks whether it already has.
fn die_with_parent(parent: Pid) -> Result<(), ShimError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| ShimError::step("set its parent-death signal", errno.into()))?;
    // Compared with the pid passed in, not with 1: orphans may be adopted by any subreaper.
    if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(ShimError::ParentGone) }
}

/// The flight recorder goes to its number, then the socket, which came as stdin, whatever was there before; stdin becomes
/// `/dev/null`. Gives the first descriptor that the worker is not to have.
fn place_descriptors(recorder: Option<RawFd>) -> Result<RawFd, ShimError> {
    if let Some(recorder) = recorder.filter(|fd| *fd != WORKER_RECORDER_FD) {
        sys::copy_descriptor(recorder, WORKER_RECORDER_FD)
            .map_err(|source| ShimError::step("place its flight recorder at descriptor 4", source))?;
    }
    sys::copy_descriptor(0, WORKER_SOCKET_FD)
        .map_err(|source| ShimError::step("place its socket at descriptor 3", source))?;
    std::fs::File::open("/dev/null")
        .and_then(|null| sys::copy_descriptor(null.as_raw_fd(), 0))
        .map_err(|source| ShimError::step("have /dev/null as its stdin", source))?;
    let last = if recorder.is_some() { WORKER_RECORDER_FD } else { WORKER_SOCKET_FD };
    Ok(last + 1)
}

/// Why the shim could not become the worker.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("the shim was called with arguments it does not know; it is for the broker's own use")]
    BadCall,
    #[error("the broker was gone before the worker started")]
    ParentGone,
    #[error("the new process cannot {step}: {source}")]
    Step { step: &'static str, source: io::Error },
    #[error("cannot start in directory '{}': {source}", dir.display())]
    Directory { dir: PathBuf, source: io::Error },
    #[error("cannot start '{}': {source}", program.display())]
    NotFound { program: OsString, source: io::Error },
    #[error("cannot start '{}': the interpreter or loader that it names does not exist", program.display())]
    NoInterpreter { program: OsString },
    #[error("cannot start '{}': {source}", program.display())]
    CannotExecute { program: OsString, source: io::Error },
}

impl ShimError {
    fn step(step: &'static str, source: io::Error) -> Self {
        Self::Step { step, source }
    }

    fn from_exec(program: OsString, source: io::Error) -> Self {
        if source.kind() != io::ErrorKind::NotFound {
            return Self::CannotExecute { program, source };
        }
        let is_path = program.as_encoded_bytes().contains(&b'/');
        if is_path && Path::new(&program).exists() {
            Self::NoInterpreter { program }
        } else {
            Self::NotFound { program, source }
        }
    }

    const fn exit_code(&self) -> i32 {
        match self {
            Self::BadCall | Self::ParentGone | Self::Step { .. } | Self::Directory { .. } => EXIT_SHIM_FAILED,
            Self::NoInterpreter { .. } | Self::CannotExecute { .. } => EXIT_CANNOT_EXECUTE,
            Self::NotFound { .. } => EXIT_NOT_FOUND,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_survives_its_argument_list() {
        let call = ShimCall {
            parent: Pid::from_raw(4711).expect("not zero"),
            cgroup: vec![PathBuf::from("/sys/a/cgroup.procs"), PathBuf::from("/sys/b/cgroup.procs")],
            recorder: Some(17),
            limits: ProcessLimits { open_files: Some(1024), ..ProcessLimits::default() },
            current_dir: Some(PathBuf::from("/tmp/a b")),
            program: OsString::from("prog"),
            args: vec![OsString::from("--"), OsString::new(), OsString::from("-x")],
        };
        assert_eq!(ShimCall::parse(call.to_args()).expect("own words"), call);
        let plain = ShimCall {
            cgroup: Vec::new(),
            recorder: None,
            limits: ProcessLimits::default(),
            current_dir: None,
            args: Vec::new(),
            ..call
        };
        assert_eq!(ShimCall::parse(plain.to_args()).expect("own words"), plain);
    }

    #[test]
    fn a_strange_call_is_refused() {
        for args in [
            &[][..],
            &["x"],
            &["1", "none", "0", "", "", "", "", "", "0", "", "--", "p"],
            &["1", "", "-1", "", "", "", "", "", "0", "", "--", "p"],
            &["1", "", "9", "", "", "", "", "", "0", "", "--", "p"],
            &["1", "", "0", "", "", "", "", "", "many", "", "--", "p"],
            &["1", "", "0", "", "", "", "", "", "0", "", "p"],
            &["1", "4", "0", "", "", "", "", "", "0", "", "--"],
        ] {
            let parsed = ShimCall::parse(args.iter().map(OsString::from));
            assert!(matches!(parsed, Err(ShimError::BadCall)), "{args:?}");
        }
    }
    #[test]
    fn a_descriptor_that_cannot_be_placed_is_named() {
        let error = place_descriptors(Some(RawFd::MAX)).expect_err("no such descriptor");
        assert!(error.to_string().contains("flight recorder at descriptor 4"), "{error}");
    }
}
