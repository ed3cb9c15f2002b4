//! What a client asks for, chosen by a seed, and what that may truthfully lead to.

use std::time::Duration;

use super::{Class, Pool};
use crate::act::{Deed, Told};

/// One call in so many may be tried again by its handler's own wish.
const FAILS_ONE_IN: u32 = 40;

/// One fault in so many is committed at every attempt.
const POISON_ONE_IN: u32 = 4;

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub pool: Pool,
    /// What the worker is asked to do.
    pub deed: Deed,
    /// The last attempt at which it is done.
    pub until_attempt: u16,
    /// The padding of the answer, in bytes.
    pub padding: usize,
    /// The call's.
    pub deadline: Duration,
    /// Tighter than the pool's, or not.
    pub attempt_timeout: Option<Duration>,
    /// Tighter than the pool's, or not.
    pub queue_timeout: Option<Duration>,
    /// Tighter than the pool's, or not.
    pub stall_timeout: Option<Duration>,
    /// When the client drops it.
    pub drop_after: Option<Duration>,
}

impl Plan {
    /// The next call: of a class, with a fault or without.
    #[must_use]
    pub fn choose(random: &mut fastrand::Rng, class: Class, fault: bool) -> Self {
        let pool = Pool::ALL[random.usize(..Pool::ALL.len())];
        let deed = if fault { self::fault(random, pool) } else { harmless(random, pool) };
        let poison = random.u32(..POISON_ONE_IN) == 0;
        let some = |random: &mut fastrand::Rng, one_in: u32, from: u64, to: u64| {
            (random.u32(..one_in) == 0).then(|| Duration::from_millis(random.u64(from..to)))
        };
        Self {
            // A deed that never comes back is ended by the call's own limit half of the time, else by the pool's.
            attempt_timeout: if fault { some(random, 2, 100, 400) } else { None },
            queue_timeout: some(random, 8, 20, 500),
            stall_timeout: if fault { some(random, 8, 100, 400) } else { None },
            deadline: Duration::from_millis(random.u64(400..6_000)),
            drop_after: (class == Class::Dropped).then(|| Duration::from_micros(random.u64(0..60_000))),
            until_attempt: if poison { u16::MAX } else { 1 },
            padding: if random.u32(..200) == 0 { random.usize(..300_000) } else { random.usize(..2_000) },
            pool,
            deed,
        }
    }
}

fn harmless(random: &mut fastrand::Rng, pool: Pool) -> Deed {
    match random.u32(..FAILS_ONE_IN) {
        // A raw worker knows no failures.
        0 if pool != Pool::Raw => Deed::Fail { retryable: random.bool() },
        1..=20 => Deed::Echo,
        _ => Deed::EchoAfter(random.u64(1..20)),
    }
}

fn then(deed: Deed) -> Box<Deed> {
    Box::new(deed)
}

/// Something bad. What costs a worker or the machine long comes less often.
fn fault(random: &mut fastrand::Rng, pool: Pool) -> Deed {
    match random.u8(..40) {
        0 => Deed::Hang,
        1 | 2 => Deed::Stop,
        3 => {
            if random.bool() {
                Deed::Busy
            } else {
                Deed::IgnoreSigterm
            }
        }
        4 if pool == Pool::Plain => Deed::Memory,
        5 => Deed::Flood(random.u32(1..6)),
        6 => Deed::Litter(then(quick(random))),
        7 => Deed::LitterUndead(then(quick(random))),
        8 => Deed::Regroup(then(Deed::Hang)),
        // Late: within a limit of its own or past it, as the machine will have it.
        9..=11 => Deed::EchoAfter(random.u64(90..500)),
        12..=29 if pool == Pool::Raw => hostile(random),
        _ => quick(random),
    }
}

/// A quick end.
fn quick(random: &mut fastrand::Rng) -> Deed {
    match random.u8(..8) {
        0 => Deed::Exit(0),
        1 => Deed::Exit(random.i32(1..100)),
        2 => Deed::Abort,
        3 => Deed::Segfault,
        4 => Deed::StackOverflow,
        5 => Deed::Allocation,
        6 => Deed::Signal(9),
        _ => Deed::Panic,
    }
}

/// What only a worker without the SDK does.
fn hostile(random: &mut fastrand::Rng) -> Deed {
    match random.u8(..15) {
        0 => Deed::Garbage,
        1 => Deed::Oversized,
        2 => Deed::AnswerTwice,
        3 => Deed::AnswerStranger,
        4 => Deed::CloseAndLive,
        5 => Deed::ShutRead(then(Deed::Hang)),
        6 => Deed::ShutWrite(then(Deed::Hang)),
        7 => Deed::ShutRead(then(Deed::AnswerThen(then(Deed::Hang)))),
        8 => Deed::KeepSocket(then(Deed::Exit(3))),
        9 => Deed::AnswerLate(Told::Sigterm),
        10 => Deed::Signal(15),
        11 => Deed::AnswerThen(then(Deed::Segfault)),
        12 => Deed::AnswerThen(then(Deed::Exit(5))),
        13 => Deed::AnswerThen(then(Deed::Signal(9))),
        _ => Deed::HalfAnswer(random.u16(..1000)),
    }
}

/// The labels of the crash reasons that a deed may truthfully lead to, beside the limits that end any work. The first are
/// those of the process's death; `slot_panicked` is of an attempt alone.
#[must_use]
pub fn reasons(deed: &Deed, pool: Pool) -> &'static [&'static str] {
    match deed {
        Deed::Exit(_) | Deed::Halt(_) | Deed::Flood(_) => &["exit"],
        Deed::Abort | Deed::Segfault | Deed::StackOverflow | Deed::Allocation => &["signal"],
        // A raw worker's panic ends its process, by its main function's code.
        Deed::Panic if pool == Pool::Raw => &["exit"],
        Deed::Panic => &["slots_exhausted", "slot_panicked"],
        Deed::AbortingPanic(_) => &["signal", "slot_panicked"],
        Deed::Stop => &["unresponsive"],
        Deed::Signal(9) | Deed::HalfAnswer(_) => &["killed_from_outside"],
        Deed::Signal(_) => &["stopped_from_outside"],
        Deed::Memory => &["memory_limit", "oom"],
        Deed::Grow => &["file_size_limit"],
        Deed::Garbage | Deed::Oversized | Deed::AnswerStranger => &["protocol_violation"],
        Deed::CloseAndLive | Deed::ShutWrite(_) => &["connection_closed"],
        Deed::ShutRead(_) => &["connection_error"],
        Deed::Litter(then)
        | Deed::LitterUndead(then)
        | Deed::Regroup(then)
        | Deed::Grove(_, then)
        | Deed::AnswerThen(then)
        | Deed::Recycle(then)
        | Deed::KeepSocket(then) => reasons(then, pool),
        Deed::Echo
        | Deed::EchoAfter(_)
        | Deed::Fail { .. }
        | Deed::FailFor(_)
        | Deed::Hang
        | Deed::Busy
        | Deed::Bomb(_)
        | Deed::MemoryOfAChild
        | Deed::IgnoreSigterm
        | Deed::AnswerTwice
        | Deed::AnswerLate(_)
        | Deed::AnswerOfSize { .. }
        | Deed::Say(_)
        | Deed::LongWords(..)
        | Deed::When(..)
        | Deed::Keep(_)
        | Deed::Signs { .. }
        | Deed::NoteRungs(_) => &[],
    }
}

/// Whether a worker that does this answers all the same.
#[must_use]
pub fn is_answered(deed: &Deed) -> bool {
    if let Deed::ShutRead(then) = deed {
        return is_answered(then);
    }
    matches!(
        deed,
        Deed::Echo | Deed::EchoAfter(_) | Deed::AnswerThen(_) | Deed::AnswerTwice | Deed::AnswerLate(_)
    )
}
