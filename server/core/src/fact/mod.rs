//! What observers count, log, trace and keep. Nothing is counted in two places: metrics, logs, spans and reports are
//! all fed by these.

mod ends;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Operation, Target};
use crate::evidence::{Evidence, Intent};
use crate::ids::{AttemptNumber, MethodId, PoolId, ProcessKey, RequestId, SlotId, WorkerId};
use crate::reason::{AttemptEnd, CrashReason, StopReason, TimeoutWhich};
use crate::view::QuarantineView;

pub use self::ends::{Death, RequestEnded};

/// Something worth counting.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A request ended. Told exactly once per received request.
    RequestEnded(RequestEnded),
    /// An attempt ended.
    AttemptEnded {
        /// The pool.
        pool: PoolId,
        /// The method.
        method: MethodId,
        /// The request.
        request: RequestId,
        /// Its number.
        attempt: AttemptNumber,
        /// Where it ran.
        process: ProcessKey,
        /// How it ended.
        end: AttemptEnd,
        /// From its start (its dispatch, or with prefetch its turn) to its end.
        duration: Duration,
    },
    /// A request was given to a process for the first time.
    FirstDispatched {
        /// The pool.
        pool: PoolId,
        /// The method.
        method: MethodId,
        /// From acceptance to this dispatch.
        waited: Duration,
    },
    /// A request will be tried again.
    Retried {
        /// The pool.
        pool: PoolId,
        /// The method.
        method: MethodId,
        /// The request.
        request: RequestId,
        /// The attempt that will be made.
        next: AttemptNumber,
        /// Why the one before ended; see [`RetryCause::label_at`].
        cause: RetryCause,
        /// How long it will wait first.
        backoff: Duration,
        /// It may be to blame for its process's death: the attempt that will be made runs alone.
        suspect: bool,
    },
    /// A process is set apart for suspects, or is there for anybody again.
    SetApart {
        /// The pool.
        pool: PoolId,
        /// Which process.
        process: ProcessKey,
        /// It is given nothing more but suspects, one after the other.
        apart: bool,
    },
    /// A limit passed.
    LimitPassed {
        /// The pool.
        pool: PoolId,
        /// The method.
        method: MethodId,
        /// The request.
        request: RequestId,
        /// Which limit.
        which: TimeoutWhich,
    },
    /// A request that never started was put back free of charge.
    RequeuedFree {
        /// The pool.
        pool: PoolId,
        /// The request.
        request: RequestId,
    },
    /// An answer, or what was to be saved, of a superseded or unknown attempt was refused.
    AnswerRefused {
        /// The pool.
        pool: PoolId,
        /// Who sent it.
        process: ProcessKey,
    },
    /// What an attempt saved is kept.
    Saved {
        /// The pool.
        pool: PoolId,
        /// The request.
        request: RequestId,
    },
    /// What an attempt saved could not be kept: the pool's requests have saved too much. There is no further attempt until
    /// something of the request is kept again.
    SaveDropped {
        /// The pool.
        pool: PoolId,
        /// The method.
        method: MethodId,
        /// The request.
        request: RequestId,
        /// The memory that it pinned, in bytes.
        bytes: usize,
    },
    /// A process was ordered.
    WorkerStarting {
        /// The pool.
        pool: PoolId,
        /// Which.
        process: ProcessKey,
    },
    /// A process is ready.
    WorkerReady {
        /// The pool.
        pool: PoolId,
        /// Which.
        process: ProcessKey,
        /// Its process id.
        pid: u32,
        /// From the order to ready.
        took: Duration,
    },
    /// A rung of the ladder was climbed.
    Signalled {
        /// The pool.
        pool: PoolId,
        /// Which process.
        process: ProcessKey,
        /// What the broker intends, with the signal it just sent.
        intent: Intent,
    },
    /// A process ended outside the plan.
    WorkerCrashed(Arc<Death>),
    /// A process ended as planned.
    WorkerStopped {
        /// The pool.
        pool: PoolId,
        /// Which.
        process: ProcessKey,
        /// Why.
        reason: StopReason,
        /// Its evidence.
        evidence: Box<Evidence>,
    },
    /// A handler panicked: the slot takes nothing more. The process goes on while it has others.
    SlotRetired {
        /// The pool.
        pool: PoolId,
        /// Which process.
        process: ProcessKey,
        /// Which slot.
        slot: SlotId,
        /// How many are left.
        left: u16,
        /// The panic's message.
        message: String,
        /// Source file, line and column, where known.
        location: Option<String>,
    },
    /// A handler panicked, and its slot goes on.
    SlotKept {
        /// The pool.
        pool: PoolId,
        /// Which process.
        process: ProcessKey,
        /// Which slot.
        slot: SlotId,
        /// The panic's message.
        message: String,
        /// Source file, line and column, where known.
        location: Option<String>,
    },
    /// A healthy process is to be replaced; its successor is ordered as soon as it is its worker's turn.
    RecycleDue {
        /// The pool.
        pool: PoolId,
        /// Which process.
        process: ProcessKey,
        /// Why.
        reason: StopReason,
    },
    /// Unproductive incarnations, too many of them: the pool refuses requests.
    PoolTripped {
        /// The pool.
        pool: PoolId,
        /// How many are too many.
        why: TripWhy,
        /// The last of them.
        because: Arc<Death>,
        /// When it is given its next chance, from now.
        wait: Duration,
    },
    /// A tripped pool is given a chance: one process, one request at a time.
    PoolProbed {
        /// The pool.
        pool: PoolId,
    },
    /// A tripped pool serves again.
    PoolRecovered {
        /// The pool.
        pool: PoolId,
    },
    /// A person ordered something.
    Operated {
        /// What.
        operation: Operation,
        /// With whom.
        target: Target,
    },
    /// A worker waits before its next incarnation.
    WorkerBackingOff {
        /// The pool.
        pool: PoolId,
        /// Which worker.
        worker: WorkerId,
        /// For how long.
        wait: Duration,
        /// How many unproductive incarnations in a row.
        unproductive: u32,
    },
    /// A worker failed too often in a row.
    WorkerUnhealthy {
        /// The pool.
        pool: PoolId,
        /// Which.
        worker: WorkerId,
        /// Crashes, kills, panics and handler errors since its last `ok`.
        failures: u32,
        /// The label of its last crash, if it ever crashed.
        last_crash: Option<&'static str>,
    },
    /// An unhealthy worker answered `ok`, or was given another chance by a person.
    WorkerHealthy {
        /// The pool.
        pool: PoolId,
        /// Which.
        worker: WorkerId,
    },
    /// An unhealthy worker is taken out of service, until a person restarts it.
    WorkerDisabled {
        /// The pool.
        pool: PoolId,
        /// Which.
        worker: WorkerId,
    },
    /// Descendants of a process could not be killed.
    DescendantsLeaked {
        /// The pool.
        pool: PoolId,
        /// Whose.
        process: ProcessKey,
        /// How many.
        count: u32,
    },
    /// A process that was called unkillable has died after all.
    UnkillableDied {
        /// The pool.
        pool: PoolId,
        /// Which.
        process: ProcessKey,
    },
    /// A body has crashed as many processes as its method's settings allow: it is refused from here on.
    Quarantined(QuarantineView),
    /// A person lets a body in quarantine run again.
    QuarantineReleased(QuarantineView),
    /// A shutdown began.
    DrainBegan,
}

/// Why a request is tried again: a metric label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryCause {
    /// The attempt crashed or was killed, with this label of [`CrashReason::LABELS`].
    Crash(usize),
    /// The handler failed and called it retryable.
    Failed,
}

impl RetryCause {
    /// How many labels there are.
    pub const COUNT: usize = CrashReason::LABELS.len() + 1;

    /// The place of its label, below [`RetryCause::COUNT`].
    #[must_use]
    pub const fn label_index(&self) -> usize {
        match self {
            Self::Crash(index) => *index,
            Self::Failed => CrashReason::LABELS.len(),
        }
    }

    /// The label at a place.
    #[must_use]
    pub const fn label_at(index: usize) -> &'static str {
        if index < CrashReason::LABELS.len() { CrashReason::LABELS[index] } else { "failed" }
    }
}

/// Why a pool tripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripWhy {
    /// So many unproductive incarnations within the window.
    TooMany(u32),
    /// None of its workers serves, and each is worn out: its waits have grown to the longest, or it alone had too many.
    /// The last to end had so many unproductive incarnations in a row.
    WornOut(u32),
    /// It was tripped, had its chance, and that ended unproductive as well.
    ChanceLost,
}

impl fmt::Display for TripWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => write!(f, "{count} unproductive incarnations within the window"),
            Self::WornOut(row) => {
                write!(f, "no worker serves, and the last had {row} unproductive incarnations in a row")
            }
            Self::ChanceLost => f.write_str("its chance was lost"),
        }
    }
}
