//! One slot of a process, and the requests it holds.
//!
//! It owns the order in which the slot answers: its line, the front of which executes. It must never decide: dispatch,
//! ladder and death do.

use std::collections::VecDeque;

use crate::ids::{AttemptNumber, MethodId, RequestId};
use crate::quarantine::Body;
use crate::reason::KillReason;
use crate::time::Timestamp;

/// Why a request that a slot still holds has its outcome already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The client cancelled it, or went away.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// The broker or the pool shuts down.
    Closed,
}

/// A request that a slot holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) request: RequestId,
    pub(crate) attempt: AttemptNumber,
    pub(crate) method: MethodId,
    /// Whose crash it would be, where its method has a quarantine.
    pub(crate) body: Option<Body>,
    /// It has been the front: it counts as executing, unless the process is found not to have read it.
    pub(crate) started: bool,
    /// Its process has told of it: progress, a part of the reply, something to save.
    pub(crate) moved: bool,
    /// Its request has ended; whatever the process says of it is swallowed.
    pub(crate) settled: Option<Settled>,
}

/// The executing attempt of a slot was told to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancel {
    /// What it becomes if the process has to be ended for it.
    pub(crate) why: KillReason,
    /// The end of its grace.
    pub(crate) until: Timestamp,
    /// The ladder is cut short by this deadline of a cancelled request.
    pub(crate) kill_by: Option<Timestamp>,
}

/// One slot.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The requests it holds, in the order in which they were dispatched.
    pub(crate) line: VecDeque<Held>,
    /// A handler panicked in it: it takes nothing more.
    pub(crate) retired: bool,
    pub(crate) cancel: Option<Cancel>,
}

impl Slot {
    /// The executing attempt.
    pub(crate) fn front(&self) -> Option<&Held> {
        self.line.front().filter(|held| held.started)
    }

    /// The executing attempt of a request that has no outcome yet.
    pub(crate) fn executing(&self) -> Option<&Held> {
        self.front().filter(|held| held.settled.is_none())
    }

    /// Whether a request without an outcome depends on it.
    pub(crate) fn has_open_requests(&self) -> bool {
        self.line.iter().any(|held| held.settled.is_none())
    }
}
