//! The steps of a request's life at which its process dies.

use std::num::NonZeroU16;
use std::time::Duration;

use lifeboat_core::event::{Answer, ClientLimits};
use lifeboat_core::ids::ClientTag;
use lifeboat_core::settings::{Backoff, Jitter, RetryOn, RetryPolicy, Settings};

use super::{Case, LimitKind};
use crate::boat::{Boat, life, ms, plain, slotted};

/// Where the request that is watched is when the first sign comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Every slot is taken by others.
    Queued,
    /// Sent a moment ago.
    Dispatched,
    /// Executing for a while, and telling of it.
    Executing,
    /// Its client cancelled it; its handler has not stopped yet.
    GivenUp,
    /// A limit of it has passed; it was told to stop.
    ToldToStop,
    /// A limit of it has passed and its process was sent SIGTERM.
    Terminated,
    /// Its answer was the last thing heard; the next request has its slot.
    Answered,
    /// Its first attempt failed; the next one has to wait.
    BackingOff,
    /// Its slot executes another one.
    HeldBehind,
}

/// From the first sign of the death to the limit that may pass as well.
const NEAR: Duration = ms(10);

/// When the first limit passes of a request of which two do.
const LIMIT: Duration = ms(1000);

impl Step {
    /// From the request's acceptance to the first sign.
    const fn lasts(self) -> Duration {
        match self {
            Self::Executing => ms(500),
            Self::ToldToStop => ms(1010),
            Self::Terminated => ms(1110),
            Self::Queued
            | Self::Dispatched
            | Self::GivenUp
            | Self::Answered
            | Self::BackingOff
            | Self::HeldBehind => Duration::ZERO,
        }
    }

    /// From the request's acceptance to the limit that may pass beside its death.
    pub(super) fn limit(self) -> Duration {
        self.lasts() + NEAR
    }

    /// A limit of it has passed before the first sign.
    pub(super) const fn is_past_a_limit(self) -> bool {
        matches!(self, Self::ToldToStop | Self::Terminated)
    }
}

pub(super) fn settings(case: &Case<'_>) -> Settings {
    let prefetch = if case.step == Step::HeldBehind { 2 } else { 1 };
    let mut settings = slotted(plain(1), case.slots, prefetch);
    settings.methods[0].deadline = ms(60_000);
    let on = RetryOn { crash: true, stall: true, timeout: true, failed: case.step == Step::BackingOff };
    if case.retried || case.step == Step::BackingOff {
        let first = if case.step == Step::BackingOff { ms(3000) } else { Duration::ZERO };
        let backoff = Backoff { first, jitter: Jitter::None, ..Backoff::default() };
        let max_attempts = NonZeroU16::new(2).unwrap();
        settings.methods[0].retry = RetryPolicy::Retry { on, max_attempts, backoff };
    }
    settings
}

/// The limits of the request that is watched. What has not started has its deadline or its place in the queue to lose.
fn limits(case: &Case<'_>) -> ClientLimits {
    let none = ClientLimits::default();
    let some = Some(case.step.limit());
    match case.step {
        Step::Queued => ClientLimits { queue_timeout: some, ..none },
        Step::HeldBehind | Step::BackingOff => ClientLimits { timeout: some, ..none },
        Step::Answered => none,
        Step::ToldToStop | Step::Terminated => {
            let (first, timeout) = (Some(LIMIT), some);
            match case.limit {
                LimitKind::Attempt | LimitKind::Deadline => {
                    ClientLimits { attempt_timeout: first, timeout, ..none }
                }
                LimitKind::Progress => ClientLimits { progress_timeout: first, timeout, ..none },
                LimitKind::Output => ClientLimits { output_timeout: first, timeout, ..none },
            }
        }
        Step::Dispatched | Step::Executing | Step::GivenUp => match case.limit {
            LimitKind::Attempt => ClientLimits { attempt_timeout: some, ..none },
            LimitKind::Progress => ClientLimits { progress_timeout: some, ..none },
            LimitKind::Output => ClientLimits { output_timeout: some, ..none },
            LimitKind::Deadline => ClientLimits { timeout: some, ..none },
        },
    }
}

/// A boat whose process holds what it is to hold: the watched request and its neighbours, in the order of acceptance.
pub(super) fn board(case: &Case<'_>) -> (Boat, ClientTag, Vec<ClientTag>) {
    let mut boat = Boat::afloat(settings(case));
    let slots = usize::from(case.slots);
    if case.productive {
        let tag = boat.request();
        boat.ok(tag);
    }
    let mut neighbours: Vec<ClientTag> = Vec::new();
    let before = match case.step {
        Step::Queued | Step::HeldBehind => slots,
        Step::Answered | Step::BackingOff => 0,
        Step::Dispatched | Step::Executing | Step::GivenUp | Step::ToldToStop | Step::Terminated => slots - 1,
    };
    for _ in 0..before {
        neighbours.push(boat.request());
    }
    let watched = boat.request_with(limits(case));
    match case.step {
        Step::Queued | Step::Dispatched | Step::HeldBehind => {}
        Step::Executing | Step::ToldToStop | Step::Terminated => boat.pass(case.step.lasts()),
        Step::GivenUp => boat.cancel(watched),
        Step::Answered => {
            boat.ok(watched);
            neighbours.push(boat.request());
        }
        Step::BackingOff => {
            boat.answer(watched, Answer::Failed { answer: 1, again: Some(ms(0)) });
            neighbours.push(boat.request());
        }
    }
    boat.orders.retain(|order| !matches!(order, lifeboat_core::action::Action::Spawn { .. }));
    assert!(boat.spawned().is_empty() && boat.crashes().is_empty());
    assert_eq!(boat.core.view(boat.now).workers[0].process, Some(life(0, 1)));
    (boat, watched, neighbours)
}
