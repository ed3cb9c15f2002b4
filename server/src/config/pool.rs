//! A `[pools.NAME]` table.
//!
//! Owns a pool's keys, defaults and names. Must never look at another pool: that is `pools`' work.

use std::num::NonZeroU16;
use std::time::Duration;

use lifeboat_core::settings::{HealthSettings, OnBusy, OnDisconnect, OnPanic, PoolSettings};

use super::broker;
use super::command;
use super::error::ProblemKind;
use super::health;
use super::heartbeat::{self, Beat};
use super::limits;
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

/// The most that a worker's hello can offer.
const MOST_SLOTS: u32 = 256;

/// More than this in one slot's hands is a queue, and the queue is the broker's.
const MOST_PREFETCH: u32 = 1024;

/// The same for a process.
const MOST_HELD: u32 = 4096;

const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_CANCEL_GRACE: Duration = Duration::from_secs(1);
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);
const DEFAULT_KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool as the file says it.
pub(super) struct Pool {
    pub(super) settings: PoolSettings,
    pub(super) command: command::Read,
    /// Where the pool was named.
    pub(super) origin: Origin,
    /// What becomes of requests that find no room.
    pub(super) on_busy: Set<OnBusy>,
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

/// The keys of the table itself, without those in tables of their own.
struct Keys {
    workers: Set<u32>,
    slots: Set<u32>,
    prefetch: Set<u32>,
    start_timeout: Set<Duration>,
    cancel_grace: Duration,
    stop_grace: Duration,
    kill_timeout: Duration,
    on_disconnect: OnDisconnect,
    on_panic: OnPanic,
    on_busy: Set<OnBusy>,
    accept_any: Set<bool>,
    health: HealthSettings,
    heartbeat: Option<Beat>,
}

pub(super) fn read(reader: &mut Reader<'_>, mut section: Section, broker: &broker::Read) -> Pool {
    let (name, origin) = (section.name.clone(), section.origin.clone());
    check_name(reader, &name, &origin);
    let mut command = command::read(reader, &mut section);
    let keys = read_keys(reader, &mut section);
    let settings = read_tables(reader, &mut section, name.clone(), &keys, broker, &mut command);
    let (defaults, methods) = read_policies(reader, &mut section, &keys.on_busy);
    reader.finish(section, |key| {
        let hint = format!("it belongs to [pools.{name}.defaults], or to a method");
        policy::KEYS.contains(&key).then_some(hint)
    });
    let Keys { heartbeat, accept_any, on_busy, .. } = keys;
    if let Some(beat) = heartbeat {
        let others = accept_any.value.then_some(&defaults);
        let used = methods.iter().map(|method| &method.policy).chain(others);
        beat.check(reader, used.map(Policy::deadline));
    }
    Pool { settings, command, origin, on_busy, defaults, methods, accept_any }
}

fn read_keys(reader: &mut Reader<'_>, section: &mut Section) -> Keys {
    let workers = read_workers(reader, section);
    let (slots, prefetch) = read_slots(reader, section);
    let mut time = |key, shape: Time, default| reader.value(section, key, &shape, default);
    let start_timeout = time("start_timeout", Time::TIMEOUT, DEFAULT_START_TIMEOUT);
    let cancel_grace = time("cancel_grace", Time::GRACE, DEFAULT_CANCEL_GRACE).value;
    let stop_grace = time("stop_grace", Time::GRACE, DEFAULT_STOP_GRACE).value;
    let kill_timeout = time("kill_timeout", Time::TIMEOUT, DEFAULT_KILL_TIMEOUT).value;
    let on_disconnect = Choice(&[("cancel", OnDisconnect::Cancel), ("finish", OnDisconnect::Finish)]);
    let on_disconnect = reader.value(section, "on_disconnect", &on_disconnect, OnDisconnect::Cancel).value;
    let on_panic = Choice(&[("retire_slot", OnPanic::RetireSlot), ("keep", OnPanic::Keep)]);
    let on_panic = reader.value(section, "on_panic", &on_panic, OnPanic::RetireSlot).value;
    let on_busy = Choice(&[("queue", OnBusy::Queue), ("reject", OnBusy::Reject)]);
    let on_busy = reader.value(section, "on_busy", &on_busy, OnBusy::Queue);
    let accept_any = reader.value(section, "accept_any_method", &Flag, false);
    let health = health::read(reader, section);
    let heartbeat = heartbeat::read(reader, section);
    Keys {
        workers,
        slots,
        prefetch,
        start_timeout,
        cancel_grace,
        stop_grace,
        kill_timeout,
        on_disconnect,
        on_panic,
        on_busy,
        accept_any,
        health,
        heartbeat,
    }
}

/// Reads the tables, and puts together what the core is told; the command is told what the process room needs.
fn read_tables(
    reader: &mut Reader<'_>,
    section: &mut Section,
    name: String,
    keys: &Keys,
    broker: &broker::Read,
    command: &mut command::Read,
) -> PoolSettings {
    let queue = pool_tables::read_queue(reader, section, broker, &keys.on_busy);
    let restart = pool_tables::read_restart(reader, section);
    let (memory, limits) = limits::read(reader, section, &broker.cgroups);
    let (recycle, memory_high) = pool_tables::read_recycle(reader, section, &memory, &keys.start_timeout);
    command.command.memory_limit = memory.value;
    command.command.memory_high = memory_high;
    command.command.limits = limits;
    command.command.output = command::read_output(reader, section);
    PoolSettings {
        name,
        workers: small(keys.workers.value),
        slots: small(keys.slots.value),
        prefetch: small(keys.prefetch.value),
        queue,
        on_busy: keys.on_busy.value,
        restart,
        recycle,
        heartbeat: keys.heartbeat.as_ref().map(Beat::settings),
        start_timeout: keys.start_timeout.value,
        cancel_grace: keys.cancel_grace,
        stop_grace: keys.stop_grace,
        kill_timeout: keys.kill_timeout,
        on_disconnect: keys.on_disconnect,
        on_panic: keys.on_panic,
        health: keys.health,
    }
}

/// A count whose shape has bounded it; 1 stands in for one that was refused.
pub(super) fn small(count: u32) -> NonZeroU16 {
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

fn read_workers(reader: &mut Reader<'_>, section: &mut Section) -> Set<u32> {
    let shape = Count { least: 1, most: MAX_WORKERS };
    let path = section.path("workers");
    let table = match reader.take(section, "workers") {
        Some(entry) if matches!(entry.node.value, Value::Table(_)) => entry,
        Some(entry) => {
            let set = reader.read(path.clone(), &entry, &shape, &1);
            reader.tell(path, &set);
            return set;
        }
        None => {
            let set = builtin(path.clone(), &shape, 1);
            reader.tell(path, &set);
            return set;
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
    max
}

fn read_min_workers(reader: &mut Reader<'_>, range: &mut Section, shape: &Count, max: &Set<u32>) {
    let path = range.path("min");
    let Some(entry) = reader.take(range, "min") else {
        reader.tell(path, &Set { origin: Origin::Default, ..max.clone() });
        return;
    };
    let min = reader.read(path.clone(), &entry, shape, &max.value);
    reader.tell(path.clone(), &min);
    order::at_most(reader, &min, max, "is more than");
    if min.value < max.value {
        reader.not_yet(path, &entry.origin, "`workers.max` are started");
    }
}

fn read_slots(reader: &mut Reader<'_>, section: &mut Section) -> (Set<u32>, Set<u32>) {
    let slots = reader.value(section, "slots", &Count { least: 1, most: MOST_SLOTS }, 1);
    let prefetch = reader.value(section, "prefetch", &Count { least: 1, most: MOST_PREFETCH }, 1);
    let held = slots.value.saturating_mul(prefetch.value);
    if held > MOST_HELD {
        let help = format!("a process may hold {MOST_HELD} requests; this would be {held}");
        order::disordered(reader, &slots, &prefetch, "is too many for", Some(help));
    }
    (slots, prefetch)
}

/// A built-in value.
pub(super) fn builtin<S: Shape>(key: String, shape: &S, value: S::Value) -> Set<S::Value> {
    Set { shown: shape.show(&value), key, value, origin: Origin::Default, sound: true }
}

fn read_policies(
    reader: &mut Reader<'_>,
    section: &mut Section,
    on_busy: &Set<OnBusy>,
) -> (Policy, Vec<Method>) {
    let mut table = reader.section(section, "defaults");
    let built_in = Policy::built_in(&table);
    let defaults = Policy::read(reader, &mut table, &built_in);
    reader.finish(table, |_| None);
    let mut methods = Vec::new();
    for mut table in reader.named_sections(section, "methods", "METHOD") {
        let (name, origin) = (table.name.clone(), table.origin.clone());
        check_method_name(reader, &name, &origin);
        let policy = Policy::read(reader, &mut table, &defaults);
        policy.check(reader, on_busy);
        reader.finish(table, |_| None);
        methods.push(Method { name, origin, policy });
    }
    (defaults, methods)
}
