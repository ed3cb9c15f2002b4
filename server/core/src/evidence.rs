//! The raw facts about a death, as the shell gathered them. Nothing here is a conclusion.

mod snapshot;

use std::time::Duration;

pub use self::snapshot::{CpuLately, ProcessSnapshot, ThreadSnapshot, ThreadState};

use crate::reason::{KillReason, StopReason};
use crate::recorder::Recording;
use crate::time::Timestamp;

/// What was found when a process's leader had exited: wait status, resource use, counters, last words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the kernel says of the leader's end.
    pub wait: WaitStatus,
    /// What the process used, from the reaping call.
    pub usage: Usage,
    /// The CPU time at which the kernel kills it; `None` where there is no such limit.
    pub cpu_limit: Option<Duration>,
    /// The process's own CPU time as the kernel counts it for that limit; `None` where it was not looked at.
    pub cpu_counted: Option<Duration>,
    /// What the kernel's out-of-memory counters say.
    pub oom: OomEvidence,
    /// The last bytes of the process's stdout (at most 16 KiB), lossily as text.
    pub stdout_tail: String,
    /// The last bytes of the process's stderr (at most 16 KiB), lossily as text.
    pub stderr_tail: String,
    /// Descendants that were still alive and had to be killed after the leader's end.
    pub descendants_killed: u32,
    /// Descendants that could not be killed.
    pub descendants_leaked: u32,
    /// Lines of its output that were dropped after the last line that was handed out (those before were told with
    /// it).
    pub output_dropped: u64,
    /// Its leader was exiting already when the broker was about to send SIGKILL. Proven where true; where false it
    /// may have begun to exit just before the signal, or none was sent.
    pub exiting_before_kill: bool,
    /// What it was doing just before the broker's first signal; `None` where the broker did not kill it, where its memory
    /// was the reason, or where too many were killed at once to look at each.
    pub snapshot: Option<Box<ProcessSnapshot>>,
    /// What its flight recorder said last; `None` where it used none.
    pub recorder: Option<Recording>,
}

/// The kernel kills by its count of ticks and tells another count, of time. The two are mostly as close as this, and far
/// apart where others run between the ticks.
const CPU_ACCURACY: Duration = Duration::from_millis(500);

impl Evidence {
    /// It had used all the CPU time that it might. Without the kernel's own count that is a guess from what it tells of time
    /// used, descendants that were reaped included.
    #[must_use]
    pub fn is_cpu_used_up(&self) -> bool {
        let used = self.usage.user_time + self.usage.system_time;
        let counted = self.cpu_counted.unwrap_or(used + CPU_ACCURACY);
        self.cpu_limit.is_some_and(|limit| counted >= limit)
    }
}

/// How the kernel says a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitStatus {
    /// It could not be had (somebody else reaped the process).
    #[default]
    Unknown,
    /// Exited by itself.
    Exited {
        /// The exit code, 0 to 255.
        code: i32,
    },
    /// Ended by a signal.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// A core was dumped.
        core_dumped: bool,
    },
}

/// What a process and its reaped descendants used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The largest resident set, in bytes; 0 where it is not known: a process that never grew past what the broker
    /// itself had used inherits the broker's peak in the kernel's books, and that is not told as its own.
    pub max_rss_bytes: u64,
    /// CPU time in user code.
    pub user_time: Duration,
    /// CPU time in the kernel.
    pub system_time: Duration,
}

/// What the kernel's out-of-memory counters said at the leader's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OomEvidence {
    /// No counter could be read.
    #[default]
    NotWatched,
    /// No counter rose.
    NotSeen,
    /// A counter rose that other processes share.
    SharedCounterRose,
    /// The counter of this worker's own cgroup rose.
    OwnCounterRose,
}

/// What the broker had decided to do to a process, recorded before any signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What was decided.
    pub what: IntentKind,
    /// When.
    pub at: Timestamp,
    /// The strongest signal sent so far, if any.
    pub signal_sent: Option<StopSignal>,
}

/// The rungs of the ladder that a process was taken down, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rungs {
    /// The cancel frame or the drain frame that began it.
    pub asked_at: Option<Timestamp>,
    /// SIGTERM.
    pub terminated_at: Option<Timestamp>,
    /// SIGKILL.
    pub killed_at: Option<Timestamp>,
    /// Its leader was seen dead.
    pub exited_at: Option<Timestamp>,
}

/// What the broker had decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentKind {
    /// A planned end.
    Stop(StopReason),
    /// The broker's own kill.
    Kill(KillReason),
    /// Killed for not being ready within `start_timeout`.
    StartTimeout,
    /// Killed for what its connection did: the connection's end says what.
    Connection,
    /// Killed for missing its heartbeats.
    Unresponsive,
    /// Killed for staying although its slots had failed.
    SlotsFailed,
}

impl IntentKind {
    /// Whether what the process does is worth a look before it is killed. Memory that is short does not wait for that.
    pub(crate) const fn is_worth_a_look(self) -> bool {
        match self {
            Self::Stop(_) | Self::Kill(KillReason::MemoryLimit | KillReason::Unkillable) => false,
            Self::Kill(
                KillReason::AttemptTimeout
                | KillReason::ProgressStall
                | KillReason::OutputStall
                | KillReason::Deadline
                | KillReason::Cancelled
                | KillReason::Operator,
            )
            | Self::StartTimeout
            | Self::Connection
            | Self::Unresponsive
            | Self::SlotsFailed => true,
        }
    }
}

/// The two signals that the broker sends to a process tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopSignal {
    /// SIGTERM: please leave.
    Terminate,
    /// SIGKILL: the whole tree, at once.
    Kill,
}

/// How a process's connection ended, if it ended before the process did or beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The peer closed it: end of file.
    Closed,
    /// Reading failed.
    ReadError {
        /// The system's error number.
        errno: i32,
    },
    /// Writing failed. Bytes may still be readable.
    WriteError {
        /// The system's error number.
        errno: i32,
    },
    /// The peer sent what cannot be accepted; the text says what.
    Violation(String),
}
