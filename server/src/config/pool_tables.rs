//! The small tables of a pool: `queue`, `restart`, `limits` and `recycle`.
//!
//! Owns their keys and defaults, and what in them goes together. Must never look at a method.

use std::num::NonZeroU32;
use std::time::Duration;

use lifeboat_core::settings::{OnBusy, QueueSettings, RecycleSettings, RestartSettings};

use super::broker::{self, MOST_OPEN_REQUESTS};
use super::order;
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::{Count, Limit, Size, Time};
use super::tree::Origin;

const MIB: u64 = 1 << 20;
pub(super) const TIB: u64 = 1 << 40;

const DEFAULT_QUEUE_REQUESTS: u32 = 1024;
const DEFAULT_QUEUE_BYTES: u64 = 64 * MIB;

const DEFAULT_RESTART_INITIAL: Duration = Duration::from_millis(100);
const DEFAULT_RESTART_MAX: Duration = Duration::from_secs(30);
const DEFAULT_STABLE_AFTER: Duration = Duration::from_secs(30);
const DEFAULT_MAX_RESTARTS: u32 = 20;
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);

/// Each of them is remembered for as long as the window.
const MOST_RESTARTS: u32 = 100_000;

/// No process lives in less.
pub(super) const MEMORY: Limit<Size> = Limit(Size { least: MIB, most: 1024 * TIB });

pub(super) fn read_queue(
    reader: &mut Reader<'_>,
    pool: &mut Section,
    broker: &broker::Read,
    on_busy: &Set<OnBusy>,
) -> QueueSettings {
    let mut section = reader.section(pool, "queue");
    let requests = Count { least: 1, most: MOST_OPEN_REQUESTS };
    // The default never contradicts a small broker.
    let default_requests = DEFAULT_QUEUE_REQUESTS.min(broker.max_open_requests.value);
    let requests = reader.value(&mut section, "max_requests", &requests, default_requests);
    let size = Size { least: 1 << 10, most: TIB };
    let size = reader.value(&mut section, "max_bytes", &size, DEFAULT_QUEUE_BYTES);
    reader.finish(section, |_| None);
    order::at_most(reader, &requests, &broker.max_open_requests, "can never be reached, being more than");
    match on_busy.value {
        OnBusy::Queue => check_queue(reader, &size, &broker.max_body),
        OnBusy::Reject => {
            bounds_nothing(reader, &requests, on_busy);
            bounds_nothing(reader, &size, on_busy);
        }
    }
    QueueSettings { max_requests: requests.value as usize, max_bytes: broker::bytes(size.value) }
}

fn check_queue(reader: &mut Reader<'_>, size: &Set<u64>, body: &Set<u64>) {
    if size.sound && size.value < body.value {
        let message = format!(
            "`{}` ({}) is smaller than `{}` ({}): a body larger than the queue is refused whenever no worker is idle",
            size.key,
            size.told(),
            body.key,
            body.told()
        );
        reader.warn(&size.origin, message);
    }
}

fn bounds_nothing<T>(reader: &mut Reader<'_>, bound: &Set<T>, on_busy: &Set<OnBusy>) {
    if bound.origin != Origin::Default {
        let message = format!(
            "`{}` ({}) bounds nothing where `{}` is {}: no new request waits, and those that come back are never \
             refused",
            bound.key,
            bound.told(),
            on_busy.key,
            on_busy.shown
        );
        reader.warn(&bound.origin, message);
    }
}

pub(super) fn read_restart(reader: &mut Reader<'_>, pool: &mut Section) -> RestartSettings {
    let mut section = reader.section(pool, "restart");
    let initial = reader.value(&mut section, "initial", &Time::TIMEOUT, DEFAULT_RESTART_INITIAL);
    let max = reader.value(&mut section, "max", &Time::TIMEOUT, DEFAULT_RESTART_MAX);
    let stable_after = reader.value(&mut section, "stable_after", &Time::TIMEOUT, DEFAULT_STABLE_AFTER);
    let restarts = Limit(Count { least: 1, most: MOST_RESTARTS });
    let max_restarts = reader.value(&mut section, "max_restarts", &restarts, Some(DEFAULT_MAX_RESTARTS));
    let window = reader.value(&mut section, "window", &Time::TIMEOUT, DEFAULT_WINDOW);
    reader.finish(section, |_| None);
    order::at_most(reader, &initial, &max, "is longer than");
    RestartSettings {
        initial: initial.value,
        max: max.value,
        stable_after: stable_after.value,
        max_restarts: max_restarts.value.and_then(NonZeroU32::new),
        window: window.value,
    }
}

/// Reads `recycle`: what the core is told, and the memory above which a process is replaced.
pub(super) fn read_recycle(
    reader: &mut Reader<'_>,
    pool: &mut Section,
    limit: &Set<Option<u64>>,
    start_timeout: &Set<Duration>,
) -> (RecycleSettings, Option<u64>) {
    let mut section = reader.section(pool, "recycle");
    let requests = Limit(Count { least: 1, most: u32::MAX });
    let requests = reader.value(&mut section, "requests", &requests, None);
    let age = reader.value(&mut section, "age", &Limit(Time::AGE), None);
    let idle = reader.value(&mut section, "idle", &Limit(Time::AGE), None);
    let memory = reader.value(&mut section, "memory", &MEMORY, None);
    reader.finish(section, |_| None);
    order::below(reader, &memory, limit);
    if let (Some(shorter), Some(longer)) = (age.value, idle.value)
        && shorter <= longer
    {
        order::disordered(reader, &idle, &age, "can never be reached before", None);
    }
    if age.value.is_some_and(|age| age < start_timeout.value) {
        let message = format!(
            "`{}` ({}) is shorter than `{}` ({}): a process may be due before its successor has to be ready, and the \
             pool then replaces processes all the time",
            age.key,
            age.told(),
            start_timeout.key,
            start_timeout.told()
        );
        reader.warn(&age.origin, message);
    }
    let recycle = RecycleSettings {
        requests: requests.value.and_then(NonZeroU32::new),
        age: age.value,
        idle: idle.value,
    };
    (recycle, memory.value)
}
