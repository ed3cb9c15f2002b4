//! The `backoff` table of a retry: the waits between attempts, and whether an attempt can ever follow them.
//!
//! Owns its keys and their defaults. Must never look at how an attempt ended.

use std::time::Duration;

use lifeboat_core::retry::ceiling;
use lifeboat_core::settings::{Backoff, Jitter};

use super::order;
use super::reader::{Reader, Set};
use super::retry::{Rows, keep, untold};
use super::section::Section;
use super::shapes::{Factor, MONTH, TICK, Time};
use super::texts::Choice;
use super::tree::Origin;
use super::units::show_duration;

/// No wait between attempts is longer than a request may live.
const WAIT: Time = Time { least: Duration::ZERO, most: MONTH };

/// The waits between the attempts of a request, with what they are compared with.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    pub(super) backoff: Backoff,
    first: Set<Duration>,
    then: Set<Duration>,
    factor: Set<f64>,
    max_attempts: Set<u32>,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    retry: &mut Section,
    rows: &mut Rows,
    max_attempts: Set<u32>,
) -> Waits {
    let mut section = reader.section(retry, "backoff");
    let default = Backoff::default();
    let first = untold(reader, &mut section, "first", &WAIT, default.first);
    keep(rows, "backoff.first", &first);
    let then = untold(reader, &mut section, "then", &WAIT, default.then);
    keep(rows, "backoff.then", &then);
    let factor = untold(reader, &mut section, "factor", &Factor { least: 1, most: 100 }, default.factor);
    keep(rows, "backoff.factor", &factor);
    let longest = Time { least: TICK, ..WAIT };
    let max = untold(reader, &mut section, "max", &longest, default.max);
    keep(rows, "backoff.max", &max);
    let jitters = Choice(&[("full", Jitter::Full), ("none", Jitter::None)]);
    let jitter = untold(reader, &mut section, "jitter", &jitters, default.jitter);
    keep(rows, "backoff.jitter", &jitter);
    reader.finish(section, |_| None);
    order::at_most(reader, &first, &max, "is longer than");
    order::at_most(reader, &then, &max, "is longer than");
    let backoff = Backoff {
        first: first.value,
        then: then.value,
        factor: factor.value,
        max: max.value,
        jitter: jitter.value,
    };
    Waits { backoff, first, then, factor, max_attempts }
}

impl Waits {
    /// Refuses a wait that outlasts the request, and warns of what is without use; for a policy that is in use.
    pub(super) fn check(&self, reader: &mut Reader<'_>, deadline: &Set<Duration>) {
        self.check_use(reader, &self.then, 3, "third");
        self.check_use(reader, &self.factor, 4, "fourth");
        let is_reached = self.then.origin != Origin::Default && self.max_attempts.value >= 3;
        let waits = [Some(&self.first), is_reached.then_some(&self.then)];
        let mut too_long = waits.into_iter().flatten().filter(|wait| wait.value >= deadline.value).peekable();
        if too_long.peek().is_none() {
            self.check_sum(reader, deadline);
        }
        for wait in too_long {
            let help = "the attempt after it could never start: write a shorter wait, or a longer `deadline`";
            order::disordered(reader, wait, deadline, "can never pass before", Some(help.to_owned()));
        }
    }

    /// Warns of a written wait that comes before an attempt that is never made.
    fn check_use<T>(&self, reader: &mut Reader<'_>, wait: &Set<T>, attempt: u32, nth: &str) {
        if wait.origin == Origin::Default || self.max_attempts.value >= attempt {
            return;
        }
        let message = format!(
            "`{}` ({}) is without use: it counts from the {nth} attempt on, and `{}` is {}",
            wait.key,
            wait.told(),
            self.max_attempts.key,
            self.max_attempts.told()
        );
        reader.warn(&wait.origin, message);
    }

    /// Warns of attempts that would start after the deadline even if those before them took no time. With jitter any
    /// wait may be short.
    fn check_sum(&self, reader: &mut Reader<'_>, deadline: &Set<Duration>) {
        if self.backoff.jitter == Jitter::Full {
            return;
        }
        let mut sum = Duration::ZERO;
        for made in 1..u16::try_from(self.max_attempts.value).unwrap_or(u16::MAX) {
            sum += ceiling(&self.backoff, made);
            if sum >= deadline.value {
                let message = format!(
                    "`{}` ({}) can never be reached: the waits before attempt {} add up to {}, and `{}` is {}",
                    self.max_attempts.key,
                    self.max_attempts.told(),
                    made + 1,
                    show_duration(sum),
                    deadline.key,
                    deadline.told()
                );
                reader.warn(&self.max_attempts.origin, message);
                return;
            }
        }
    }
}
