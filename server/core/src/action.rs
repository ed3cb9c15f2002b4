//! What the core orders: the shell carries it out and reports back by events.

use std::sync::Arc;
use std::time::Duration;

use crate::evidence::StopSignal;
use crate::fact::Death;
use crate::ids::{AttemptNumber, ClientId, ClientTag, MethodId, ProcessKey, ReportId, RequestId, SlotId};
use crate::reason::{AttemptEnd, CrashReason, RejectWhy, TimeoutWhich};
use crate::time::Timestamp;
use crate::view::QuarantineView;

/// An order. `A` is the handle of an answer's payload.
#[derive(Clone, Debug)]
pub enum Action<A> {
    /// Start a process. Answered by `Spawned` or `SpawnFailed`; `Spawned` is told before anything else about it.
    Spawn {
        /// Which.
        process: ProcessKey,
    },
    /// Write a request to a process. Its payload is had by [`Core::payload`](crate::Core::payload) until the actions
    /// are drained.
    Dispatch {
        /// To which process.
        process: ProcessKey,
        /// Which request.
        request: RequestId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// Which of the process's slots is to execute it.
        slot: SlotId,
        /// Until this attempt must end: the rest of the deadline, and for the front of the slot's line (it starts
        /// now) at most its attempt timeout. The limit itself counts from the attempt's start.
        time_left: Duration,
    },
    /// Write a cancel frame to a process.
    SendCancel {
        /// To which process.
        process: ProcessKey,
        /// Which request.
        request: RequestId,
        /// Which attempt.
        attempt: AttemptNumber,
        /// The slot that it was dispatched to.
        slot: SlotId,
    },
    /// Write a drain frame to a process.
    SendDrain {
        /// To which process.
        process: ProcessKey,
    },
    /// Send a signal to a process's tree.
    Signal {
        /// Which.
        process: ProcessKey,
        /// Which signal.
        signal: StopSignal,
        /// See first what the process does: this is the first signal of a kill, and memory is not what it is killed for.
        look: bool,
    },
    /// Gather the evidence of an exited process, kill what is left of its tree, reap it. Answered by
    /// `EvidenceGathered`.
    Collect {
        /// Which.
        process: ProcessKey,
    },
    /// Nothing more is wanted of this process: close its connection and forget it. Given exactly once per ordered
    /// process, also after `SpawnFailed`.
    Release {
        /// Which.
        process: ProcessKey,
    },
    /// Send a client the answer to its request.
    Reply {
        /// To whom.
        client: ClientId,
        /// The client's number for the request.
        tag: ClientTag,
        /// How many attempts were made.
        attempts: AttemptNumber,
        /// The answer came after a limit had fired.
        late: bool,
        /// The handle of the answer.
        answer: A,
    },
    /// Tell a client that streams that its request was accepted. Comes before anything else about it.
    TellAccepted {
        /// To whom.
        client: ClientId,
        /// The client's number for the request.
        tag: ClientTag,
        /// The request.
        request: RequestId,
        /// Until its deadline.
        time_left: Duration,
    },
    /// Pass on to a client what a handler says of its progress.
    ForwardProgress {
        /// To whom.
        client: ClientId,
        /// The client's number for the request.
        tag: ClientTag,
        /// Which attempt says so.
        attempt: AttemptNumber,
        /// The handle of what it says.
        note: A,
    },
    /// Pass on to a client a part of its reply.
    ForwardPart {
        /// To whom.
        client: ClientId,
        /// The client's number for the request.
        tag: ClientTag,
        /// Which attempt it is of.
        attempt: AttemptNumber,
        /// The handle of the part.
        part: A,
    },
    /// Tell a client that an attempt at its request failed and that another one follows.
    TellAttemptFailed {
        /// To whom.
        client: ClientId,
        /// The client's number for the request.
        tag: ClientTag,
        /// When the request was accepted; the attempt's start is told relative to it.
        accepted_at: Timestamp,
        /// The attempt.
        attempt: Box<AttemptRecord>,
    },
    /// Send a client how its request ended without an answer.
    Settle {
        /// To whom.
        client: ClientId,
        /// The client's number for the request.
        tag: ClientTag,
        /// Everything there is to say.
        settlement: Box<Settlement<A>>,
    },
    /// Tell every client that the broker is shutting down.
    AnnounceDrain,
    /// The shutdown is complete: no process is left, every request has its outcome.
    Finished,
}

/// How a request ended without an answer.
#[derive(Clone, Debug)]
pub struct Settlement<A> {
    /// The method; `None` where the configuration does not serve it.
    pub method: Option<MethodId>,
    /// When the request was accepted; attempts' starts are told relative to it.
    pub accepted_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome<A>,
    /// The attempts made, in order.
    pub attempts: Vec<AttemptRecord>,
    /// Beyond the attempts told: a process had been given the request behind another one, and may have begun it.
    pub may_have_started: bool,
    /// The death that made its pool unfit to serve it, where that is why it ended without an attempt.
    pub because: Option<Arc<Death>>,
    /// The quarantine of its body, where it was refused for that.
    pub quarantined: Option<QuarantineView>,
}

/// The outcome of a request that was not answered `ok`.
#[derive(Clone, Debug)]
pub enum Outcome<A> {
    /// The handler said no.
    Failed {
        /// The handle of what it said.
        answer: A,
    },
    /// The process died while executing it, and attempts are used up.
    Crashed {
        /// How many attempts it could have had.
        max_attempts: u16,
    },
    /// A limit passed.
    TimedOut {
        /// Which.
        which: TimeoutWhich,
        /// Its length.
        limit: Duration,
    },
    /// The client cancelled it.
    Cancelled,
    /// Refused before it ran.
    Rejected {
        /// Why.
        why: RejectWhy,
        /// When another try may succeed.
        retry_after: Option<Duration>,
    },
    /// The broker was shut down.
    Closed,
}

/// One attempt that was made.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub number: AttemptNumber,
    /// Where it ran.
    pub process: ProcessKey,
    /// The process id it ran under.
    pub pid: Option<u32>,
    /// When it started: its dispatch, or with prefetch the moment it became the front of its process's line.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub end: AttemptEnd,
    /// Why, where the process or its slot died.
    pub cause: Option<AttemptCause>,
}

/// Why an attempt crashed.
#[derive(Clone, Debug)]
pub enum AttemptCause {
    /// The process died.
    Death(Arc<Death>),
    /// Only the slot died, or the attempt alone is to blame.
    Slot(CrashReason),
}

impl AttemptCause {
    /// The label of the reason.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Death(death) => death.reason.label(),
            Self::Slot(reason) => reason.label(),
        }
    }

    /// The report of the death, if it was one.
    #[must_use]
    pub fn report(&self) -> Option<ReportId> {
        match self {
            Self::Death(death) => Some(death.report),
            Self::Slot(_) => None,
        }
    }
}
