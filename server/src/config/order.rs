//! Relations between limits: a limit that can never fire is a mistake, and both numbers say so.
//!
//! Owns the comparisons. Must never judge a value that could not be read: one mistake, one message.

use std::fmt::Debug;
use std::time::Duration;

use super::error::ProblemKind;
use super::reader::{Reader, Set};

/// Refuses an inner limit that is not shorter than the one around it.
pub(super) fn fires_before(
    reader: &mut Reader<'_>,
    inner: &Set<Option<Duration>>,
    outer: &Set<Option<Duration>>,
) {
    if let (Some(short), Some(long)) = (inner.value, outer.value)
        && short >= long
    {
        disordered(reader, inner, outer, "can never fire before", None);
    }
}

/// Refuses a soft limit that is not below the hard one.
pub(super) fn below(reader: &mut Reader<'_>, soft: &Set<Option<u64>>, hard: &Set<Option<u64>>) {
    if let (Some(low), Some(high)) = (soft.value, hard.value)
        && low >= high
    {
        disordered(reader, soft, hard, "can never fire before", None);
    }
}

/// Refuses a value above its bound.
pub(super) fn at_most<T: Ord + Debug>(
    reader: &mut Reader<'_>,
    value: &Set<T>,
    bound: &Set<T>,
    relation: &'static str,
) {
    if value.value > bound.value {
        disordered(reader, value, bound, relation, None);
    }
}

/// Refuses a value below its bound.
pub(super) fn at_least<T: Ord + Debug>(
    reader: &mut Reader<'_>,
    value: &Set<T>,
    bound: &Set<T>,
    relation: &'static str,
) {
    if value.value < bound.value {
        disordered(reader, value, bound, relation, None);
    }
}

/// Refuses two values that do not go together.
pub(super) fn disordered<T, U>(
    reader: &mut Reader<'_>,
    one: &Set<T>,
    other: &Set<U>,
    relation: &'static str,
    help: Option<String>,
) {
    if !one.sound || !other.sound {
        return;
    }
    let kind = ProblemKind::Disordered {
        key: one.key.clone(),
        value: one.told(),
        relation,
        other: other.key.clone(),
        other_value: other.told(),
    };
    reader.problem_of_two(&one.origin, &other.origin, kind, help);
}
