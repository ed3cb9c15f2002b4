//! The steps of a worker's and a pool's life are told, and none of them can flood the log.

use lifeboat_core::fact::TripWhy;
use lifeboat_core::ids::SlotId;
use lifeboat_core::reason::StopReason;

use super::logging::lines_of;
use super::*;

fn stopped(incarnation: u32, reason: StopReason) -> Fact {
    let evidence = Evidence { output_dropped: u64::from(incarnation) - 1, ..Evidence::default() };
    Fact::WorkerStopped {
        pool: IMAGES,
        process: process(0, incarnation),
        reason,
        evidence: Box::new(evidence),
    }
}

fn tripped() -> Fact {
    let because = Arc::new(death(1, 20, CrashReason::Exit { code: 3 }));
    Fact::PoolTripped { pool: IMAGES, why: TripWhy::TooMany(20), because, wait: Duration::from_secs(30) }
}

fn retired(left: u16) -> Fact {
    Fact::SlotRetired {
        pool: IMAGES,
        process: process(0, 4),
        slot: SlotId(2),
        left,
        message: "index \u{1b}[2J out of bounds".to_owned(),
        location: Some("src/lib.rs:7:9".to_owned()),
    }
}

#[test]
fn the_steps_of_a_worker() {
    let worker = WorkerId(1);
    let wait = Duration::from_millis(200);
    let lines = lines_of(&[
        Fact::WorkerReady { pool: IMAGES, process: process(0, 1), pid: 9, took: wait },
        Fact::RecycleDue { pool: IMAGES, process: process(0, 1), reason: StopReason::RecycleAge },
        stopped(1, StopReason::RecycleAge),
        stopped(3, StopReason::Shutdown),
        Fact::WorkerBackingOff { pool: IMAGES, worker, wait, unproductive: 2 },
        retired(3),
        Fact::DrainBegan,
    ]);
    assert_eq!(
        lines,
        [
            "INFO worker ready worker=\"images-0\" incarnation=1 pid=9 took=200ms",
            "INFO worker due for recycling worker=\"images-0\" incarnation=1 reason=\"recycle_age\"",
            "INFO worker stopped worker=\"images-0\" incarnation=1 reason=\"recycle_age\"",
            "INFO worker stopped worker=\"images-0\" incarnation=3 reason=\"shutdown\" output_dropped=2",
            "INFO worker waits before its next incarnation worker=\"images-1\" wait=200ms unproductive=2",
            "WARN handler panicked: slot retired worker=\"images-0\" incarnation=4 slot=2 left=3 \
             location=src/lib.rs:7:9 panic=index \u{fffd}[2J out of bounds",
            "INFO draining: no new requests are taken",
        ]
    );
}

#[test]
fn the_steps_of_a_pool() {
    let lines =
        lines_of(&[tripped(), Fact::PoolProbed { pool: IMAGES }, Fact::PoolRecovered { pool: IMAGES }]);
    assert_eq!(
        lines,
        [
            "WARN pool tripped: it refuses requests until a process serves again pool=\"images\" \
             why=20 unproductive incarnations within the window worker=\"images-1\" reason=\"exit\" \
             detail=exit code 3 next_try_in=30s stderr=last words",
            "INFO tripped pool is tried again pool=\"images\"",
            "INFO pool serves again pool=\"images\"",
        ]
    );
}

#[test]
fn what_repeats_is_counted_and_told() {
    let mut facts = Vec::new();
    for incarnation in 1..=100 {
        facts.push(Fact::WorkerReady {
            pool: IMAGES,
            process: process(0, incarnation),
            pid: 9,
            took: Duration::ZERO,
        });
        let due = process(0, incarnation);
        facts.push(Fact::RecycleDue { pool: IMAGES, process: due, reason: StopReason::RecycleRequests });
        facts.push(stopped(incarnation, StopReason::RecycleRequests));
        facts.push(retired(0));
        facts.push(Fact::WorkerBackingOff {
            pool: IMAGES,
            worker: WorkerId(0),
            wait: Duration::ZERO,
            unproductive: 1,
        });
        facts.push(Fact::DescendantsLeaked { pool: IMAGES, process: process(0, incarnation), count: 1 });
        facts.push(tripped());
        facts.push(Fact::PoolProbed { pool: IMAGES });
        facts.push(Fact::PoolRecovered { pool: IMAGES });
    }
    facts.push(Fact::DrainBegan);
    let lines = lines_of(&facts);
    let again: Vec<&str> =
        lines.iter().filter(|line| line.contains("repeats=95")).map(String::as_str).collect();
    assert_eq!(
        again,
        [
            "INFO worker due for recycling again worker=\"images-0\" reason=\"recycle_requests\" repeats=95",
            "INFO worker stopped again worker=\"images-0\" reason=\"recycle_requests\" repeats=95",
            "WARN slot retired again worker=\"images-0\" repeats=95",
            "WARN descendants could not be killed again worker=\"images-0\" repeats=95",
            "WARN pool tripped again pool=\"images\" repeats=95",
            "INFO pool served again and again pool=\"images\" repeats=95",
        ]
    );
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("worker ready"), 5);
    assert_eq!(count("worker waits"), 4);
    assert_eq!(count("tripped pool is tried"), 4);
    assert_eq!(lines.len(), 6 * 5 + 5 + 4 + 4 + 6 + 1, "{lines:#?}");
}
