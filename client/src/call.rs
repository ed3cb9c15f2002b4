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

/// A call under way; returned by [`Client::call`](crate::Client::call). Its output is the reply. Dropping it cancels
/// the call.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Resize { width: u32 }
/// # lifeboat_client::method!("resize": Resize => u32);
/// # async fn example(boat: lifeboat_client::Client) -> Result<(), lifeboat_client::CallError> {
/// // Both at the same time, on one connection; if one fails, the other is cancelled.
/// let (small, large) = tokio::try_join!(boat.call(Resize { width: 64 }), boat.call(Resize { width: 512 }))?;
/// println!("{small} and {large} pixels high");
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Resize { width: u32 }
/// # lifeboat_client::method!("resize": Resize => u32);
/// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use lifeboat_client::ReplyFuture;
///
/// // `tokio::join!` and `.await` make it by themselves; what wants a future is given one.
/// let resize: ReplyFuture<Resize> = boat.request(Resize { width: 64 }).retry(2).into_future();
/// let reply = tokio::spawn(resize).await??;
/// println!("{} pixels high", *reply);
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client, bodies: Vec<Vec<u8>>) -> Result<(), Box<dyn std::error::Error>> {
/// use lifeboat_client::{RawCall, Value, decode_body};
///
/// // Nothing is sent before a call is first polled: here when its task runs.
/// let calls: Vec<RawCall> = bodies.into_iter().map(|body| boat.call_raw("resize", body)).collect();
/// let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
/// for task in tasks {
///     println!("{:?}", decode_body::<Value>(&task.await??)?);
/// }
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
/// use lifeboat_client::RawReplyFuture;
///
/// let resize: RawReplyFuture = boat.request_raw("resize", body).retry(2).into_future();
/// let reply = tokio::spawn(resize).await??;
/// println!("{} pixels high", reply.decode::<u32>()?);
/// # Ok(())
/// # }
/// ```
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
