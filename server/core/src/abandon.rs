//! Ending a request without waiting for whoever executes it.
//!
//! It owns what happens to requests that a client cancelled, whose deadline passed before they started, or that a
//! shutdown closes. The request's outcome is told at once; its place in a process's line stays taken until the
//! process answers or dies, because the line must match what the process was sent. It must never settle a request
//! that runs and that nobody gave up: that outcome waits for the death.

use crate::action::Outcome;
use crate::core::Core;
use crate::ids::{ProcessKey, RequestId};
use crate::process::{Phase, Rung, Settled};
use crate::reason::{AttemptEnd, KillReason, TimeoutWhich};
use crate::request::RequestPhase;

impl<Q, A> Core<Q, A> {
    /// Ends an open request now, wherever it is.
    pub(crate) fn abandon(&mut self, id: RequestId, why: Settled) {
        if let RequestPhase::Held { process } = self.requests.open_record(id).phase {
            self.abandon_held(id, process, why);
            return;
        }
        let outcome = self.abandoned(id, why);
        self.end_request(id, outcome);
    }

    fn abandoned(&mut self, id: RequestId, why: Settled) -> Outcome<A> {
        match why {
            Settled::Cancelled => Outcome::Cancelled,
            Settled::Deadline => self.timed_out(id, TimeoutWhich::Deadline),
            Settled::Closed => Outcome::Closed,
        }
    }

    fn abandon_held(&mut self, id: RequestId, key: ProcessKey, why: Settled) {
        let index = self.find_process(key).expect("a held request's process is its worker's present one");
        let deadline = self.requests.open_record(id).deadline;
        let process = self.process(index);
        let mut started = true;
        let mut in_line = false;
        if let Some(held) = process.line.iter_mut().find(|held| held.request == id) {
            held.settled = Some(why);
            started = held.started;
            in_line = true;
        } else {
            process.awaiting_death.retain(|held| held.request != id);
        }
        if started {
            let end = match why {
                Settled::Cancelled => AttemptEnd::Cancelled,
                Settled::Deadline => AttemptEnd::TimedOut,
                Settled::Closed => AttemptEnd::Closed,
            };
            self.end_attempt(id, end, None);
        }
        let attempt = if started {
            self.requests.open_record(id).attempt()
        } else {
            self.requests.open_record(id).next_attempt()
        };
        let outcome = self.abandoned(id, why);
        self.end_request(id, outcome);
        if !in_line || why == Settled::Closed {
            return;
        }
        match self.process(index).phase {
            Phase::Serving if started => {
                self.send_cancel(index, id, attempt);
                self.begin_cancelling(index, KillReason::Cancelled, Some(deadline));
            }
            Phase::Cancelling if started => self.bound_ladder(index, deadline),
            Phase::Ending(Rung::Draining) => {
                self.send_cancel(index, id, attempt);
                self.ask_if_idle(index);
            }
            phase if phase.listens() => {
                self.send_cancel(index, id, attempt);
                if started {
                    self.bound_ladder(index, deadline);
                }
            }
            Phase::Spawning
            | Phase::Starting
            | Phase::Serving
            | Phase::Cancelling
            | Phase::Ending(_)
            | Phase::Collecting => {}
        }
    }
}
