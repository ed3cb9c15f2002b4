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
        #[doc = concat!("As [`", stringify!($name), "`](crate::RequestBuilder::", stringify!($name), ")")]
        #[doc = "of the asynchronous builder."]
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
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Encode { file: String }
/// # lifeboat_client::method!("encode": Encode => u64, partial = String);
/// # fn example(boat: lifeboat_client::blocking::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use lifeboat_client::{Event, RetryOn};
///
/// let reply = boat
///     .request(Encode { file: "a.mkv".into() })
///     // For all of it, at most so long in the queue, and so long for each attempt.
///     .timeout(Duration::from_secs(600))
///     .queue_timeout(Duration::from_secs(10))
///     .attempt_timeout(Duration::from_secs(300))
///     // A process that says nothing for so long hangs.
///     .progress_timeout(Duration::from_secs(30))
///     .output_timeout(Duration::from_secs(60))
///     // It may be done more than once, and is, if the process dies or hangs.
///     .retry(3)
///     .retry_on([RetryOn::Crash, RetryOn::Stall])
///     // Read by the handler.
///     .metadata("tenant", "blue")
///     // The caller's span.
///     .trace_context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "")
///     // It may be executed twice under this key, also when the connection is lost; by this pool alone.
///     .idempotency_key("film-17")
///     .pool("videos")
///     .send()?;
/// println!("{} bytes, after {} attempts", *reply, reply.attempts());
///
/// // Or watched while it runs. It may be retried though parts of it were read: this reader forgets those of an
/// // attempt that failed.
/// let watched = boat.request(Encode { file: "b.mkv".into() }).retry(2).restartable(true);
/// let mut chapters = Vec::new();
/// let events = watched.stream_backlog(100, 1024 * 1024).stream();
/// for event in events {
///     match event {
///         Event::Partial(chapter) => chapters.push(chapter.into_inner()),
///         Event::AttemptFailed(_) => chapters.clear(),
///         Event::Done(reply) => println!("{} bytes, chapters: {chapters:?}", *reply?),
///         _ => {}
///     }
/// }
///
/// // Begun, and left alone after its first event: on nobody's behalf, and not cancelled when it is dropped.
/// let mut begun = boat.request(Encode { file: "c.mkv".into() }).detached().no_cancel_on_drop().stream();
/// println!("{:?}", begun.next());
/// # Ok(())
/// # }
/// ```
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
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn send(self) -> Result<Reply<M::Reply>, CallError> {
        self.waiter.wait(self.request.into_future())
    }

    /// The request as an iterator over what is told of it while it runs. Nothing is sent before the first event is
    /// asked for; dropping it cancels the request, unless it was told [not to](Self::no_cancel_on_drop).
    pub fn stream(self) -> EventStream<M> {
        EventStream { events: self.request.stream(), waiter: self.waiter }
    }
}

/// A call by name and CBOR, with options; made by [`Client::request_raw`](super::Client::request_raw).
///
/// ```no_run
/// # fn example(boat: lifeboat_client::blocking::Client, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use lifeboat_client::{Event, RetryOn};
///
/// let reply = boat
///     .request_raw("encode", body.clone())
///     // For all of it, at most so long in the queue, and so long for each attempt.
///     .timeout(Duration::from_secs(600))
///     .queue_timeout(Duration::from_secs(10))
///     .attempt_timeout(Duration::from_secs(300))
///     // A process that says nothing for so long hangs.
///     .progress_timeout(Duration::from_secs(30))
///     .output_timeout(Duration::from_secs(60))
///     // It may be done more than once, and is, if the process dies or hangs.
///     .retry(3)
///     .retry_on([RetryOn::Crash, RetryOn::Stall])
///     // Read by the handler.
///     .metadata("tenant", "blue")
///     // The caller's span.
///     .trace_context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "")
///     // It may be executed twice under this key, also when the connection is lost; by this pool alone.
///     .idempotency_key("film-17")
///     .pool("videos")
///     .send()?;
/// println!("{} bytes, after {} attempts", reply.decode::<u64>()?, reply.attempts());
///
/// // Or watched while it runs. It may be retried though parts of it were read: this reader forgets those of an
/// // attempt that failed.
/// let watched = boat.request_raw("encode", body).retry(2).restartable(true);
/// let mut chapters = Vec::new();
/// let events = watched.stream_backlog(100, 1024 * 1024).stream();
/// for event in events {
///     match event {
///         Event::Partial(chapter) => chapters.push(chapter.decode::<String>()?),
///         Event::AttemptFailed(_) => chapters.clear(),
///         Event::Done(reply) => println!("{} bytes, chapters: {chapters:?}", reply?.decode::<u64>()?),
///         _ => {}
///     }
/// }
///
/// // Begun, and left alone after its first event: on nobody's behalf, and not cancelled when it is dropped.
/// let mut begun = boat.request_raw("refresh", "").detached().no_cancel_on_drop().stream();
/// println!("{:?}", begun.next());
/// # Ok(())
/// # }
/// ```
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
    /// On a thread of a tokio runtime.
    #[track_caller]
    pub fn send(self) -> Result<Reply<Bytes>, CallError> {
        self.waiter.wait(self.request.into_future())
    }

    /// The request as an iterator over what is told of it while it runs. Nothing is sent before the first event is
    /// asked for; dropping it cancels the request, unless it was told [not to](Self::no_cancel_on_drop).
    pub fn stream(self) -> RawEventStream {
        RawEventStream { events: self.request.stream(), waiter: self.waiter }
    }
}

/// A request that is streamed: an iterator that blocks until the next [`Event`], and ends after [`Event::Done`].
///
/// `next` panics on a thread of a tokio runtime.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Encode { file: String }
/// # lifeboat_client::method!("encode": Encode => u64, partial = String);
/// # fn example(boat: lifeboat_client::blocking::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use lifeboat_client::Event;
///
/// let mut chapters = Vec::new();
/// for event in boat.request(Encode { file: "a.mkv".into() }).retry(2).restartable(true).stream() {
///     match event {
///         Event::Partial(chapter) => chapters.push(chapter.into_inner()),
///         // What it gave is void.
///         Event::AttemptFailed(_) => chapters.clear(),
///         Event::Done(reply) => println!("{} bytes, chapters: {chapters:?}", *reply?),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # fn example(boat: lifeboat_client::blocking::Client, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
/// use lifeboat_client::{Event, Value};
///
/// for event in boat.request_raw("encode", body).stream() {
///     match event {
///         Event::Partial(part) => println!("{:?}", part.decode::<Value>()?),
///         Event::Done(reply) => println!("{:?}", reply?.decode::<Value>()?),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
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
