//! Methods as services of the crate `tower`.
//!
//! Owns the step from a request to a call, and what "ready" means. Must never reserve a place: a service that is ready and
//! never called holds up nobody.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use bytes::Bytes;
use lifeboat_protocol::Method;
use tower_service::Service;

use crate::call::{Call, RawCall};
use crate::{CallError, Client};

/// A method as a `tower` service; made by [`Client::service`]. Clones are cheap, and count as clones of their client.
///
/// * Ready means that there is room in the client's [window](crate::ClientBuilder::max_in_flight), as
///   [`Client::has_room`] says, not that there is a connection: a call makes one. The place is not reserved. A call
///   that finds it taken by another clone waits in its turn. Being ready never fails.
/// * The future is a [`Call`]: dropping it, as `tower`'s timeout does, cancels the request.
/// * Errors are [`CallError`]s. A policy of `tower`'s retry asks them
///   [`is_retryable`](CallError::is_retryable) and not [`may_have_executed`](CallError::may_have_executed).
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Resize { width: u32 }
/// # lifeboat_client::method!("resize": Resize => u32);
/// # async fn example(boat: lifeboat_client::Client) -> Result<(), lifeboat_client::CallError> {
/// use tower::{Service, ServiceExt};
///
/// let mut resize = boat.service::<Resize>();
/// let height = resize.ready().await?.call(Resize { width: 64 }).await?;
/// # Ok(())
/// # }
/// ```
pub struct MethodService<M> {
    client: Client,
    method: PhantomData<fn() -> M>,
}

/// Methods by name and CBOR as a `tower` service; made by [`Client::raw_service`]. Otherwise as [`MethodService`].
#[derive(Debug, Clone)]
pub struct RawService {
    client: Client,
}

/// What a [`RawService`] is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRequest {
    /// The method's name.
    pub method: Cow<'static, str>,
    /// Exactly one item of CBOR; nothing at all stands for null.
    pub body: Bytes,
}

impl RawRequest {
    /// A request of the method `method`.
    pub fn new(method: impl Into<Cow<'static, str>>, body: impl Into<Bytes>) -> Self {
        Self { method: method.into(), body: body.into() }
    }
}

impl Client {
    /// A method as a service of the crate `tower`.
    #[must_use]
    pub fn service<M: Method>(&self) -> MethodService<M> {
        MethodService { client: self.clone(), method: PhantomData }
    }

    /// Methods by name and CBOR as a service of the crate `tower`.
    #[must_use]
    pub fn raw_service(&self) -> RawService {
        RawService { client: self.clone() }
    }
}

impl<M: Method> Service<M::Request> for MethodService<M> {
    type Response = M::Reply;
    type Error = CallError;
    type Future = Call<M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.client.handle().shared.poll_room(cx).map(Ok)
    }

    fn call(&mut self, request: M::Request) -> Call<M> {
        self.client.call_as::<M>(request)
    }
}

impl Service<RawRequest> for RawService {
    type Response = Bytes;
    type Error = CallError;
    type Future = RawCall;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.client.handle().shared.poll_room(cx).map(Ok)
    }

    fn call(&mut self, request: RawRequest) -> RawCall {
        self.client.call_raw(request.method, request.body)
    }
}

// Derived, it would want the method itself to be `Clone`.
impl<M> Clone for MethodService<M> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), method: PhantomData }
    }
}

impl<M> fmt::Debug for MethodService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodService").field("client", &self.client).finish_non_exhaustive()
    }
}
