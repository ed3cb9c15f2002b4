//! Handlers of any method behind one interface: bytes in, an answer out.
//!
//! Owns decoding requests and encoding replies around a handler. Must never write to the socket, and leaves panics
//! to the slot.

use std::any::TypeId;
use std::future::Future;
use std::marker::PhantomData;

use bytes::Bytes;
use lifeboat_protocol::{Encoding, Method};

use crate::handler::{BlockingHandler, Handler};
use crate::outbox::Outbox;
use crate::runtime::Runtime;
use crate::{Context, HandlerError};

/// What a handler is given to run one request.
pub(crate) struct Seat<'a> {
    pub(crate) context: &'a Context,
    pub(crate) body: Bytes,
    pub(crate) runtime: Option<&'a Runtime>,
    pub(crate) outbox: &'a mut Outbox,
}

/// How a handler ended.
pub(crate) enum Ran {
    /// Its reply is in the outbox.
    Answered,
    /// It said no, or its request or reply was unfit.
    Failed(HandlerError),
    /// It stopped because of a cancel.
    Cancelled,
}

/// Any handler.
pub(crate) trait Run: Send + Sync {
    fn run(&self, seat: Seat<'_>) -> Ran;

    /// Whether it needs the runtime.
    fn is_async(&self) -> bool;

    /// The states it needs.
    fn needs(&self) -> Vec<(TypeId, &'static str)> {
        Vec::new()
    }
}

pub(crate) struct Async<H, M, Args>(H, PhantomData<fn() -> (M, Args)>);
pub(crate) struct Blocking<H, M, Args>(H, PhantomData<fn() -> (M, Args)>);
pub(crate) struct RawAsync<F>(pub(crate) F);
pub(crate) struct RawBlocking<F>(pub(crate) F);

impl<H, M, Args> Async<H, M, Args> {
    pub(crate) const fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<H, M, Args> Blocking<H, M, Args> {
    pub(crate) const fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<M: Method, Args, H: Handler<M, Args>> Run for Async<H, M, Args> {
    fn run(&self, seat: Seat<'_>) -> Ran {
        let Seat { context, body, runtime, outbox } = seat;
        let request = match request::<M>(body) {
            Ok(request) => request,
            Err(error) => return Ran::Failed(error),
        };
        let result = needed(runtime).run(context.call(), async { self.0.call(request, context).await });
        settle(result, context, |reply| outbox.reply::<M::Encoding>(context.call().route, &reply))
    }

    fn is_async(&self) -> bool {
        true
    }

    fn needs(&self) -> Vec<(TypeId, &'static str)> {
        H::needs()
    }
}

impl<M: Method, Args, H: BlockingHandler<M, Args>> Run for Blocking<H, M, Args> {
    fn run(&self, seat: Seat<'_>) -> Ran {
        let Seat { context, body, runtime: _, outbox } = seat;
        let request = match request::<M>(body) {
            Ok(request) => request,
            Err(error) => return Ran::Failed(error),
        };
        let _working = context.enter();
        let result = self.0.call(request, context);
        settle(Some(result), context, |reply| outbox.reply::<M::Encoding>(context.call().route, &reply))
    }

    fn is_async(&self) -> bool {
        false
    }

    fn needs(&self) -> Vec<(TypeId, &'static str)> {
        H::needs()
    }
}

impl<F, Fut, E> Run for RawAsync<F>
where
    F: Fn(Bytes, Context) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Bytes, E>>,
    E: Into<HandlerError>,
{
    fn run(&self, seat: Seat<'_>) -> Ran {
        let Seat { context, body, runtime, outbox } = seat;
        let result = needed(runtime).run(context.call(), async { self.0(body, context.clone()).await });
        settle(result, context, |reply| outbox.raw_reply(context.call().route, reply))
    }

    fn is_async(&self) -> bool {
        true
    }
}

impl<F, E> Run for RawBlocking<F>
where
    F: Fn(Bytes, Context) -> Result<Bytes, E> + Send + Sync,
    E: Into<HandlerError>,
{
    fn run(&self, seat: Seat<'_>) -> Ran {
        let Seat { context, body, runtime: _, outbox } = seat;
        let _working = context.enter();
        let result = self.0(body, context.clone());
        settle(Some(result), context, |reply| outbox.raw_reply(context.call().route, reply))
    }

    fn is_async(&self) -> bool {
        false
    }
}

/// Decodes the request. The body is let go of before the handler runs, so that its memory can be used again.
fn request<M: Method>(body: Bytes) -> Result<M::Request, HandlerError> {
    M::Encoding::decode(&body)
        .map_err(|error| HandlerError::new("bad_request", format!("not a request of `{}`: {error}", M::NAME)))
}

fn needed(runtime: Option<&Runtime>) -> &Runtime {
    runtime.expect("a process with an asynchronous handler has a runtime")
}

fn settle<T, E: Into<HandlerError>>(
    result: Option<Result<T, E>>,
    context: &Context,
    put: impl FnOnce(T) -> Result<(), HandlerError>,
) -> Ran {
    match result {
        None => Ran::Cancelled,
        Some(Ok(reply)) => match put(reply) {
            Ok(()) => Ran::Answered,
            Err(error) => Ran::Failed(error),
        },
        Some(Err(error)) => {
            let error = error.into();
            if error.wants_recycling() {
                context.recycle();
            }
            // An error that merely claims a cancel nobody asked for is an error like any other.
            if error.is_cancelled() && context.is_cancelled() { Ran::Cancelled } else { Ran::Failed(error) }
        }
    }
}
