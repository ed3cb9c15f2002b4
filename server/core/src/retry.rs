//! Whether a request gets another attempt, and after what wait.
//!
//! It owns the decision as a pure function of policy, attempts and time. It must never queue a request or draw
//! randomness of its own.

use std::time::Duration;

use crate::settings::{Backoff, Jitter, RetryOn, RetryPolicy};
use crate::time::Timestamp;

/// How an attempt ended, as far as a retry policy distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The process died while executing it or had to be killed as unfit, or the handler panicked.
    Crash,
    /// The attempt's own time limit passed.
    Timeout,
    /// No progress or no output for too long.
    Stall,
    /// The handler said no.
    Failed {
        /// It says that another attempt may succeed, and not to begin one sooner than this. `None` says no.
        again: Option<Duration>,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Another attempt, after this wait.
    Again {
        /// The wait; zero is at once.
        wait: Duration,
    },
    /// No further attempt.
    GiveUp(GiveUp),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The policy does not retry this end.
    NotAskedFor,
    /// Every attempt has been made.
    AttemptsUsedUp,
    /// The next attempt could not start before the deadline.
    Deadline,
}

/// Everything that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The method's policy.
    pub policy: &'a RetryPolicy,
    /// Which ends the request wants to be retried: the policy's, or those that the client left of them.
    pub on: RetryOn,
    /// How many attempts the request may have in all: the policy's number, or the client's if that is lower.
    pub max_attempts: u16,
    /// How many it has had.
    pub attempts: u16,
    /// How the last one ended.
    pub trigger: Trigger,
    /// The time.
    pub now: Timestamp,
    /// The request's deadline.
    pub deadline: Timestamp,
    /// A random number from 0 to 1, for the jitter.
    pub fraction: f64,
}

/// Decides whether a request gets another attempt. Total and deterministic.
#[must_use]
pub fn decide(ask: &Ask<'_>) -> Decision {
    let RetryPolicy::Retry { on, max_attempts, backoff } = ask.policy else {
        return Decision::GiveUp(GiveUp::NotAskedFor);
    };
    let on = on.and(ask.on);
    let (asked_for, at_least) = match ask.trigger {
        Trigger::Crash => (on.crash, Duration::ZERO),
        Trigger::Timeout => (on.timeout, Duration::ZERO),
        Trigger::Stall => (on.stall, Duration::ZERO),
        Trigger::Failed { again } => (on.failed && again.is_some(), again.unwrap_or_default()),
    };
    if !asked_for {
        return Decision::GiveUp(GiveUp::NotAskedFor);
    }
    if ask.attempts >= ask.max_attempts.min(max_attempts.get()) {
        return Decision::GiveUp(GiveUp::AttemptsUsedUp);
    }
    let wait = jittered(ceiling(backoff, ask.attempts), backoff.jitter, ask.fraction).max(at_least);
    if ask.now + wait >= ask.deadline {
        return Decision::GiveUp(GiveUp::Deadline);
    }
    Decision::Again { wait }
}

/// The longest wait after `attempts` attempts: `first` after one, then `then`, each further one `factor` times longer,
/// none longer than `max`.
#[must_use]
pub fn ceiling(backoff: &Backoff, attempts: u16) -> Duration {
    let wait = match attempts {
        0 | 1 => backoff.first,
        2 => backoff.then,
        more => {
            let factor = backoff.factor.max(1.0).powi(i32::from(more - 2));
            let seconds = backoff.then.as_secs_f64() * factor.min(f64::MAX);
            // Rounding may take a nanosecond away.
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(backoff.then)
        }
    };
    wait.min(backoff.max)
}

fn jittered(wait: Duration, jitter: Jitter, fraction: f64) -> Duration {
    match jitter {
        Jitter::None => wait,
        Jitter::Full => {
            let seconds = wait.as_secs_f64() * fraction.clamp(0.0, 1.0);
            Duration::try_from_secs_f64(seconds).map_or(wait, |part| part.min(wait))
        }
    }
}
