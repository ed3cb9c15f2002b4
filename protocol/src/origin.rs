//! The request that a thread works for, as far as it concerns requests made on its behalf.
//!
//! Owns the one place where a worker's side leaves it for a client's side in the same process, so that deadline and
//! trace travel into nested requests by themselves. It never travels on the wire as such, and must cost a handler that
//! makes no request nothing but two stores.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::mem;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

thread_local! {
    static ORIGIN: RefCell<Option<Arc<dyn Origin>>> = const { RefCell::new(None) };
}

/// A request on whose behalf others are made.
pub trait Origin: Send + Sync {
    /// When it must have ended; nothing that is done for it may take longer.
    fn deadline(&self) -> Option<Instant>;

    /// Its W3C trace context: `traceparent` and `tracestate`, where there is one.
    fn trace(&self) -> Option<(&str, &str)>;
}

/// The request that this thread works for now. `None` outside of handlers.
#[must_use]
pub fn origin() -> Option<Arc<dyn Origin>> {
    // No origin while the thread ends.
    ORIGIN.try_with(|origin| origin.borrow().clone()).unwrap_or_default()
}

/// Has this thread work for a request until the guard is dropped, and then for what it worked for before. Guards are to
/// be dropped in the opposite order in which they were made.
///
/// A guard must not be held across an `.await`: what else runs on the thread meanwhile would work for the request, or
/// the future would go on without it. [`within`] is for futures.
pub fn enter(origin: Arc<dyn Origin>) -> Entered {
    let before = replace(Some(Arc::clone(&origin)));
    Entered { origin, before, thread: PhantomData }
}

/// Polls a future as work for a request, on whatever thread it is polled.
pub async fn within<F: Future>(origin: Arc<dyn Origin>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|task| {
        let _entered = enter(Arc::clone(&origin));
        future.as_mut().poll(task)
    })
    .await
}

fn replace(origin: Option<Arc<dyn Origin>>) -> Option<Arc<dyn Origin>> {
    ORIGIN.try_with(|place| mem::replace(&mut *place.borrow_mut(), origin)).unwrap_or_default()
}

/// A thread works for a request while this lives. Workers get one from their request's context.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Instant;
/// # struct Context;
/// # impl lifeboat_protocol::Origin for Context {
/// #     fn deadline(&self) -> Option<Instant> { None }
/// #     fn trace(&self) -> Option<(&str, &str)> { None }
/// # }
/// # impl Context {
/// #     fn enter(self) -> lifeboat_protocol::Entered { lifeboat_protocol::enter(Arc::new(self)) }
/// # }
/// # let context = Context;
/// let join = std::thread::spawn(move || {
///     let _works_for = context.enter();
///     // What is asked of others from here on has the request's deadline and trace.
/// });
/// # join.join().unwrap();
/// # assert!(lifeboat_protocol::origin().is_none());
/// ```
#[must_use = "the thread works for the request only while this lives"]
pub struct Entered {
    origin: Arc<dyn Origin>,
    before: Option<Arc<dyn Origin>>,
    /// It belongs to its thread.
    thread: PhantomData<Rc<()>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // One that outlived what it was made in, in a future that was dropped, must not bring that back.
        if origin().is_some_and(|now| Arc::ptr_eq(&now, &self.origin)) {
            // What was there goes out of scope after the place was left, for its own drop may look there.
            drop(replace(self.before.take()));
        }
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::thread;

    use super::*;

    struct Named(&'static str);

    impl Origin for Named {
        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn trace(&self) -> Option<(&str, &str)> {
            Some((self.0, ""))
        }
    }

    fn named(name: &'static str) -> Arc<dyn Origin> {
        Arc::new(Named(name))
    }

    fn now() -> Option<String> {
        origin().and_then(|origin| origin.trace().map(|(name, _)| name.to_owned()))
    }

    #[test]
    fn a_thread_works_for_the_innermost_request_and_others_for_none() {
        assert_eq!(now(), None);
        let outer = enter(named("outer"));
        {
            let _inner = enter(named("inner"));
            assert_eq!(now().as_deref(), Some("inner"));
            assert_eq!(thread::spawn(now).join().expect("no panic"), None);
        }
        assert_eq!(now().as_deref(), Some("outer"));
        drop(outer);
        assert_eq!(now(), None);
    }

    #[test]
    fn a_guard_in_a_future_that_is_dropped_brings_nothing_back() {
        let mine = named("mine");
        let holds = async {
            let _entered = enter(Arc::clone(&mine));
            std::future::pending::<()>().await;
        };
        let mut future = Box::pin(within(Arc::clone(&mine), holds));
        let mut task = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut task).is_pending());
        assert_eq!(now(), None);
        drop(future);
        assert_eq!(now(), None);
    }

    #[test]
    fn a_panic_leaves_it() {
        let caught = std::panic::catch_unwind(|| {
            let _entered = enter(named("gone"));
            panic!("as tests do");
        });
        assert!(caught.is_err());
        assert_eq!(now(), None);
    }

    #[test]
    fn a_future_has_it_while_it_is_polled_only() {
        let mut pending = true;
        let looks = poll_fn(|_| {
            assert_eq!(now().as_deref(), Some("mine"));
            if mem::take(&mut pending) { Poll::Pending } else { Poll::Ready(7) }
        });
        let mut future = pin!(within(named("mine"), looks));
        let mut task = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut task).is_pending());
        assert_eq!(now(), None, "others are polled on this thread meanwhile");
        assert_eq!(future.as_mut().poll(&mut task), Poll::Ready(7));
        assert_eq!(now(), None);
    }
}
