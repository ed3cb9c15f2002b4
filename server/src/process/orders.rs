//! What the data plane and the process plane say to each other. Types only; nothing here acts.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lifeboat_core::evidence::{Evidence, StopSignal};
use lifeboat_core::ids::ProcessKey;
use tokio::sync::mpsc::UnboundedSender;

use super::cgroup::CgroupUse;
use super::limits::ProcessLimits;

/// How a process plane is set up.
#[derive(Clone, Debug)]
pub struct PlaneOptions {
    /// The program started first for every worker, with [`SHIM_ARG`](super::SHIM_ARG) as its first argument; it
    /// must call [`run_shim`](super::run_shim) then. Must contain a slash. Default: this very program, by
    /// `/proc/self/exe`, which stays right when the file on disk is replaced.
    pub shim: PathBuf,
    /// Where reports go. Unbounded in type, bounded by construction: in all its life a process causes at most four
    /// reports (`Spawned` or `SpawnFailed`, `MemoryHigh`, `MemoryExceeded`, `Evidence`), while it writes an
    /// `OutputSeen` every 7 ms, and an `Output` no more often than its lines may pass. Nothing else causes any.
    /// When the receiving half sees the channel closed, the plane is gone.
    pub report: UnboundedSender<Report>,
    /// Every child of this process that the plane did not start is an orphan of one of its workers. True for the
    /// broker, which is a process of its own: unknown zombies are then reaped (the duty of a subreaper and of
    /// process 1), and live orphans that carry no mark at all are killed once no living worker can be their
    /// origin (never by process 1, to whom orphans come from elsewhere too: `docker exec`). Children present when the plane starts are never killed. Default: false, which touches no child
    /// that is not proven to descend from one of the plane's workers; right for a plane inside another program.
    pub owns_all_children: bool,
    /// Where each worker's memory is shown, by its id: the largest resident set of any one process of its trees, in
    /// bytes; 0 without a process. Looked at every two seconds, which no report does. Default: no place for any.
    pub worker_memory: Arc<[AtomicU64]>,
    /// What is to be done about cgroups. Default: nothing; where anything is, this process may be moved to another cgroup
    /// while the plane runs.
    pub cgroups: CgroupUse,
}

impl PlaneOptions {
    /// The defaults, reporting to `report`.
    #[must_use]
    pub fn new(report: UnboundedSender<Report>) -> Self {
        Self {
            shim: PathBuf::from("/proc/self/exe"),
            report,
            owns_all_children: false,
            worker_memory: Arc::default(),
            cgroups: CgroupUse::Off,
        }
    }
}

/// What to start, and under which limits.
#[derive(Clone, Debug)]
pub struct SpawnSpec {
    /// The worker's stable name, told to the process as `LIFEBOAT_WORKER`.
    pub worker_name: String,
    /// The program and its arguments; must not be empty. A program without a slash is looked up in `PATH`.
    pub command: Vec<OsString>,
    /// The variables of the broker's environment that it gets; `None` is all but those that are the broker's alone.
    pub inherit_env: Option<Vec<OsString>>,
    /// Variables added to (or replacing those of) what it inherits. The plane's own win over them.
    pub env: Vec<(OsString, OsString)>,
    /// Where the process starts; the broker's own directory where `None`.
    pub current_dir: Option<PathBuf>,
    /// How many bytes of memory it may use. With a cgroup the whole tree may, and the kernel acts; otherwise the resident set
    /// of each process is sampled, and `MemoryExceeded` is reported, once. `None`: unlimited.
    pub memory_limit: Option<u64>,
    /// The resident set, in bytes, above which `MemoryHigh` is reported, once: looked at every half a second, or as
    /// often as the hard limit where that is sampled. `None`: not looked at. Default: `None`.
    pub memory_high: Option<u64>,
    /// How many processes and threads its tree may have at once. Has no effect where cgroups cannot limit that; where they can and
    /// its own cannot be made, it does not start. `None`: unlimited.
    pub processes: Option<u64>,
    /// Hand out what the process writes to stdout and stderr as lines (`Output`). Default: true. The last bytes of
    /// both are evidence, and `OutputSeen` is reported, whatever this says.
    pub log_output: bool,
    /// How many lines of both streams together may be handed out at once. Default: 100. 0: none at all.
    pub output_burst: u32,
    /// How many lines a second may be handed out on top of that. Default: 20.
    pub output_rate: u32,
    /// What the kernel bounds.
    pub limits: ProcessLimits,
    /// How much memory it shares with the broker for its flight recorder, in bytes: whole pages. Default: 0, none.
    pub recorder_len: usize,
    /// `SO_SNDBUF` of both ends of the socket, in bytes (the kernel doubles and caps it); 0 keeps its default.
    pub send_buffer: usize,
}

impl Default for SpawnSpec {
    fn default() -> Self {
        Self {
            worker_name: String::new(),
            command: Vec::new(),
            inherit_env: None,
            env: Vec::new(),
            current_dir: None,
            memory_limit: None,
            memory_high: None,
            processes: None,
            log_output: true,
            output_burst: 100,
            output_rate: 20,
            limits: ProcessLimits::default(),
            recorder_len: 0,
            send_buffer: 0,
        }
    }
}

/// An order to the process plane. Orders are carried out in the sequence given, except that spawns, which take the
/// longest, let the others pass (never those for the same process).
#[derive(Clone, Debug)]
pub enum Order {
    /// Start a process. Answered by `Spawned` or `SpawnFailed`. A key is used once.
    Spawn {
        /// Which.
        process: ProcessKey,
        /// What to start.
        spec: Arc<SpawnSpec>,
    },
    /// Send a signal to a process's tree: SIGTERM to its process group, SIGKILL to its leader and group at once and
    /// to every descendant that escaped the group after that. Not answered; harmless for a process that is gone.
    Signal {
        /// Which.
        process: ProcessKey,
        /// Which signal.
        signal: StopSignal,
        /// See first what the process does, for the evidence: some hundred microseconds. After 5 ms no further thread is
        /// looked at; what has begun then may take some milliseconds more.
        look: bool,
    },
    /// The leader has exited (its pidfd is readable) and its socket is drained: gather the evidence, kill what is
    /// left of its tree, reap it. Answered by `Evidence`. For a leader that still lives this waits for its exit.
    Collect {
        /// Which.
        process: ProcessKey,
    },
    /// Nothing more is wanted of this process: no further report about it. If it is not collected yet, its tree is
    /// killed, and it is watched and reaped in silence.
    Forget {
        /// Which.
        process: ProcessKey,
    },
}

/// What the process plane reports.
#[derive(Debug)]
pub enum Report {
    /// A process was started.
    Spawned {
        /// Which.
        process: ProcessKey,
        /// Its process id, which is also that of its session and process group.
        pid: u32,
        /// Its pidfd (close-on-exec), the receiver's own: readable once the leader has exited.
        pidfd: OwnedFd,
        /// The broker's end of its socket: non-blocking, close-on-exec.
        socket: OwnedFd,
        /// The memory of its flight recorder, which is all zero until the process writes, and never shorter than was asked for.
        recorder: Option<File>,
    },
    /// A process could not be started; nothing of it is left.
    SpawnFailed {
        /// Which.
        process: ProcessKey,
        /// Which step failed, why, and what to do about it.
        error: String,
    },
    /// The evidence of an exited process. Its leader is reaped; its tree is dead but for what it says leaked. A
    /// leader whose status something else withholds (a debugger) is reported as `Unknown` after half a second, and
    /// reaped as soon as that is possible.
    Evidence {
        /// Which.
        process: ProcessKey,
        /// What was found.
        evidence: Box<Evidence>,
    },
    /// A process uses more memory than its limit. Reported once per process.
    MemoryExceeded {
        /// Which.
        process: ProcessKey,
        /// The largest resident set of any one process of its tree, in bytes.
        resident: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A process uses more memory than its soft limit. Reported once per process.
    MemoryHigh {
        /// Which.
        process: ProcessKey,
        /// The largest resident set of any one process of its tree, in bytes.
        resident: u64,
    },
    /// Lines that a process or its descendants wrote. Never before `Spawned` nor after `Evidence`.
    Output {
        /// Which.
        process: ProcessKey,
        /// Where to.
        stream: OutputStream,
        /// The lines in order, at least one, without their ends: at most 8 KiB each and then a mark that says that
        /// they were cut. What is no UTF-8 is replaced, controls are escaped (but for tabs). The last line of a
        /// process may have had no end.
        lines: Vec<String>,
        /// How many lines of either stream were dropped between the lines handed out before and these.
        dropped: u64,
    },
    /// A process or a descendant wrote to stdout or stderr, before this was sent. Reported at once after quiet and
    /// every 7 to 9 ms while it goes on, so that what is written is told within 10 ms on a host that
    /// is not overloaded.
    OutputSeen {
        /// Which.
        process: ProcessKey,
    },
}

/// One of the two streams that a process writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Why a process plane could not be started.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// The thread could not be started.
    #[error("cannot start the process plane's thread: {0}; raise the limit on threads (ulimit -u)")]
    Thread(#[source] std::io::Error),
    /// The thread's event loop could not be created.
    #[error("cannot create the process plane's event loop: {0}; raise the limit on open files (ulimit -n)")]
    EventLoop(#[source] std::io::Error),
    /// The helper process that outlives the broker could not be started.
    #[error(
        "cannot start the warden, the process that ends worker trees if the broker is killed: {0}; raise the limits on \
             processes (ulimit -u) and open files (ulimit -n)"
    )]
    Warden(#[source] std::io::Error),
    /// Limits that take cgroups are required and not possible.
    #[error(
        "{0}; start the broker in a cgroup that is delegated to it (systemd: Delegate=yes; containers: a writable \
             /sys/fs/cgroup), or set `broker.cgroups` to \"auto\" to do without"
    )]
    Cgroups(String),
    /// `/proc` cannot be read, without which process trees can neither be found nor killed.
    #[error("cannot read /proc: {0}; mount it (mount -t proc proc /proc)")]
    NoProc(#[source] std::io::Error),
}
