//! One process: a worker's present life.
//!
//! It owns the process's phase, the line of requests it holds and everything that has been seen of its end. It must
//! never decide: dispatch, ladder and death do.

use std::collections::VecDeque;
use std::time::Duration;

use crate::evidence::{ConnectionEnd, Intent};
use crate::ids::{AttemptNumber, MethodId, ProcessKey, RequestId};
use crate::time::Timestamp;
use crate::view::TimerKind;

/// Where a process is in its life. Every phase but `Serving` and `Cancelling` only leads further down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Ordered; the shell has not answered yet.
    Spawning,
    /// Runs; has not said that it is ready.
    Starting,
    /// Serves: the only phase in which it is given requests.
    Serving,
    /// Was sent a cancel frame for its executing attempt; serves on if it answers within `cancel_grace`.
    Cancelling,
    /// Is on its way out.
    Ending(Rung),
    /// Has exited; its evidence is being gathered.
    Collecting,
}

/// How far the end of a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// To be killed as soon as the shell says that it was spawned.
    Unborn,
    /// Was told to drain, and still executes.
    Draining,
    /// Was asked to leave and has nothing left to wait for; SIGTERM is next.
    Asked,
    /// Its slots have failed; it should leave by itself, SIGKILL is next.
    Leaving,
    /// Its connection has ended; its own exit is awaited, SIGKILL is next.
    ConnectionLost,
    /// Was sent SIGTERM; SIGKILL is next.
    Terminated,
    /// Was sent SIGKILL.
    Killed,
}

impl Phase {
    /// Ready or starting: a reason for a retry to wait for this worker rather than to use the one it avoids.
    pub(crate) const fn is_up(self) -> bool {
        matches!(self, Self::Spawning | Self::Starting | Self::Serving | Self::Cancelling)
    }

    /// Whether a frame written to it may still be read and heeded.
    pub(crate) const fn listens(self) -> bool {
        matches!(
            self,
            Self::Serving | Self::Cancelling | Self::Ending(Rung::Draining | Rung::Asked | Rung::Terminated)
        )
    }

    /// The legal ways from phase to phase.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Spawning, Self::Starting | Self::Ending(Rung::Unborn) | Self::Collecting) => true,
            (Self::Starting, Self::Serving | Self::Ending(_) | Self::Collecting) => true,
            (Self::Serving, Self::Cancelling | Self::Ending(_) | Self::Collecting) => true,
            (Self::Cancelling, Self::Serving | Self::Ending(_) | Self::Collecting) => true,
            (Self::Ending(Rung::Draining | Rung::Asked), Self::Cancelling) => true,
            (Self::Ending(Rung::Killed), Self::Ending(_)) => false,
            (Self::Ending(_), Self::Ending(_) | Self::Collecting) => true,
            _ => false,
        }
    }
}

/// Why a request that a process still holds has its outcome already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The client cancelled it, or went away.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// The broker shuts down.
    Closed,
}

/// A request that a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) request: RequestId,
    pub(crate) attempt: AttemptNumber,
    pub(crate) method: MethodId,
    /// It has been the front: it counts as executing, unless the process is found not to have read it.
    pub(crate) started: bool,
    /// Its request has ended; whatever the process says of it is swallowed.
    pub(crate) settled: Option<Settled>,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) key: ProcessKey,
    pub(crate) pid: Option<u32>,
    pub(crate) phase: Phase,
    /// The timer of the present phase.
    pub(crate) timer: Option<(Timestamp, TimerKind)>,
    /// The timer after which it is productive without an answer.
    pub(crate) stable_timer: Option<Timestamp>,
    /// The requests it holds, in the order in which they were dispatched; the front one is executing.
    pub(crate) line: VecDeque<Held>,
    /// Attempts that ran past a limit and have stopped: their outcome waits for the process's death.
    pub(crate) awaiting_death: Vec<Held>,
    pub(crate) intent: Option<Intent>,
    /// The ladder is cut short by this deadline of a cancelled request.
    pub(crate) kill_by: Option<Timestamp>,
    /// It was told to drain.
    pub(crate) drained: bool,
    pub(crate) connection: Option<ConnectionEnd>,
    /// Its slots have failed, for these reasons.
    pub(crate) slots_failed: Option<String>,
    /// A handler panicked: the failure is counted already.
    pub(crate) panicked: bool,
    pub(crate) ordered_at: Timestamp,
    pub(crate) ready_at: Option<Timestamp>,
    pub(crate) first_sign_at: Option<Timestamp>,
    pub(crate) answered_ok: bool,
    /// The newest request that was dispatched to it.
    pub(crate) newest: Option<RequestId>,
    /// The request that was the last thing ordered to be written to it; `None` if that was a cancel or drain frame.
    pub(crate) last_sent: Option<RequestId>,
    /// It was judged, and had ended as planned.
    pub(crate) concluded_as_planned: bool,
}

impl Process {
    pub(crate) fn new(key: ProcessKey, now: Timestamp) -> Self {
        Self {
            key,
            pid: None,
            phase: Phase::Spawning,
            timer: None,
            stable_timer: None,
            line: VecDeque::new(),
            awaiting_death: Vec::new(),
            intent: None,
            kill_by: None,
            drained: false,
            connection: None,
            slots_failed: None,
            panicked: false,
            ordered_at: now,
            ready_at: None,
            first_sign_at: None,
            answered_ok: false,
            newest: None,
            last_sent: None,
            concluded_as_planned: false,
        }
    }

    /// The executing attempt, if it has started.
    pub(crate) fn front(&self) -> Option<&Held> {
        self.line.front().filter(|held| held.started)
    }

    /// The executing attempt of a request that has no outcome yet.
    pub(crate) fn executing(&self) -> Option<&Held> {
        self.front().filter(|held| held.settled.is_none())
    }

    /// Whether a request without an outcome depends on it.
    pub(crate) fn has_open_requests(&self) -> bool {
        !self.awaiting_death.is_empty() || self.line.iter().any(|held| held.settled.is_none())
    }

    /// Whether it had answered `ok`, or had been ready for `stable_after` when its end began.
    pub(crate) fn is_productive(&self, ended_at: Timestamp, stable_after: Duration) -> bool {
        self.answered_ok || self.ready_at.is_some_and(|ready_at| ended_at - ready_at >= stable_after)
    }

    /// The first sign of its end was seen.
    pub(crate) fn note_sign(&mut self, now: Timestamp) {
        self.first_sign_at.get_or_insert(now);
    }
}
