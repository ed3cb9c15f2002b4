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
        let now = self.now;
        let berth = self.find_process(key)?;
        let process = self.process(berth);
        process.heard_at = now;
        let (slot, _) = process.find(request, attempt).filter(|(_, place)| *place == 0)?;
        self.note_started(berth, slot);
        self.process(berth).slot(slot).executing()?;
        let record = self.requests.open_record(request);
        record.progress_at = now;
        (record.stream && record.client_slot != NIL).then_some((record.client, record.tag))
    }
}
