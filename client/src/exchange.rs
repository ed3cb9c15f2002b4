//! One call, from its start to its end, in terms of bytes.
//!
//! Owns the step from the table's ends to the caller's errors, and the cancel on drop. Must never be polled to make
//! progress: the driver does the work, this only asks for its result.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lifeboat_protocol::{Encoding, RejectWhy, Route, TimeoutWhich};
use serde::de::DeserializeOwned;

use crate::client::Handle;
use crate::outcome::read_error;
use crate::table::{Backlog, Ended, Kind, Room, Spec, Step, Told};
use crate::{CallError, ConnectError, RequestError};

/// See the module.
#[derive(Debug)]
pub(crate) struct Exchange {
    handle: Arc<Handle>,
    method: Cow<'static, str>,
    timeout: Option<Duration>,
    /// When the request must have ended on whose behalf this one is made.
    until: Option<Instant>,
    /// Given to the table at the start of a stream.
    backlog: Option<Box<Backlog>>,
    /// Dropping this does not cancel it.
    goes_on: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Not polled yet. None: asks for a connection only.
    New(Option<Arc<Spec>>),
    /// Cannot be sent.
    Unsendable(RequestError),
    /// In the table.
    Open(u64),
    /// Over.
    Done,
}

/// What the reader of a stream gets next.
#[derive(Debug)]
pub(crate) enum Heard {
    Told(Told),
    End(Result<(Route, Bytes), CallError>),
}

impl Exchange {
    pub(crate) fn request(
        handle: Arc<Handle>,
        method: Cow<'static, str>,
        spec: Result<Spec, RequestError>,
        timeout: Option<Duration>,
        room: Option<Room>,
    ) -> Self {
        let backlog = room.map(|room| Box::new(Backlog::new(room)));
        let stage = match spec {
            Ok(spec) => Stage::New(Some(Arc::new(spec))),
            Err(error) => Stage::Unsendable(error),
        };
        Self { handle, method, timeout, until: None, backlog, goes_on: false, stage }
    }

    /// When it must have ended at the latest, whatever its timeout.
    pub(crate) fn until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    /// Whether the request goes on when this is dropped, instead of being cancelled. Default: it does not.
    pub(crate) fn goes_on(mut self, goes_on: bool) -> Self {
        self.goes_on = goes_on;
        self
    }

    /// Whatever was said of it, dropping this cancels it.
    pub(crate) fn cancel_on_drop(&mut self) {
        self.goes_on = false;
    }

    /// An operation: `frame` is the whole of it, without its id.
    pub(crate) fn operation(handle: Arc<Handle>, frame: Bytes, timeout: Duration) -> Self {
        let spec = Spec { kind: Kind::Operation, body: frame };
        let stage = Stage::New(Some(Arc::new(spec)));
        let (method, timeout) = (Cow::Borrowed(""), Some(timeout));
        Self { handle, method, timeout, until: None, backlog: None, goes_on: false, stage }
    }

    /// Waits for a connection.
    pub(crate) async fn connection(handle: Arc<Handle>) -> Result<(), ConnectError> {
        let stage = Stage::New(None);
        let settings = &handle.shared.settings;
        let (path, after) = (settings.path.clone(), settings.connect_timeout);
        let method = Cow::Borrowed("");
        let exchange =
            Self { handle, method, timeout: None, until: None, backlog: None, goes_on: false, stage };
        match exchange.ended().await {
            Ended::Connect(error) => Err(error),
            // The one broker that was found takes nothing new, and no other came.
            Ended::Draining => Err(ConnectError::TimedOut { path, after, last: None }),
            // Nothing was sent, so nothing else can have come back; a connection that is lost at once was one.
            Ended::Connected
            | Ended::Answer(..)
            | Ended::Error(..)
            | Ended::Operated(_)
            | Ended::BacklogFull(_)
            | Ended::TimedOut { .. }
            | Ended::TooLarge { .. }
            | Ended::PoolIgnored { .. }
            | Ended::Disconnected { .. } => Ok(()),
        }
    }

    /// The end, whatever it is.
    pub(crate) async fn ended(mut self) -> Ended {
        *std::future::poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// Starts the call when first polled; then its id.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, Box<Ended>>> {
        match &mut self.stage {
            Stage::Open(id) => Poll::Ready(Ok(*id)),
            Stage::New(spec) => {
                let (spec, backlog) = (spec.take(), self.backlog.take());
                if let Some(until) = self.until {
                    let left = until.saturating_duration_since(Instant::now());
                    self.timeout = Some(self.timeout.map_or(left, |timeout| timeout.min(left)));
                }
                match self.handle.shared.start(spec, backlog, self.timeout, cx.waker()) {
                    Ok(id) => {
                        self.stage = Stage::Open(id);
                        Poll::Pending
                    }
                    Err(error) => {
                        self.stage = Stage::Done;
                        Poll::Ready(Err(Box::new(Ended::Connect(error))))
                    }
                }
            }
            Stage::Unsendable(_) | Stage::Done => panic!("a call was polled after it had ended"),
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Box<Ended>> {
        let id = match ready!(self.poll_open(cx)) {
            Ok(id) => id,
            Err(ended) => return Poll::Ready(ended),
        };
        let ended = ready!(self.handle.shared.poll(id, cx));
        self.stage = Stage::Done;
        Poll::Ready(ended)
    }

    /// Why the request cannot be sent, if it cannot.
    fn take_unsendable(&mut self) -> Option<CallError> {
        let Stage::Unsendable(_) = self.stage else { return None };
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Unsendable(source) => Some(CallError::Encode { method: self.method.to_string(), source }),
            Stage::New(_) | Stage::Open(_) | Stage::Done => None,
        }
    }

    /// The end of a request, in the caller's terms.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Route, Bytes), CallError>> {
        if let Some(error) = self.take_unsendable() {
            return Poll::Ready(Err(error));
        }
        let ended = ready!(self.poll_ended(cx));
        Poll::Ready(self.read_end(*ended))
    }

    /// What is told of a streamed request, and then its end.
    pub(crate) fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if let Some(error) = self.take_unsendable() {
            return Poll::Ready(Heard::End(Err(error)));
        }
        let step = match ready!(self.poll_open(cx)) {
            Ok(id) => ready!(self.handle.shared.poll_step(id, cx)),
            Err(ended) => Step::Ended(ended),
        };
        Poll::Ready(match step {
            Step::Told(told) => Heard::Told(told),
            Step::Ended(ended) => {
                self.stage = Stage::Done;
                Heard::End(self.read_end(*ended))
            }
        })
    }

    fn read_end(&self, ended: Ended) -> Result<(Route, Bytes), CallError> {
        let method = || self.method.to_string();
        let rejected = |why, message| CallError::Rejected {
            method: method(),
            why,
            retry_after: None,
            message: Some(message),
            report_id: None,
            attempts: [].into(),
            may_have_executed: false,
        };
        Err(match ended {
            Ended::Answer(route, body) => return Ok((route, body)),
            Ended::Error(route, body) => read_error(route, &body, &self.method),
            Ended::BacklogFull(Room { events, bytes }) => {
                CallError::BacklogFull { method: method(), events, bytes }
            }
            Ended::TimedOut { unanswered } => CallError::TimedOut {
                method: method(),
                which: TimeoutWhich::Deadline,
                limit: self.timeout,
                message: None,
                attempts: [].into(),
                output_so_far: Vec::new(),
                unanswered,
                may_have_executed: unanswered,
            },
            Ended::TooLarge { len, limit } => rejected(
                RejectWhy::TooLarge,
                format!(
                    "a body of {len} bytes is larger than the {limit} that the broker accepts (max_body)"
                ),
            ),
            Ended::PoolIgnored { pool } => rejected(
                RejectWhy::UnknownMethod,
                format!(
                    "only the pool '{pool}' may serve it, and the broker is too old to keep to that; upgrade the broker"
                ),
            ),
            Ended::Draining => rejected(
                RejectWhy::Draining,
                "the broker shuts down, and no other took its place in time".into(),
            ),
            Ended::Disconnected { may_have_executed, lost } => {
                CallError::Disconnected { may_have_executed, source: lost }
            }
            Ended::Connect(error) => CallError::Connect(error),
            Ended::Connected | Ended::Operated(_) => unreachable!("no request ends so"),
        })
    }

    /// A body that belongs to this call, as a value.
    pub(crate) fn decode<E: Encoding, T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CallError> {
        E::decode(body).map_err(|source| CallError::Decode { method: self.method.to_string(), source })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Stage::Open(id) = self.stage {
            let shared = &self.handle.shared;
            if self.goes_on { shared.let_go(id) } else { shared.abandon(id) }
        }
    }
}
