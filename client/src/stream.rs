//! Streams: a request and what is told of it while it runs.
//!
//! Owns the step from what the table heard to the caller's events. Must never be polled to make progress, and never
//! give anything after the end.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use lifeboat_protocol::{AttemptBody, Method, Route};

use crate::exchange::{Exchange, Heard};
use crate::table::{Told, What};
use crate::{AttemptReport, CallError, Event, Partial, Progress, Reply};

/// What both kinds of stream share. The exchange is gone after the end.
#[derive(Debug)]
struct Feed(Option<Exchange>);

impl Feed {
    fn poll_next<R>(
        &mut self,
        cx: &mut Context<'_>,
        reply: impl FnOnce(&Exchange, Route, Bytes) -> Result<Reply<R>, CallError>,
    ) -> Poll<Option<Event<R>>> {
        let Some(exchange) = &mut self.0 else { return Poll::Ready(None) };
        let event = match ready!(exchange.poll_heard(cx)) {
            Heard::Told(told) => read_told(exchange, told),
            Heard::End(end) => Event::Done(end.and_then(|(route, body)| reply(exchange, route, body))),
        };
        if matches!(event, Event::Done(_)) {
            // Cancels a request that has not ended.
            self.0 = None;
        }
        Poll::Ready(Some(event))
    }
}

fn read_told<R>(exchange: &Exchange, Told { attempt, what, body }: Told) -> Event<R> {
    match what {
        What::Progress { skipped } => Event::Progress(Progress::read(attempt, skipped, &body)),
        What::Partial => Event::Partial(Partial::new(attempt, body)),
        What::AttemptFailed => match exchange.decode::<AttemptBody>(&body) {
            // The route's number is the one that counts: it is what the attempt's partials came with.
            Ok(body) => Event::AttemptFailed(AttemptReport { number: attempt, ..body.into() }),
            // Partials are void, and nobody can say why: not to be passed over.
            Err(error) => Event::Done(Err(error)),
        },
    }
}

/// A request that is streamed: what is told of it while it runs, then its end. Made by
/// [`RequestBuilder::stream`](crate::RequestBuilder::stream). Dropping it cancels the request.
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
    pub async fn next(&mut self) -> Option<Event<M::Reply>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for those who write futures and streams of their own.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<M::Reply>>> {
        let reply = |exchange: &Exchange, route, body: Bytes| Ok(Reply::new(exchange.decode(&body)?, route));
        self.feed.poll_next(cx, reply)
    }
}

/// A request by name and CBOR that is streamed: what is told of it while it runs, then its end. Made by
/// [`RawRequestBuilder::stream`](crate::RawRequestBuilder::stream). Dropping it cancels the request.
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
    pub async fn next(&mut self) -> Option<Event<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next) for those who write futures and streams of their own.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event<Bytes>>> {
        self.feed.poll_next(cx, |_, route, body| Ok(Reply::new(body, route)))
    }
}
