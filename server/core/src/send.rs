//! What is written to a process, and what follows if the last of it was never read.
//!
//! It owns every order to write a frame to a process and the note of which one was the last. It must never decide what
//! is written or when.

use std::time::Duration;

use crate::action::Action;
use crate::core::Core;
use crate::ids::{AttemptNumber, RequestId, SlotId};
use crate::reason::TimeoutWhich;
use crate::slot::Settled;

impl<Q, A> Core<Q, A> {
    /// Orders a request to be written to a process.
    pub(crate) fn send_dispatch(
        &mut self,
        berth: usize,
        slot: SlotId,
        request: RequestId,
        attempt: AttemptNumber,
        time_left: Duration,
    ) {
        let process = self.process(berth);
        process.last_sent = Some(request);
        let process = process.key;
        self.out.act(Action::Dispatch { process, request, attempt, slot, time_left });
    }

    /// Orders a cancel frame to be written to a process.
    pub(crate) fn send_cancel(
        &mut self,
        berth: usize,
        slot: SlotId,
        request: RequestId,
        attempt: AttemptNumber,
    ) {
        let process = self.process(berth);
        process.last_sent = None;
        let process = process.key;
        self.out.act(Action::SendCancel { process, request, attempt, slot });
    }

    /// Orders a drain frame to be written to a process.
    pub(crate) fn send_drain(&mut self, berth: usize) {
        let process = self.process(berth);
        process.last_sent = None;
        let process = process.key;
        self.out.act(Action::SendDrain { process });
    }

    /// A process has exited and never read the last that was written to it. If that was the request that counts as
    /// executing, it cannot have started, and is treated like those behind it from here on.
    ///
    /// One that a shutdown has asked to stop stays what it was said to be. For one whose limit has passed, the verdict is
    /// waited for.
    pub(crate) fn last_was_unread(&mut self, berth: usize) {
        let process = self.process(berth);
        let last = process.last_sent;
        let Some(held) = process.executing().find(|held| last == Some(held.request)).copied() else {
            return;
        };
        let Some(slot) = process.slot_of(held.request) else { return };
        let record = self.requests.open_record(held.request);
        if record.closing {
            return;
        }
        if record.limit.is_some() {
            self.process(berth).unread = Some(held.request);
            return;
        }
        let pool = record.pool;
        self.take_start_back(berth, slot);
        if self.is_closing(pool) {
            self.abandon(held.request, Settled::Closed);
        }
    }

    /// A process has died that never read a request whose limit had passed. If it was killed for a limit of the attempt, the
    /// attempt stays one: it had been given to a process that does not read. A deadline is the request's own.
    pub(crate) fn weigh_unread(&mut self, berth: usize, was_killed: bool) {
        let process = self.process(berth);
        let unread = process.unread.take();
        let open = process.executing().find(|held| unread == Some(held.request) && held.settled.is_none());
        let Some(request) = open.map(|held| held.request) else { return };
        let Some(slot) = process.slot_of(request) else { return };
        let limit = self.requests.open_record(request).limit;
        if !was_killed || limit == Some(TimeoutWhich::Deadline) {
            self.take_start_back(berth, slot);
        }
    }
}
