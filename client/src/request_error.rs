//! Why a request cannot be sent.
//!
//! Owns what is refused here, before the broker sees it. Must never be met by a request of which anything was sent.

use lifeboat_protocol::{EncodeError, MethodNameError};
use thiserror::Error;

/// Why a request cannot be sent; the source of [`CallError::Encode`](crate::CallError::Encode).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use lifeboat_client::{CallError, Client, RequestError};
///
/// // It needs no broker to be refused.
/// let boat = Client::builder().socket("/nowhere/lifeboat.sock").connect_lazily();
/// let error = boat.request_raw("resize", "").metadata("photo", "x".repeat(100_000)).await.expect_err("too large");
/// assert!(!error.may_have_executed());
/// let CallError::Encode { source: RequestError::Metadata { limit, .. }, .. } = error else { panic!("{error}") };
/// assert_eq!(limit, 64 * 1024);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Its value cannot be written.
    #[error(transparent)]
    Body(#[from] EncodeError),
    /// Its method has no name that can travel.
    #[error(transparent)]
    Method(#[from] MethodNameError),
    /// Its metadata is too large.
    #[error(
        "metadata of about {len} bytes is more than the {limit} a header may hold; move it into the body"
    )]
    Metadata {
        /// The header's length, at most, in bytes.
        len: usize,
        /// The longest allowed, in bytes.
        limit: usize,
    },
}
