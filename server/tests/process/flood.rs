//! What processes that write a lot cost the plane, and those beside them.

use std::fs;
use std::time::{Duration, Instant};

use lifeboat::process::{Order, SpawnSpec};
use lifeboat_core::evidence::{StopSignal, WaitStatus};

use super::alone::is_alone;
use super::rig::{LIMIT, Rig, Worker, lives, program, python, wait_until};

const KILLED: WaitStatus = WaitStatus::Signaled { signal: 9, core_dumped: false };

/// The work of the plane's thread so far.
#[derive(Clone, Copy, Debug)]
struct Work {
    cpu: Duration,
    waits: u64,
}

/// Only in a process with one plane.
fn work() -> Work {
    let task = fs::read_dir("/proc/self/task")
        .expect("we live")
        .map(|task| task.expect("a readable list").path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm == "lifeboat-proc\n"))
        .expect("a plane");
    let schedstat = fs::read_to_string(task.join("schedstat")).expect("a living thread");
    let cpu = schedstat.split(' ').next().expect("three numbers").parse().expect("a number");
    let status = fs::read_to_string(task.join("status")).expect("a living thread");
    let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("there");
    Work { cpu: Duration::from_nanos(cpu), waits: waits.trim().parse().expect("a number") }
}

/// Fills both streams with small pieces as fast as it can, for that many seconds; its end is 0.
fn flood(piece: &str, seconds: f64) -> SpawnSpec {
    let script = "import os, sys, time\n\
        piece, end = eval(sys.argv[1]), time.monotonic() + float(sys.argv[2])\n\
        os.write(3, b'\\n')\n\
        while time.monotonic() < end: os.write(1, piece); os.write(2, piece)\n";
    let mut spec = python(script);
    spec.command.extend([piece.into(), seconds.to_string().into()]);
    // What passes waits in the test to be read, and would count as the plane's.
    (spec.output_burst, spec.output_rate) = (10, 0);
    spec
}

/// What the plane has worked from the start of these processes to their end, and how long that was.
fn work_for(rig: &mut Rig, specs: Vec<SpawnSpec>) -> (Work, Duration) {
    let started = Instant::now();
    let before = work();
    let workers: Vec<_> = specs.into_iter().map(|spec| rig.spawn(spec)).collect();
    for worker in &workers {
        assert_eq!(rig.collect(worker).wait, WaitStatus::Exited { code: 0 });
    }
    let after = work();
    (Work { cpu: after.cpu - before.cpu, waits: after.waits - before.waits }, started.elapsed())
}

#[test]
fn a_flood_costs_the_plane_little() {
    if !is_alone("flood::a_flood_costs_the_plane_little", &[]) {
        return;
    }
    let mut rig = Rig::new();
    // One byte at a time, lines, a read's worth of nothing but lines, what a pipe holds.
    for piece in ["b'x'", "b'x' * 80 + b'\\n'", "b'\\n' * 16384", "b'x' * 60000 + b'\\n'"] {
        let memory = resident();
        let (work, took) = work_for(&mut rig, vec![flood(piece, 0.5)]);
        let grown = resident().saturating_sub(memory);
        assert!(work.cpu < took / 5, "{piece}: {work:?} in {took:?}");
        assert!(u128::from(work.waits) < took.as_millis(), "{piece}: {work:?} in {took:?}");
        assert!(grown < 2 << 20, "{piece}: {grown} bytes");
        assert_eq!(rig.unread_report().map(|report| format!("{report:?}")), None);
    }
}

#[test]
fn many_floods_share_what_one_may_cost() {
    if !is_alone("flood::many_floods_share_what_one_may_cost", &[]) {
        return;
    }
    let mut rig = Rig::new();
    let (work, took) = work_for(&mut rig, vec![flood("b'x' * 80 + b'\\n'", 1.0); 16]);
    assert!(work.cpu < took / 3, "{work:?} in {took:?}");
}

#[test]
fn processes_that_write_nothing_cost_nothing() {
    if !is_alone("flood::processes_that_write_nothing_cost_nothing", &[]) {
        return;
    }
    let mut rig = Rig::new();
    let quiet: Vec<_> = (0..20).map(|_| rig.spawn(program(&["sleep", "1000"]))).collect();
    let spec = program(&["sleep", "2"]);
    let (work, took) = work_for(&mut rig, vec![spec]);
    // Upkeep, and the one's own life.
    assert!(work.waits < 20, "{work:?} in {took:?}");
    for worker in quiet {
        rig.order(Order::Forget { process: worker.key });
    }
}

#[test]
fn beside_floods_orders_are_carried_out_at_once() {
    if !is_alone("flood::beside_floods_orders_are_carried_out_at_once", &[]) {
        return;
    }
    let mut rig = Rig::new();
    let floods: Vec<_> =
        (0..8).map(|_| rig.spawn(flood("b'x' * 80 + b'\\n'", LIMIT.as_secs_f64()))).collect();
    for flood in &floods {
        wait_until("the flood flows", || written(flood) > 1_000_000);
    }
    let mut delays = [const { Vec::new() }; 3];
    for _ in 0..15 {
        let spawned = Delay::start();
        let quiet = rig.spawn(program(&["sleep", "1000"]));
        delays[0].push(spawned.end());
        quiet.wait_until_it_is("sleep");
        let killed = Delay::start();
        rig.signal(&quiet, StopSignal::Kill);
        quiet.wait_for_exit();
        delays[1].push(killed.end());
        let collected = Delay::start();
        assert_eq!(rig.collect(&quiet).wait, KILLED);
        delays[2].push(collected.end());
    }
    for (what, delays) in ["spawn", "signal", "collection"].into_iter().zip(&mut delays) {
        delays.sort();
        // What the plane does first. The time beside that is not all its own: the machine may be busy.
        assert!(delays[7].0 < Duration::from_millis(5), "{what}: {delays:?}");
        let fastest = delays.iter().map(|(_, took)| took).min();
        assert!(fastest < Some(&Duration::from_millis(20)), "{what}: {delays:?}");
    }
    let still = floods.iter().all(|flood| lives(flood.pid));
    assert!(still, "the floods were over too early to tell");
    for flood in &floods {
        rig.signal(flood, StopSignal::Kill);
        let evidence = rig.collect(flood);
        assert_eq!(evidence.wait, KILLED);
        assert_eq!([evidence.stdout_tail.len(), evidence.stderr_tail.len()], [16 << 10; 2]);
    }
}

/// The time from an order to what it is to bring about.
struct Delay {
    cpu: Duration,
    started: Instant,
}

impl Delay {
    fn start() -> Self {
        Self { cpu: work().cpu, started: Instant::now() }
    }

    /// How long the plane has worked meanwhile, and how long it took.
    fn end(self) -> (Duration, Duration) {
        let took = self.started.elapsed();
        (work().cpu - self.cpu, took)
    }
}

/// How many bytes a process has written.
fn written(worker: &Worker) -> u64 {
    let io = fs::read_to_string(worker.proc("io")).expect("a living worker");
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("always there");
    written.parse().expect("a number")
}

/// The resident set of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("we live");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("always there");
    kib.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
