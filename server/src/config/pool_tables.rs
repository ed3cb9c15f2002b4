//! The small tables of a pool: `queue`, `restart`, `limits`, `recycle` and `heartbeat`.
//!
//! Owns their keys, defaults and the order within each.

use std::time::Duration;

use lifeboat_core::settings::{QueueSettings, RestartSettings};

use super::broker::{self, MOST_OPEN_REQUESTS};
use super::order;
use super::pool::builtin;
use super::reader::Reader;
use super::section::Section;
use super::shapes::{Count, Limit, Size, Time};
use super::texts::Choice;
use super::tree::Value;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

const DEFAULT_QUEUE_REQUESTS: u32 = 1024;
const DEFAULT_QUEUE_BYTES: u64 = 64 * MIB;

const DEFAULT_RESTART_INITIAL: Duration = Duration::from_millis(100);
const DEFAULT_RESTART_MAX: Duration = Duration::from_secs(30);
const DEFAULT_STABLE_AFTER: Duration = Duration::from_secs(30);
const DEFAULT_MAX_RESTARTS: u32 = 20;
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(2);
const DEFAULT_MISSED: u32 = 3;

/// No process lives in less.
const MEMORY: Limit<Size> = Limit(Size { least: MIB, most: 1024 * TIB });

pub(super) fn read_queue(
    reader: &mut Reader<'_>,
    pool: &mut Section,
    broker: &broker::Read,
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
    if size.sound && size.value < broker.max_body.value {
        let message = format!(
            "`{}` ({}) is smaller than `{}` ({}): a body larger than the queue is refused whenever no worker is idle",
            size.key,
            size.told(),
            broker.max_body.key,
            broker.max_body.told()
        );
        reader.warn(&size.origin, message);
    }
    QueueSettings { max_requests: requests.value as usize, max_bytes: broker::bytes(size.value) }
}

pub(super) fn read_restart(reader: &mut Reader<'_>, pool: &mut Section) -> RestartSettings {
    let mut section = reader.section(pool, "restart");
    let initial = reader.value(&mut section, "initial", &Time::TIMEOUT, DEFAULT_RESTART_INITIAL);
    let max = reader.value(&mut section, "max", &Time::TIMEOUT, DEFAULT_RESTART_MAX);
    let stable_after = reader.value(&mut section, "stable_after", &Time::TIMEOUT, DEFAULT_STABLE_AFTER);
    let restarts = Limit(Count { least: 1, most: 1_000_000 });
    let max_restarts = builtin(section.path("max_restarts"), &restarts, Some(DEFAULT_MAX_RESTARTS));
    reader.value_not_yet(&mut section, "max_restarts", &restarts, &max_restarts);
    let window = builtin(section.path("window"), &Time::TIMEOUT, DEFAULT_WINDOW);
    reader.value_not_yet(&mut section, "window", &Time::TIMEOUT, &window);
    reader.finish(section, |_| None);
    order::at_most(reader, &initial, &max, "is longer than");
    RestartSettings { initial: initial.value, max: max.value, stable_after: stable_after.value }
}

/// Reads `limits` and `recycle`, whose memory limits must be ordered; the memory limit is the result.
pub(super) fn read_memory(reader: &mut Reader<'_>, pool: &mut Section) -> Option<u64> {
    let mut section = reader.section(pool, "limits");
    let memory = reader.value(&mut section, "memory", &MEMORY, None);
    let processes = Limit(Count { least: 1, most: 1_000_000 });
    let unlimited = builtin(section.path("processes"), &processes, None);
    reader.value_not_yet(&mut section, "processes", &processes, &unlimited);
    reader.finish(section, |_| None);

    let mut section = reader.section(pool, "recycle");
    let requests = Limit(Count { least: 1, most: u32::MAX });
    let unlimited = builtin(section.path("requests"), &requests, None);
    reader.value_not_yet(&mut section, "requests", &requests, &unlimited);
    for key in ["age", "idle"] {
        let age = Limit(Time::AGE);
        let unlimited = builtin(section.path(key), &age, None);
        reader.value_not_yet(&mut section, key, &age, &unlimited);
    }
    let unlimited = builtin(section.path("memory"), &MEMORY, None);
    let soft = reader.value_not_yet(&mut section, "memory", &MEMORY, &unlimited);
    reader.finish(section, |_| None);
    order::below(reader, &soft, &memory);
    memory.value
}

pub(super) fn read_heartbeat(reader: &mut Reader<'_>, pool: &mut Section) {
    let path = pool.path("heartbeat");
    match reader.take(pool, "heartbeat") {
        None => {}
        Some(entry) if matches!(entry.node.value, Value::Table(_)) => {
            pool.put_back(entry);
            let mut section = reader.section(pool, "heartbeat");
            let interval = builtin(section.path("interval"), &Time::TIMEOUT, DEFAULT_HEARTBEAT);
            reader.value_not_yet(&mut section, "interval", &Time::TIMEOUT, &interval);
            let missed = Count { least: 1, most: 1000 };
            let default = builtin(section.path("missed"), &missed, DEFAULT_MISSED);
            reader.value_not_yet(&mut section, "missed", &missed, &default);
            reader.finish(section, |_| None);
        }
        Some(entry) => {
            let words = Choice(&[("on", true), ("off", false)]);
            let set = reader.read(path.clone(), &entry, &words, &true);
            reader.tell(path.clone(), &set);
            reader.not_yet(path, &entry.origin, "");
        }
    }
}
