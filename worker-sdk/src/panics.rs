//! Panics of handlers: caught where the handler was called, with the place where they began.
//!
//! Owns the process's panic hook (the one that was there before is called too, so stderr reads as ever) and the
//! catching. Must never let a panic of a handler pass, and must leave every other thread's panics alone.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use lifeboat_protocol::Panicked;

use crate::error::cut;
use crate::last_words;

/// Where the panics begin that only say that another one may not go on: in an `extern "C"` function, or in a `Drop` during
/// unwinding.
const CANNOT_UNWIND: &str = "core/src/panicking.rs";

thread_local! {
    /// The latest panic of this thread. Set by the hook, which alone is told where it began.
    static LATEST: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Begins to note where panics begin. Once per process; further calls do nothing.
pub(crate) fn install_hook() {
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            // Before the other hook, which may end the process.
            note(info);
            previous(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let message = cut(describe(info.payload()));
    let location = info.location();
    // A thread that is being torn down has no such place any more.
    let _ = LATEST.try_with(|place| {
        let Ok(mut latest) = place.try_borrow_mut() else { return };
        let follows = location.is_some_and(|location| location.file().ends_with(CANNOT_UNWIND));
        *latest = match latest.take().filter(|_| follows) {
            Some(cause) => Some(Panicked { message: format!("{}; {message}", cause.message), ..cause }),
            None => Some(Panicked { message, location: location.map(ToString::to_string), kept: false }),
        };
        if let Some(panicked) = &*latest {
            last_words::prepare(panicked);
        }
    });
}

/// Runs `handler`; a panic of it becomes a value.
pub(crate) fn catch<R>(handler: impl FnOnce() -> R) -> Result<R, Panicked> {
    LATEST.with(|place| place.take());
    // Nobody meets a state that the handler left half changed: the slot is retired, unless the pool's configuration
    // wants it otherwise.
    catch_unwind(AssertUnwindSafe(handler)).map_err(|payload| {
        let location = LATEST.with(|place| place.take()).and_then(|latest| latest.location);
        let message = cut(describe(&*payload));
        discard(payload);
        Panicked { message, location, kept: false }
    })
}

/// Drops what a handler panicked with, which is more of its code and may panic again: then that is kept for good.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&'static str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked with a value that is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_a_handler_panicked_with_is_dropped() {
        struct Counted<'a>(&'a AtomicUsize, bool);

        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
                assert!(!self.1, "once more");
            }
        }

        static DROPS: AtomicUsize = AtomicUsize::new(0);
        for panics_again in [false, true] {
            let panicked = catch(|| std::panic::panic_any(Counted(&DROPS, panics_again)));
            let panicked = panicked.map(|never: ()| never).unwrap_err();
            assert_eq!(panicked.message, "panicked with a value that is not text");
        }
        assert_eq!(DROPS.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn message_and_location_are_kept() {
        install_hook();
        let line = line!() + 1;
        let panicked = catch(|| panic!("no {}", "luck")).map(|never: ()| never).unwrap_err();
        assert_eq!(panicked.message, "no luck");
        let location = panicked.location.unwrap();
        assert!(location.starts_with(&format!("{}:{line}:", file!())), "{location}");

        let other = catch(|| std::panic::panic_any(7_u8)).map(|never: ()| never).unwrap_err();
        assert_eq!(other.message, "panicked with a value that is not text");
        assert_eq!(catch(|| 5), Ok(5));
    }
}
