//! Finds, kills and reaps what worker processes leave behind: the orphans that this process adopts as a subreaper.
//!
//! It owns the list of known orphans. It must never reap a process of the table, never signal a child that is not
//! proven to descend from a worker (unless every child is the plane's, which is never so for process 1: orphans come
//! to it from elsewhere, and it only reaps them), and never wait.
//!
//! Whose an orphan is, is said by its session or group, while that is still its worker's, else by its mark.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use lifeboat_core::ids::ProcessKey;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::table::{BrokerMark, Marking, Process, Table};
use super::{proc_fs, signal};

/// How long a process whose environment cannot be read is taken for one that is just being started.
const UNSURE_FOR: Duration = Duration::from_millis(20);

/// Sweeps adopted orphans, round by round.
#[derive(Debug)]
pub(super) struct Sweeper {
    /// Adopted children known so far; an entry goes with its reaping.
    orphans: HashMap<Pid, Orphan>,
    /// Process groups that were killed for a process still being collected. Their members may be zombies, which can
    /// no longer be asked for their mark, before they are first seen.
    killed_groups: HashMap<i32, ProcessKey>,
    /// The same of those that were killed by their cgroup, one by one.
    killed_members: HashMap<Pid, ProcessKey>,
    /// Children that were there before the plane.
    foreign: HashSet<Pid>,
    warden: Pid,
    owns_all_children: bool,
    /// Every orphan must descend from a worker, mark or none.
    kills_unmarked: bool,
    /// Reused from round to round.
    children: Vec<Pid>,
}

#[derive(Clone, Debug)]
struct Orphan {
    owner: Owner,
    /// Still in the process group of its worker's leader.
    in_group: bool,
    group: i32,
    started: u64,
    first_seen: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It descends from this process, which may be gone from the table meanwhile.
    Process(ProcessKey),
    /// It descends from a process of ours that is gone.
    Gone,
    /// It carries no mark of ours.
    NotOurs,
    /// Its mark could not be read.
    Unreadable,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Orphans reaped, without those known to be of another process. Their children may have come to us after the
    /// list was read.
    pub(super) reaped: u32,
    /// Orphans of the process asked for that are not gone yet.
    pub(super) remaining: u32,
    /// Orphans that may prove to be of that process when looked at again.
    pub(super) unsure: u32,
}

impl Round {
    /// Nothing of the process asked for is left, and nothing can turn up.
    pub(super) fn is_clean(self) -> bool {
        self == Self::default()
    }
}

impl Sweeper {
    /// Children that there are already are never killed. The warden is nobody's orphan.
    pub(super) fn new(owns_all_children: bool, warden: Pid) -> std::io::Result<Self> {
        let mut children = Vec::new();
        proc_fs::own_children(&mut children)?;
        let foreign = children.iter().copied().filter(|pid| *pid != warden).collect();
        Ok(Self {
            orphans: HashMap::new(),
            killed_groups: HashMap::new(),
            killed_members: HashMap::new(),
            foreign,
            warden,
            owns_all_children,
            // To process 1 comes every orphan of its namespace: that of a `docker exec` is no worker's.
            kills_unmarked: owns_all_children && !rustix::process::getpid().is_init(),
            children,
        })
    }

    /// These were killed by the cgroup of a process that is being collected.
    pub(super) fn killed(&mut self, members: impl IntoIterator<Item = Pid>, process: ProcessKey) {
        self.killed_members.extend(members.into_iter().map(|pid| (pid, process)));
    }

    /// The warden is another process from now on.
    pub(super) const fn warden_is(&mut self, warden: Pid) {
        self.warden = warden;
    }

    /// Whether a round may find something although no process lives.
    pub(super) fn has_work(&self) -> bool {
        self.owns_all_children || !self.orphans.is_empty()
    }

    /// How many orphans are known that descend from processes of ours.
    pub(super) fn known(&self) -> usize {
        let ours = |orphan: &&Orphan| matches!(orphan.owner, Owner::Process(_) | Owner::Gone);
        self.orphans.values().filter(ours).count()
    }

    /// Looks at every child once: reaps zombies, kills orphans of processes that have exited.
    ///
    /// Without orphans this costs the reading of the children lists, about 10 µs a thread of this process.
    pub(super) fn round(&mut self, table: &Table, broker: &BrokerMark, asked: Option<ProcessKey>) -> Round {
        let mut children = std::mem::take(&mut self.children);
        if let Err(error) = proc_fs::own_children(&mut children) {
            // Out of descriptors, most likely. Upkeep finds by their mark what is missed now.
            tracing::warn!(%error, "cannot list the broker's children; orphans of workers stay for now");
            self.children = children;
            return Round { unsure: 1, ..Round::default() };
        }
        let mut known = std::mem::take(&mut self.orphans);
        self.killed_groups.retain(|_, key| table.get(*key).is_some());
        self.killed_members.retain(|_, key| table.get(*key).is_some());
        let mut round = Round::default();
        let now = Instant::now();
        for &pid in &children {
            if table.by_pid(pid.as_raw_pid()).is_some() || pid == self.warden {
                continue;
            }
            if self.foreign.contains(&pid) {
                if self.owns_all_children && reap(pid).is_some() {
                    self.foreign.remove(&pid);
                }
                continue;
            }
            let Some(mut orphan) = self.look(pid, known.remove(&pid), table, broker, now) else { continue };
            if self.handle(pid, &mut orphan, table, asked, &mut round) {
                self.orphans.insert(pid, orphan);
            }
        }
        self.children = children;
        round
    }

    /// Reaps or kills one orphan if that is due; says whether it is still there.
    fn handle(
        &mut self,
        pid: Pid,
        orphan: &mut Orphan,
        table: &Table,
        asked: Option<ProcessKey>,
        round: &mut Round,
    ) -> bool {
        let is_ours = match orphan.owner {
            Owner::Process(_) | Owner::Gone => true,
            Owner::NotOurs | Owner::Unreadable => self.owns_all_children,
        };
        if is_ours && let Some(end) = reap(pid) {
            if let Owner::Process(key) = orphan.owner
                && let Some(process) = table.get(key)
                && counts_as_killed(process, orphan, end)
            {
                process.descendants_killed.set(process.descendants_killed.get() + 1);
            }
            let another_s =
                matches!(orphan.owner, Owner::Process(key) if asked.is_some_and(|asked| asked != key));
            round.reaped += u32::from(!another_s);
            return false;
        }
        if self.must_die(orphan, table) {
            if matches!(orphan.owner, Owner::NotOurs | Owner::Unreadable) {
                orphan.owner = asked.map_or(Owner::Gone, Owner::Process);
            }
            if let Owner::Process(key) = orphan.owner {
                self.killed_groups.insert(orphan.group, key);
            }
            signal::kill_orphan(pid, orphan.group);
        }
        match orphan.owner {
            Owner::Process(key) => round.remaining += u32::from(asked == Some(key)),
            Owner::Unreadable => round.unsure += u32::from(orphan.first_seen.elapsed() < UNSURE_FOR),
            Owner::Gone | Owner::NotOurs => {}
        }
        true
    }

    /// What is known of an adopted child; what was unsure is looked at again. `None` when it is gone.
    fn look(
        &self,
        pid: Pid,
        known: Option<Orphan>,
        table: &Table,
        broker: &BrokerMark,
        now: Instant,
    ) -> Option<Orphan> {
        let first_seen = known.as_ref().map_or(now, |orphan| orphan.first_seen);
        if let Some(orphan) = known
            && matches!(orphan.owner, Owner::Process(_) | Owner::Gone)
        {
            return Some(orphan);
        }
        let stat = proc_fs::stat(pid)?;
        let by_group = table.by_pid(stat.group);
        let owner = match by_group.or_else(|| table.by_pid(stat.session)) {
            Some(process) => Owner::Process(process.key),
            None => match broker.read(pid) {
                Marking::Ours(mark) => {
                    table.by_mark(&mark).map_or(Owner::Gone, |process| Owner::Process(process.key))
                }
                Marking::NotOurs => Owner::NotOurs,
                Marking::Unreadable => {
                    let killed =
                        self.killed_members.get(&pid).or_else(|| self.killed_groups.get(&stat.group));
                    killed.map_or(Owner::Unreadable, |key| Owner::Process(*key))
                }
            },
        };
        Some(Orphan {
            owner,
            in_group: by_group.is_some(),
            group: stat.group,
            started: stat.started,
            first_seen,
        })
    }

    fn must_die(&self, orphan: &Orphan, table: &Table) -> bool {
        match orphan.owner {
            Owner::Process(key) => table.get(key).is_none_or(|process| process.exited.get()),
            Owner::Gone => true,
            Owner::Unreadable if orphan.first_seen.elapsed() < UNSURE_FOR => false,
            Owner::NotOurs | Owner::Unreadable => {
                self.kills_unmarked && self.foreign.is_empty() && !has_living_origin(orphan, table)
            }
        }
    }
}

/// Whether some living worker is old enough to be an orphan's origin.
fn has_living_origin(orphan: &Orphan, table: &Table) -> bool {
    table.iter().filter(|process| !process.exited.get()).any(|process| {
        // The leader is unreaped, so its number is its own.
        proc_fs::stat(process.pid).is_none_or(|stat| stat.started <= orphan.started)
    })
}

/// Whether this orphan's end was our doing after its leader's end: by the signal sent to the leader's whole group
/// the members of that group die with the leader, not after it.
fn counts_as_killed(process: &Process, orphan: &Orphan, end: Option<i32>) -> bool {
    let survived_leader = !orphan.in_group || !process.kill_sent.get();
    process.exited.get() && end == Some(Signal::KILL.as_raw()) && survived_leader
}

/// Reaps one child if it is a zombie; says which signal ended it, if one did.
fn reap(pid: Pid) -> Option<Option<i32>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::Pid(pid), options).ok()??;
    Some(status.terminating_signal())
}
