//! What handlers say before they answer: progress, and parts of the reply.
//!
//! It owns the check that an attempt may say so, what it means for the attempt's limits, and what the client is told.
//! It must never end anything.

use crate::action::Action;
use crate::core::Core;
use crate::ids::{AttemptNumber, ClientId, ClientTag, ProcessKey, RequestId};
use crate::request::NIL;

impl<Q, A> Core<Q, A> {
    /// The work moves.
    pub(crate) fn progress_received(
        &mut self,
        key: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        note: A,
    ) {
        if let Some((client, tag)) = self.note_progress(key, request, attempt) {
            self.out.act(Action::ForwardProgress { client, tag, attempt, note });
        }
    }

    /// A part of the reply: the work moves, and the process has written something.
    pub(crate) fn part_received(
        &mut self,
        key: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        part: A,
    ) {
        self.output_seen(key);
        if let Some((client, tag)) = self.note_progress(key, request, attempt) {
            self.requests.open_record(request).told_part = true;
            self.out.act(Action::ForwardPart { client, tag, attempt, part });
        }
    }

    /// Takes note of progress. Gives the client, if it wants to be told. What is said of an attempt that the process does
    /// not execute is passed over: it can harm nobody.
    fn note_progress(
        &mut self,
        key: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
    ) -> Option<(ClientId, ClientTag)> {
        if !self.note_moving(key, request, attempt) {
            return None;
        }
        let record = self.requests.open_record(request);
        (record.stream && record.client_slot != NIL).then_some((record.client, record.tag))
    }

    /// Takes note that an attempt moves; whether the process executes it now, and its request is open.
    pub(crate) fn note_moving(
        &mut self,
        key: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
    ) -> bool {
        let now = self.now;
        let Some(berth) = self.find_process(key) else { return false };
        let process = self.process(berth);
        process.heard_at = now;
        let Some((slot, 0)) = process.find(request, attempt) else { return false };
        self.note_started(berth, slot, 0);
        let Some(front) = self.process(berth).slot(slot).line.front_mut() else { return false };
        front.moved = true;
        if front.settled.is_some() {
            return false;
        }
        self.requests.open_record(request).progress_at = now;
        true
    }
}
