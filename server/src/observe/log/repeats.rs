//! Events that repeat, taken together so that no crash loop floods the log.
//!
//! It owns the windows and the counts. It must never lose one: what was not logged is counted until it is told.

use std::time::Duration;

use lifeboat_core::ids::{MethodId, PoolId, WorkerId};
use lifeboat_core::reason::StopReason;
use lifeboat_core::time::Timestamp;

/// So many events of the same kind are logged in full within [`WINDOW`]; the others are counted.
const LOGGED: u32 = 5;

/// How long events are taken together. Starts with the first of them.
const WINDOW: Duration = Duration::from_secs(10);

/// So many kinds are told apart within a window; what is of further kinds is only counted.
const KINDS: usize = 8;

/// Whom an event is about. Each has a window of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A worker.
    Worker(WorkerId),
    /// A pool.
    Pool(PoolId),
    /// The broker as a whole.
    Broker,
}

/// What makes two events the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A death, by the label of its reason and the method that was executing.
    Crash(&'static str, Option<MethodId>),
    /// A slot was retired.
    SlotRetired,
    /// A handler panicked, and its slot goes on.
    SlotKept,
    /// Descendants were left alive.
    Leak,
    /// A process is to be replaced.
    RecycleDue(StopReason),
    /// A process left as planned.
    Stopped(StopReason),
    /// A worker failed too often in a row.
    Unhealthy,
    /// A worker is healthy again.
    Healthy,
    /// A pool's requests had saved too much.
    SaveDropped,
    /// A body came into quarantine.
    Quarantined,
    /// A person released one from it.
    Released,
    /// A pool tripped.
    Tripped,
    /// A pool serves again.
    Recovered,
    /// A request ended later than it may, by its outcome's label and method.
    PastDeadline(&'static str, Option<MethodId>),
}

/// Events that were counted instead of logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    /// What they were; `None` for kinds that were not told apart any more.
    pub(super) kind: Option<Kind>,
    /// How many.
    pub(super) count: u32,
}

/// The windows of everybody.
#[derive(Debug)]
pub(super) struct Repeats {
    /// The workers, then the pools, then the broker.
    windows: Vec<Window>,
    workers: usize,
    /// How many windows have something to be told.
    untold: usize,
}

/// What came within one window.
#[derive(Clone, Debug, Default)]
struct Window {
    began: Timestamp,
    /// How many came of each kind.
    seen: Vec<(Kind, u32)>,
    /// How many came of kinds for which there was no place.
    others: u32,
}

impl Repeats {
    pub(super) fn new(workers: usize, pools: usize) -> Self {
        Self { windows: vec![Window::default(); workers + pools + 1], workers, untold: 0 }
    }

    /// Whether an event is logged in full. A window that is over must have been [taken](Repeats::take_over).
    pub(super) fn admit(&mut self, scope: Scope, kind: Kind, now: Timestamp) -> bool {
        let place = self.place(scope);
        let window = &mut self.windows[place];
        let hid_nothing = window.hides_nothing();
        let is_logged = window.admit(kind, now);
        self.untold += usize::from(hid_nothing && !window.hides_nothing());
        is_logged
    }

    /// So much of the same came within the present window that it is not logged any more.
    pub(super) fn is_repeating(&self, scope: Scope, now: Timestamp) -> bool {
        let window = &self.windows[self.place(scope)];
        !window.is_over(now) && window.seen.iter().any(|(_, seen)| *seen >= LOGGED)
    }

    /// Whether anything is to be told, now or later.
    pub(super) const fn are_untold(&self) -> bool {
        self.untold > 0
    }

    /// Ends the windows that are over, and says what they hid.
    pub(super) fn take_over(&mut self, now: Timestamp) -> Vec<(Scope, Hidden)> {
        self.take(|window| window.is_over(now))
    }

    /// Ends every window, and says what they hid.
    pub(super) fn take_all(&mut self) -> Vec<(Scope, Hidden)> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(&Window) -> bool) -> Vec<(Scope, Hidden)> {
        let mut taken = Vec::new();
        for place in 0..self.windows.len() {
            let window = &mut self.windows[place];
            if is_due(window) && !window.hides_nothing() {
                let ended = std::mem::take(window);
                self.untold -= 1;
                let scope = self.scope(place);
                taken.extend(ended.hidden().map(|hidden| (scope, hidden)));
            }
        }
        taken
    }

    fn place(&self, scope: Scope) -> usize {
        let last = self.windows.len() - 1;
        match scope {
            Scope::Worker(worker) => usize::from(worker.0).min(last),
            Scope::Pool(pool) => (self.workers + usize::from(pool.0)).min(last),
            Scope::Broker => last,
        }
    }

    fn scope(&self, place: usize) -> Scope {
        let id = |place: usize| u16::try_from(place).unwrap_or(u16::MAX);
        match place {
            worker if worker < self.workers => Scope::Worker(WorkerId(id(worker))),
            pool if pool + 1 < self.windows.len() => Scope::Pool(PoolId(id(pool - self.workers))),
            _ => Scope::Broker,
        }
    }
}

impl Window {
    fn is_over(&self, now: Timestamp) -> bool {
        now - self.began >= WINDOW
    }

    /// Everything that came was logged.
    fn hides_nothing(&self) -> bool {
        self.others == 0 && self.seen.iter().all(|(_, seen)| *seen <= LOGGED)
    }

    fn admit(&mut self, kind: Kind, now: Timestamp) -> bool {
        if self.is_over(now) || self.seen.is_empty() {
            debug_assert!(self.hides_nothing(), "what a window hid is told before the next one begins");
            *self = Self { began: now, ..Self::default() };
        }
        if let Some((_, seen)) = self.seen.iter_mut().find(|(known, _)| *known == kind) {
            *seen = seen.saturating_add(1);
            return *seen <= LOGGED;
        }
        let has_place = self.seen.len() < KINDS;
        if has_place {
            self.seen.push((kind, 1));
        } else {
            self.others = self.others.saturating_add(1);
        }
        has_place
    }

    fn hidden(self) -> impl Iterator<Item = Hidden> {
        let known = self.seen.into_iter().map(|(kind, seen)| (Some(kind), seen.saturating_sub(LOGGED)));
        let all = known.chain([(None, self.others)]);
        all.filter(|(_, count)| *count > 0).map(|(kind, count)| Hidden { kind, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: Scope = Scope::Worker(WorkerId(1));

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn kinds_that_take_turns_are_limited_too() {
        let mut repeats = Repeats::new(2, 1);
        let crash = |method| Kind::Crash("signal", Some(MethodId(method)));
        let logged = |repeats: &mut Repeats, method| u32::from(repeats.admit(WORKER, crash(method), at(1)));
        let two: u32 = (0..40).map(|turn| logged(&mut repeats, turn % 2)).sum();
        assert_eq!(two, 2 * LOGGED);
        let many: u32 = (2..100).map(|method| logged(&mut repeats, method)).sum();
        assert_eq!(many, KINDS as u32 - 2);
        assert!(repeats.take_over(at(10_000)).is_empty(), "the window began at 1 ms");
        let hidden = |kind, count| (WORKER, Hidden { kind, count });
        let expected = [hidden(Some(crash(0)), 15), hidden(Some(crash(1)), 15), hidden(None, 92)];
        assert_eq!(repeats.take_over(at(10_001)), expected);
        assert!(!repeats.are_untold() && repeats.take_all().is_empty());
        assert!(repeats.admit(WORKER, crash(0), at(10_002)), "a new window");
    }

    #[test]
    fn everybody_has_a_window_of_their_own() {
        let mut repeats = Repeats::new(2, 2);
        let everybody = [Scope::Worker(WorkerId(0)), WORKER, Scope::Pool(PoolId(0)), Scope::Pool(PoolId(1))];
        for scope in everybody.into_iter().chain([Scope::Broker]) {
            let logged = (0..=LOGGED).filter(|_| repeats.admit(scope, Kind::Tripped, at(0))).count();
            assert_eq!(logged as u32, LOGGED, "{scope:?}");
            assert!(repeats.is_repeating(scope, at(9_999)) && !repeats.is_repeating(scope, at(10_000)));
        }
        let told = repeats.take_all();
        assert!(everybody.iter().all(|scope| told.iter().any(|(of, _)| of == scope)), "{told:?}");
        assert_eq!(told.len(), 5);
    }
}
