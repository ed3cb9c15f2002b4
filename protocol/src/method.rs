//! Methods: the name a request carries, and the types that belong to it.
//!
//! Owns the name's form and the contract that client and worker share. Must never know where a method is served.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::Encoding;

/// The longest method name, in bytes.
pub const MAX_METHOD: usize = 255;

/// A method: its name on the wire, what is sent, what comes back, and how. Client and worker share it; put it into a
/// crate of its own, or a module that both include.
///
/// [`method!`](crate::method!) declares one in a line; this is what it writes:
///
/// ```
/// # use lifeboat_protocol::{Cbor, Method};
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
///     type Partial = ();
///     type Encoding = Cbor;
/// }
/// ```
pub trait Method {
    /// The name, 1 to 255 bytes, as in the broker's configuration.
    const NAME: &'static str;
    /// What a client sends.
    type Request: Serialize + DeserializeOwned;
    /// What the handler answers.
    type Reply: Serialize + DeserializeOwned;
    /// What the handler may send before it answers, any number of times; `()` where it does not.
    type Partial: Serialize + DeserializeOwned;
    /// How these are written: [`Cbor`](crate::Cbor), unless both sides know better.
    type Encoding: Encoding;
}

/// Declares a [`Method`] in a line: its name, its request and its reply, and if there are any its partial and its
/// encoding.
///
/// ```
/// # use lifeboat_protocol::method;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Resize { width: u32 }
/// #[derive(Serialize, Deserialize)]
/// struct Thumb(Vec<u8>);
/// method!("resize": Resize => Thumb);
///
/// #[derive(Serialize, Deserialize)]
/// struct Encode { file: String }
/// method!("encode": Encode => u64, partial = String);
/// ```
///
/// The request's own type then stands for the method: `client.call(Resize { .. })`, `worker.handle::<Resize>(..)`.
/// Where several methods take the same request, or its type is somebody else's, declare a type for each that does
/// nothing but name it:
///
/// ```
/// # use lifeboat_protocol::method;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # pub struct Image(Vec<u8>);
/// method!(
///     /// Turns it left.
///     pub struct Left = "turn-left": Image => Image
/// );
/// method!(pub struct Right = "turn-right": Image => Image);
/// # fn main() {}
/// ```
///
/// A name that cannot travel does not compile:
///
/// ```compile_fail
/// lifeboat_protocol::method!("": u8 => u8);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! method {
    ($name:literal: $request:ty => $reply:ty $(, partial = $partial:ty)? $(, encoding = $encoding:ty)? $(,)?) => {
        $crate::method!(@ $request, $name, $request, $reply, ($($partial)?), ($($encoding)?));
    };
    (
        $(#[$about:meta])*
        $visible:vis struct $method:ident = $name:literal: $request:ty => $reply:ty
        $(, partial = $partial:ty)? $(, encoding = $encoding:ty)? $(,)?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visible struct $method;
        $crate::method!(@ $method, $name, $request, $reply, ($($partial)?), ($($encoding)?));
    };
    (@ $method:ty, $name:literal, $request:ty, $reply:ty, $partial:tt, ()) => {
        $crate::method!(@ $method, $name, $request, $reply, $partial, ($crate::Cbor));
    };
    (@ $method:ty, $name:literal, $request:ty, $reply:ty, ($($partial:ty)?), ($encoding:ty)) => {
        impl $crate::Method for $method {
            const NAME: &'static str = const {
                ::core::assert!($crate::check_method($name).is_ok(), "a method's name has 1 to 255 bytes");
                $name
            };
            type Request = $request;
            type Reply = $reply;
            type Partial = ($($partial)?);
            type Encoding = $encoding;
        }
        const _: &str = <$method as $crate::Method>::NAME;
    };
}

/// A name that no method can have. A call by such a name sends nothing, and ends with it.
///
/// ```
/// use lifeboat_protocol::{MAX_METHOD, check_method};
///
/// assert!(check_method("resize").is_ok());
/// let error = check_method(&"x".repeat(300)).unwrap_err();
/// assert_eq!(error.len, 300);
/// assert_eq!(error.to_string(), format!("a method name of 300 bytes; it must have 1 to {MAX_METHOD}"));
/// ```
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
