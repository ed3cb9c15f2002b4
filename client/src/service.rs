//! Methods as services of the crate `tower`.
//!
//! Owns the step from a request to a call, and what "ready" means. Must never reserve a place: a service that is ready
//! and never called holds up nobody.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use lifeboat_protocol::Method;
use tower_service::Service;

use crate::call::{Call, RawCall};
use crate::client::Handle;
use crate::table::Ticket;
use crate::{CallError, Client, RawRequestBuilder, RequestBuilder};

/// What is said of each request before it is sent.
type Prepare<B> = Arc<dyn Fn(B) -> B + Send + Sync>;

/// A service's waiting for room: there is one waker for each that waits, and none for one that was dropped. Whoever
/// gives up leaves nothing behind.
#[derive(Debug)]
struct RoomWait {
    handle: Arc<Handle>,
    ticket: Option<Ticket>,
}

impl RoomWait {
    fn new(client: &Client) -> Self {
        Self { handle: Arc::clone(client.handle()), ticket: None }
    }

    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.handle.shared.poll_room(&mut self.ticket, cx)
    }
}

/// A clone waits for itself.
impl Clone for RoomWait {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), ticket: None }
    }
}

impl Drop for RoomWait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.handle.shared.forget_room(ticket);
        }
    }
}

/// A method as a `tower` service; made by [`Client::service`]. Clones are cheap, and count as clones of their client.
///
/// * Ready means that there is room in the client's [window](crate::ClientBuilder::max_in_flight), as
///   [`Client::has_room`] says, not that there is a connection: a call makes one. The place is not reserved. A call
///   that finds it taken by another clone waits in its turn. Being ready never fails.
/// * Those that wait are woken together when there is room, the longest waiting first. One that is dropped waits no
///   more.
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
    wait: RoomWait,
    prepare: Prepare<RequestBuilder<M>>,
}

/// Methods by name and CBOR as a `tower` service; made by [`Client::raw_service`]. Otherwise as [`MethodService`].
///
/// ```no_run
/// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use lifeboat_client::{RawRequest, decode_body, encode_body};
/// use tower::ServiceExt;
///
/// let request = RawRequest::new("resize", encode_body(&("photo.png", 64))?);
/// let reply = boat.raw_service().oneshot(request).await?;
/// println!("{} pixels high", decode_body::<u32>(&reply)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RawService {
    client: Client,
    wait: RoomWait,
    prepare: Prepare<RawRequestBuilder>,
}

/// What a [`RawService`] is called with.
///
/// ```
/// use lifeboat_client::{RawRequest, encode_body};
///
/// let resize = RawRequest::new("resize", encode_body(&("photo.png", 64))?);
/// assert_eq!(resize.method, "resize");
/// // Nothing at all stands for null.
/// let refresh = RawRequest::new("refresh", "");
/// assert!(refresh.body.is_empty());
/// # Ok::<(), lifeboat_client::EncodeError>(())
/// ```
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
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Resize { width: u32 }
    /// # lifeboat_client::method!("resize": Resize => u32);
    /// # async fn example(boat: lifeboat_client::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// use std::time::Duration;
    ///
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// let resize = ServiceBuilder::new()
    ///     .timeout(Duration::from_secs(5))
    ///     .concurrency_limit(8)
    ///     .service(boat.service::<Resize>());
    /// println!("{} pixels high", resize.oneshot(Resize { width: 64 }).await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn service<M: Method>(&self) -> MethodService<M> {
        self.service_with(|request| request)
    }

    /// [`service`](Self::service) with options: `prepare` says them of each request that is called.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Resize { width: u32 }
    /// # lifeboat_client::method!("resize": Resize => u32);
    /// # async fn example(boat: lifeboat_client::Client) -> Result<(), lifeboat_client::CallError> {
    /// use std::time::Duration;
    ///
    /// use tower::ServiceExt;
    ///
    /// let resize = boat.service_with::<Resize>(|request| request.timeout(Duration::from_secs(5)).retry(2));
    /// let height = resize.oneshot(Resize { width: 64 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn service_with<M: Method>(
        &self,
        prepare: impl Fn(RequestBuilder<M>) -> RequestBuilder<M> + Send + Sync + 'static,
    ) -> MethodService<M> {
        MethodService { client: self.clone(), wait: RoomWait::new(self), prepare: Arc::new(prepare) }
    }

    /// Methods by name and CBOR as a service of the crate `tower`.
    ///
    /// ```no_run
    /// # type Failed = Box<dyn std::error::Error + Send + Sync>;
    /// # async fn example(boat: lifeboat_client::Client, body: Vec<u8>) -> Result<(), Failed> {
    /// use lifeboat_client::RawRequest;
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// // What finds no room is refused at once, not kept waiting.
    /// let gateway = ServiceBuilder::new().load_shed().service(boat.raw_service());
    /// let reply = gateway.oneshot(RawRequest::new("resize", body)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn raw_service(&self) -> RawService {
        self.raw_service_with(|request| request)
    }

    /// [`raw_service`](Self::raw_service) with options: `prepare` says them of each request that is called.
    ///
    /// ```no_run
    /// # async fn example(boat: lifeboat_client::Client, body: Vec<u8>) -> Result<(), lifeboat_client::CallError> {
    /// use lifeboat_client::RawRequest;
    /// use tower::ServiceExt;
    ///
    /// let untrusted = boat.raw_service_with(|request| request.pool("sandbox").metadata("via", "gateway"));
    /// let reply = untrusted.oneshot(RawRequest::new("unpack", body)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn raw_service_with(
        &self,
        prepare: impl Fn(RawRequestBuilder) -> RawRequestBuilder + Send + Sync + 'static,
    ) -> RawService {
        RawService { client: self.clone(), wait: RoomWait::new(self), prepare: Arc::new(prepare) }
    }
}

impl<M: Method> Service<M::Request> for MethodService<M> {
    type Response = M::Reply;
    type Error = CallError;
    type Future = Call<M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.wait.poll_room(cx).map(Ok)
    }

    fn call(&mut self, request: M::Request) -> Call<M> {
        Call::new((self.prepare)(self.client.request_as::<M>(request)).into_exchange())
    }
}

impl Service<RawRequest> for RawService {
    type Response = Bytes;
    type Error = CallError;
    type Future = RawCall;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.wait.poll_room(cx).map(Ok)
    }

    fn call(&mut self, request: RawRequest) -> RawCall {
        let request = self.client.request_raw(request.method, request.body);
        RawCall::new((self.prepare)(request).into_exchange())
    }
}

// Derived, it would want the method itself to be `Clone`.
impl<M> Clone for MethodService<M> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), wait: self.wait.clone(), prepare: Arc::clone(&self.prepare) }
    }
}

impl<M> fmt::Debug for MethodService<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodService").field("client", &self.client).finish_non_exhaustive()
    }
}

impl fmt::Debug for RawService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawService").field("client", &self.client).finish_non_exhaustive()
    }
}
