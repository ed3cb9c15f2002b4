//! What the shell tells the core: facts, in the past tense.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::evidence::{ConnectionEnd, Evidence};
use crate::ids::{
    AttemptNumber, ClientId, ClientTag, Digest, MethodId, PoolId, ProcessKey, RequestId, WorkerId,
};
use crate::settings::RetryOn;

/// Something happened. `Q` is the handle of a request's payload, `A` that of an answer's; the core never looks inside.
#[derive(Clone, Debug)]
pub enum Event<Q, A> {
    /// A client finished its handshake.
    ClientOpened {
        /// Which.
        client: ClientId,
    },
    /// A client's connection ended, for whatever cause.
    ClientClosed {
        /// Which.
        client: ClientId,
    },
    /// A client sent a request. Ignored if the client is not open or the tag does not rise: the shell refuses those
    /// before.
    RequestReceived(NewRequest<Q>),
    /// A client cancelled a request, or tried to.
    CancelReceived {
        /// Whose request.
        client: ClientId,
        /// The client's number for it.
        tag: ClientTag,
    },
    /// A process was started. Told before anything else about it.
    Spawned {
        /// Which.
        process: ProcessKey,
        /// Its process id.
        pid: u32,
    },
    /// A process could not be started. A `Release` follows.
    SpawnFailed {
        /// Which.
        process: ProcessKey,
        /// Which step failed and why.
        error: String,
    },
    /// A process sent an acceptable hello: it can serve as many slots as its pool's settings say.
    Ready {
        /// Which.
        process: ProcessKey,
        /// It will send heartbeats.
        heartbeats: bool,
    },
    /// A process sent a heartbeat, or its flight recorder has one. Every other message of it counts as one too.
    HeartbeatReceived {
        /// Which.
        process: ProcessKey,
        /// How long ago; none for one that was sent.
        ago: Duration,
    },
    /// A process asked to be replaced: one of its handlers wants no further request in it.
    RetireReceived {
        /// Which.
        process: ProcessKey,
    },
    /// A handler says that its work moves.
    ProgressReceived {
        /// Which process.
        process: ProcessKey,
        /// The request it names.
        request: RequestId,
        /// The attempt it names.
        attempt: AttemptNumber,
        /// What it says.
        note: A,
    },
    /// A handler sent a part of its reply.
    PartReceived {
        /// Which process.
        process: ProcessKey,
        /// The request it names.
        request: RequestId,
        /// The attempt it names.
        attempt: AttemptNumber,
        /// The part.
        part: A,
    },
    /// A handler saved something for the next attempt.
    Saved {
        /// Which process.
        process: ProcessKey,
        /// The request it names.
        request: RequestId,
        /// The attempt it names.
        attempt: AttemptNumber,
        /// The handle of what is saved.
        item: A,
        /// The memory that it pins, in bytes; never none.
        bytes: usize,
    },
    /// A process wrote to its stdout or stderr. Told soon after each byte, never before it.
    OutputSeen {
        /// Which.
        process: ProcessKey,
    },
    /// A process ended an attempt.
    Answered {
        /// Which process.
        process: ProcessKey,
        /// The request it names.
        request: RequestId,
        /// The attempt it names.
        attempt: AttemptNumber,
        /// What it says.
        answer: Answer<A>,
    },
    /// A process said that it has no slot left and is leaving.
    WorkersFailed {
        /// Which.
        process: ProcessKey,
        /// Its reasons, joined.
        reasons: String,
    },
    /// A process's connection ended or broke.
    ConnectionEnded {
        /// Which.
        process: ProcessKey,
        /// How.
        how: ConnectionEnd,
    },
    /// A process's leader has exited (it is a zombie, not yet reaped) and its socket has been drained: every
    /// complete frame that it wrote was told before this.
    Exited {
        /// Which.
        process: ProcessKey,
        /// It is proven that the last bytes that were written to it, or were still to be, were never read by it.
        /// `false` where that is not known.
        unread: bool,
    },
    /// The evidence of an exited process; its tree is verified dead and its leader reaped.
    EvidenceGathered {
        /// Which.
        process: ProcessKey,
        /// What was found.
        evidence: Box<Evidence>,
    },
    /// A process uses more memory than its limit.
    MemoryExceeded {
        /// Which.
        process: ProcessKey,
        /// Its resident set, in bytes.
        resident: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A process uses more memory than a healthy one should keep. Told once per process.
    MemoryHigh {
        /// Which.
        process: ProcessKey,
    },
    /// A person orders something.
    Operated {
        /// What.
        operation: Operation,
        /// With whom.
        target: Target,
    },
    /// A person lets bodies in quarantine run again.
    QuarantineReleased {
        /// The one with this digest; `None` is all of them.
        which: Option<Digest>,
    },
    /// The broker was asked to shut down: drain, then end.
    ShutdownRequested,
    /// The broker was asked to end at once.
    ShutdownHurried,
}

/// What a person may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Replace the processes, each by a successor that is ready first. What was drained serves again, a tripped pool is
    /// given another chance, and nobody backs off any longer.
    Restart,
    /// Take no new work, finish what runs, and stay without a process until a restart.
    Drain,
    /// SIGKILL, now. The worker gets its next process as after any death.
    Kill,
}

impl Operation {
    /// The word used in logs and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Drain => "drain",
            Self::Kill => "kill",
        }
    }
}

/// Whom an [`Operation`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All workers of a pool, and the pool itself.
    Pool(PoolId),
    /// One worker.
    Worker(WorkerId),
}

/// A request as a client sent it.
#[derive(Clone, Debug)]
pub struct NewRequest<Q> {
    /// Who sent it.
    pub client: ClientId,
    /// The client's number for it.
    pub tag: ClientTag,
    /// The method, where the configuration serves it.
    pub method: Option<MethodId>,
    /// The handle of its payload.
    pub payload: Q,
    /// The memory that the payload pins, in bytes.
    pub bytes: usize,
    /// The digest of its method and body. It is looked at only where the method has a quarantine.
    pub digest: Option<Digest>,
    /// The client's own limits. They tighten, never loosen.
    pub limits: ClientLimits,
    /// The client wants to be told of progress, parts and failed attempts.
    pub stream: bool,
    /// A further attempt is welcome even after a part of the reply has been told.
    pub restartable: bool,
}

/// A client's own limits for one request; `None` is no wish.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientLimits {
    /// From acceptance to outcome.
    pub timeout: Option<Duration>,
    /// From acceptance to the first dispatch.
    pub queue_timeout: Option<Duration>,
    /// From dispatch to answer.
    pub attempt_timeout: Option<Duration>,
    /// From the last progress.
    pub progress_timeout: Option<Duration>,
    /// From the last byte that the process wrote.
    pub output_timeout: Option<Duration>,
    /// How many attempts in all.
    pub max_attempts: Option<NonZeroU16>,
    /// Which ends of an attempt may be retried. What the method's policy does not retry is not retried for this either.
    pub retry_on: Option<RetryOn>,
}

/// How a process ended an attempt.
#[derive(Clone, Debug)]
pub enum Answer<A> {
    /// With an answer.
    Ok(A),
    /// The handler said no.
    Failed {
        /// The handle of what it said.
        answer: A,
        /// It says that another attempt may succeed, and not to begin one sooner than this. `None` says no.
        again: Option<Duration>,
    },
    /// The handler panicked; its slot is retired, unless process and settings keep it.
    Panicked {
        /// The panic's message.
        message: String,
        /// Source file, line and column, where known.
        location: Option<String>,
        /// The process goes on with the slot.
        kept: bool,
    },
    /// The handler stopped because it was asked to.
    Cancelled,
}
