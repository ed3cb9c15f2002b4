//! The body of an error message: how a request ended when it was not `ok`, and every attempt at it.
//!
//! Owns the words of outcomes, ends and reasons as they travel. Must never decide any of them.

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::labels::labels;

labels! {
    /// How a request ended, `ok` excepted: that is an answer message.
    OutcomeLabel {
        /// The handler said no.
        Failed = "failed",
        /// The process died, or had to be killed as unfit, and the attempts are used up.
        Crashed = "crashed",
        /// A limit passed.
        TimedOut = "timed_out",
        /// The client cancelled or went away.
        Cancelled = "cancelled",
        /// Refused before it ran.
        Rejected = "rejected",
        /// The broker or the pool was shut down on purpose.
        Closed = "closed",
    }
}

labels! {
    /// Which limit passed.
    ///
    /// ```
    /// # use lifeboat_protocol as lifeboat_client;
    /// use lifeboat_client::TimeoutWhich;
    ///
    /// /// What a user is told: nobody had time for the request, or it takes too long itself.
    /// fn advice(which: TimeoutWhich) -> &'static str {
    ///     match which {
    ///         TimeoutWhich::Queue => "busy, try again later",
    ///         TimeoutWhich::Attempt | TimeoutWhich::Deadline => "try a smaller picture",
    ///         TimeoutWhich::Progress | TimeoutWhich::Output => "this picture makes the worker hang",
    ///     }
    /// }
    ///
    /// assert_eq!(advice(TimeoutWhich::Queue), "busy, try again later");
    /// // The label is the word of metrics and reports; Display writes it too.
    /// assert_eq!(TimeoutWhich::Progress.as_str(), "progress");
    /// ```
    TimeoutWhich {
        /// From acceptance to the first dispatch.
        Queue = "queue",
        /// From dispatch to answer.
        Attempt = "attempt",
        /// From the last progress.
        Progress = "progress",
        /// From the last byte that the process wrote.
        Output = "output",
        /// From acceptance to the outcome.
        Deadline = "deadline",
    }
}

labels! {
    /// Why a request was refused before it ran.
    ///
    /// ```
    /// # use lifeboat_protocol as lifeboat_client;
    /// use lifeboat_client::RejectWhy;
    ///
    /// /// The status with which a gateway answers.
    /// fn status(why: RejectWhy) -> u16 {
    ///     match why {
    ///         RejectWhy::QueueFull | RejectWhy::AllWorkersBusy => 429,
    ///         RejectWhy::Tripped | RejectWhy::Draining => 503,
    ///         RejectWhy::UnknownMethod => 404,
    ///         RejectWhy::TooLarge => 413,
    ///         RejectWhy::NotAllowed | RejectWhy::Quarantined => 403,
    ///     }
    /// }
    ///
    /// assert_eq!(status(RejectWhy::Tripped), 503);
    /// // The label is the word of metrics and reports; Display writes it too.
    /// assert_eq!(RejectWhy::QueueFull.as_str(), "queue_full");
    /// ```
    RejectWhy {
        /// The pool's queue is full.
        QueueFull = "queue_full",
        /// Every slot is busy and the pool does not queue.
        AllWorkersBusy = "all_workers_busy",
        /// The pool's crash loop opened its breaker.
        Tripped = "tripped",
        /// No pool serves the method.
        UnknownMethod = "unknown_method",
        /// The body is larger than allowed.
        TooLarge = "too_large",
        /// The client may not call the method.
        NotAllowed = "not_allowed",
        /// The body has crashed too many processes.
        Quarantined = "quarantined",
        /// The broker or the pool takes no new work.
        Draining = "draining",
    }
}

labels! {
    /// How an attempt ended.
    ///
    /// ```
    /// # use lifeboat_protocol::AttemptEndLabel as AttemptEnd;
    /// /// Whether an attempt that ended so says something against its worker.
    /// fn is_bad(end: AttemptEnd) -> bool {
    ///     matches!(end, AttemptEnd::Crashed | AttemptEnd::TimedOut)
    /// }
    ///
    /// let bad: Vec<_> = AttemptEnd::ALL.iter().filter(|end| is_bad(**end)).map(|end| end.as_str()).collect();
    /// assert_eq!(bad, ["crashed", "timed_out"]);
    /// ```
    AttemptEndLabel {
        /// The handler answered.
        Ok = "ok",
        /// The handler said no.
        Failed = "failed",
        /// The process died, or the slot panicked.
        Crashed = "crashed",
        /// A limit passed.
        TimedOut = "timed_out",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// It was ended by a shutdown.
        Closed = "closed",
    }
}

labels! {
    /// How sure a crash reason is.
    ///
    /// ```
    /// # use lifeboat_protocol as lifeboat_client;
    /// use lifeboat_client::ConfidenceLabel;
    ///
    /// let judged = ConfidenceLabel::Inferred;
    /// let text = if judged == ConfidenceLabel::Proven { "out of memory" } else { "probably out of memory" };
    /// assert_eq!(format!("{text} ({})", judged.as_str()), "probably out of memory (inferred)");
    /// ```
    ConfidenceLabel {
        /// The evidence leaves no other explanation.
        Proven = "proven",
        /// The evidence points there.
        Inferred = "inferred",
        /// The evidence says nothing.
        Unknown = "unknown",
    }
}

/// The body of an error message. Which optional fields are there depends on the outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// How the request ended.
    pub outcome: OutcomeLabel,
    /// The method asked for.
    pub method: String,
    /// `failed`: what the handler said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// `crashed`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonBody>,
    /// `crashed`: the attempts allowed, the first included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u16>,
    /// `crashed`, and `rejected` as quarantined: the id of the last crash's report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_id: Option<String>,
    /// `timed_out`: which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub which: Option<TimeoutWhich>,
    /// `timed_out`: how long the limit was, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
    /// `timed_out`: the last that the process of the last attempt wrote to stdout, lossily as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_so_far: Option<String>,
    /// `rejected`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<RejectWhy>,
    /// `rejected`: when to try again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// More words, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The attempts made, in order.
    #[serde(default)]
    pub attempts: Vec<AttemptBody>,
}

impl ErrorBody {
    /// An outcome with no more said: no optional field, no attempts.
    #[must_use]
    pub fn new(outcome: OutcomeLabel, method: impl Into<String>) -> Self {
        Self {
            outcome,
            method: method.into(),
            failure: None,
            reason: None,
            max_attempts: None,
            report_id: None,
            which: None,
            limit_ms: None,
            output_so_far: None,
            why: None,
            retry_after_ms: None,
            message: None,
            attempts: Vec::new(),
        }
    }
}

/// Why a process died, or a slot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonBody {
    /// The crash reason's label, such as `signal`. Text and not a closed list here, so that a client can show a
    /// reason that is newer than itself.
    pub label: String,
    /// `exit`: the exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// `signal`: the signal's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u32>,
    /// `signal`: whether the kernel dumped core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_dumped: Option<bool>,
    /// How sure it is.
    pub confidence: ConfidenceLabel,
    /// A panic's message, a spawn's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where a panic happened, as `file:line:column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl ReasonBody {
    /// A reason with no more said.
    #[must_use]
    pub fn new(label: impl Into<String>, confidence: ConfidenceLabel) -> Self {
        Self {
            label: label.into(),
            code: None,
            signal: None,
            core_dumped: None,
            confidence,
            message: None,
            location: None,
        }
    }
}

/// One attempt at a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptBody {
    /// Which one, from 1.
    pub number: u16,
    /// The worker's stable name.
    pub worker: String,
    /// Which life of the worker.
    pub incarnation: u64,
    /// The process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When it started, in milliseconds after the request was accepted.
    pub start_ms: u64,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub end: AttemptEndLabel,
    /// Why it ended, if it crashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonBody>,
    /// The last of what the process wrote to stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_tail: Option<String>,
}
