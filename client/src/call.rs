//! Calls under way, as futures.
//!
//! Owns the step from bytes to the caller's types. Must never be polled to make progress: the driver does the work,
//! these only ask for its result.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use lifeboat_protocol::Method;

use crate::exchange::Exchange;
use crate::{CallError, Reply};

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
        Poll::Ready(self.exchange.decode::<M::Encoding, _>(&body))
    }
}

/// A call under way; what awaiting a [`RequestBuilder`](crate::RequestBuilder) awaits. Its output is a [`Reply`].
/// Dropping it cancels the call, unless it was told [not to](crate::RequestBuilder::no_cancel_on_drop).
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
        let value = self.exchange.decode::<M::Encoding, _>(&body)?;
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
/// of CBOR. Dropping it cancels the call, unless it was told [not to](crate::RawRequestBuilder::no_cancel_on_drop).
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
