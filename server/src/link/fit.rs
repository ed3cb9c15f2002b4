//! What fits its client: a frame over a client's limit would cost it the connection, with everything else on it.
//!
//! It is found before the core hears of an answer, so that what the client is told, what is counted and what is logged
//! agree.

use lifeboat_core::event::{Answer, Event};
use lifeboat_core::ids::{ClientId, ClientTag};
use lifeboat_protocol::Failure;

use super::payload::{AnswerForm, AnswerPayload};
use super::words::cut;
use super::{LinkEvent, Links};
use crate::engine::Engine;
use crate::engine::ports::ProcessPort;

/// The code of a failure that stands for an answer over its client's limit.
pub(super) const TOO_LARGE: &str = "too_large";

impl<P: ProcessPort> Engine<Links, P> {
    /// What the core is to be told: the event as it is, or a failure where the client could not read the answer, whose
    /// body has this length. What no client waits for is left as it is.
    pub(super) fn fit(&self, event: LinkEvent, len: usize) -> LinkEvent {
        let Event::Answered { process, request, attempt, answer } = event else { return event };
        let whose = self.core().client_of(request);
        let most = whose.and_then(|(client, _)| self.links.table.look_up_client(client));
        let answer = match (whose, most.map(|client| client.max_body())) {
            (Some(whose), Some(most)) => self.links.fit_answer(answer, whose, len, most),
            (_, _) => answer,
        };
        Event::Answered { process, request, attempt, answer }
    }
}

impl Links {
    fn fit_answer(
        &self,
        answer: Answer<AnswerPayload>,
        whose: (ClientId, ClientTag),
        len: usize,
        most: usize,
    ) -> Answer<AnswerPayload> {
        let instead = |text: String| {
            tracing::warn!(limit = most, "a request fails for its client's limit: {text}");
            let failure = Failure::new(TOO_LARGE, text);
            Answer::Failed { answer: AnswerPayload(AnswerForm::Failure(Box::new(failure))), again: None }
        };
        match answer {
            Answer::Ok(_) if len > most => instead(format!(
                "the answer has {len} bytes and the client takes {most}; raise its max_body or answer less"
            )),
            Answer::Ok(_) if self.withheld.contains(&whose) => instead(format!(
                "a part was larger than the {most} bytes that the client takes; raise its max_body or answer less"
            )),
            Answer::Failed { answer: AnswerPayload(AnswerForm::Failure(failure)), again } if len > most => {
                let Failure { code, message, retryable, retry_after_ms, .. } = *failure;
                let code = cut(code);
                tracing::warn!(
                    limit = most,
                    code,
                    "a failure is over its client's limit; its details are left out"
                );
                let failure = Failure { retryable, retry_after_ms, ..Failure::new(code, cut(message)) };
                Answer::Failed { answer: AnswerPayload(AnswerForm::Failure(Box::new(failure))), again }
            }
            answer
            @ (Answer::Ok(_) | Answer::Failed { .. } | Answer::Panicked { .. } | Answer::Cancelled) => answer,
        }
    }

    /// Whether something that is said before the answer fits the client. If not, the request will fail: a stream with a
    /// hole is no reply.
    pub(super) fn fits(&mut self, client: ClientId, tag: ClientTag, len: usize) -> bool {
        let Some(most) = self.table.client(client).map(|client| client.max_body()) else { return true };
        if len > most && self.withheld.insert((client, tag)) {
            tracing::warn!(
                limit = most,
                len,
                "a part is over its client's limit; it is not sent, its request fails"
            );
        }
        len <= most
    }

    /// Nothing is missing any more: the request has ended, or its next attempt says everything again.
    pub(super) fn forget_withheld(&mut self, client: ClientId, tag: ClientTag) {
        self.withheld.remove(&(client, tag));
    }
}
