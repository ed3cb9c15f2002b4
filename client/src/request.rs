//! Calls with options.
//!
//! Owns the two kinds of builder. Must never send anything: that begins when a builder is awaited.

mod options;
mod setters;

use std::borrow::Cow;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::{Method, NULL_BODY, append_body};

use self::options::Options;
use self::setters::setters;
use crate::call::{RawReplyFuture, ReplyFuture};
use crate::exchange::Exchange;
use crate::stream::{EventStream, RawEventStream};
use crate::table::Room;
use crate::{Client, RequestError, RetryOn};

/// A whole number of milliseconds, rounded up: a limit that is said never becomes none.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// A call with options; await it to send it. Made by [`Client::request`].
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Encode { file: String }
/// # lifeboat_client::method!("encode": Encode => u64, partial = String);
/// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
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
///     .await?;
/// println!("{} bytes, after {} attempts", *reply, reply.attempts());
///
/// // Or watched while it runs. It may be retried though parts of it were read: this reader forgets those of an
/// // attempt that failed.
/// let watched = boat.request(Encode { file: "b.mkv".into() }).retry(2).restartable(true);
/// let mut chapters = Vec::new();
/// let mut events = watched.stream_backlog(100, 1024 * 1024).stream();
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Partial(chapter) => chapters.push(chapter.into_inner()),
///         Event::AttemptFailed(_) => chapters.clear(),
///         Event::Done(reply) => println!("{} bytes, chapters: {chapters:?}", *reply?),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request is sent only when it is awaited"]
pub struct RequestBuilder<M> {
    options: Options,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> RequestBuilder<M> {
    pub(crate) fn new(client: &Client, request: &M::Request) -> Self {
        let mut body = Vec::new();
        let encoded = append_body::<M::Encoding, _>(&mut body, request);
        let body = encoded.map(|_| body.into()).map_err(RequestError::from);
        Self { options: Options::new(client, Cow::Borrowed(M::NAME), body), method: PhantomData }
    }
}

impl<M> RequestBuilder<M> {
    setters!();

    /// Sends the request and streams what is told of it while it runs. Nothing is sent before the stream is first
    /// polled; dropping it cancels the request, unless it was told [not to](Self::no_cancel_on_drop). See the [crate's
    /// documentation](crate#streams).
    pub fn stream(self) -> EventStream<M> {
        EventStream::new(self.options.into_streamed_exchange())
    }
}

impl<M: Method> IntoFuture for RequestBuilder<M> {
    type Output = <ReplyFuture<M> as Future>::Output;
    type IntoFuture = ReplyFuture<M>;

    fn into_future(self) -> ReplyFuture<M> {
        ReplyFuture::new(self.into_exchange())
    }
}

/// A call by name and CBOR, with options; await it to send it. Made by [`Client::request_raw`].
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
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
///     .await?;
/// println!("{} bytes, after {} attempts", reply.decode::<u64>()?, reply.attempts());
///
/// // Or watched while it runs. It may be retried though parts of it were read: this reader forgets those of an
/// // attempt that failed.
/// let watched = boat.request_raw("encode", body).retry(2).restartable(true);
/// let mut chapters = Vec::new();
/// let mut events = watched.stream_backlog(100, 1024 * 1024).stream();
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Partial(chapter) => chapters.push(chapter.decode::<String>()?),
///         Event::AttemptFailed(_) => chapters.clear(),
///         Event::Done(reply) => println!("{} bytes, chapters: {chapters:?}", reply?.decode::<u64>()?),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request is sent only when it is awaited"]
pub struct RawRequestBuilder {
    options: Options,
}

impl RawRequestBuilder {
    pub(crate) fn new(client: &Client, method: Cow<'static, str>, body: Bytes) -> Self {
        let body = if body.is_empty() { Bytes::from_static(NULL_BODY) } else { body };
        Self { options: Options::new(client, method, Ok(body)) }
    }

    setters!();

    /// Sends the request and streams what is told of it while it runs. Nothing is sent before the stream is first
    /// polled; dropping it cancels the request, unless it was told [not to](Self::no_cancel_on_drop). See the [crate's
    /// documentation](crate#streams).
    pub fn stream(self) -> RawEventStream {
        RawEventStream::new(self.options.into_streamed_exchange())
    }
}

impl IntoFuture for RawRequestBuilder {
    type Output = <RawReplyFuture as Future>::Output;
    type IntoFuture = RawReplyFuture;

    fn into_future(self) -> RawReplyFuture {
        RawReplyFuture::new(self.into_exchange())
    }
}
