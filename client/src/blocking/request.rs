//! Blocking calls with options, and blocking streams.
//!
//! Owns nothing but the waiting: each option is the asynchronous builder's.

use std::iter::FusedIterator;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::Method;

use super::Waiter;
use crate::{CallError, Event, Reply, RetryOn};

/// Hands each option on to the asynchronous builder.
macro_rules! setters {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {$(
        #[doc = concat!("As [`", stringify!($name), "`](crate::RequestBuilder::", stringify!($name), ") of the asynchronous builder.")]
        pub fn $name(mut self, $($argument: $kind),*) -> Self {
            self.request = self.request.$name($($argument),*);
            self
        }
    )*};
}

/// The options of both builders.
macro_rules! options {
    () => {
        setters! {
            timeout(timeout: Duration);
            attempt_timeout(timeout: Duration);
            queue_timeout(timeout: Duration);
            progress_timeout(timeout: Duration);
            output_timeout(timeout: Duration);
            retry(max_attempts: u16);
            retry_on(on: impl IntoIterator<Item = RetryOn>);
            metadata(name: impl Into<String>, value: impl Into<String>);
            detached();
            trace_context(traceparent: impl Into<String>, tracestate: impl Into<String>);
            restartable(restartable: bool);
            stream_backlog(events: usize, bytes: usize);
            idempotency_key(key: impl Into<String>);
            pool(pool: impl Into<String>);
            no_cancel_on_drop();
        }
    };
}

/// A call with options; made by [`Client::request`](super::Client::request).
#[derive(Debug, Clone)]
#[must_use = "a request is sent only by `send` or by reading its stream"]
pub struct RequestBuilder<M> {
    request: crate::RequestBuilder<M>,
    waiter: Waiter,
}

impl<M> RequestBuilder<M> {
    pub(super) const fn new(request: crate::RequestBuilder<M>, waiter: Waiter) -> Self {
        Self { request, waiter }
    }

    options!();
}

impl<M: Method> RequestBuilder<M> {
    /// Sends the request and waits for the reply.
    ///
    /// # Errors
    ///
    /// Every [`CallError`].
    ///
    /// # Panics
    ///
    /// On a thread of an asynchronous runtime.
    #[track_caller]
    pub fn send(self) -> Result<Reply<M::Reply>, CallError> {
        self.waiter.wait(self.request.into_future())
    }

    /// The request as an iterator over what is told of it while it runs. Nothing is sent before the first event is asked
    /// for; dropping it cancels the request, unless it was told [not to](Self::no_cancel_on_drop).
    pub fn stream(self) -> EventStream<M> {
        EventStream { events: self.request.stream(), waiter: self.waiter }
    }
}

/// A call by name and CBOR, with options; made by [`Client::request_raw`](super::Client::request_raw).
#[derive(Debug, Clone)]
#[must_use = "a request is sent only by `send` or by reading its stream"]
pub struct RawRequestBuilder {
    request: crate::RawRequestBuilder,
    waiter: Waiter,
}

impl RawRequestBuilder {
    pub(super) const fn new(request: crate::RawRequestBuilder, waiter: Waiter) -> Self {
        Self { request, waiter }
    }

    options!();

    /// Sends the request and waits for the reply's CBOR.
    ///
    /// # Errors
    ///
    /// Every [`CallError`] but `Decode` of the reply.
    ///
    /// # Panics
    ///
    /// On a thread of an asynchronous runtime.
    #[track_caller]
    pub fn send(self) -> Result<Reply<Bytes>, CallError> {
        self.waiter.wait(self.request.into_future())
    }

    /// The request as an iterator over what is told of it while it runs. Nothing is sent before the first event is asked
    /// for; dropping it cancels the request, unless it was told [not to](Self::no_cancel_on_drop).
    pub fn stream(self) -> RawEventStream {
        RawEventStream { events: self.request.stream(), waiter: self.waiter }
    }
}

/// A request that is streamed: an iterator that blocks until the next [`Event`], and ends after [`Event::Done`].
///
/// `next` panics on a thread of an asynchronous runtime.
#[derive(Debug)]
#[must_use = "a request is sent only when its stream is read"]
pub struct EventStream<M> {
    events: crate::EventStream<M>,
    waiter: Waiter,
}

impl<M: Method> Iterator for EventStream<M> {
    type Item = Event<M::Reply, M::Partial>;

    fn next(&mut self) -> Option<Self::Item> {
        self.waiter.wait(self.events.next())
    }
}

impl<M: Method> FusedIterator for EventStream<M> {}

/// A request by name and CBOR that is streamed; otherwise as [`EventStream`].
#[derive(Debug)]
#[must_use = "a request is sent only when its stream is read"]
pub struct RawEventStream {
    events: crate::RawEventStream,
    waiter: Waiter,
}

impl Iterator for RawEventStream {
    type Item = Event<Bytes, Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.waiter.wait(self.events.next())
    }
}

impl FusedIterator for RawEventStream {}
