//! The limits of each pool as they are in force: what the configuration says, and what of it this system can do.

use crate::config::{WorkerCommand, WorkerLimits};
use crate::observe::{LimitsInForce, MemoryBy};
use crate::process::CgroupsInUse;

/// One for each pool, in order.
pub(super) fn in_force(commands: &[WorkerCommand], cgroups: CgroupsInUse) -> Vec<LimitsInForce> {
    commands.iter().map(|command| of_pool(command, cgroups)).collect()
}

fn of_pool(command: &WorkerCommand, cgroups: CgroupsInUse) -> LimitsInForce {
    let WorkerLimits { processes, open_files, cpu_time, file_size, core_size, nice } = command.limits;
    let memory_by = if cgroups.memory { MemoryBy::Cgroup } else { MemoryBy::Sampling };
    LimitsInForce {
        memory: command.memory_limit,
        memory_by: command.memory_limit.map(|_| memory_by),
        processes: processes.filter(|_| cgroups.processes),
        open_files,
        cpu_time: cpu_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        file_size,
        core_size,
        nice,
        inherit_env: command.inherit_env.clone(),
        current_dir: command.current_dir.as_ref().map(|dir| dir.display().to_string()),
    }
}

/// Says once which pools have a limit that cannot be kept here.
pub(super) fn complain<'a>(
    pools: impl Iterator<Item = &'a str>,
    commands: &[WorkerCommand],
    cgroups: CgroupsInUse,
) {
    let unkept = pools.zip(commands).filter(|(_, command)| command.limits.processes.is_some());
    for (pool, _) in unkept.filter(|_| !cgroups.processes) {
        tracing::warn!(
            pool,
            "`limits.processes` is not in force: it takes cgroups, which cannot be used here"
        );
    }
}
