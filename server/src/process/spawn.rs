//! Starts one process: socket, pipes, the shim, the pidfd. Nothing of a failed start is left behind.
//!
//! It must stay on the `posix_spawn` path of the standard library: `pre_exec`, `uid`, `gid` and the like would make
//! the broker fork, at a cost that grows with its memory (50 ms at 1 GB, and every page copied afterwards).

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lifeboat_core::ids::ProcessKey;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};

use super::cgroup::Group;
use super::orders::SpawnSpec;
use super::shared;
use super::shim::{JOIN_WORD, SHIM_ARG, ShimCall, WORKER_RECORDER_FD, WORKER_SOCKET_FD};
use super::table::{BROKER_VARIABLE, BrokerMark, INCARNATION_VARIABLE, WORKER_VARIABLE};

/// Variables addressed to the broker by its service manager, which would mislead a worker.
const NOT_FOR_WORKERS: [&str; 7] = [
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Names the descriptor of a process's flight recorder to it.
const RECORDER_VARIABLE: &str = "LIFEBOAT_RECORDER";

/// Variables that replace values of the broker's configuration: other pools' secrets may be among them.
const CONFIGURATION_PREFIX: &[u8] = b"LIFEBOAT__";

/// Variables of the broker's environment that no worker gets.
fn not_for_workers() -> impl Iterator<Item = OsString> {
    let configuration = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.as_encoded_bytes().starts_with(CONFIGURATION_PREFIX));
    NOT_FOR_WORKERS.into_iter().map(OsString::from).chain(configuration)
}

/// Gives a process what it is to have of the broker's environment.
fn inherit(command: &mut Command, names: Option<&[OsString]>) {
    if let Some(names) = names {
        command.env_clear();
        let known = names.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(known);
    }
    for name in not_for_workers() {
        command.env_remove(name);
    }
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    /// The same, for the data plane.
    pub(super) their_pidfd: OwnedFd,
    /// The broker's end; non-blocking.
    pub(super) socket: OwnedFd,
    /// What it shares with the process.
    pub(super) recorder: Option<File>,
    /// The reading ends of stdout and stderr; non-blocking.
    pub(super) output: [OwnedFd; 2],
}

/// Which step of a start failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    #[error("the command is empty; give a program to start")]
    EmptyCommand,
    #[error("cannot create the {what} of the new process: {source}{}", hint(source))]
    Descriptor { what: &'static str, source: io::Error },
    #[error("cannot start a process (by '{}'): {source}{}", shim.display(), hint(source))]
    Spawn { shim: PathBuf, source: io::Error },
    #[error("cannot watch the new process: {source}{}", hint(source))]
    Watch { source: io::Error },
}

/// What to do about the errors that a full machine gives.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "; raise the broker's limit on open files (ulimit -n, LimitNOFILE)",
        Some(libc::ENFILE) => "; raise the system's limit on open files (fs.file-max)",
        Some(libc::EAGAIN) => "; raise the limit on processes (ulimit -u, TasksMax, pids.max)",
        Some(libc::ENOMEM) => "; the system is short of memory",
        Some(libc::ENOENT | libc::EACCES) => "; the broker's own program file must stay readable",
        Some(_) | None => "",
    }
}

/// Starts a process in its cgroup, if it has one. Blocks until the shim has been executed: about 0.1 ms, whatever the broker's size.
pub(super) fn start(
    shim: &Path,
    mark: &BrokerMark,
    process: ProcessKey,
    spec: &SpawnSpec,
    group: Option<&Group>,
) -> Result<Started, SpawnError> {
    let (program, args) = spec.command.split_first().ok_or(SpawnError::EmptyCommand)?;
    let (socket, worker_socket) =
        socket_pair(spec.send_buffer).map_err(|source| SpawnError::Descriptor { what: "socket", source })?;
    let pipe = || output_pipe().map_err(|source| SpawnError::Descriptor { what: "output pipe", source });
    let (stdout, worker_stdout) = pipe()?;
    let (stderr, worker_stderr) = pipe()?;

    let (recorder, their_recorder) = shared_memory(process, spec.recorder_len).unzip();

    let call = ShimCall {
        parent: rustix::process::getpid(),
        cgroup: group.map(Group::doors).unwrap_or_default(),
        recorder: their_recorder.as_ref().map(AsRawFd::as_raw_fd),
        limits: spec.limits.clone(),
        current_dir: spec.current_dir.clone(),
        program: program.clone(),
        args: args.to_vec(),
    };
    let mut command = Command::new(shim);
    inherit(&mut command, spec.inherit_env.as_deref());
    command
        .arg0("lifeboat")
        .arg(SHIM_ARG)
        .args(call.to_args())
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .env("LIFEBOAT_FD", WORKER_SOCKET_FD.to_string())
        .env(WORKER_VARIABLE, &spec.worker_name)
        .env(INCARNATION_VARIABLE, process.incarnation.0.to_string())
        .env(BROKER_VARIABLE, mark.value())
        .stdin(Stdio::from(worker_socket))
        .stdout(Stdio::from(worker_stdout))
        .stderr(Stdio::from(worker_stderr));
    match &their_recorder {
        Some(_) => command.env(RECORDER_VARIABLE, WORKER_RECORDER_FD.to_string()),
        None => command.env_remove(RECORDER_VARIABLE),
    };
    let child = command.spawn().map_err(|source| SpawnError::Spawn { shim: shim.to_owned(), source })?;
    // Closes the broker's copies of the worker's ends: while they are open there is no end of file.
    drop((command, their_recorder));
    let (pid, pidfd, their_pidfd) = watch(child)?;
    Ok(Started { pid, pidfd, their_pidfd, socket, recorder, output: [stdout, stderr] })
}

/// Has a process that ends at once join a cgroup by its file, as a worker's would; says why it could not. Blocks for some
/// milliseconds.
pub(super) fn try_to_join(shim: &Path, door: &Path) -> Result<(), String> {
    let mut command = Command::new(shim);
    command.arg0("lifeboat").args([SHIM_ARG, JOIN_WORD]).arg(door).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Opens the pidfd, which is safe while the child is unreaped. A child that cannot be watched is not kept.
fn watch(mut child: Child) -> Result<(Pid, OwnedFd, OwnedFd), SpawnError> {
    let pid = Pid::from_child(&child);
    let open = || {
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let theirs = rustix::io::fcntl_dupfd_cloexec(&pidfd, 0)?;
        Ok::<_, rustix::io::Errno>((pidfd, theirs))
    };
    match open() {
        Ok((pidfd, theirs)) => Ok((pid, pidfd, theirs)),
        Err(errno) => {
            // The wait is short: the child is a shim that has hardly begun.
            let killed = child.kill().and_then(|()| child.wait());
            if let Err(error) = killed {
                tracing::warn!(pid = child.id(), %error, "a process that cannot be watched cannot be killed either");
            }
            Err(SpawnError::Watch { source: errno.into() })
        }
    }
}

/// A stream socketpair, close-on-exec: the broker's end (non-blocking) and the worker's (blocking).
fn socket_pair(send_buffer: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    if send_buffer > 0 {
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, send_buffer)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&theirs, send_buffer)?;
    }
    Ok((ours, theirs))
}

/// The memory of a process's flight recorder, and the descriptor that the shim inherits of it. Only processes that are started
/// while that is open inherit it too: none of the broker's, which starts all on this thread. A process can do without.
fn shared_memory(process: ProcessKey, len: usize) -> Option<(File, OwnedFd)> {
    if len == 0 {
        return None;
    }
    let made = shared::make(len).and_then(|memory| {
        let theirs = rustix::io::dup(&memory)?;
        Ok((memory, theirs))
    });
    made.inspect_err(
        |error| tracing::warn!(%process, %error, "a process has to do without a flight recorder"),
    )
    .ok()
}

/// A pipe, close-on-exec: the reading end (non-blocking; the flag is not shared with the other end) and the writing.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}
