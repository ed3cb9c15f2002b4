//! Validated settings: what the configuration says, in a form that cannot be impossible.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use crate::ids::{MethodId, PoolId};

/// Everything the core needs to know. Built by the configuration room; fixed while the broker lives.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pools; [`PoolId`] is the place in this list.
    pub pools: Vec<PoolSettings>,
    /// The methods of all pools, and one named `_other` per pool that accepts any method; [`MethodId`] is the place
    /// in this list.
    pub methods: Vec<MethodSettings>,
    /// From the beginning of a shutdown until running attempts are ended; default 30 s.
    pub drain_timeout: Duration,
    /// How many requests may be open at once, over all clients; at most 1 048 576.
    pub max_open_requests: u32,
    /// How many bodies that crashed processes are remembered, over all methods; those that have not for longest are
    /// forgotten first.
    pub quarantine_room: usize,
    /// A short text that is this start of the broker's alone. The configuration knows none: whoever starts the broker sets it.
    pub start: String,
}

impl Settings {
    /// How many bodies that crashed processes the broker remembers.
    pub const QUARANTINE_ROOM: usize = 4096;

    /// The settings of a pool.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> &PoolSettings {
        &self.pools[usize::from(id.0)]
    }

    /// The settings of a method.
    #[must_use]
    pub fn method(&self, id: MethodId) -> &MethodSettings {
        &self.methods[usize::from(id.0)]
    }
}

/// A named set of workers running the same command under the same limits.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The pool's name; its workers are `NAME-0`, `NAME-1`, ...
    pub name: String,
    /// How many workers are kept running.
    pub workers: NonZeroU16,
    /// How many requests a process executes at the same time, at most 256; default 1.
    pub slots: NonZeroU16,
    /// How many requests a slot may hold, the executing one included; default 1.
    pub prefetch: NonZeroU16,
    /// The bounds of the waiting line.
    pub queue: QueueSettings,
    /// What happens to a request that finds no room in any process.
    pub on_busy: OnBusy,
    /// How dead workers come back.
    pub restart: RestartSettings,
    /// When healthy processes are replaced.
    pub recycle: RecycleSettings,
    /// How processes that are not scheduled any more are found; `None` is not at all.
    pub heartbeat: Option<Heartbeat>,
    /// From spawn to ready; default 10 s.
    pub start_timeout: Duration,
    /// From the cancel frame to SIGTERM; default 1 s; zero is at once.
    pub cancel_grace: Duration,
    /// From SIGTERM to SIGKILL; default 5 s; zero is at once.
    pub stop_grace: Duration,
    /// From SIGKILL until a process is called unkillable; default 1 s.
    pub kill_timeout: Duration,
    /// What happens to the requests of a client that went away.
    pub on_disconnect: OnDisconnect,
    /// What becomes of a slot whose handler panics.
    pub on_panic: OnPanic,
    /// When a worker is unhealthy, and what comes of it.
    pub health: HealthSettings,
}

/// The bounds of a pool's waiting line.
#[derive(Clone, Copy, Debug)]
pub struct QueueSettings {
    /// How many requests may wait; default 1024.
    pub max_requests: usize,
    /// How many bytes of memory the waiting requests may pin; default 64 MiB.
    pub max_bytes: usize,
}

/// How dead workers come back. Only unproductive incarnations back off.
#[derive(Clone, Copy, Debug)]
pub struct RestartSettings {
    /// The first wait; default 100 ms. Doubles with each unproductive incarnation, with jitter.
    pub initial: Duration,
    /// The longest wait; default 30 s. Equal to `initial` for a fixed delay.
    pub max: Duration,
    /// An incarnation that stayed ready this long is productive even without an answer; default 30 s.
    pub stable_after: Duration,
    /// So many unproductive incarnations within `window` trip the pool, and so do fewer where no worker serves and each
    /// waits its longest; `None` is never; default 20.
    pub max_restarts: Option<NonZeroU32>,
    /// The window of `max_restarts`; default 60 s.
    pub window: Duration,
}

/// What happens to a new request that finds no room in any process of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBusy {
    /// It waits.
    Queue,
    /// It is refused with `all_workers_busy`.
    Reject,
}

/// When healthy processes are replaced. Each is `None` for never, which is the default. Memory has no number here:
/// the shell measures it and tells [`MemoryHigh`](crate::event::Event::MemoryHigh).
#[derive(Clone, Copy, Debug, Default)]
pub struct RecycleSettings {
    /// After so many answers.
    pub requests: Option<NonZeroU32>,
    /// After so long; each process takes up to a tenth less, so that what started together does not end together.
    pub age: Option<Duration>,
    /// After so long without a request.
    pub idle: Option<Duration>,
}

/// How processes that are not scheduled any more are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// How often a process says that it is there; default 2 s.
    pub interval: Duration,
    /// How many may be missing before it is killed as `unresponsive`; default 3.
    pub missed: NonZeroU16,
}

impl Heartbeat {
    /// How long a process may be silent.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.interval.saturating_mul(u32::from(self.missed.get()))
    }
}

/// What becomes of a slot whose handler panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// It is retired.
    RetireSlot,
    /// It goes on, if its process says that it does.
    Keep,
}

/// When a worker is unhealthy, and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// After how many crashes, kills and panics since its last `ok`; default 3.
    pub unhealthy_after: NonZeroU32,
    /// Errors that handlers return count as well; default no: one client with bad input would do.
    pub on_failed: bool,
    /// An unhealthy worker is taken out of service until a person restarts it, unless it is the last one of its pool;
    /// default no.
    pub disable: bool,
}

impl HealthSettings {
    /// After how many crashes, kills and panics in a row a worker is unhealthy, where nobody says.
    pub const UNHEALTHY_AFTER: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { unhealthy_after: Self::UNHEALTHY_AFTER, on_failed: false, disable: false }
    }
}

/// What happens to the requests of a client that went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// They are cancelled.
    Cancel,
    /// They run to their end; their outcome is counted and dropped.
    Finish,
}

/// A method and its policy.
#[derive(Clone, Debug)]
pub struct MethodSettings {
    /// The method's name, or `_other`.
    pub name: String,
    /// The one pool that serves it.
    pub pool: PoolId,
    /// From acceptance to the first dispatch; `None` is the rest of the deadline.
    pub queue_timeout: Option<Duration>,
    /// From dispatch to answer; `None` is the rest of the deadline.
    pub attempt_timeout: Option<Duration>,
    /// From the last progress, the attempt's start included; `None` is no limit.
    pub progress_timeout: Option<Duration>,
    /// From the last byte that the process wrote, the attempt's start included; `None` is no limit.
    pub output_timeout: Option<Duration>,
    /// From acceptance to outcome, backoff included; default 5 min.
    pub deadline: Duration,
    /// Which ends of an attempt lead to another one.
    pub retry: RetryPolicy,
    /// When a body is refused for the processes that it crashed; `None`, the default, is never.
    pub quarantine: Option<QuarantineSettings>,
}

/// When a body is refused for the processes that it crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineSettings {
    /// After so many crashes without an `ok` between them, over all clients; default 3.
    pub crash_limit: NonZeroU32,
    /// How long a crash is remembered, and so how long a body is refused after its last one; default 1 h.
    pub expiry: Duration,
}

impl Default for QuarantineSettings {
    fn default() -> Self {
        Self { crash_limit: NonZeroU32::MIN.saturating_add(2), expiry: Duration::from_hours(1) }
    }
}

/// Which ends of an attempt lead to another one, how often and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryPolicy {
    /// No retry (the default).
    Never,
    /// Retry, within the deadline.
    Retry {
        /// Which ends are retried.
        on: RetryOn,
        /// How many attempts in all, the first included; default 2.
        max_attempts: NonZeroU16,
        /// The wait before each further attempt.
        backoff: Backoff,
    },
}

impl RetryPolicy {
    /// How many attempts a request may have in all.
    #[must_use]
    pub const fn max_attempts(&self) -> NonZeroU16 {
        match self {
            Self::Never => NonZeroU16::MIN,
            Self::Retry { max_attempts, .. } => *max_attempts,
        }
    }

    /// Which ends of an attempt it retries.
    #[must_use]
    pub const fn on(&self) -> RetryOn {
        match self {
            Self::Never => RetryOn::NOTHING,
            Self::Retry { on, .. } => *on,
        }
    }
}

/// Which ends of an attempt are retried. Default: crashes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// The process died while executing it.
    pub crash: bool,
    /// No progress or no output for too long.
    pub stall: bool,
    /// The attempt's own time limit passed.
    pub timeout: bool,
    /// The handler said no and called it retryable.
    pub failed: bool,
}

impl RetryOn {
    /// No end is retried.
    pub const NOTHING: Self = Self { crash: false, stall: false, timeout: false, failed: false };

    /// What both retry.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            crash: self.crash && other.crash,
            stall: self.stall && other.stall,
            timeout: self.timeout && other.timeout,
            failed: self.failed && other.failed,
        }
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { crash: true, stall: false, timeout: false, failed: false }
    }
}

/// The wait before each further attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Before the second attempt; default 0.
    pub first: Duration,
    /// Before the third attempt; default 100 ms.
    pub then: Duration,
    /// Each later wait is this many times the one before; default 2; at least 1.
    pub factor: f64,
    /// No wait is longer; default 10 s.
    pub max: Duration,
    /// Whether waits are spread.
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::ZERO,
            then: Duration::from_millis(100),
            factor: 2.0,
            max: Duration::from_secs(10),
            jitter: Jitter::Full,
        }
    }
}

/// How waits are spread, so that what failed together does not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Exactly the wait.
    None,
    /// Anything from zero to the wait.
    Full,
}
