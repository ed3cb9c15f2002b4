//! What a look just before a kill sees: each way to be stuck looks different.

use std::time::{Duration, Instant};

use lifeboat_core::evidence::{ProcessSnapshot, StopSignal, ThreadState};
use rustix::process::{Pid, Signal, kill_process};

use super::rig::{Rig, Worker, python, wait_until};

/// Says that it is there, on the socket, and then does this.
fn then(rig: &mut Rig, does: &str) -> Worker {
    let script = format!("import os, sys, threading, time\nos.write(3, b'there\\n')\n{does}");
    let mut worker = rig.spawn(python(&script));
    assert_eq!(worker.line(), "there");
    worker
}

fn main_state(worker: &Worker) -> String {
    std::fs::read_to_string(worker.proc("stat"))
        .expect("it lives")
        .rsplit_once(')')
        .expect("a name")
        .1
        .trim_start()[..1]
        .to_owned()
}

fn seen(rig: &mut Rig, worker: &Worker) -> ProcessSnapshot {
    rig.look_and_kill(worker);
    let evidence = rig.collect(worker);
    *evidence.snapshot.expect("it was looked at")
}

#[test]
fn a_busy_loop_runs_and_uses_its_core() {
    let mut rig = Rig::new();
    let worker = then(&mut rig, "while True: pass");
    let began = Instant::now();
    wait_until("it has worked for a while", || began.elapsed() > Duration::from_millis(300));
    let seen = seen(&mut rig, &worker);
    let main = &seen.threads[0];
    assert_eq!((main.id, main.state, main.system_call), (worker.pid, ThreadState::Running, None));
    assert!(main.function.is_none() && main.cpu > Duration::from_millis(50), "{seen:#?}");
    assert!(main.name.starts_with("python"), "{seen:#?}");
    assert!(seen.cpu > Duration::from_millis(50) && seen.took < Duration::from_millis(20), "{seen:#?}");
}

#[test]
fn what_waits_says_in_which_call() {
    // Numbers of x86-64 and arm64: names of the kernel's functions are shown, never compared.
    let calls = |x86: u32, arm: u32| if cfg!(target_arch = "x86_64") { x86 } else { arm };
    let mut rig = Rig::new();
    for (does, call) in [
        // A lock that it holds itself.
        ("lock = threading.Lock(); lock.acquire(); lock.acquire()", calls(202, 98)),
        // A pipe that nobody reads.
        ("r, w = os.pipe()\nwhile True: os.write(w, b'x' * 4096)", calls(1, 64)),
        // Its own child.
        ("pid = os.fork()\nif pid == 0: time.sleep(1000)\nelse: os.waitpid(pid, 0)", calls(61, 260)),
    ] {
        let worker = then(&mut rig, does);
        let waits = || {
            std::fs::read_to_string(worker.proc("syscall"))
                .is_ok_and(|it| it.starts_with(&format!("{call} ")))
        };
        wait_until("it waits there", waits);
        let seen = seen(&mut rig, &worker);
        let main = &seen.threads[0];
        assert_eq!((main.state, main.system_call), (ThreadState::Sleeping, Some(call)), "{does}: {seen:#?}");
        assert!(main.function.is_some() && main.switches.is_some(), "{does}: {seen:#?}");
    }
}

#[test]
fn a_stopped_one_is_stopped() {
    let mut rig = Rig::new();
    let worker = then(&mut rig, "time.sleep(1000)");
    let pid = Pid::from_raw(worker.pid.try_into().expect("a pid")).expect("a pid");
    kill_process(pid, Signal::STOP).expect("it lives");
    wait_until("it is stopped", || main_state(&worker) == "T");
    let seen = seen(&mut rig, &worker);
    assert_eq!(seen.threads[0].state, ThreadState::Stopped, "{seen:#?}");
}

#[test]
fn the_main_thread_is_first_and_a_crowd_is_cut() {
    let mut rig = Rig::new();
    let crowd = "for n in range(60): threading.Thread(target=time.sleep, args=(1000,)).start()\n\
                 os.write(3, b'all\\n')\ntime.sleep(1000)";
    let mut worker = then(&mut rig, crowd);
    assert_eq!(worker.line(), "all");
    let seen = seen(&mut rig, &worker);
    assert_eq!(seen.threads[0].id, worker.pid);
    assert!(seen.threads.len() <= ProcessSnapshot::MOST_THREADS, "{}", seen.threads.len());
    assert_eq!(seen.threads.len() as u32 + seen.left_out, 61, "{seen:#?}");
}

/// What is only asked to leave, or dies by itself, is not looked at.
#[test]
fn nobody_looks_unless_told() {
    let mut rig = Rig::new();
    let worker = then(&mut rig, "time.sleep(1000)");
    rig.signal(&worker, StopSignal::Kill);
    assert_eq!(rig.collect(&worker).snapshot, None);
}

/// Where many are killed at once, looks do not hold them up.
#[test]
fn many_at_once_are_not_all_looked_at() {
    let mut rig = Rig::new();
    let sleepers = "for n in range(20): threading.Thread(target=time.sleep, args=(1000,)).start()\n\
                    os.write(3, b'all\\n')\ntime.sleep(1000)";
    let mut workers: Vec<_> = (0..24).map(|_| then(&mut rig, sleepers)).collect();
    for worker in &mut workers {
        assert_eq!(worker.line(), "all");
    }
    let began = Instant::now();
    for worker in &workers {
        rig.look_and_kill(worker);
    }
    for worker in &workers {
        worker.wait_for_exit();
    }
    let took = began.elapsed();
    let mut spent = Duration::ZERO;
    let mut looked_at = 0;
    for worker in &workers {
        if let Some(seen) = rig.collect(worker).snapshot {
            looked_at += 1;
            spent += seen.took;
        }
    }
    assert!(looked_at > 0, "the first is looked at");
    // As much as a window allows and the look that began within it, for each window that has passed.
    let windows = 2 + u32::try_from(took.as_millis() / 100).expect("few");
    assert!(spent <= Duration::from_millis(40) * windows, "{spent:?} in {took:?}, {looked_at} looks");
}
