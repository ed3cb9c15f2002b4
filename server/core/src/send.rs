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
    /// One that a shutdown has asked to stop stays what it was said to be. A deadline is the request's own: it has passed
    /// without an attempt.
    pub(crate) fn last_was_unread(&mut self, berth: usize) {
        let process = self.process(berth);
        let last = process.last_sent;
        let Some(held) = process.executing().find(|held| last == Some(held.request)).copied() else {
            return;
        };
        let Some(slot) = process.slot_of(held.request) else { return };
        self.has_not_begun(berth, slot, held.request);
    }

    /// The front of a dead process's slot has not begun. Whether that changes anything: an attempt that ran past a limit of
    /// its own was made, begun or not, because its process had the time.
    pub(crate) fn has_not_begun(&mut self, berth: usize, slot: SlotId, request: RequestId) -> bool {
        let record = self.requests.open_record(request);
        let (pool, limit) = (record.pool, record.limit);
        if record.closing || limit.is_some_and(|limit| limit != TimeoutWhich::Deadline) {
            return false;
        }
        let is_over = !record.armed.deadline;
        self.take_start_back(berth, slot);
        if is_over {
            self.abandon(request, Settled::Deadline);
        } else if self.is_closing(pool) {
            self.abandon(request, Settled::Closed);
        }
        true
    }
}
