//! A cgroup for each process: bounds of a whole tree, proof that memory ran out, and nothing that could get away.
//!
//! Where no cgroup may be made these tests say so and prove nothing. They take turns: what one of them leaves on purpose is
//! what any plane that starts in the same cgroup removes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use lifeboat::process::{CgroupUse, become_subreaper_and_reset_sigchld};
use lifeboat_core::evidence::{OomEvidence, StopSignal, WaitStatus};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::alone::{is_alone, runs_as};
use super::rig::{Rig, Worker, lives, program, python, sh, state, wait_until};

const KILLED: WaitStatus = WaitStatus::Signaled { signal: 9, core_dumped: false };

const MIB: u64 = 1 << 20;

/// Waits until no other of these tests runs, in whatever process; none begins while the result is kept.
fn turn() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cgroups.lock");
    let turn = File::create(path).expect("a file of the build");
    flock(&turn, FlockOperation::LockExclusive).expect("locks work there");
    turn
}

/// A plane that uses cgroups; `None` where that is not possible.
#[expect(clippy::print_stderr, reason = "who runs the tests is to know that something is not proven")]
fn rig() -> Option<Rig> {
    become_subreaper_and_reset_sigchld().expect("allowed to every process");
    let rig = Rig::with(|options| options.cgroups = CgroupUse::Auto);
    let cgroups = rig.cgroups();
    if cgroups.memory && cgroups.processes && cgroups.kill {
        return Some(rig);
    }
    eprintln!("SKIPPED: no cgroup may be made here ({cgroups:?}); nothing is proven");
    None
}

/// The folders of a process's cgroups that a broker has made, as they are below the mounts.
fn folders(pid: u32) -> Vec<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    let made = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    made.filter(|group| group.contains("/lifeboat-")).map(PathBuf::from).collect()
}

/// A folder in the list of a process's cgroups, found below the mounts.
fn find(group: &Path) -> Vec<PathBuf> {
    let below = group.strip_prefix("/").expect("absolute");
    let mounts =
        fs::read_dir("/sys/fs/cgroup").expect("mounted").filter_map(|entry| Some(entry.ok()?.path()));
    mounts
        .chain([PathBuf::from("/sys/fs/cgroup")])
        .map(|mount| mount.join(below))
        .filter(|it| it.exists())
        .collect()
}

#[test]
fn each_process_has_one_of_its_own_and_none_stays() {
    let _turn = turn();
    let Some(mut rig) = rig() else { return };
    let [first, second] = [(); 2].map(|()| {
        let worker = rig.spawn(program(&["sleep", "1000"]));
        worker.wait_until_it_is("sleep");
        worker
    });
    let groups = folders(first.pid);
    assert!(!groups.is_empty());
    assert!(groups.iter().all(|group| group.ends_with("images-0-1")), "{groups:?}");
    assert!(folders(second.pid).iter().all(|group| group.ends_with("images-0-2")));
    let parent = groups[0].parent().expect("the broker's own").to_owned();
    assert!(!find(&groups[0]).is_empty() && !find(&parent).is_empty());
    rig.signal(&first, StopSignal::Kill);
    assert_eq!(rig.collect(&first).wait, KILLED);
    wait_until("its cgroup is gone", || groups.iter().all(|group| find(group).is_empty()));
    assert!(lives(second.pid));
    assert!(rig.end());
    assert!(find(&parent).is_empty(), "{parent:?} is left");
}

#[test]
fn the_own_counter_proves_that_memory_ran_out() {
    let _turn = turn();
    let Some(mut rig) = rig() else { return };
    let mut spec = python("x = bytearray(300 << 20); import time; time.sleep(1000)");
    spec.memory_limit = Some(100 * MIB);
    let evidence = rig.evidence_of(spec.clone());
    assert_eq!((evidence.wait, evidence.oom), (KILLED, OomEvidence::OwnCounterRose));
    assert!(rig.unread_report().is_none(), "nothing is sampled");
    // Nobody else's death is explained by it.
    let mut worker = rig.spawn(python("import os, time; os.write(3, b'up\\n'); time.sleep(1000)"));
    assert_eq!(worker.line(), "up");
    kill(worker.pid);
    assert_eq!(rig.collect(&worker).oom, OomEvidence::NotSeen);
    spec.command = program(&["true"]).command;
    assert_eq!(rig.evidence_of(spec).oom, OomEvidence::NotSeen);
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::KILL).expect("it lives");
}

#[test]
fn a_fork_bomb_is_bounded_and_ends_with_its_worker() {
    let _turn = turn();
    let Some(mut rig) = rig() else { return };
    let mut spec = python(
        "import os, time\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n  except BlockingIOError:\n    \
         os.write(3, b'full\\n'); time.sleep(1000)",
    );
    spec.processes = Some(50);
    let mut worker = rig.spawn(spec);
    // So many processes have been refused one more.
    for _ in 0..50 {
        assert_eq!(worker.line(), "full");
    }
    let pids = members(&worker);
    assert_eq!(pids.len(), 50);
    rig.signal(&worker, StopSignal::Kill);
    let evidence = rig.collect(&worker);
    assert_eq!((evidence.wait, evidence.descendants_leaked), (KILLED, 0));
    assert_eq!(evidence.descendants_killed, 49);
    assert!(!pids.iter().any(|pid| lives(*pid)), "at the moment of the evidence");
}

/// The processes in a worker's cgroup.
fn members(worker: &Worker) -> Vec<u32> {
    let procs = find(&folders(worker.pid)[0])[0].join("cgroup.procs");
    let text = fs::read_to_string(procs).expect("it lives");
    text.lines().map(|pid| pid.parse().expect("a pid")).collect()
}

/// It carries no mark, is in a session of its own, and the worker beside it could be where it comes from.
#[test]
fn who_has_left_everything_but_the_cgroup_goes_with_it() {
    let _turn = turn();
    let Some(mut rig) = rig() else { return };
    let beside = rig.spawn(program(&["sleep", "1000"]));
    let script = "setsid env -i sh -c 'echo $$ >&3; exec sleep 1000' & read word <&3; exit 3";
    for _ in 0..5 {
        let mut worker = rig.spawn(sh(script));
        let escaped: u32 = worker.line().parse().expect("a pid");
        let environ = format!("/proc/{escaped}/environ");
        wait_until("it has no environment", || {
            fs::read_to_string(&environ).is_ok_and(|environ| !environ.contains("LIFEBOAT"))
        });
        worker.say("go");
        let evidence = rig.collect(&worker);
        assert!(!lives(escaped));
        assert_eq!((evidence.descendants_killed, evidence.descendants_leaked), (1, 0), "{evidence:?}");
        wait_until("it is reaped", || state(escaped).is_none());
    }
    assert!(lives(beside.pid));
}

/// Nobody's reaping tells of it there.
#[test]
fn who_was_killed_by_the_cgroup_is_counted_where_orphans_are_not_adopted() {
    const NAME: &str = "cgroups::who_was_killed_by_the_cgroup_is_counted_where_orphans_are_not_adopted";
    if !runs_as(NAME) {
        let _turn = turn();
        is_alone(NAME, &[]);
        return;
    }
    if rig().is_none() {
        return;
    }
    rustix::process::set_child_subreaper(None).expect("allowed to every process");
    let mut rig = Rig::with(|options| options.cgroups = CgroupUse::Auto);
    let mut worker =
        rig.spawn(sh("setsid env -i sh -c 'echo $$ >&3; exec sleep 1000' & read word <&3; exit 3"));
    let escaped: u32 = worker.line().parse().expect("a pid");
    worker.say("go");
    let evidence = rig.collect(&worker);
    assert!(!lives(escaped));
    assert_eq!((evidence.descendants_killed, evidence.descendants_leaked), (1, 0), "{evidence:?}");
}

/// A cgroup of version 1 in which nobody heeds SIGKILL.
struct Frozen(PathBuf);

impl Frozen {
    fn new(pid: u32) -> Option<Self> {
        let made = Self(PathBuf::from(format!("/sys/fs/cgroup/freezer/lifeboat-test-{pid}")));
        fs::create_dir(&made.0).ok()?;
        fs::write(made.0.join("cgroup.procs"), pid.to_string()).ok()?;
        fs::write(made.0.join("freezer.state"), "FROZEN").ok()?;
        let state = || fs::read_to_string(made.0.join("freezer.state")).unwrap_or_default();
        wait_until("it is frozen", || state().trim() == "FROZEN");
        Some(made)
    }

    fn thaw(&self) {
        fs::write(self.0.join("freezer.state"), "THAWED").expect("it was frozen");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        wait_until("nobody is in it", || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn a_leader_that_does_not_die_saves_nobody_in_its_cgroup() {
    let _turn = turn();
    let Some(mut rig) = rig() else { return };
    let mut worker = rig.spawn(sh("setsid env -i sh -c 'echo $$ >&3; exec sleep 1000' & wait"));
    let escaped: u32 = worker.line().parse().expect("a pid");
    let Some(frozen) = Frozen::new(worker.pid) else {
        eprintln!("SKIPPED: nobody can be frozen here; nothing is proven");
        return;
    };
    rig.signal(&worker, StopSignal::Kill);
    wait_until("its descendant is dead", || !lives(escaped));
    assert!(lives(worker.pid), "the leader is not");
    frozen.thaw();
    assert_eq!(rig.collect(&worker).wait, KILLED);
}

/// A worker, and a folder that was made for all of them.
fn worker_of(rig: &mut Rig) -> (Worker, PathBuf) {
    let worker = rig.spawn(program(&["sleep", "1000"]));
    worker.wait_until_it_is("sleep");
    let groups = folders(worker.pid);
    let own = groups.first().expect("it is in one").parent().expect("it has a name");
    let own = find(own).first().expect("it is mounted").clone();
    (worker, own)
}

/// A folder as a broker leaves it that was killed together with its warden, with somebody in it; and a lock on it, as its
/// broker had, without which any other that starts would clear it.
fn leftover(beside: &Path, name: &str) -> (PathBuf, Child, File) {
    let folder = beside.with_file_name(name);
    fs::create_dir(&folder).expect("allowed, or the rig would not have any");
    let lock = File::open(&folder).expect("just made");
    flock(&lock, FlockOperation::LockExclusive).expect("nobody holds it for long");
    let group = folder.join("images-0-9");
    fs::create_dir_all(&group).expect("allowed");
    let child = Command::new("sleep").arg("1000").spawn().expect("sleep can be started");
    fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("allowed");
    (folder, child, lock)
}

#[test]
fn what_a_broker_has_left_that_is_gone_is_ended_and_removed() {
    let _turn = turn();
    let Some(mut first) = rig() else { return };
    let (worker, own) = worker_of(&mut first);
    let (folder, mut child, lock) = leftover(&own, &format!("lifeboat-0-{:016x}", std::process::id()));
    let beside = rig().expect("there was one before");
    assert!(folder.exists() && child.try_wait().expect("our child").is_none(), "its broker lives");
    drop((beside, lock));
    let second = rig().expect("there was one before");
    let status = child.wait().expect("our child");
    assert!(!status.success(), "{status}");
    assert!(!folder.exists());
    assert!(own.exists() && lives(worker.pid), "the first one's is not touched");
    drop(second);
    assert!(own.exists() && lives(worker.pid));
}

#[test]
fn a_process_whose_cgroup_cannot_be_made_runs_without_unless_it_has_a_limit_that_takes_one() {
    let _turn = turn();
    let Some(mut rig) = rig() else { return };
    let (_worker, own) = worker_of(&mut rig);
    // Somebody is quicker than the plane: the folders of the next ones are taken.
    for name in ["images-0-2", "images-0-3"] {
        fs::create_dir(own.join(name)).expect("allowed");
    }
    let next = rig.spawn(program(&["sleep", "1000"]));
    next.wait_until_it_is("sleep");
    assert!(folders(next.pid).is_empty(), "it runs without");
    rig.signal(&next, StopSignal::Kill);
    assert_eq!(rig.collect(&next).wait, KILLED);
    let mut bounded = program(&["sleep", "1000"]);
    bounded.processes = Some(9);
    let error = rig.spawn_error(bounded);
    assert!(error.contains("cannot make its cgroup"), "{error}");
    for name in ["images-0-2", "images-0-3"] {
        fs::remove_dir(own.join(name)).expect("nobody is in it");
    }
}

/// A cgroup of version 2 whose children no process can join.
struct Threaded(PathBuf);

impl Threaded {
    fn new() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").expect("we live");
        let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let own = find(Path::new(own)).into_iter().find(|it| it.join("cgroup.controllers").exists())?;
        let made = Self(own.join(format!("threaded-{}", std::process::id())));
        fs::create_dir(&made.0).ok()?;
        fs::write(made.0.join("cgroup.type"), "threaded").ok()?;
        Some(made)
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_tree_that_lets_no_process_in_is_not_used() {
    const NAME: &str = "cgroups::a_tree_that_lets_no_process_in_is_not_used";
    if !runs_as(NAME) {
        let _turn = turn();
        let Some(threaded) = Threaded::new() else {
            eprintln!("SKIPPED: no threaded cgroup may be made here; nothing is proven");
            return;
        };
        let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", threaded.0.display());
        is_alone(NAME, &["sh", "-c", &join]);
        return;
    }
    let mut rig = Rig::with(|options| options.cgroups = CgroupUse::Auto);
    let worker = rig.spawn(program(&["sleep", "1000"]));
    worker.wait_until_it_is("sleep");
    let groups = fs::read_to_string(worker.proc("cgroup")).expect("it lives");
    let unified = groups.lines().find(|line| line.starts_with("0::")).expect("version 2 is there");
    assert!(unified.contains("/threaded-") && !unified.contains("lifeboat-"), "{groups}");
}
