//! Rows 6 to 8: a process that had been ready, and that nobody here had wanted to end.

use std::time::Duration;

use lifeboat_core::evidence::{Evidence, OomEvidence, Usage};
use lifeboat_core::judge::Case;
use lifeboat_core::reason::Confidence::{Inferred, Proven, Unknown};
use lifeboat_core::reason::{CrashReason, KillReason};

use crate::{BROKEN, CLOSED, DEADLINE, KILL, READY, check, code, crash, decided, sig};

#[test]
fn rows_6_to_8_unprovoked() {
    let outside = |confidence| crash(CrashReason::KilledFromOutside, confidence);
    let oom = |oom| Case { wait: sig(9), oom, ..READY };
    let stopped = |signal| crash(CrashReason::StoppedFromOutside { signal }, Proven);
    check(&[
        ("own counter", oom(OomEvidence::OwnCounterRose), crash(CrashReason::Oom, Proven)),
        ("shared counter", oom(OomEvidence::SharedCounterRose), crash(CrashReason::Oom, Inferred)),
        (
            "its own counter beats its CPU time",
            Case { cpu_used_up: true, ..oom(OomEvidence::OwnCounterRose) },
            crash(CrashReason::Oom, Proven),
        ),
        (
            "its CPU time beats a counter of others",
            Case { cpu_used_up: true, ..oom(OomEvidence::SharedCounterRose) },
            crash(CrashReason::CpuLimit, Inferred),
        ),
        (
            "its CPU time",
            Case { cpu_used_up: true, ..oom(OomEvidence::NotSeen) },
            crash(CrashReason::CpuLimit, Inferred),
        ),
        (
            "its CPU time says nothing about an exit",
            Case { wait: code(3), cpu_used_up: true, ..READY },
            crash(CrashReason::Exit { code: 3 }, Proven),
        ),
        (
            "nor about our own kill",
            Case { wait: sig(9), intent: decided(DEADLINE, KILL), cpu_used_up: true, ..READY },
            crash(CrashReason::Killed(KillReason::Deadline), Proven),
        ),
        ("no counter rose", oom(OomEvidence::NotSeen), outside(Proven)),
        ("nobody watched", oom(OomEvidence::NotWatched), outside(Inferred)),
        ("SIGTERM", Case { wait: sig(15), ..READY }, stopped(15)),
        ("SIGINT", Case { wait: sig(2), ..READY }, stopped(2)),
        ("SIGHUP", Case { wait: sig(1), ..READY }, stopped(1)),
        (
            "a counter says nothing about SIGTERM",
            Case { wait: sig(15), oom: OomEvidence::OwnCounterRose, ..READY },
            stopped(15),
        ),
        (
            "an exit beats a connection that closed for it",
            Case { wait: code(0), connection: CLOSED, ..READY },
            crash(CrashReason::Exit { code: 0 }, Proven),
        ),
        ("exit 0", Case { wait: code(0), ..READY }, crash(CrashReason::Exit { code: 0 }, Proven)),
        ("exit 101", Case { wait: code(101), ..READY }, crash(CrashReason::Exit { code: 101 }, Proven)),
        ("no status", READY, crash(CrashReason::Exit { code: -1 }, Unknown)),
        (
            "no status, broken connection",
            Case { connection: BROKEN, ..READY },
            crash(CrashReason::ConnectionError { errno: 104 }, Unknown),
        ),
    ]);
}

/// What the kernel kills by is its count, however little it tells of time.
#[test]
fn cpu_time_is_used_up_by_the_kernels_own_count() {
    let [limit, told] = [2_000, 1_400].map(Duration::from_millis);
    let used = |told, counted| {
        let usage = Usage { user_time: told, ..Usage::default() };
        let (cpu_limit, cpu_counted) = (Some(limit), counted);
        Evidence { usage, cpu_limit, cpu_counted, ..Evidence::default() }.is_cpu_used_up()
    };
    assert!(used(told, Some(limit)), "others ran between the ticks");
    assert!(!used(limit, Some(told)), "descendants used the rest");
    assert!(!used(told, None), "nobody has looked, and it is too little");
    assert!(used(limit - Duration::from_millis(400), None), "nobody has looked, and it may be enough");
    let unbounded = Evidence { cpu_counted: Some(limit), ..Evidence::default() };
    assert!(!unbounded.is_cpu_used_up());
}
