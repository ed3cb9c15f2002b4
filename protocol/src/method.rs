//! Methods: the name a request carries, and the types that belong to it.
//!
//! Owns the name's form and the trait that ties a name to its request and reply. Must never know where a method
//! is served.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The longest method name, in bytes.
pub const MAX_METHOD: usize = 255;

/// A method: its name on the wire, what is sent and what comes back.
///
/// Usually implemented on the request type itself:
///
/// ```
/// use lifeboat_protocol::Method;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Resize {
///     width: u32,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Thumb {
///     width: u32,
///     height: u32,
/// }
///
/// impl Method for Resize {
///     const NAME: &'static str = "resize";
///     type Request = Self;
///     type Reply = Thumb;
/// }
/// ```
pub trait Method {
    /// The name, 1 to 255 bytes, as in the broker's configuration.
    const NAME: &'static str;
    /// What a client sends.
    type Request: Serialize + DeserializeOwned;
    /// What the handler answers.
    type Reply: Serialize + DeserializeOwned;
}

/// A name that no method can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a method name of {len} bytes; it must have 1 to {MAX_METHOD}")]
pub struct MethodNameError {
    /// Its length, in bytes.
    pub len: usize,
}

/// Whether `name` can travel as a method's name. A peer closes the connection on one that cannot.
///
/// # Errors
///
/// [`MethodNameError`] when the name is empty or longer than [`MAX_METHOD`].
pub const fn check_method(name: &str) -> Result<(), MethodNameError> {
    let len = name.len();
    if len == 0 || len > MAX_METHOD { Err(MethodNameError { len }) } else { Ok(()) }
}
