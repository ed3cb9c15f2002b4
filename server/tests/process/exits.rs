//! A kill that comes when a process is exiting already: what is claimed of it is true.

use std::fs;
use std::time::{Duration, Instant};

use lifeboat::process::SpawnSpec;
use lifeboat_core::evidence::{Evidence, StopSignal, WaitStatus};
use rustix::process::{Pid, Signal};

use super::rig::{LIMIT, Rig, Worker, program, python, sh, state, wait_until};

const KILLED: WaitStatus = WaitStatus::Signaled { signal: 9, core_dumped: false };

/// Has so much memory that giving it back takes tens of milliseconds, and exits with 5 when it is told to.
const HEAVY: &str = "import os\n\
    memory = b'x' * (400 << 20)\n\
    os.write(3, b'ready\\n')\n\
    os.read(3, 100)\n\
    os._exit(5)";

/// Waits until a process has begun to exit; says whether it was still alive then.
fn wait_until_exiting(worker: &Worker) -> bool {
    let mut letter = None;
    wait_until("it exits", || {
        let stat = fs::read_to_string(worker.proc("stat")).expect("not reaped");
        let mut fields = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace();
        letter = fields.next().and_then(|letter| letter.chars().next());
        let flags: u32 = fields.nth(5).expect("flags").parse().expect("a number");
        flags & 0x4 != 0
    });
    letter != Some('Z')
}

#[test]
fn a_slow_exit_is_told_from_our_kill() {
    let mut rig = Rig::new();
    for from_outside in [false, true] {
        let mut slow = 0;
        for _ in 0..2 {
            let mut worker = rig.spawn(python(HEAVY));
            worker.line();
            if from_outside {
                let pid = Pid::from_raw(i32::try_from(worker.pid).expect("a pid")).expect("not zero");
                rustix::process::kill_process(pid, Signal::KILL).expect("alive");
            } else {
                worker.say("exit");
            }
            slow += u32::from(wait_until_exiting(&worker));
            rig.signal(&worker, StopSignal::Kill);
            let evidence = rig.collect(&worker);
            assert!(evidence.exiting_before_kill, "{evidence:?}");
            assert_eq!(evidence.wait, if from_outside { KILLED } else { WaitStatus::Exited { code: 5 } });
        }
        assert!(slow > 0, "no exit took long enough to be seen");
    }
}

#[test]
fn what_was_alive_is_not_claimed_to_have_been_exiting() {
    let mut rig = Rig::new();
    let worker = rig.spawn(program(&["sleep", "1000"]));
    rig.signal(&worker, StopSignal::Kill);
    worker.wait_for_exit();
    // Now it is dead, which the first kill did not see.
    rig.signal(&worker, StopSignal::Kill);
    let evidence = rig.collect(&worker);
    assert_eq!((evidence.wait, evidence.exiting_before_kill), (KILLED, false));
    // And without any kill there is nothing to claim.
    assert!(!rig.evidence_of(sh("exit 0")).exiting_before_kill);
}

#[test]
fn a_process_whose_leader_has_ended_is_alive() {
    let mut rig = Rig::new();
    let script = "import ctypes, os, platform, threading, time\n\
        threading.Thread(target=lambda: time.sleep(1000)).start()\n\
        os.write(3, b'ready\\n')\n\
        ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)";
    let mut worker = rig.spawn(python(script));
    worker.line();
    wait_until("the leader has ended", || state(worker.pid) == Some('Z'));
    rig.signal(&worker, StopSignal::Kill);
    let evidence = rig.collect(&worker);
    assert_eq!((evidence.wait, evidence.exiting_before_kill), (KILLED, false));
}

/// Kills a process at some moment after it was told to go.
fn kill_about_when_it_goes(rig: &mut Rig, spec: SpawnSpec, within: Duration) -> Evidence {
    let mut worker = rig.spawn(spec);
    worker.line();
    let moment = within.mul_f64(fastrand::f64());
    worker.say("go");
    let told = Instant::now();
    while told.elapsed() < moment {
        std::hint::spin_loop();
    }
    rig.signal(&worker, StopSignal::Kill);
    rig.collect(&worker)
}

#[test]
fn whatever_the_moment_a_claim_is_true() {
    let mut rig = Rig::new();
    let alone = sh("echo >&3; read x <&3; exit 3");
    let threads = python(
        "import os, threading, time\n\
         for _ in range(30): threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()\n\
         os.write(3, b'ready\\n')\n\
         os.read(3, 100)\n\
         os._exit(3)",
    );
    for (spec, rounds, within) in [(alone, 80, 400), (threads, 12, 2_000)] {
        let (mut claims, mut round, mut within) = (0, 0, Duration::from_micros(within));
        let started = Instant::now();
        while round < rounds || claims == 0 {
            round += 1;
            if round > rounds {
                assert!(started.elapsed() < LIMIT, "{:?}: no moment was late enough", spec.command);
                within *= 2;
            }
            let evidence = kill_about_when_it_goes(&mut rig, spec.clone(), within);
            if evidence.exiting_before_kill {
                claims += 1;
                assert_eq!(evidence.wait, WaitStatus::Exited { code: 3 }, "{evidence:?}");
            } else {
                assert!([KILLED, WaitStatus::Exited { code: 3 }].contains(&evidence.wait), "{evidence:?}");
            }
        }
    }
}

#[test]
fn a_new_program_in_its_place_is_no_exit() {
    let mut rig = Rig::new();
    // By a thread that is not the leader: that one must end for it, and many others.
    let spec = python(
        "import os, threading, time\n\
         def go(): os.read(3, 100); os.execv('/bin/sleep', ['sleep', '1000'])\n\
         for _ in range(50): threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()\n\
         os.write(3, b'ready\\n')\n\
         thread = threading.Thread(target=go)\n\
         thread.start()\n\
         thread.join()",
    );
    for _ in 0..15 {
        let evidence = kill_about_when_it_goes(&mut rig, spec.clone(), Duration::from_millis(2));
        assert_eq!((evidence.wait, evidence.exiting_before_kill), (KILLED, false));
    }
}
