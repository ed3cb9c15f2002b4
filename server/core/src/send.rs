//! What is written to a process, and what follows if the last of it was never read.
//!
//! It owns every order to write a frame to a process and the note of which one was the last. It must never decide what
//! is written or when.

use std::time::Duration;

use crate::action::Action;
use crate::core::Core;
use crate::ids::{AttemptNumber, RequestId};
use crate::process::Settled;

impl<Q, A> Core<Q, A> {
    /// Orders a request to be written to a process.
    pub(crate) fn send_dispatch(
        &mut self,
        index: usize,
        request: RequestId,
        attempt: AttemptNumber,
        time_left: Duration,
    ) {
        let process = self.process(index);
        process.last_sent = Some(request);
        let process = process.key;
        self.out.act(Action::Dispatch { process, request, attempt, time_left });
    }

    /// Orders a cancel frame to be written to a process.
    pub(crate) fn send_cancel(&mut self, index: usize, request: RequestId, attempt: AttemptNumber) {
        let process = self.process(index);
        process.last_sent = None;
        let process = process.key;
        self.out.act(Action::SendCancel { process, request, attempt });
    }

    /// Orders a drain frame to be written to a process.
    pub(crate) fn send_drain(&mut self, index: usize) {
        let process = self.process(index);
        process.last_sent = None;
        let process = process.key;
        self.out.act(Action::SendDrain { process });
    }

    /// A process has exited and never read the last that was written to it. If that was the request that counts as
    /// executing, it cannot have started, and is treated like those behind it from here on.
    ///
    /// One whose limit has passed, or that a shutdown has asked to stop, stays what it was said to be.
    pub(crate) fn last_was_unread(&mut self, index: usize) {
        let process = self.process(index);
        let last = process.last_sent;
        let Some(held) = process.executing().filter(|held| last == Some(held.request)).copied() else {
            return;
        };
        let record = self.requests.open_record(held.request);
        if record.limit.is_some() || record.closing {
            return;
        }
        self.take_start_back(index);
        if self.is_draining() {
            self.abandon(held.request, Settled::Closed);
        }
    }
}
