//! Streams: a request and what is told of it while it runs.
//!
//! Owns the step from what the table heard to the caller's events. Must never be polled to make progress, and never
//! give anything after the end.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use lifeboat_protocol::{AttemptBody, Cbor, Encoding, Method};
use serde::de::DeserializeOwned;

use crate::exchange::{Exchange, Heard};
use crate::table::{Told, What};
use crate::{Accepted, AttemptReport, CallError, Event, Partial, Progress, Reply};

/// What both kinds of stream share. The exchange is gone after the end.
#[derive(Debug)]
struct Feed(Option<Exchange>);

/// What a body is to this stream.
type Read<T> = fn(&Exchange, &Bytes) -> Result<T, CallError>;

impl Feed {
    fn poll_next<R, P>(
        &mut self,
        cx: &mut Context<'_>,
        reply: Read<R>,
        partial: Read<P>,
    ) -> Poll<Option<Event<R, P>>> {
        let Some(exchange) = &mut self.0 else { return Poll::Ready(None) };
        let event = match ready!(exchange.poll_heard(cx)) {
            // Partials are void, or half of them is missing, and nobody can say why: not to be passed over.
            Heard::Told(told) => {
                read_told(exchange, told, partial).unwrap_or_else(|error| {
                    // Its reader has not left it alone: it has an error, and nobody will read the rest.
                    exchange.cancel_on_drop();
                    Event::Done(Err(error))
                })
            }
            Heard::End(end) => {
                Event::Done(end.and_then(|(route, body)| Ok(Reply::new(reply(exchange, &body)?, route))))
            }
        };
        if matches!(event, Event::Done(_)) {
            // Cancels a request that has not ended.
            self.0 = None;
        }
        Poll::Ready(Some(event))
    }
}

fn read_told<R, P>(exchange: &Exchange, told: Told, partial: Read<P>) -> Result<Event<R, P>, CallError> {
    let Told { attempt, what, body } = told;
    Ok(match what {
        What::Accepted { time_left } => {
            let accepted: lifeboat_protocol::Accepted = exchange.decode::<Cbor, _>(&body)?;
            Event::Accepted(Accepted { request_id: accepted.request, time_left: time_left.as_duration() })
        }
        What::Progress { skipped } => Event::Progress(Progress::read(attempt, skipped, &body)),
        What::Partial => Event::Partial(Partial::new(attempt, partial(exchange, &body)?)),
        What::AttemptFailed => {
            let report: AttemptBody = exchange.decode::<Cbor, _>(&body)?;
            // The route's number is the one that counts: it is what the attempt's partials came with.
            Event::AttemptFailed(AttemptReport { number: attempt, ..report.into() })
        }
    })
}

/// A body of an encoding, as a value.
fn value<E: Encoding, T: DeserializeOwned>(exchange: &Exchange, body: &Bytes) -> Result<T, CallError> {
    exchange.decode::<E, T>(body)
}

/// A body as it is.
#[expect(clippy::unnecessary_wraps, reason = "others may fail")]
fn bytes(_: &Exchange, body: &Bytes) -> Result<Bytes, CallError> {
    Ok(body.clone())
}

/// A request that is streamed: what is told of it while it runs, then its end. Made by
/// [`RequestBuilder::stream`](crate::RequestBuilder::stream). Dropping it cancels the request, unless it was told
/// [not to](crate::RequestBuilder::no_cancel_on_drop).
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Encode { file: String }
/// # lifeboat_client::method!("encode": Encode => u64, partial = String);
/// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use lifeboat_client::Event;
///
/// let mut events = boat.request(Encode { file: "a.mkv".into() }).stream();
/// let mut tick = tokio::time::interval(Duration::from_secs(1));
/// loop {
///     tokio::select! {
///         event = events.next() => match event {
///             Some(Event::Done(reply)) => println!("{} bytes", *reply?),
///             Some(event) => println!("{event:?}"),
///             None => break,
///         },
///         _ = tick.tick() => println!("still there"),
///     }
/// }
///
/// // For a future or stream of one's own; with the crate `futures`,
/// // `futures::stream::poll_fn(move |cx| events.poll_next(cx))` is a `Stream`.
/// let event = std::future::poll_fn(|cx| events.poll_next(cx)).await;
/// assert!(event.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a request is sent only when its stream is read"]
pub struct EventStream<M> {
    feed: Feed,
    method: PhantomData<fn() -> M>,
}

impl<M> EventStream<M> {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self { feed: Feed(Some(exchange)), method: PhantomData }
    }
}

impl<M: Method> EventStream<M> {
    /// The next event; `None` after [`Event::Done`]. May be dropped at any time without losing an event, in `select!`
    /// for example.
    pub async fn next(&mut self) -> Option<Event<M::Reply, M::Partial>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for those who write futures and streams of their own.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<M::Reply, M::Partial>>> {
        self.feed.poll_next(cx, value::<M::Encoding, _>, value::<M::Encoding, _>)
    }
}

/// A request by name and CBOR that is streamed: what is told of it while it runs, then its end. Made by
/// [`RawRequestBuilder::stream`](crate::RawRequestBuilder::stream). Dropping it cancels the request, unless it was told
/// [not to](crate::RawRequestBuilder::no_cancel_on_drop).
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
/// use lifeboat_client::{Event, Value};
///
/// let mut events = boat.request_raw("encode", body).stream();
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Partial(part) => println!("{:?}", part.decode::<Value>()?),
///         Event::Done(reply) => println!("{:?}", reply?.decode::<Value>()?),
///         _ => {}
///     }
/// }
/// // `poll_next` for a future or stream of one's own.
/// assert!(std::future::poll_fn(|cx| events.poll_next(cx)).await.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a request is sent only when its stream is read"]
pub struct RawEventStream {
    feed: Feed,
}

impl RawEventStream {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self { feed: Feed(Some(exchange)) }
    }

    /// The next event; `None` after [`Event::Done`]. May be dropped at any time without losing an event, in `select!`
    /// for example.
    pub async fn next(&mut self) -> Option<Event<Bytes, Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for those who write futures and streams of their own.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<Bytes, Bytes>>> {
        self.feed.poll_next(cx, bytes, bytes)
    }
}
