//! A `[pools.NAME]` table.
//!
//! Owns a pool's keys, defaults and names. Must never look at another pool: that is `pools`' work.

use std::num::NonZeroU16;
use std::time::Duration;

use lifeboat_core::settings::{OnDisconnect, PoolSettings};

use super::broker;
use super::command;
use super::error::ProblemKind;
use super::order;
use super::policy::{self, Policy};
use super::pool_tables;
use super::reader::{Reader, Set};
use super::section::Section;
use super::shapes::{Count, Shape, Time};
use super::texts::{Choice, Flag};
use super::tree::{Origin, Value};

/// The most workers, in a pool and in all of them: each is a process with descriptors of its own.
pub const MAX_WORKERS: u32 = 4096;

/// More than this in one process's hands is a queue, and the queue is the broker's.
const MOST_PREFETCH: u32 = 1024;

const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_CANCEL_GRACE: Duration = Duration::from_secs(1);
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);
const DEFAULT_KILL_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_UNHEALTHY_AFTER: u32 = 3;

/// A pool as the file says it.
pub(super) struct Pool {
    pub(super) settings: PoolSettings,
    pub(super) command: command::Read,
    /// Where the pool was named.
    pub(super) origin: Origin,
    /// The policy of methods that say nothing.
    pub(super) defaults: Policy,
    pub(super) methods: Vec<Method>,
    /// Whether it takes what no other pool takes.
    pub(super) accept_any: Set<bool>,
}

/// A method as the file says it.
pub(super) struct Method {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) policy: Policy,
}

pub(super) fn read(reader: &mut Reader<'_>, mut section: Section, broker: &broker::Read) -> Pool {
    let (name, origin) = (section.name.clone(), section.origin.clone());
    check_name(reader, &name, &origin);
    let command = command::read(reader, &mut section);
    let settings = read_settings(reader, &mut section, name.clone(), broker);
    read_not_yet(reader, &mut section);
    let accept_any = reader.value(&mut section, "accept_any_method", &Flag, false);
    let (defaults, methods) = read_policies(reader, &mut section);
    reader.finish(section, |key| {
        let hint = format!("it belongs to [pools.{name}.defaults], or to a method");
        policy::KEYS.contains(&key).then_some(hint)
    });
    Pool { settings, command, origin, defaults, methods, accept_any }
}

fn read_settings(
    reader: &mut Reader<'_>,
    section: &mut Section,
    name: String,
    broker: &broker::Read,
) -> PoolSettings {
    let workers = read_workers(reader, section);
    read_slots(reader, section);
    let prefetch = Count { least: 1, most: MOST_PREFETCH };
    let prefetch = small(reader.value(section, "prefetch", &prefetch, 1).value);
    let mut time = |key, shape: Time, default| reader.value(section, key, &shape, default).value;
    let start_timeout = time("start_timeout", Time::TIMEOUT, DEFAULT_START_TIMEOUT);
    let cancel_grace = time("cancel_grace", Time::GRACE, DEFAULT_CANCEL_GRACE);
    let stop_grace = time("stop_grace", Time::GRACE, DEFAULT_STOP_GRACE);
    let kill_timeout = time("kill_timeout", Time::TIMEOUT, DEFAULT_KILL_TIMEOUT);
    let on_disconnect = Choice(&[("cancel", OnDisconnect::Cancel), ("finish", OnDisconnect::Finish)]);
    let on_disconnect = reader.value(section, "on_disconnect", &on_disconnect, OnDisconnect::Cancel).value;
    let queue = pool_tables::read_queue(reader, section, broker);
    let restart = pool_tables::read_restart(reader, section);
    PoolSettings {
        name,
        workers,
        prefetch,
        queue,
        restart,
        start_timeout,
        cancel_grace,
        stop_grace,
        kill_timeout,
        on_disconnect,
    }
}

/// A count whose shape has bounded it; 1 stands in for one that was refused.
fn small(count: u32) -> NonZeroU16 {
    u16::try_from(count).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN)
}

fn check_name(reader: &mut Reader<'_>, name: &str, origin: &Origin) {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let rule = if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        "1 to 64 characters of a-z, 0-9, `_` and `-`"
    } else if RESERVED.contains(&name) {
        "Lifeboat uses it itself"
    } else {
        return;
    };
    let kind = ProblemKind::BadName { what: "a pool", name: name.to_owned(), rule };
    reader.problem(origin, kind, None);
}

/// The names that stand in metrics for what has none.
const RESERVED: [&str; 2] = ["_other", "_none"];

fn check_method_name(reader: &mut Reader<'_>, name: &str, origin: &Origin) {
    let rule = if name.is_empty() || name.len() > 255 {
        "1 to 255 bytes"
    } else if RESERVED.contains(&name) {
        "Lifeboat uses it itself"
    } else {
        return;
    };
    let kind = ProblemKind::BadName { what: "a method", name: name.to_owned(), rule };
    reader.problem(origin, kind, None);
}

fn read_workers(reader: &mut Reader<'_>, section: &mut Section) -> NonZeroU16 {
    let shape = Count { least: 1, most: MAX_WORKERS };
    let table = match reader.take(section, "workers") {
        Some(entry) if matches!(entry.node.value, Value::Table(_)) => entry,
        Some(entry) => {
            let path = section.path("workers");
            let set = reader.read(path.clone(), &entry, &shape, &1);
            reader.tell(path, &set);
            return small(set.value);
        }
        None => {
            let default = Set {
                key: section.path("workers"),
                value: (),
                origin: Origin::Default,
                shown: "1".to_owned(),
                sound: true,
            };
            reader.tell(section.path("workers"), &default);
            return NonZeroU16::MIN;
        }
    };
    section.put_back(table);
    let mut range = reader.section(section, "workers");
    let max = reader.take(&mut range, "max");
    let path = range.path("max");
    let max = if let Some(entry) = max {
        let set = reader.read(path.clone(), &entry, &shape, &1);
        reader.tell(path, &set);
        set
    } else {
        reader.problem(&range.origin, ProblemKind::Missing { key: path.clone() }, None);
        Set { key: path, value: 1, origin: Origin::Default, shown: String::new(), sound: false }
    };
    read_min_workers(reader, &mut range, &shape, &max);
    reader.finish(range, |_| None);
    small(max.value)
}

fn read_min_workers(reader: &mut Reader<'_>, range: &mut Section, shape: &Count, max: &Set<u32>) {
    let Some(entry) = reader.take(range, "min") else {
        return;
    };
    let path = range.path("min");
    let min = reader.read(path.clone(), &entry, shape, &max.value);
    reader.tell(path.clone(), &min);
    order::at_most(reader, &min, max, "is more than");
    if min.value < max.value {
        reader.not_yet(path, &entry.origin, "`workers.max` are started");
    }
}

fn read_slots(reader: &mut Reader<'_>, section: &mut Section) {
    let slots = reader.value(section, "slots", &Count { least: 1, most: 1024 }, 1);
    if slots.value > 1 {
        let why = "a process has one slot; start more workers instead";
        let kind = ProblemKind::NotThereYet { key: slots.key.clone(), found: slots.shown.clone(), why };
        reader.problem(&slots.origin, kind, Some("write slots = 1, or leave it out".to_owned()));
    }
}

fn read_not_yet(reader: &mut Reader<'_>, section: &mut Section) {
    pool_tables::read_heartbeat(reader, section);
    let on_busy = Choice(&[("queue", true), ("reject", false)]);
    let on_busy = reader.value(section, "on_busy", &on_busy, true);
    if !on_busy.value {
        reader.not_yet(on_busy.key, &on_busy.origin, "requests wait in the queue, as with \"queue\"");
    }
    let shape = Count { least: 1, most: 1000 };
    let key = section.path("unhealthy_after");
    let unhealthy_after = builtin(key, &shape, DEFAULT_UNHEALTHY_AFTER);
    reader.value_not_yet(section, "unhealthy_after", &shape, &unhealthy_after);
    let key = section.path("unhealthy_on_failed");
    reader.value_not_yet(section, "unhealthy_on_failed", &Flag, &builtin(key, &Flag, false));
    let key = section.path("disable_unhealthy");
    reader.value_not_yet(section, "disable_unhealthy", &Flag, &builtin(key, &Flag, false));
}

/// A built-in value that is not told, since its feature is not there yet.
pub(super) fn builtin<S: Shape>(key: String, shape: &S, value: S::Value) -> Set<S::Value> {
    Set { shown: shape.show(&value), key, value, origin: Origin::Default, sound: true }
}

fn read_policies(reader: &mut Reader<'_>, section: &mut Section) -> (Policy, Vec<Method>) {
    let mut table = reader.section(section, "defaults");
    let built_in = Policy::built_in(&table);
    let defaults = Policy::read(reader, &mut table, &built_in);
    reader.finish(table, |_| None);
    let mut methods = Vec::new();
    for mut table in reader.named_sections(section, "methods", "METHOD") {
        let (name, origin) = (table.name.clone(), table.origin.clone());
        check_method_name(reader, &name, &origin);
        let policy = Policy::read(reader, &mut table, &defaults);
        policy.check(reader);
        reader.finish(table, |_| None);
        methods.push(Method { name, origin, policy });
    }
    (defaults, methods)
}
