//! What a look just before a kill sees: each way to be stuck looks different.

use std::time::Duration;

use lifeboat_core::evidence::{ProcessSnapshot, StopSignal, ThreadState};
use rustix::process::{Pid, Signal, kill_process};

use super::rig::{BAD_NAME, Rig, Worker, python, wait_until};

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

/// The CPU time that it has used, at 10 ms each.
fn ticks(worker: &Worker) -> u64 {
    let stat = std::fs::read_to_string(worker.proc("stat")).expect("it lives");
    let behind = stat.rsplit_once(')').expect("a name").1;
    let used = behind.split_ascii_whitespace().skip(11).take(2);
    used.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
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
    wait_until("it has worked for a while", || ticks(&worker) >= 20);
    let seen = seen(&mut rig, &worker);
    let main = &seen.threads[0];
    assert_eq!((main.id, main.state, main.system_call), (worker.pid, ThreadState::Running, None));
    assert!(main.function.is_none() && main.cpu > Duration::from_millis(50), "{seen:#?}");
    assert!(main.name.starts_with("python"), "{seen:#?}");
    assert!(seen.cpu > Duration::from_millis(50), "{seen:#?}");
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

/// Where there are thousands, listing all of them would take all the time that there is.
#[test]
fn the_main_thread_is_first_and_a_crowd_is_cut() {
    let mut rig = Rig::new();
    for crowd in [60, 3000] {
        // By the C library, whose threads take no more than their start.
        let script = format!(
            "import ctypes\nlibc = ctypes.CDLL(None)\nattr = ctypes.create_string_buffer(64)\nlibc.pthread_attr_init(attr)\n\
             libc.pthread_attr_setstacksize(attr, ctypes.c_size_t(65536))\n\
             for n in range({crowd}): assert libc.pthread_create(ctypes.byref(ctypes.c_ulong()), attr, libc.pause, None) == 0\n\
             os.write(3, b'all\\n')\ntime.sleep(1000)"
        );
        let mut worker = then(&mut rig, &script);
        assert_eq!(worker.line(), "all");
        let seen = seen(&mut rig, &worker);
        assert_eq!(seen.threads[0].id, worker.pid);
        assert!(seen.threads.len() <= ProcessSnapshot::MOST_THREADS, "{}", seen.threads.len());
        assert_eq!(seen.threads.len() as u32 + seen.left_out, crowd + 1, "{seen:#?}");
    }
}

#[test]
fn a_name_that_is_no_text_hides_nobody() {
    let mut rig = Rig::new();
    let worker = then(&mut rig, &format!("{BAD_NAME}; time.sleep(1000)"));
    let comm = || std::fs::read(worker.proc("comm")).expect("it lives");
    wait_until("it has its name", || std::str::from_utf8(&comm()).is_err());
    let seen = seen(&mut rig, &worker);
    let main = &seen.threads[0];
    assert_eq!((main.id, main.name.as_str()), (worker.pid, "aaaaaaaaaaaaaa\u{fffd}"), "{seen:#?}");
    assert!(main.switches.is_some(), "{seen:#?}");
}

/// What is only asked to leave, or dies by itself, is not looked at.
#[test]
fn nobody_looks_unless_told() {
    let mut rig = Rig::new();
    let worker = then(&mut rig, "time.sleep(1000)");
    rig.signal(&worker, StopSignal::Kill);
    assert_eq!(rig.collect(&worker).snapshot, None);
}
