//! Progress, as a handler says it.
//!
//! Owns its form on this side and how often it is sent. Must never cost a handler that says it in a tight loop more
//! than a look at the clock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lifeboat_protocol::Amount;

/// At most one message about an attempt is sent in this time.
const APART: Duration = Duration::from_millis(100);

/// Progress that found no room in the socket is tried again after this time.
const RETRY: Duration = Duration::from_millis(10);

/// How far a handler has come, for [`Context::progress`](crate::Context::progress). Everything may be left out: that
/// it is said tells the broker that the work moves.
///
/// ```
/// use lifeboat_worker::Progress;
/// # fn say(_: Progress<'_>) {}
/// # let (page, pages, seconds) = (3_u64, 10_u64, 1.5);
///
/// say(Progress::of(page, pages));
/// say(Progress::done(seconds)); // of a film whose length is not known
/// say(Progress::new().text(&format_args!("page {page} of {pages}")));
/// ```
#[derive(Clone, Copy, Default)]
#[must_use = "say it with `Context::progress`"]
pub struct Progress<'a> {
    done: Option<Amount>,
    total: Option<Amount>,
    text: Option<&'a dyn fmt::Display>,
}

impl<'a> Progress<'a> {
    /// The work moves.
    pub const fn new() -> Self {
        Self { done: None, total: None, text: None }
    }

    /// So much of so much is done: whole numbers (`u64`) or ones with a fraction (`f64`), in the same unit.
    pub fn of(done: impl Into<Amount>, total: impl Into<Amount>) -> Self {
        Self { done: Some(done.into()), total: Some(total.into()), text: None }
    }

    /// So much is done; how much there is to do is not known.
    pub fn done(done: impl Into<Amount>) -> Self {
        Self { done: Some(done.into()), ..Self::new() }
    }

    /// What is being done, for people. It is formatted only if it is sent, so `&format_args!(..)` costs nothing
    /// otherwise. At most 1024 bytes travel, whole characters.
    pub const fn text(mut self, text: &'a dyn fmt::Display) -> Self {
        self.text = Some(text);
        self
    }

    /// The message's body.
    pub(crate) fn to_body(self) -> lifeboat_protocol::Progress {
        let Self { done, total, text } = self;
        lifeboat_protocol::Progress { done, total, text: text.map(ToString::to_string) }
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_body(), f)
    }
}

/// When an attempt's next progress may be sent.
#[derive(Debug)]
pub(crate) struct Throttle {
    begin: Instant,
    /// In microseconds after `begin`.
    due: AtomicU64,
}

impl Throttle {
    pub(crate) const fn new(begin: Instant) -> Self {
        Self { begin, due: AtomicU64::new(0) }
    }

    /// Whether it is due; the next one is then [`APART`] from here.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        let at = self.micros(now);
        // Of several threads one says it.
        at >= due
            && self
                .due
                .compare_exchange(due, at + micros(APART), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// It could not be sent now.
    pub(crate) fn put_back(&self, now: Instant) {
        self.due.store(self.micros(now) + micros(RETRY), Ordering::Relaxed);
    }

    fn micros(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.begin))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_due_at_once_and_then_one_per_tenth_of_a_second() {
        let begin = Instant::now();
        let throttle = Throttle::new(begin);
        let take = |millis| throttle.take(begin + Duration::from_millis(millis));
        assert_eq!(
            [0, 0, 1, 99, 100, 101, 250, 349, 350].map(take),
            [true, false, false, false, true, false, true, false, true]
        );
        throttle.put_back(begin + Duration::from_millis(350));
        assert_eq!([359, 360, 361].map(take), [false, true, false]);
    }

    #[test]
    fn a_call_at_least_every_limit_less_a_tenth_keeps_within_the_limit() {
        let begin = Instant::now();
        let limit = Duration::from_millis(300);
        for seed in 0..200_u64 {
            let throttle = Throttle::new(begin);
            let (mut now, mut latest, mut state) = (begin, begin, seed);
            for _ in 0..300 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                now += Duration::from_micros((state >> 33) % 200_000);
                if throttle.take(now) {
                    assert!(now - latest <= limit, "{:?} apart", now - latest);
                    latest = now;
                }
            }
        }
    }

    #[test]
    fn a_text_is_formatted_only_when_it_is_sent() {
        struct Never;
        impl fmt::Display for Never {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("it was not to be sent")
            }
        }
        let _ = Progress::of(1, 2).text(&Never);
        let body = Progress::of(1, 2.5).text(&format_args!("page {}", 1)).to_body();
        assert_eq!((body.done, body.total), (Some(Amount::Whole(1)), Some(Amount::Real(2.5))));
        assert_eq!(body.text.as_deref(), Some("page 1"));
    }
}
