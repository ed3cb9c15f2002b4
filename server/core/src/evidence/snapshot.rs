//! What a process was doing just before it was killed. Raw facts for people: nothing is judged by them.

use std::time::Duration;

/// A process, seen just before the first signal that was to end it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSnapshot {
    /// Its threads, the main one first, then by number; at most [`ProcessSnapshot::MOST_THREADS`].
    pub threads: Vec<ThreadSnapshot>,
    /// Threads that were left out, because there were too many or time was up.
    pub left_out: u32,
    /// The CPU time that it had used, user and system, in the kernel's ticks of 10 ms.
    pub cpu: Duration,
    /// How much of it within the time since it was looked at before; `None` where it was not.
    pub cpu_lately: Option<CpuLately>,
    /// How long it took to look.
    pub took: Duration,
}

impl ProcessSnapshot {
    /// So many threads are looked at: further ones seldom say anything new.
    pub const MOST_THREADS: usize = 32;
}

/// CPU time within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuLately {
    /// The CPU time that was used.
    pub used: Duration,
    /// Within this time.
    pub within: Duration,
}

/// A thread, seen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSnapshot {
    /// Its number.
    pub id: u32,
    /// Its name, lossily as text; the process may have chosen it.
    pub name: String,
    /// What it was doing.
    pub state: ThreadState,
    /// The CPU time that it had used.
    pub cpu: Duration,
    /// How often it gave up its core by itself, and how often it had to.
    pub switches: Option<(u64, u64)>,
    /// The kernel's function that it waited in. Names differ between kernels; `None` where it did not wait, or where
    /// looking is not permitted.
    pub function: Option<String>,
    /// The number of the system call that it was in; `None` where it was in none, or where looking is not permitted.
    pub system_call: Option<u32>,
}

/// What a thread is doing, by the kernel's letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    /// `R`: it runs, or would if it were given a core.
    Running,
    /// `S`: it waits for something.
    Sleeping,
    /// `D`: it waits in the kernel and heeds no signal.
    Uninterruptible,
    /// `T`: it was stopped by a signal.
    Stopped,
    /// `t`: a debugger has stopped it.
    Traced,
    /// `Z` or `X`: it has ended.
    Dead,
    /// Another letter.
    Other(char),
}

impl ThreadState {
    /// By the kernel's letter.
    #[must_use]
    pub const fn of_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' | 'I' => Self::Sleeping,
            'D' => Self::Uninterruptible,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'Z' | 'X' | 'x' => Self::Dead,
            other => Self::Other(other),
        }
    }

    /// The word used in logs and reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Uninterruptible => "uninterruptible",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Dead => "dead",
            Self::Other(_) => "other",
        }
    }
}
