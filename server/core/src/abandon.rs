//! Ending a request without waiting for whoever executes it.
//!
//! It owns what happens to requests that a client cancelled, whose deadline passed before they started, or that a
//! shutdown closes. The request's outcome is told at once; its place in a slot's line stays taken until the
//! process answers or dies, because the line must match what the process was sent. It must never settle a request
//! that runs and that nobody gave up: that outcome waits for the death.

use crate::action::Outcome;
use crate::core::Core;
use crate::ids::{ProcessKey, RequestId, SlotId};
use crate::phase::{Phase, Rung};
use crate::reason::{AttemptEnd, KillReason, TimeoutWhich};
use crate::request::RequestPhase;
use crate::slot::Settled;
use crate::time::Timestamp;

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
        let berth =
            self.find_process(key).expect("a held request's process is in one of its worker's berths");
        let process = self.process(berth);
        let slot = process.slot_of(id);
        let mut started = true;
        match slot {
            Some(slot) => {
                let mut line = process.slot(slot).line.iter_mut();
                if let Some(held) = line.find(|held| held.request == id) {
                    held.settled = Some(why);
                    started = held.started;
                }
            }
            None => process.awaiting_death.retain(|held| held.request != id),
        }
        let exited = process.phase == Phase::Collecting;
        let record = self.requests.open_record(id);
        let deadline = record.deadline;
        let attempt = if started { record.attempt() } else { record.next_attempt() };
        // It may have answered the one ahead already, and begun this one. What an exited one answered was told.
        record.may_have_started |= !started && !exited;
        if started {
            let end = match why {
                Settled::Cancelled => AttemptEnd::Cancelled,
                Settled::Deadline => AttemptEnd::TimedOut,
                Settled::Closed => AttemptEnd::Closed,
            };
            self.end_attempt(id, end, None);
        }
        let outcome = self.abandoned(id, why);
        self.end_request(id, outcome);
        let Some(slot) = slot.filter(|_| why != Settled::Closed) else { return };
        if self.process(berth).phase.listens() {
            self.send_cancel(berth, slot, id, attempt);
        }
        if started {
            self.stop_abandoned(berth, slot, deadline);
        }
    }

    /// The executing attempt of a slot has no request any more: its process has `cancel_grace` to get rid of it, and
    /// until the deadline to be gone if it does not.
    fn stop_abandoned(&mut self, berth: usize, slot: SlotId, deadline: Timestamp) {
        let process = self.process(berth);
        let told = process.slot(slot).cancel.is_some();
        match process.phase {
            Phase::Ending(Rung::Draining) if !process.has_open_requests() => self.ask_to_leave(berth),
            phase if phase.executes() && !told => {
                self.begin_cancelling(berth, slot, KillReason::Cancelled, Some(deadline));
            }
            phase if phase.listens() => self.bound_ladder(berth, slot, deadline),
            Phase::Spawning
            | Phase::Starting
            | Phase::Serving
            | Phase::Cancelling
            | Phase::Ending(_)
            | Phase::Collecting => {}
        }
    }
}
