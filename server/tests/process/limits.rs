//! Memory limits, exhaustion, and the plane's own end.

use std::fs;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lifeboat::process::{Order, Report};
use lifeboat_core::evidence::{StopSignal, WaitStatus};
use rustix::process::{Resource, Rlimit};

use super::alone::is_alone;
use super::rig::{LIMIT, Rig, lives, program, python, sh, wait_until};

const KILLED: WaitStatus = WaitStatus::Signaled { signal: 9, core_dumped: false };

#[test]
fn memory_over_the_limit_is_reported_once() {
    let grow = "x = bytearray(200 << 20); print('grown', file=open('/dev/fd/2', 'w')); import time; time.sleep(1000)";
    let mut direct = python(grow);
    let mut wrapped = sh("python3 -c \"$0\"; exit 0");
    wrapped.command.push(grow.into());
    for spec in [&mut direct, &mut wrapped] {
        spec.memory_limit = Some(100 << 20);
        let mut rig = Rig::new();
        let worker = rig.spawn(spec.clone());
        match rig.report() {
            Report::MemoryExceeded { process, resident, limit } => {
                assert_eq!((process, limit), (worker.key, 100 << 20));
                assert!((limit..LIMIT.as_secs() << 30).contains(&resident), "{resident}");
            }
            other => panic!("{other:?}"),
        }
        rig.signal(&worker, StopSignal::Kill);
        worker.wait_for_exit();
        rig.order(Order::Collect { process: worker.key });
        match rig.report() {
            Report::Evidence { evidence, .. } => assert_eq!(evidence.wait, KILLED),
            other => panic!("reported twice: {other:?}"),
        }
    }
}

#[test]
fn memory_under_the_limit_is_not() {
    let mut rig = Rig::new();
    let mut spec = python("x = bytearray(50 << 20)\nimport time\nwhile time.process_time() < 0.3: pass");
    spec.memory_limit = Some(500 << 20);
    let worker = rig.spawn(spec);
    worker.wait_for_exit();
    assert!(rig.unread_report().is_none());
    assert_eq!(rig.collect(&worker).wait, WaitStatus::Exited { code: 0 });
}

#[test]
fn memory_over_the_soft_limit_is_reported_once() {
    let grow = "import os\nx = bytearray(200 << 20)\nos.write(3, b'grown\\n')\nos.read(3, 100)\n\
                y = bytearray(200 << 20)\nos.write(3, b'grown\\n')\nos.read(3, 100)";
    for (hard, expected) in [(None, &["high"][..]), (Some(300 << 20), &["high", "exceeded"])] {
        let mut rig = Rig::new();
        let mut spec = python(grow);
        (spec.memory_high, spec.memory_limit) = (Some(100 << 20), hard);
        let mut worker = rig.spawn(spec);
        let mut told = Vec::new();
        worker.line();
        loop {
            match rig.report() {
                Report::MemoryHigh { process, resident } => {
                    assert_eq!(process, worker.key);
                    assert!((100 << 20..300 << 20).contains(&resident), "{resident}");
                    told.push("high");
                    worker.say("more");
                    worker.line();
                    if hard.is_none() {
                        // Two more rounds of looking, by the life of another.
                        rig.evidence_of(program(&["sleep", "1.2"]));
                        rig.order(Order::Collect { process: worker.key });
                        worker.say("end");
                    }
                }
                Report::MemoryExceeded { process, resident, limit } => {
                    assert_eq!((process, Some(limit)), (worker.key, hard));
                    assert!(resident > limit, "{resident}");
                    told.push("exceeded");
                    rig.order(Order::Collect { process: worker.key });
                    worker.say("end");
                }
                Report::Evidence { evidence, .. } => {
                    assert_eq!(evidence.wait, WaitStatus::Exited { code: 0 });
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, expected);
    }
}

#[test]
fn the_memory_of_every_worker_is_shown_without_a_limit_and_gone_with_its_process() {
    let places: Arc<[AtomicU64]> = (0..8).map(|_| AtomicU64::new(0)).collect();
    let mut rig = Rig::with(|options| options.worker_memory = Arc::clone(&places));
    let shown = || places.iter().map(|place| place.load(Ordering::Relaxed)).collect::<Vec<_>>();
    // The rig's worker is number 7; its wrapper does not hide the program.
    let mut small = rig.spawn(python("import os\nos.write(3, b'there\\n')\nos.read(3, 1)"));
    let mut large =
        rig.spawn(sh("python3 -c \"x = bytearray(100 << 20); import os; os.read(3, 1)\"; exit 0"));
    small.line();
    wait_until("the larger of the worker's two", || (100 << 20..200 << 20).contains(&shown()[7]));
    large.say("end");
    rig.collect(&large);
    assert!((1..100 << 20).contains(&shown()[7]), "{:?}", shown());
    small.say("end");
    rig.collect(&small);
    assert_eq!(shown(), [0; 8]);
}

#[test]
fn without_descriptors_a_start_fails_clearly_and_the_plane_lives() {
    if !is_alone("limits::without_descriptors_a_start_fails_clearly_and_the_plane_lives", &[]) {
        return;
    }
    let mut rig = Rig::of_a_broker();
    let warden = children();
    let before = rustix::process::getrlimit(Resource::Nofile);
    let highest = rustix::io::dup(std::io::stdin().as_fd()).expect("room");
    let highest = std::os::fd::AsRawFd::as_raw_fd(&highest);
    // From no room at all to just enough: whichever step finds none says so.
    let mut refused = 0;
    for room in 1..20 {
        let current = Some(u64::try_from(highest + room).expect("small"));
        let limit = Rlimit { current, maximum: before.maximum };
        rustix::process::setrlimit(Resource::Nofile, limit).expect("lowering is allowed");
        rig.order_spawn(sh("exit 0"));
        let report = rig.report();
        rustix::process::setrlimit(Resource::Nofile, before).expect("up to the maximum is allowed");
        match report {
            Report::SpawnFailed { error, .. } => {
                assert!(error.contains("Too many open files") && error.contains("ulimit -n"), "{error}");
                refused += 1;
            }
            Report::Spawned { process, .. } => {
                rig.order(Order::Forget { process });
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= 3, "{refused}");
    assert_eq!(rig.evidence_of(sh("exit 2")).wait, WaitStatus::Exited { code: 2 });
    wait_until("no child but the warden is left", || children() == warden);
}

fn children() -> String {
    let tasks = fs::read_dir("/proc/self/task").expect("we live");
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists.collect()
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("we live").count()
}

#[test]
fn every_descriptor_is_given_back() {
    if !is_alone("limits::every_descriptor_is_given_back", &[]) {
        return;
    }
    let mut rig = Rig::of_a_broker();
    rig.evidence_of(sh("exit 0"));
    let before = open_descriptors();
    for round in 0..30 {
        let worker = rig.spawn(sh("setsid sleep 1000 & exec sleep 1000"));
        if round % 2 == 0 {
            rig.signal(&worker, StopSignal::Kill);
            rig.collect(&worker);
        } else {
            let pid = worker.pid;
            rig.order(Order::Forget { process: worker.key });
            drop(worker);
            wait_until("forgotten and reaped", || super::rig::state(pid).is_none());
        }
    }
    // Fewer when the plane was just reading something at the first count.
    wait_until("no more than before", || open_descriptors() <= before);
    assert!(rig.unread_report().is_none());
}

#[test]
fn the_plane_s_end_leaves_nothing() {
    if !is_alone("limits::the_plane_s_end_leaves_nothing", &[]) {
        return;
    }
    let mut rig = Rig::of_a_broker();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let mut worker = rig.spawn(sh("trap '' TERM; setsid sleep 1000 & echo $! >&3; wait"));
            let child = worker.line().parse().expect("a pid");
            (worker, child)
        })
        .collect();
    assert!(workers.iter().all(|(worker, child)| lives(worker.pid) && lives(*child)));
    assert!(rig.end());
    assert_eq!(children(), "");
    assert!(!workers.iter().any(|(worker, child)| lives(worker.pid) || lives(*child)));
}
