//! The system calls that no safe wrapper offers. Owns all of the process plane's `unsafe`; must never keep state.
#![expect(
    unsafe_code,
    reason = "what no safe wrapper offers: waitid with resource use, signals, descriptors"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use lifeboat_core::evidence::{Usage, WaitStatus};
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What [`wait`] does with the status it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// Look at it and leave the process a zombie.
    Peek,
    /// Reap the process.
    Reap,
}

/// Asks how the child behind a pidfd ended, without waiting; `None` while it lives.
///
/// The raw system call, because only it has a fifth argument, the resource use.
///
/// # Errors
///
/// `ECHILD` when it is no child of ours, or somebody else has reaped it.
pub(super) fn wait(pidfd: BorrowedFd<'_>, take: Take) -> io::Result<Option<(WaitStatus, Usage)>> {
    let keep = match take {
        Take::Peek => libc::WNOWAIT,
        Take::Reap => 0,
    };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live, writable and properly aligned memory of the types that waitid fills, and
    // the pidfd is open for as long as it is borrowed. With WNOHANG the call cannot block.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd.as_raw_fd(),
            info.as_mut_ptr(),
            libc::WEXITED | libc::WNOHANG | keep,
            usage.as_mut_ptr(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were zeroed, and all-zero is a valid value of either (they are plain integers and unions of such).
    let (info, usage) = unsafe { (info.assume_init(), usage.assume_init()) };
    // SAFETY: waitid succeeded, so the child-status fields of the union are those that are set (or all zero, which
    // means that no child has exited).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let status = match info.si_code {
        libc::CLD_EXITED => WaitStatus::Exited { code: status },
        libc::CLD_KILLED => WaitStatus::Signaled { signal: status, core_dumped: false },
        libc::CLD_DUMPED => WaitStatus::Signaled { signal: status, core_dumped: true },
        _ => WaitStatus::Unknown,
    };
    let usage = Usage {
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        user_time: duration(usage.ru_utime),
        system_time: duration(usage.ru_stime),
    };
    Ok(Some((status, usage)))
}

/// The CPU time of a process, alive or not yet reaped, as the kernel counts it against `RLIMIT_CPU`: by ticks. It differs from
/// the time in its resource use, which is exact: whoever runs between two ticks is not counted, and another is for him.
pub(super) fn cpu_counted(pid: Pid) -> Option<Duration> {
    // The kernel's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_PROF), which no header offers.
    let clock = !pid.as_raw_pid() << 3;
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to live, writable memory of the type that the call fills; a clock that is none is refused.
    let result = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    // SAFETY: it was zeroed, and all-zero is a valid value of two plain integers.
    let time = unsafe { time.assume_init() };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (result == 0).then(|| Duration::new(seconds, nanos))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Registers a descriptor with this thread's event loop, for reading only, until the result is dropped.
///
/// # Errors
///
/// When the event loop cannot take it (out of memory, or the user's limit on watches).
pub(super) fn watch_readable(fd: Rc<OwnedFd>) -> io::Result<AsyncFd<Rc<OwnedFd>>> {
    // SAFETY: an OwnedFd is open for as long as it exists and always says the same number. AsyncFd holds a share of
    // it, and what is shared can only be lent out, so nobody can close it before it is deregistered.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Takes SIGCHLD back to its default, flags included, so that children stay until they are reaped.
pub(super) fn reset_sigchld() -> io::Result<()> {
    default_disposition(libc::SIGCHLD)
}

/// Takes every signal back to its default and empties this thread's signal mask.
pub(super) fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SIGKILL and SIGSTOP refuse, and cannot be ignored.
        let _ = default_disposition(signal);
    }
    let mut empty = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the first call initialises the set that it is given a live pointer to; the second only reads it, and
    // a null third argument is allowed.
    let result = unsafe {
        libc::sigemptyset(empty.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, empty.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The raw system call, because the C library's refuses the two signals that it keeps for itself, and its own
/// `posix_spawn` leaves just those ignored in the child.
fn default_disposition(signal: i32) -> io::Result<()> {
    /// The size of the kernel's signal set.
    const SET_BYTES: usize = 8;
    // Handler, flags, mask, and on some architectures a restorer: at most four words, and all zero means SIG_DFL (0),
    // no flags, an empty mask.
    let action = [0_u64; 4];
    // SAFETY: the kernel reads at most four words from a pointer that is live for the call; a null old action is
    // allowed; SIG_DFL installs no handler of ours that could run.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            std::ptr::null_mut::<libc::c_void>(),
            SET_BYTES,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes descriptor `to` a copy of `from` that survives exec, whatever `to` was before. They must differ: for
/// equal numbers the system does nothing and leaves close-on-exec set.
pub(super) fn copy_descriptor(from: RawFd, to: RawFd) -> io::Result<()> {
    if from == to {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: dup2 takes plain numbers and touches no memory. It closes `to`, which the shim alone calls this for:
    // it is single-threaded and owns no object with that descriptor.
    let result = unsafe { libc::dup2(from, to) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets close-on-exec on every descriptor from `first` on.
pub(super) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: close_range takes plain numbers and touches no memory; with CLOEXEC it closes nothing now.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return Ok(());
    }
    for fd in open_descriptors_from(first)? {
        // SAFETY: fcntl with F_SETFD takes plain numbers; an fd closed meanwhile only makes it fail.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: close_range takes plain numbers and touches no memory. The warden alone calls this, before anything else: it is
    // single-threaded and owns no object with a descriptor but the standard ones.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if result == 0 {
        return Ok(());
    }
    for fd in open_descriptors_from(first)? {
        // SAFETY: as above; the list is complete and its own descriptor closed.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// For kernels before 5.11, and sandboxes that do not know `close_range`.
fn open_descriptors_from(first: RawFd) -> io::Result<Vec<RawFd>> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        open.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    open.retain(|fd| *fd >= first);
    Ok(open)
}

/// Ignores the signals by which people and service managers ask processes to leave.
pub(super) fn ignore_polite_signals() -> io::Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2] {
        // SAFETY: signal takes plain numbers; SIG_IGN installs no handler that could run.
        if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
