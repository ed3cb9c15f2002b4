//! Calls under way, as futures.
//!
//! Owns the step from the table's ends to the caller's types, and the cancel on drop. Must never be polled to make
//! progress: the driver does the work, these only ask for its result.

use std::borrow::Cow;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::{Method, RejectWhy, Route, TimeoutWhich, decode_body};

use crate::client::Handle;
use crate::error::RequestError;
use crate::outcome::read_error;
use crate::table::{Ended, Spec};
use crate::{CallError, ConnectError, Reply};

/// One call, from its start to its end, in terms of bytes.
#[derive(Debug)]
pub(crate) struct Exchange {
    handle: Arc<Handle>,
    method: Cow<'static, str>,
    timeout: Option<Duration>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Not polled yet. None: asks for a connection only.
    New(Option<Box<Spec>>),
    /// Cannot be sent.
    Unsendable(RequestError),
    /// In the table.
    Open(u64),
    /// Over.
    Done,
}

impl Exchange {
    pub(crate) fn new(
        handle: Arc<Handle>,
        spec: Result<Spec, (Cow<'static, str>, RequestError)>,
        timeout: Option<Duration>,
    ) -> Self {
        let (method, stage) = match spec {
            Ok(spec) => (spec.method.clone(), Stage::New(Some(Box::new(spec)))),
            Err((method, error)) => (method, Stage::Unsendable(error)),
        };
        Self { handle, method, timeout, stage }
    }

    /// Waits for a connection.
    pub(crate) async fn connection(handle: Arc<Handle>) -> Result<(), ConnectError> {
        let stage = Stage::New(None);
        let settings = &handle.shared.settings;
        let (path, after) = (settings.path.clone(), settings.connect_timeout);
        let mut exchange = Self { handle, method: Cow::Borrowed(""), timeout: None, stage };
        match *std::future::poll_fn(|cx| exchange.poll_ended(cx)).await {
            Ended::Connect(error) => Err(error),
            // The one broker that was found takes nothing new, and no other came.
            Ended::Draining => Err(ConnectError::TimedOut { path, after, last: None }),
            // Nothing was sent, so nothing else can have come back; a connection that is lost at once was one.
            Ended::Connected
            | Ended::Answer(..)
            | Ended::Error(..)
            | Ended::TimedOut { .. }
            | Ended::TooLarge { .. }
            | Ended::Disconnected { .. } => Ok(()),
        }
    }

    /// Starts the call when first polled, and asks for its end.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Box<Ended>> {
        let id = match &mut self.stage {
            Stage::Open(id) => *id,
            Stage::New(spec) => {
                match self.handle.shared.start(spec.take(), self.timeout, cx.waker()) {
                    Ok(id) => self.stage = Stage::Open(id),
                    Err(error) => {
                        self.stage = Stage::Done;
                        return Poll::Ready(Box::new(Ended::Connect(error)));
                    }
                }
                return Poll::Pending;
            }
            Stage::Unsendable(_) | Stage::Done => panic!("a call was polled after it had ended"),
        };
        let ended = ready!(self.handle.shared.poll(id, cx));
        self.stage = Stage::Done;
        Poll::Ready(ended)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Route, Bytes), CallError>> {
        if let Stage::Unsendable(_) = self.stage {
            let Stage::Unsendable(source) = std::mem::replace(&mut self.stage, Stage::Done) else {
                unreachable!("matched just before")
            };
            return Poll::Ready(Err(CallError::Encode { method: self.method.to_string(), source }));
        }
        let ended = ready!(self.poll_ended(cx));
        Poll::Ready(self.read_end(*ended))
    }

    fn read_end(&self, ended: Ended) -> Result<(Route, Bytes), CallError> {
        let method = || self.method.to_string();
        let rejected = |why, message| CallError::Rejected {
            method: method(),
            why,
            retry_after: None,
            message: Some(message),
            attempts: Vec::new(),
        };
        Err(match ended {
            Ended::Answer(route, body) => return Ok((route, body)),
            Ended::Error(route, body) => read_error(route, &body, &self.method),
            Ended::TimedOut { unanswered } => CallError::TimedOut {
                method: method(),
                which: TimeoutWhich::Deadline,
                limit: self.timeout,
                attempts: Vec::new(),
                output_so_far: Vec::new(),
                unanswered,
            },
            Ended::TooLarge { len, limit } => rejected(
                RejectWhy::TooLarge,
                format!(
                    "a body of {len} bytes is larger than the {limit} that the broker accepts (max_body)"
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
            Ended::Connected => unreachable!("only a call without a request ends so"),
        })
    }

    fn decode<M: Method>(&self, body: &[u8]) -> Result<M::Reply, CallError> {
        decode_body(body).map_err(|source| CallError::Decode { method: self.method.to_string(), source })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Stage::Open(id) = self.stage {
            self.handle.shared.abandon(id);
        }
    }
}

/// A call under way; returned by [`Client::call`](crate::Client::call). Its output is the reply. Dropping it cancels the
/// call.
#[derive(Debug)]
#[must_use = "a call is sent only when it is awaited"]
pub struct Call<M> {
    exchange: Exchange,
    method: PhantomData<fn() -> M>,
}

impl<M> Call<M> {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self { exchange, method: PhantomData }
    }
}

impl<M: Method> Future for Call<M> {
    type Output = Result<M::Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (_, body) = ready!(self.exchange.poll(cx))?;
        Poll::Ready(self.exchange.decode::<M>(&body))
    }
}

/// A call under way; what awaiting a [`RequestBuilder`](crate::RequestBuilder) awaits. Its output is a [`Reply`].
/// Dropping it cancels the call.
#[derive(Debug)]
#[must_use = "a call is sent only when it is awaited"]
pub struct ReplyFuture<M> {
    exchange: Exchange,
    method: PhantomData<fn() -> M>,
}

impl<M> ReplyFuture<M> {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self { exchange, method: PhantomData }
    }
}

impl<M: Method> Future for ReplyFuture<M> {
    type Output = Result<Reply<M::Reply>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (route, body) = ready!(self.exchange.poll(cx))?;
        let value = self.exchange.decode::<M>(&body)?;
        Poll::Ready(Ok(Reply::new(value, route)))
    }
}

/// A call under way; returned by [`Client::call_raw`](crate::Client::call_raw). Its output is the reply's CBOR.
/// Dropping it cancels the call.
#[derive(Debug)]
#[must_use = "a call is sent only when it is awaited"]
pub struct RawCall {
    exchange: Exchange,
}

impl RawCall {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self { exchange }
    }
}

impl Future for RawCall {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (_, body) = ready!(self.exchange.poll(cx))?;
        Poll::Ready(Ok(body))
    }
}

/// A call under way; what awaiting a [`RawRequestBuilder`](crate::RawRequestBuilder) awaits. Its output is a [`Reply`]
/// of CBOR. Dropping it cancels the call.
#[derive(Debug)]
#[must_use = "a call is sent only when it is awaited"]
pub struct RawReplyFuture {
    exchange: Exchange,
}

impl RawReplyFuture {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self { exchange }
    }
}

impl Future for RawReplyFuture {
    type Output = Result<Reply<Bytes>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (route, body) = ready!(self.exchange.poll(cx))?;
        Poll::Ready(Ok(Reply::new(body, route)))
    }
}
