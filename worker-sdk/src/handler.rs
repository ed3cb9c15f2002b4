//! Which functions are handlers.
//!
//! Owns the forms a handler may have. Must never run one: that is the slot's work.

use std::any::{TypeId, type_name};
use std::future::Future;

use lifeboat_protocol::Method;

use crate::{Context, HandlerError, Parts, State};

/// What a handler of the method `M` may take after its request: [`Context`], [`State<S>`](State) or
/// [`Parts<M>`](Parts). Not meant to be implemented elsewhere.
///
/// ```
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Spell = "spell": String => usize, partial = char);
///
/// // Each one that is wanted, in any order, and no other.
/// fn spell(text: String, parts: Parts<Spell>, limit: State<usize>, context: Context) -> Result<usize, HandlerError> {
///     for letter in text.chars().take(*limit) {
///         context.check_cancel()?;
///         parts.send_blocking(&letter)?;
///     }
///     Ok(text.len())
/// }
/// # #[cfg(feature = "testing")]
/// # fn test() -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// let ended = Attempt::<Spell>::of_blocking(spell).state(3_usize).run_blocking("vessel".to_owned())?;
/// assert_eq!(ended.parts, ['v', 'e', 's']);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test().unwrap();
/// ```
pub trait Argument<M>: Sized {
    /// The argument for one request.
    #[doc(hidden)]
    fn take(context: &Context) -> Self;

    /// The state it needs, checked at start: the type and its name.
    #[doc(hidden)]
    fn need() -> Option<(TypeId, &'static str)> {
        None
    }
}

impl<M> Argument<M> for Context {
    fn take(context: &Context) -> Self {
        context.clone()
    }
}

impl<M, S: Send + Sync + 'static> Argument<M> for State<S> {
    fn take(context: &Context) -> Self {
        context.process().states.get().expect("every state a handler takes was found at start")
    }

    fn need() -> Option<(TypeId, &'static str)> {
        Some((TypeId::of::<S>(), type_name::<S>()))
    }
}

impl<M: Method> Argument<M> for Parts<M> {
    fn take(context: &Context) -> Self {
        Self::new(context.clone())
    }
}

/// An asynchronous handler of the method `M`: an `async fn` or closure that takes `M::Request`, then up to three of
/// [`Context`], [`State<S>`](State) and [`Parts<M>`](Parts) in any order, and returns `Result<M::Reply, E>` with any error type `E`.
///
/// It runs on its slot's thread, so its future need not be `Send`; the handler itself is shared by all slots. It may
/// block: other slots and the SDK's own reading go on.
/// Implemented for such functions; not meant to be implemented elsewhere. `Args` is always inferred.
///
/// ```
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Add = "add": (u32, u32) => u32);
///
/// async fn add((left, right): (u32, u32)) -> Result<u32, HandlerError> {
///     left.checked_add(right).ok_or_else(|| HandlerError::new("overflow", "the sum is too large"))
/// }
///
/// async fn add_aloud((left, right): (u32, u32), context: Context) -> std::io::Result<u32> {
///     context.progress(Progress::new().text(&"adding"));
///     Ok(left + right)
/// }
///
/// let plain = Worker::new().handle::<Add>(add);
/// let aloud = Worker::new().handle::<Add>(add_aloud);
/// let closure = Worker::new().handle::<Add>(async |(left, right): (u32, u32)| Ok::<_, HandlerError>(left + right));
/// # #[cfg(feature = "testing")]
/// # fn test(workers: [Worker; 3]) -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// for worker in workers {
///     assert_eq!(Attempt::<Add>::by(worker).run_blocking((3, 4))?.reply(), 7);
/// }
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test([plain, aloud, closure]).unwrap();
/// ```
pub trait Handler<M: Method, Args>: Send + Sync + 'static {
    /// The handler's error.
    type Error: Into<HandlerError>;
    /// The handler's future.
    type Future: Future<Output = Result<M::Reply, Self::Error>>;

    /// Calls it.
    #[doc(hidden)]
    fn call(&self, request: M::Request, context: &Context) -> Self::Future;

    /// The states it needs.
    #[doc(hidden)]
    fn needs() -> Vec<(TypeId, &'static str)>;
}

/// A blocking handler of the method `M`: a plain `fn` or closure with the arguments of a [`Handler`] that returns
/// `Result<M::Reply, E>`.
///
/// It runs on its slot's thread, outside any runtime: for the first slot the one that called
/// [`Worker::run`](crate::Worker::run), with that thread's stack. Implemented for such functions; not meant to be implemented elsewhere. `Args` is always
/// inferred.
///
/// ```
/// use lifeboat_worker::prelude::*;
///
/// method!(struct Parse = "parse": String => i64);
///
/// // Any error type that converts into a `HandlerError` will do.
/// fn parse(text: String) -> Result<i64, std::num::ParseIntError> {
///     text.trim().parse()
/// }
///
/// let worker = Worker::new().handle_blocking::<Parse>(parse);
/// # #[cfg(feature = "testing")]
/// # fn test(worker: Worker) -> Result<(), lifeboat_worker::testing::AttemptError> {
/// use lifeboat_worker::testing::Attempt;
///
/// assert_eq!(Attempt::<Parse>::by(worker).run_blocking("x".to_owned())?.error().code(), "error");
/// assert_eq!(Attempt::<Parse>::of_blocking(parse).run_blocking(" 7".to_owned())?.reply(), 7);
/// # Ok(())
/// # }
/// # #[cfg(feature = "testing")]
/// # test(worker).unwrap();
/// ```
pub trait BlockingHandler<M: Method, Args>: Send + Sync + 'static {
    /// The handler's error.
    type Error: Into<HandlerError>;

    /// Calls it.
    #[doc(hidden)]
    fn call(&self, request: M::Request, context: &Context) -> Result<M::Reply, Self::Error>;

    /// The states it needs.
    #[doc(hidden)]
    fn needs() -> Vec<(TypeId, &'static str)>;
}

macro_rules! handlers {
    ($($argument:ident),*) => {
        impl<M, F, Fut, E, $($argument),*> Handler<M, ($($argument,)*)> for F
        where
            M: Method,
            F: Fn(M::Request, $($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<M::Reply, E>>,
            E: Into<HandlerError>,
            $($argument: Argument<M>,)*
        {
            type Error = E;
            type Future = Fut;

            fn call(&self, request: M::Request, context: &Context) -> Fut {
                let _ = context;
                self(request, $($argument::take(context)),*)
            }

            fn needs() -> Vec<(TypeId, &'static str)> {
                let needs: &[Option<(TypeId, &'static str)>] = &[$($argument::need()),*];
                needs.iter().copied().flatten().collect()
            }
        }

        impl<M, F, E, $($argument),*> BlockingHandler<M, ($($argument,)*)> for F
        where
            M: Method,
            F: Fn(M::Request, $($argument),*) -> Result<M::Reply, E> + Send + Sync + 'static,
            E: Into<HandlerError>,
            $($argument: Argument<M>,)*
        {
            type Error = E;

            fn call(&self, request: M::Request, context: &Context) -> Result<M::Reply, E> {
                let _ = context;
                self(request, $($argument::take(context)),*)
            }

            fn needs() -> Vec<(TypeId, &'static str)> {
                let needs: &[Option<(TypeId, &'static str)>] = &[$($argument::need()),*];
                needs.iter().copied().flatten().collect()
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
