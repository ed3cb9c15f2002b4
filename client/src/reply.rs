//! A reply with what is known about its request.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use lifeboat_protocol::{BodyError, Route, RouteFlags, decode_body};
use serde::de::DeserializeOwned;

/// What [`RequestBuilder`](crate::RequestBuilder) returns: the handler's reply, and how it came about. Dereferences to
/// the reply.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Resize { width: u32 }
/// # lifeboat_client::method!("resize": Resize => u32);
/// # async fn example(boat: lifeboat_client::Client, body: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
/// let reply = boat.request(Resize { width: 64 }).retry(3).await?;
/// if reply.attempts() > 1 || reply.late() {
///     println!("request {} took {} attempts", reply.request_id(), reply.attempts());
/// }
/// println!("{} pixels high", *reply);
/// let height: u32 = reply.into_inner();
///
/// // By name the reply is CBOR, and this reads it.
/// let reply = boat.request_raw("resize", body).await?;
/// let height: u32 = reply.decode()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    value: T,
    route: Route,
}

impl<T> Reply<T> {
    pub(crate) fn new(value: T, route: Route) -> Self {
        Self { value, route }
    }

    /// The reply itself.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Attempts made, the one that answered included: 1 unless the request was retried.
    #[must_use]
    pub fn attempts(&self) -> u16 {
        self.route.attempt
    }

    /// The request's number on this client's connections: unique for one [`Client`](crate::Client) and its clones.
    #[must_use]
    pub fn request_id(&self) -> u64 {
        self.route.id
    }

    /// Whether the answer was written before the worker ended, but only after a limit had fired.
    #[must_use]
    pub fn late(&self) -> bool {
        self.route.flags.contains(RouteFlags::LATE)
    }
}

impl Reply<Bytes> {
    /// The CBOR of a reply to a call by name, as a value.
    ///
    /// # Errors
    ///
    /// [`BodyError`] if it is not of that type, or no CBOR.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, BodyError> {
        decode_body(&self.value)
    }
}

impl<T> Deref for Reply<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Reply<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
