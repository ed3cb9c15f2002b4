//! Whole trees: nothing of a worker survives its death, and nothing else is touched.

use std::fs;
use std::process::Command;
use std::time::Duration;

use lifeboat::process::{Order, SpawnSpec};
use lifeboat_core::evidence::{StopSignal, WaitStatus};
use rustix::process::{Pid, Signal};

use super::alone::{is_alone, runs_as};
use super::rig::{BAD_NAME, Rig, Worker, lives, python, sh, state, wait_at_most, wait_until};

/// Makes a tree of five below the leader, says all pids, then does as it is told.
const TREE: &str = r#"
import os, signal, time
def tell(who): os.write(3, b"%s %d\n" % (who, os.getpid()))
def rest():
    while True: time.sleep(1000)
def child(who, before=lambda: None, then=rest):
    pid = os.fork()
    if pid == 0:
        before(); tell(who); then(); os._exit(0)
    return pid
child(b"child", then=lambda: (child(b"grandchild"), rest()))
os.waitpid(child(b"none", then=lambda: child(b"daemon", before=os.setsid)), 0)
child(b"deaf", before=lambda: [signal.signal(s, signal.SIG_IGN) for s in (15, 1, 2)])
child(b"stopped", then=lambda: os.kill(os.getpid(), signal.SIGSTOP))
word = os.read(3, 100).strip()
if word == b"exit": os._exit(3)
if word == b"kill": os.kill(os.getpid(), 9)
if word == b"abort": os.abort()
rest()
"#;

/// Starts the tree and waits until it is whole; gives the descendants' pids.
fn tree(rig: &mut Rig, spec: SpawnSpec) -> (Worker, Vec<u32>) {
    let mut worker = rig.spawn(spec);
    let mut pids = Vec::new();
    // The five, and the one that only lived to orphan the daemon.
    for _ in 0..6 {
        let line = worker.line();
        let (who, pid) = line.split_once(' ').expect("who and pid");
        let pid: u32 = pid.parse().expect("a pid");
        match who {
            "none" => continue,
            "stopped" => wait_until("stopped", || state(pid) == Some('T')),
            _ => {}
        }
        pids.push(pid);
    }
    assert!(pids.iter().all(|pid| lives(*pid)), "{pids:?}");
    (worker, pids)
}

fn assert_gone(pids: &[u32], how: &str) {
    wait_at_most(Duration::from_secs(1), &format!("all of {pids:?} are gone ({how})"), &mut || {
        pids.iter().all(|pid| state(*pid).is_none())
    });
}

#[test]
fn nothing_of_a_tree_survives() {
    let mut rig = Rig::new();
    for how in ["exit", "kill", "abort", "signal", "silently"] {
        let (mut worker, pids) = tree(&mut rig, python(TREE));
        match how {
            "signal" => rig.signal(&worker, StopSignal::Kill),
            "silently" => {
                rig.order(Order::Forget { process: worker.key });
                worker.wait_for_exit();
                assert_gone(&pids, how);
                assert!(rig.unread_report().is_none());
                continue;
            }
            word => worker.say(word),
        }
        let evidence = rig.collect(&worker);
        // At the moment of the evidence, not some time later.
        assert!(!pids.iter().any(|pid| lives(*pid)), "{how}: {evidence:?}");
        assert_gone(&pids, how);
        assert!(state(worker.pid).is_none(), "the leader is reaped");
        assert_eq!(evidence.descendants_leaked, 0, "{how}");
        match how {
            "exit" => {
                assert_eq!((evidence.wait, evidence.descendants_killed), (WaitStatus::Exited { code: 3 }, 5))
            }
            // What was in the group died with the leader; the daemon had escaped.
            "signal" => assert_eq!(evidence.descendants_killed, 1),
            _ => assert_eq!(evidence.descendants_killed, 5, "{how}"),
        }
    }
}

/// It has left the group, and is known by its mark alone.
#[test]
fn a_name_that_is_no_text_saves_nobody() {
    let mut rig = Rig::new();
    let named = format!("os.setsid(); {BAD_NAME}; os.write(3, b'%d\\n' % os.getpid()); time.sleep(1000)");
    let script = format!("import os, time\nif os.fork() == 0: {named}\nelse: os.read(3, 1); os._exit(3)");
    let mut worker = rig.spawn(python(&script));
    let daemon: u32 = worker.line().parse().expect("a pid");
    let comm = fs::read(format!("/proc/{daemon}/comm")).expect("it lives");
    assert!(std::str::from_utf8(&comm).is_err(), "{comm:?}");
    worker.say("exit");
    let evidence = rig.collect(&worker);
    assert!(!lives(daemon), "at the moment of the evidence");
    assert_eq!((evidence.descendants_killed, evidence.descendants_leaked), (1, 0));
    assert_gone(&[daemon], "by its mark");
}

#[test]
fn sigterm_reaches_the_whole_group() {
    let mut rig = Rig::new();
    let script = "sh -c 'trap \"echo child >&3; exit 0\" TERM; echo up >&3; while :; do sleep 0.01; done' & \
                  trap 'wait; echo leader >&3; exit 8' TERM; while :; do sleep 0.01; done";
    let mut worker = rig.spawn(sh(script));
    assert_eq!(worker.line(), "up");
    rig.signal(&worker, StopSignal::Terminate);
    let said = [worker.line(), worker.line()];
    assert!(said.contains(&String::from("child")) && said.contains(&String::from("leader")), "{said:?}");
    assert_eq!(rig.collect(&worker).wait, WaitStatus::Exited { code: 8 });
}

#[test]
fn a_stopped_worker_can_be_killed() {
    let mut rig = Rig::new();
    let mut worker = rig.spawn(sh("echo >&3; kill -STOP $$; exit 1"));
    worker.line();
    wait_until("stopped", || state(worker.pid) == Some('T'));
    rig.signal(&worker, StopSignal::Terminate);
    rig.signal(&worker, StopSignal::Kill);
    assert_eq!(rig.collect(&worker).wait, WaitStatus::Signaled { signal: 9, core_dumped: false });
}

#[test]
fn one_worker_s_death_does_not_touch_another_s_daemon() {
    let mut rig = Rig::new();
    let (mut first, firsts) = tree(&mut rig, python(TREE));
    let (second, seconds) = tree(&mut rig, python(TREE));
    first.say("exit");
    rig.collect(&first);
    assert_gone(&firsts, "the first's");
    assert!(lives(second.pid) && seconds.iter().all(|pid| lives(*pid)), "{seconds:?}");
    rig.signal(&second, StopSignal::Kill);
    rig.collect(&second);
    assert_gone(&seconds, "the second's");
}

#[test]
fn orphans_are_found_where_they_are_not_adopted() {
    if !is_alone("trees::orphans_are_found_where_they_are_not_adopted", &[]) {
        return;
    }
    // No subreaper: they become children of process 1, or of whoever adopts around here.
    rustix::process::set_child_subreaper(None).expect("allowed to every process");
    let mut rig = Rig::with(|_| {});
    let (mut worker, pids) = tree(&mut rig, python(TREE));
    worker.say("exit");
    let evidence = rig.collect(&worker);
    assert!(!pids.iter().any(|pid| lives(*pid)), "{evidence:?}");
    assert!(evidence.descendants_killed >= 1 && evidence.descendants_leaked == 0, "{evidence:?}");
}

/// Waits until a process has become a `sleep`, and its environment with it. The environment alone does not tell: it is
/// empty for a moment in every exec.
fn wait_until_scrubbed(pid: u32) {
    let comm = format!("/proc/{pid}/comm");
    wait_until("it is scrubbed", || fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n"));
}

#[test]
fn a_daemon_without_a_mark_goes_when_no_worker_can_be_its_origin() {
    if !is_alone("trees::a_daemon_without_a_mark_goes_when_no_worker_can_be_its_origin", &[]) {
        return;
    }
    let mut rig = Rig::of_a_broker();
    let elder = rig.spawn(sh("exec sleep 1000"));
    elder.wait_until_it_is("sleep");
    let script = "(setsid env -i sleep 1000 & echo $! >&3; read x <&3); exec sleep 1000";
    let mut worker = rig.spawn(sh(script));
    let daemon: u32 = worker.line().parse().expect("a pid");
    wait_until_scrubbed(daemon);
    worker.say("go");
    rig.signal(&worker, StopSignal::Kill);
    rig.collect(&worker);
    // Its origin is not known: it might be the elder's. It is spared as long as the elder lives.
    assert!(lives(daemon));
    rig.signal(&elder, StopSignal::Kill);
    rig.collect(&elder);
    assert_gone(&[daemon], "unmarked");
}

#[test]
fn process_1_reaps_strangers_and_kills_none() {
    let test = "trees::process_1_reaps_strangers_and_kills_none";
    let wrapper = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let unshared = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    assert!(
        runs_as(test) || unshared.is_ok_and(|output| output.status.success()),
        "this test needs PID namespaces: run it as root, or allow them (sysctl kernel.unprivileged_userns_clone=1)"
    );
    if !runs_as(test) {
        is_alone(test, &wrapper);
        return;
    }
    assert_eq!(std::process::id(), 1);
    let mut rig = Rig::of_a_broker();
    // Unmarked, and come to process 1 from somewhere: an environment of its own, and none that can be read.
    let script = "(setsid env -i A=b sleep 1000 & echo $! >&3; setsid env -i sleep 1000 & echo $! >&3; \
                  read x <&3); exit 0";
    let mut worker = rig.spawn(sh(script));
    let strangers: [u32; 2] = [(); 2].map(|()| worker.line().parse().expect("a pid"));
    strangers.iter().copied().for_each(wait_until_scrubbed);
    worker.say("go");
    rig.collect(&worker);
    // The next death sweeps until no stranger can be unsure any more.
    rig.evidence_of(sh("exit 0"));
    rig.evidence_of(sh("exit 0"));
    for pid in strangers {
        assert!(lives(pid), "{pid} was killed");
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not zero");
        rustix::process::kill_process(pid, Signal::KILL).expect("alive");
    }
    assert_gone(&strangers, "reaped by process 1");
}

#[test]
fn orphans_of_a_living_worker_are_reaped_and_its_status_is_not() {
    if !is_alone("trees::orphans_of_a_living_worker_are_reaped_and_its_status_is_not", &[]) {
        return;
    }
    let mut rig = Rig::of_a_broker();
    let mut worker = rig.spawn(sh("(setsid sh -c 'echo $$ >&3; exit 1' &); read x <&3; exit 7"));
    let orphan: u32 = worker.line().parse().expect("a pid");
    wait_until("the orphan is reaped", || state(orphan).is_none());
    worker.say("go");
    assert_eq!(rig.collect(&worker).wait, WaitStatus::Exited { code: 7 });
}

#[test]
fn children_of_the_surrounding_program_are_left_alone() {
    let mut rig = Rig::new();
    let spawn = |script| Command::new("sh").args(["-c", script]).spawn().expect("sh");
    let (mut dead, mut alive) = (spawn("exit 5"), spawn("exec sleep 1000"));
    wait_until("a zombie", || state(dead.id()) == Some('Z'));
    let (mut worker, pids) = tree(&mut rig, python(TREE));
    worker.say("exit");
    rig.collect(&worker);
    assert_gone(&pids, "the worker's");
    assert_eq!(dead.wait().expect("not stolen").code(), Some(5));
    assert!(lives(alive.id()));
    alive.kill().expect("our child");
    alive.wait().expect("not stolen");
}

/// Twenty that keep forking, half of them escaped. Gentle, and over by themselves should the test fail.
const BOMB: &str = r#"
import os, time
end = time.monotonic() + 30
for n in range(20):
    if os.fork() == 0:
        if n % 2: os.setsid()
        os.write(3, b"x\n")
        while time.monotonic() < end:
            if os.fork() == 0: os._exit(0)
            os.wait()
            time.sleep(0.005)
        os._exit(0)
time.sleep(1000)
"#;

#[test]
fn what_keeps_forking_is_put_out() {
    let mut rig = Rig::new();
    let mut worker = rig.spawn(python(BOMB));
    for _ in 0..20 {
        worker.line();
    }
    rig.signal(&worker, StopSignal::Kill);
    let evidence = rig.collect(&worker);
    assert_eq!(evidence.descendants_leaked, 0, "{evidence:?}");
    assert!(evidence.descendants_killed >= 10, "{evidence:?}");
}
