//! What a process is told before a further attempt: the attempts before it, and what they saved.

use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId, SlotId};
use lifeboat_core::{Core, SAVED_PER_SLOT};
use lifeboat_protocol::{FRAME_OVERHEAD, MAX_SAVED, MessageType, TimeLeft, put_control};

use super::table::Peer;
use super::{AnswerPayload, Links, RequestPayload, route_to, translate};

const _: () = assert!(SAVED_PER_SLOT >= MAX_SAVED + FRAME_OVERHEAD, "the longest save fits, with its header");

impl Links {
    /// Writes the history of a request, to a process that wants to hear it. Its request is written next.
    #[cold]
    pub(super) fn write_history(
        &mut self,
        core: &Core<RequestPayload, AnswerPayload>,
        process: ProcessKey,
        request: RequestId,
        attempt: AttemptNumber,
        slot: SlotId,
    ) {
        let wants = self.table.worker(process).is_some_and(|worker| worker.history);
        let Some(past) = core.past(request).filter(|_| wants) else { return };
        let route = route_to(slot, request, attempt, TimeLeft::NONE);
        let history = translate::history(core, &past);
        self.write(Peer::Process(process), |connection, _| {
            let tail = connection.outbox.tail();
            if let Err(error) = put_control(tail, MessageType::History, Some(route), &history) {
                tracing::error!(%error, "the history of a request could not be encoded");
            }
        });
    }
}
