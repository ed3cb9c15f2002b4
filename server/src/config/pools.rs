//! All pools together: what must be true between them, and the settings that come of them.
//!
//! Owns the numbering of pools and methods. Must never change a value.

use std::collections::HashMap;

use lifeboat_core::ids::PoolId;
use lifeboat_core::settings::{MethodSettings, Settings};

use super::broker::{self, BrokerConfig};
use super::command::WorkerCommand;
use super::error::ProblemKind;
use super::pool::{self, MAX_WORKERS, Pool};
use super::reader::Reader;
use super::section::Section;
use super::tree::Origin;

/// Methods are labels of metrics, so their number is bounded.
const MOST_METHODS: usize = 4096;

/// The method of a pool that accepts any.
const OTHER: &str = "_other";

pub(super) fn read(reader: &mut Reader<'_>, root: &mut Section, broker: &broker::Read) -> Vec<Pool> {
    let pools: Vec<_> = reader
        .named_sections(root, "pools", "NAME")
        .into_iter()
        .map(|section| pool::read(reader, section, broker))
        .collect();
    if pools.is_empty() && reader.problems.is_empty() {
        let help = "add a pool: [pools.NAME] with `command` and a table of `methods`".to_owned();
        reader.problem(&Origin::File(0..0), ProblemKind::NoPool, Some(help));
    }
    check_methods(reader, &pools);
    check_any(reader, &pools);
    check_totals(reader, &pools);
    pools
}

fn check_methods(reader: &mut Reader<'_>, pools: &[Pool]) {
    let mut homes: HashMap<&str, (&Pool, &Origin)> = HashMap::new();
    for pool in pools {
        if pool.methods.is_empty() && !pool.accept_any.value && pool.accept_any.sound {
            let name = &pool.settings.name;
            let help = format!("add [pools.{name}.methods.METHOD], or accept_any_method = true");
            reader.problem(&pool.origin, ProblemKind::NoMethod { pool: name.clone() }, Some(help));
        }
        for method in &pool.methods {
            let Some((first, origin)) = homes.insert(&method.name, (pool, &method.origin)) else {
                continue;
            };
            let kind = ProblemKind::MethodTwice {
                method: method.name.clone(),
                first: first.settings.name.clone(),
                second: pool.settings.name.clone(),
            };
            let help = "a method belongs to one pool; remove it from the other".to_owned();
            reader.problem_of_two(&method.origin, origin, kind, Some(help));
        }
    }
}

fn check_any(reader: &mut Reader<'_>, pools: &[Pool]) {
    let mut any = pools.iter().filter(|pool| pool.accept_any.value);
    let Some(first) = any.next() else { return };
    first.defaults.check(reader, &first.on_busy);
    for second in any {
        let kind = ProblemKind::AcceptAnyTwice {
            first: first.settings.name.clone(),
            second: second.settings.name.clone(),
        };
        let help = "at most one pool takes the methods that no other names".to_owned();
        reader.problem_of_two(&second.accept_any.origin, &first.accept_any.origin, kind, Some(help));
    }
}

fn check_totals(reader: &mut Reader<'_>, pools: &[Pool]) {
    let Some(last) = pools.last() else { return };
    let workers: usize = pools.iter().map(|pool| usize::from(pool.settings.workers.get())).sum();
    let methods: usize = pools.iter().map(|pool| pool.methods.len()).sum();
    let totals = [("workers", workers, MAX_WORKERS as usize), ("methods", methods, MOST_METHODS)];
    for (what, count, most) in totals {
        if count > most {
            reader.problem(&last.origin, ProblemKind::TooMany { what, count, most }, None);
        }
    }
}

/// The settings of pools without problems.
pub(super) fn settings(pools: Vec<Pool>, broker: &BrokerConfig) -> (Settings, Vec<WorkerCommand>) {
    let mut methods: Vec<MethodSettings> = Vec::new();
    let (mut all, mut commands) = (Vec::new(), Vec::new());
    for (index, pool) in (0..).zip(pools) {
        let id = PoolId(index);
        methods.extend(pool.methods.iter().map(|method| method.policy.settings(method.name.clone(), id)));
        if pool.accept_any.value {
            methods.push(pool.defaults.settings(OTHER.to_owned(), id));
        }
        all.push(pool.settings);
        commands.push(pool.command.command);
    }
    let settings = Settings {
        pools: all,
        methods,
        drain_timeout: broker.drain_timeout,
        max_open_requests: broker.max_open_requests,
        quarantine_room: Settings::QUARANTINE_ROOM,
        start: String::new(),
    };
    (settings, commands)
}
