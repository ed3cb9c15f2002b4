//! How attempts and requests end: the closed enums, with their labels.

/// How one attempt at a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptEnd {
    /// The handler answered.
    Ok,
    /// The handler said no.
    Failed,
    /// The process died, or its slot did, while executing it.
    Crashed,
    /// A limit passed.
    TimedOut,
    /// The client cancelled or went away.
    Cancelled,
    /// Ended by a shutdown.
    Closed,
}

impl AttemptEnd {
    /// Every end, in the order of their labels' index.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Failed, Self::Crashed, Self::TimedOut, Self::Cancelled, Self::Closed];

    /// The label used in metrics, spans and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }
}

/// How a request ended, without details: a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutcomeKind {
    /// The handler answered.
    Ok,
    /// The handler said no; the process is healthy.
    Failed,
    /// The process died while executing, and attempts are used up.
    Crashed,
    /// A limit passed.
    TimedOut,
    /// The client cancelled or went away.
    Cancelled,
    /// Refused before it ran.
    Rejected,
    /// The broker was shut down on purpose.
    Closed,
}

impl OutcomeKind {
    /// Every outcome, in the order of their labels' index.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Failed,
        Self::Crashed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Rejected,
        Self::Closed,
    ];

    /// The label used in metrics, spans and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Closed => "closed",
        }
    }
}

/// Which limit a request ran past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeoutWhich {
    /// Waited in the queue for longer than `queue_timeout`.
    Queue,
    /// An attempt ran past `attempt_timeout`.
    Attempt,
    /// No progress for `progress_timeout`.
    Progress,
    /// No output for `output_timeout`.
    Output,
    /// The request's own deadline.
    Deadline,
}

impl TimeoutWhich {
    /// Every limit, in the order of their labels' index.
    pub const ALL: [Self; 5] = [Self::Queue, Self::Attempt, Self::Progress, Self::Output, Self::Deadline];

    /// The label used in metrics, spans and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Attempt => "attempt",
            Self::Progress => "progress",
            Self::Output => "output",
            Self::Deadline => "deadline",
        }
    }
}

/// Why a request was refused before it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectWhy {
    /// The pool's queue is full, by count or by bytes.
    QueueFull,
    /// Every worker is busy and the pool does not queue.
    AllWorkersBusy,
    /// The pool's crash loop opened its breaker.
    Tripped,
    /// No pool serves the method.
    UnknownMethod,
    /// The body is larger than the limit.
    TooLarge,
    /// This client may not call this method.
    NotAllowed,
    /// The body has crashed workers before.
    Quarantined,
    /// The broker or the pool is shutting down.
    Draining,
}

impl RejectWhy {
    /// Every reason, in the order of their labels' index.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::AllWorkersBusy,
        Self::Tripped,
        Self::UnknownMethod,
        Self::TooLarge,
        Self::NotAllowed,
        Self::Quarantined,
        Self::Draining,
    ];

    /// The label used in metrics, spans and on the wire.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::AllWorkersBusy => "all_workers_busy",
            Self::Tripped => "tripped",
            Self::UnknownMethod => "unknown_method",
            Self::TooLarge => "too_large",
            Self::NotAllowed => "not_allowed",
            Self::Quarantined => "quarantined",
            Self::Draining => "draining",
        }
    }
}
