//! Wire to core and back: the one place that knows both.
//!
//! Pure functions over frames, events and settlements. It must never touch a socket or decide an outcome.

mod history;
mod reports;
mod rows;
mod told;

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::ids::{AttemptNumber, MethodId, ProcessKey, RequestId};
use lifeboat_core::settings::{MethodSettings, RetryOn, Settings};
use lifeboat_protocol as wire;
use lifeboat_protocol::{
    BodyError, Ext, ExtError, Header, Message, OTHER_METHOD, Panicked, Route, WorkersFailed, decode_body,
};
use thiserror::Error;

pub(super) use self::history::history;
pub(super) use self::reports::{failed_row, report_row};
pub(super) use self::rows::{Asked, operate};
pub(super) use self::told::{attempt_body, error_body};
use super::intake::Inbound;
use super::payload::{AnswerForm, AnswerPayload, RequestPayload};
use super::words::cut;

/// A message that a worker may not send, or not like this. Its text is the reason told with the process's end.
#[derive(Debug, Error)]
pub(super) enum WorkerMessageError {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] wire::HeaderError),
    /// The body cannot be read.
    #[error("the body of a {what} message cannot be read: {source}")]
    Body { what: wire::MessageType, source: BodyError },
    /// The message is for the other direction.
    #[error("a worker may not send a {0} message")]
    Direction(wire::MessageType),
    /// It refused the broker.
    #[error("the worker refused the broker: {0}")]
    Refused(String),
}

/// Which method of the configuration a name means.
pub(super) struct MethodTable {
    by_name: HashMap<Box<str>, MethodId>,
    any: Option<MethodId>,
    /// By method: its pool's name.
    pools: Vec<Box<str>>,
    /// By method: whether its bodies are known by their digests.
    quarantine: Vec<bool>,
}

impl MethodTable {
    pub(super) fn new(settings: &Settings) -> Self {
        let pool = |method: &MethodSettings| settings.pool(method.pool).name.as_str().into();
        let pools = settings.methods.iter().map(pool).collect();
        let quarantine = settings.methods.iter().map(|method| method.quarantine.is_some()).collect();
        let mut table = Self { by_name: HashMap::new(), any: None, pools, quarantine };
        for (index, method) in (0..).zip(&settings.methods) {
            if method.name == OTHER_METHOD {
                table.any = Some(MethodId(index));
            } else {
                table.by_name.insert(method.name.as_str().into(), MethodId(index));
            }
        }
        table
    }

    /// The method that a request means, in the one pool that serves it; with a pool, only if it is that one.
    pub(super) fn find(&self, name: &str, pool: Option<&str>) -> Option<MethodId> {
        let id = self.by_name.get(name).copied().or(self.any)?;
        pool.is_none_or(|pool| *self.pools[usize::from(id.0)] == *pool).then_some(id)
    }

    /// Whether a method may refuse bodies.
    pub(super) fn has_quarantine(&self, method: MethodId) -> bool {
        self.quarantine[usize::from(method.0)]
    }
}

/// What a client asks for with a request.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) limits: ClientLimits,
    pub(super) stream: bool,
    pub(super) restartable: bool,
    /// The one pool that may serve it.
    pub(super) pool: Option<String>,
}

/// What a client asks for with a request.
pub(super) fn wishes(route: Route, ext: Option<&[u8]>) -> Result<Wishes, ExtError> {
    let timeout = route.time_left.as_duration();
    let Some(ext) = ext else {
        return Ok(Wishes {
            limits: ClientLimits { timeout, ..ClientLimits::default() },
            ..Wishes::default()
        });
    };
    let ext = Ext::decode(ext)?;
    let retry = ext.retry.unwrap_or_default();
    let length = |millis: Option<u64>| millis.map(Duration::from_millis);
    Ok(Wishes {
        limits: ClientLimits {
            timeout,
            queue_timeout: length(ext.limits.queue_timeout_ms),
            attempt_timeout: length(ext.limits.attempt_timeout_ms),
            progress_timeout: length(ext.limits.progress_timeout_ms),
            output_timeout: length(ext.limits.output_timeout_ms),
            max_attempts: retry.max_attempts.and_then(NonZeroU16::new),
            retry_on: (!retry.on.is_empty()).then(|| retry_on(&retry.on)),
        },
        stream: ext.stream,
        restartable: ext.restartable,
        pool: ext.pool,
    })
}

/// The ends that a client wants to be retried. One that this broker does not know is never met, so never retried.
fn retry_on(wishes: &[String]) -> RetryOn {
    let has = |end: &str| wishes.iter().any(|wish| wish == end);
    RetryOn { crash: has("crash"), stall: has("stall"), timeout: has("timeout"), failed: has("failed") }
}

/// What a worker's message tells the core.
pub(super) fn worker_event(
    process: ProcessKey,
    message: &Message<'_>,
    inbound: &Inbound,
) -> Result<Event<RequestPayload, AnswerPayload>, WorkerMessageError> {
    let answered = |route: Route, answer| Event::Answered {
        process,
        request: RequestId(route.id),
        attempt: AttemptNumber(route.attempt),
        answer,
    };
    let frame = || AnswerPayload(AnswerForm::Frame(inbound.clone()));
    match message.header {
        Header::Answer { route } => Ok(answered(route, Answer::Ok(frame()))),
        Header::Failure { route } => {
            let failure: wire::Failure = worker_body(message)?;
            let again = failure.again();
            let answer = AnswerPayload(AnswerForm::Failure(Box::new(failure)));
            Ok(answered(route, Answer::Failed { answer, again }))
        }
        Header::Panicked { route } => {
            let Panicked { message, location, kept } = worker_body(message)?;
            let (message, location) = (cut(message), location.map(cut));
            Ok(answered(route, Answer::Panicked { message, location, kept }))
        }
        Header::Cancelled { route } => Ok(answered(route, Answer::Cancelled)),
        Header::Progress { route } => {
            let (request, attempt) = (RequestId(route.id), AttemptNumber(route.attempt));
            Ok(Event::ProgressReceived { process, request, attempt, note: frame() })
        }
        Header::Partial { route } => {
            let (request, attempt) = (RequestId(route.id), AttemptNumber(route.attempt));
            Ok(Event::PartReceived { process, request, attempt, part: frame() })
        }
        Header::Save { route } => {
            let (request, attempt) = (RequestId(route.id), AttemptNumber(route.attempt));
            let (item, bytes) = saved(message, inbound);
            Ok(Event::Saved { process, request, attempt, item, bytes })
        }
        Header::Heartbeat => Ok(Event::HeartbeatReceived { process, ago: Duration::ZERO }),
        Header::Retire => Ok(Event::RetireReceived { process }),
        Header::WorkersFailed => {
            let failed: WorkersFailed = worker_body(message)?;
            Ok(Event::WorkersFailed { process, reasons: cut(failed.reasons.join("; ")) })
        }
        Header::Refused => {
            let refused: wire::Refused = worker_body(message)?;
            let refusal = format!("{}: {}", refused.code.as_str(), refused.message);
            Err(WorkerMessageError::Refused(cut(refusal)))
        }
        Header::Hello
        | Header::Request { .. }
        | Header::Error { .. }
        | Header::Cancel { .. }
        | Header::Drain
        | Header::AttemptFailed { .. }
        | Header::Accepted { .. }
        | Header::Operate { .. }
        | Header::Operated { .. }
        | Header::History { .. } => Err(WorkerMessageError::Direction(message.header.message_type())),
    }
}

/// The handle of an item that is saved, and the memory that it pins: it outlives the read that brought it.
fn saved(message: &Message<'_>, inbound: &Inbound) -> (AnswerPayload, usize) {
    let (item, pinned) = match inbound {
        Inbound::Small(_) => (Bytes::copy_from_slice(message.body), message.body.len()),
        Inbound::Large(frame) => (frame.slice_ref(message.body), frame.len()),
    };
    (AnswerPayload(AnswerForm::Saved(item)), pinned)
}

fn worker_body<T: serde::de::DeserializeOwned>(message: &Message<'_>) -> Result<T, WorkerMessageError> {
    decode_body(message.body)
        .map_err(|source| WorkerMessageError::Body { what: message.header.message_type(), source })
}

#[cfg(test)]
mod tests {
    use lifeboat_core::settings::RetryOn;
    use lifeboat_protocol::{Ext, RetryExt, Route, RouteFlags, TimeLeft};

    use super::wishes;

    fn retry_wish(on: &[&str]) -> Option<RetryOn> {
        let on = on.iter().map(|word| (*word).to_owned()).collect();
        let ext = Ext { retry: Some(RetryExt { max_attempts: Some(2), on }), ..Ext::default() };
        let mut bytes = Vec::new();
        ext.encode_into(&mut bytes);
        let route = Route { id: 1, attempt: 0, flags: RouteFlags::NONE, time_left: TimeLeft::NONE };
        wishes(route, Some(&bytes)).unwrap().limits.retry_on
    }

    #[test]
    fn a_client_names_what_it_wants_to_be_retried() {
        assert_eq!(retry_wish(&[]), None, "no wish");
        let on = RetryOn { crash: true, failed: true, ..RetryOn::NOTHING };
        assert_eq!(retry_wish(&["failed", "crash", "eclipse"]), Some(on));
        let all = RetryOn { crash: true, stall: true, timeout: true, failed: true };
        assert_eq!(retry_wish(&["crash", "stall", "timeout", "failed"]), Some(all));
        assert_eq!(retry_wish(&["eclipse"]), Some(RetryOn::NOTHING), "unknown words alone want no retry");
    }
}
