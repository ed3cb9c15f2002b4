//! Why things ended: the closed enums that core, wire, metrics and docs share, with their labels. Here are the ends of
//! processes; those of attempts and requests are in `ends`.

mod ends;

use std::fmt;

pub use self::ends::{AttemptEnd, OutcomeKind, RejectWhy, TimeoutWhich};

/// Why a process, or an attempt alone, ended outside the plan. Judged once, by [`judge`](crate::judge::judge).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashReason {
    /// The process could not be started; the text says which step failed and why.
    SpawnFailed(String),
    /// Died, or ran past `start_timeout`, before it was ready.
    StartFailed(StartFailure),
    /// Exited by itself, code 0 included, while it should have been serving.
    Exit {
        /// The exit code, 0 to 255; -1 where the wait status could not be had (the confidence is then `unknown`).
        code: i32,
    },
    /// Killed by a signal that the process or its code raised.
    Signal {
        /// The signal's number.
        signal: i32,
        /// The kernel says that a core was dumped.
        core_dumped: bool,
    },
    /// Killed by the kernel for want of memory.
    Oom,
    /// Ran past its CPU time limit.
    CpuLimit,
    /// Wrote past its file size limit.
    FileSizeLimit,
    /// Made a system call that its sandbox forbids.
    SandboxViolation,
    /// SIGKILL that nobody here sent.
    KilledFromOutside,
    /// SIGTERM, SIGINT or SIGHUP that nobody here sent.
    StoppedFromOutside {
        /// The signal's number.
        signal: i32,
    },
    /// Closed its connection and lived on; killed.
    ConnectionClosed,
    /// Its connection broke and it lived on; killed.
    ConnectionError {
        /// The system's error number.
        errno: i32,
    },
    /// Sent bytes that cannot be accepted; killed.
    ProtocolViolation(String),
    /// Every slot failed; the worker said so and left.
    SlotsExhausted(String),
    /// Missed its heartbeats; killed.
    Unresponsive,
    /// The handler panicked: the attempt ended, the slot is retired.
    SlotPanicked {
        /// The panic's message.
        message: String,
        /// Source file, line and column, where known.
        location: Option<String>,
    },
    /// The broker's own kill.
    Killed(KillReason),
}

/// How a process failed before it was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// Exited with this code before it was ready.
    Exit {
        /// The exit code.
        code: i32,
    },
    /// A signal ended it before it was ready.
    Signal {
        /// The signal's number.
        signal: i32,
        /// The kernel says that a core was dumped.
        core_dumped: bool,
    },
    /// The kernel ended it for want of memory before it was ready.
    OutOfMemory,
    /// It used more memory than its limit before it was ready; killed.
    MemoryLimit,
    /// Not ready within `start_timeout`; killed.
    TimedOut,
    /// Its hello could not be accepted, or it closed its connection; killed. The text says why.
    BadHello(String),
}

impl StartFailure {
    /// What there is to say in words, where neither an exit code nor a signal says it.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Exit { .. } | Self::Signal { .. } => None,
            Self::OutOfMemory => Some("out of memory before it was ready"),
            Self::MemoryLimit => Some("over limits.memory before it was ready"),
            Self::TimedOut => Some("not ready within start_timeout"),
            Self::BadHello(text) => Some(text),
        }
    }
}

/// Why the broker killed a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KillReason {
    /// An attempt ran past `attempt_timeout`.
    AttemptTimeout,
    /// No progress for `progress_timeout`.
    ProgressStall,
    /// No output for `output_timeout`.
    OutputStall,
    /// A request ran past its deadline.
    Deadline,
    /// The process used more memory than its limit.
    MemoryLimit,
    /// The client cancelled and the handler did not stop within `cancel_grace`.
    Cancelled,
    /// A person asked for it.
    Operator,
    /// Not dead `kill_timeout` after SIGKILL.
    Unkillable,
}

impl KillReason {
    /// The label used in metrics, spans and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AttemptTimeout => "attempt_timeout",
            Self::ProgressStall => "progress_stall",
            Self::OutputStall => "output_stall",
            Self::Deadline => "deadline",
            Self::MemoryLimit => "memory_limit",
            Self::Cancelled => "cancelled",
            Self::Operator => "operator",
            Self::Unkillable => "unkillable",
        }
    }

    /// Whether it is for the sake of one attempt: its limit passed, or nobody wants it any more.
    pub(crate) const fn is_for_one_attempt(self) -> bool {
        match self {
            Self::AttemptTimeout
            | Self::ProgressStall
            | Self::OutputStall
            | Self::Deadline
            | Self::Cancelled => true,
            Self::MemoryLimit | Self::Operator | Self::Unkillable => false,
        }
    }
}

impl CrashReason {
    /// Every label, in the order of the documentation: metrics make one series of each from the start.
    pub const LABELS: [&'static str; 24] = [
        "spawn_failed",
        "start_failed",
        "exit",
        "signal",
        "oom",
        "cpu_limit",
        "file_size_limit",
        "sandbox_violation",
        "killed_from_outside",
        "stopped_from_outside",
        "connection_closed",
        "connection_error",
        "protocol_violation",
        "slots_exhausted",
        "unresponsive",
        "slot_panicked",
        "attempt_timeout",
        "progress_stall",
        "output_stall",
        "deadline",
        "memory_limit",
        "cancelled",
        "operator",
        "unkillable",
    ];

    /// The label used in metrics, spans and on the wire; one of [`CrashReason::LABELS`].
    #[must_use]
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.label_index()]
    }

    /// The place of [`CrashReason::label`] in [`CrashReason::LABELS`]: counters are arrays indexed by it.
    #[must_use]
    pub const fn label_index(&self) -> usize {
        match self {
            Self::SpawnFailed(_) => 0,
            Self::StartFailed(_) => 1,
            Self::Exit { .. } => 2,
            Self::Signal { .. } => 3,
            Self::Oom => 4,
            Self::CpuLimit => 5,
            Self::FileSizeLimit => 6,
            Self::SandboxViolation => 7,
            Self::KilledFromOutside => 8,
            Self::StoppedFromOutside { .. } => 9,
            Self::ConnectionClosed => 10,
            Self::ConnectionError { .. } => 11,
            Self::ProtocolViolation(_) => 12,
            Self::SlotsExhausted(_) => 13,
            Self::Unresponsive => 14,
            Self::SlotPanicked { .. } => 15,
            Self::Killed(kill) => match kill {
                KillReason::AttemptTimeout => 16,
                KillReason::ProgressStall => 17,
                KillReason::OutputStall => 18,
                KillReason::Deadline => 19,
                KillReason::MemoryLimit => 20,
                KillReason::Cancelled => 21,
                KillReason::Operator => 22,
                KillReason::Unkillable => 23,
            },
        }
    }
}

/// Why a process ended as planned. Never a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// Served its number of requests.
    RecycleRequests,
    /// Reached its age.
    RecycleAge,
    /// Was idle for long.
    RecycleIdle,
    /// Used more memory than a healthy process should keep.
    RecycleMemory,
    /// Asked for it itself, by one of its handlers.
    RecycleAsked,
    /// The configuration changed.
    Reload,
    /// Fewer workers are needed.
    ScaleIn,
    /// Its pool, or it alone, is being drained.
    Drain,
    /// A person asked for a restart.
    Operator,
    /// The broker shuts down.
    Shutdown,
}

impl StopReason {
    /// Every reason, in the order of their labels' index.
    pub const ALL: [Self; 10] = [
        Self::RecycleRequests,
        Self::RecycleAge,
        Self::RecycleIdle,
        Self::RecycleMemory,
        Self::RecycleAsked,
        Self::Reload,
        Self::ScaleIn,
        Self::Drain,
        Self::Operator,
        Self::Shutdown,
    ];

    /// The label used in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RecycleRequests => "recycle_requests",
            Self::RecycleAge => "recycle_age",
            Self::RecycleIdle => "recycle_idle",
            Self::RecycleMemory => "recycle_memory",
            Self::RecycleAsked => "recycle_asked",
            Self::Reload => "reload",
            Self::ScaleIn => "scale_in",
            Self::Drain => "drain",
            Self::Operator => "operator",
            Self::Shutdown => "shutdown",
        }
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// The evidence allows no other reading.
    Proven,
    /// The evidence points there; another reading is possible.
    Inferred,
    /// The evidence does not say.
    Unknown,
}

impl Confidence {
    /// The label used in logs and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Inferred => "inferred",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
