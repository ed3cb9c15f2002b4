//! The flight recorder of processes, handed over as a broker does.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use lifeboat_protocol::{
    Assignment, Beats, BeganNote, FlightRecorder, HISTORY_FEATURE, MessageType, RECORDER_FEATURE, SlotNote,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd, pread};

use super::LIMIT;
use super::broker::{Started, command, running_in};

const INTERVAL: Duration = Duration::from_millis(20);

/// Memory that a process inherits, and its broker's look at it.
struct Handed(OwnedFd);

impl Handed {
    fn new(seals: SealFlags) -> Self {
        let memory = memfd_create("recorder", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&memory, 4096).unwrap();
        fcntl_add_seals(&memory, seals).unwrap();
        // Beyond the numbers that the shell puts to use.
        Self(fcntl_dupfd_cloexec(&memory, 10).unwrap())
    }

    /// A process that finds it, and has these features.
    fn start(&self, slots: u32, features: &[&str]) -> Started {
        let mut command = command();
        command.env("LIFEBOAT_RECORDER", self.0.as_raw_fd().to_string());
        fcntl_setfd(&self.0, FdFlags::empty()).unwrap();
        let heartbeat_ms = INTERVAL.as_millis().try_into().unwrap();
        Started::by(command, Assignment { slots, heartbeat_ms, ..Assignment::default() }, features)
    }

    fn look<T>(&self, at: impl FnOnce(FlightRecorder<'_>) -> T) -> T {
        let mut bytes = [0; 4096];
        assert_eq!(pread(&self.0, &mut bytes, 0), Ok(4096));
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<_> = words.iter().map(|word| AtomicU64::new(u64::from_ne_bytes(*word))).collect();
        at(FlightRecorder::over(&words))
    }

    fn beats(&self) -> Beats {
        self.look(|page| page.beats())
    }

    /// Waits for what is noted of a slot.
    fn until(&self, slot: u8, expected: impl Fn(BeganNote) -> bool) {
        let limit = Instant::now() + LIMIT;
        loop {
            let note = self.look(|page| page.read(slot));
            if matches!(note, SlotNote::Began(note) if expected(note)) {
                return;
            }
            assert!(Instant::now() < limit, "{note:?}");
            std::thread::yield_now();
        }
    }
}

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

#[test]
fn heartbeats_are_noted_and_cost_no_message() {
    for order in ["spin for ever", "for ever"] {
        let handed = Handed::new(SEALS);
        let mut started = handed.start(2, &[HISTORY_FEATURE, RECORDER_FEATURE]);
        assert_eq!(handed.look(|page| page.slots()), Some(2));
        started.order(order);
        let limit = Instant::now() + LIMIT;
        while handed.beats().count < 10 {
            assert!(Instant::now() < limit, "{:?}", handed.beats());
            std::thread::sleep(INTERVAL / 4);
        }
        started.order_in(1, "say");
        assert_eq!(started.answer(), "said", "and nothing came before it");
        started.child.kill().unwrap();
        started.end();
    }
}

#[test]
fn what_slots_begin_and_end_is_noted_and_stays_when_the_process_is_killed() {
    let handed = Handed::new(SEALS);
    let mut started = handed.start(3, &[HISTORY_FEATURE, RECORDER_FEATURE]);
    started.order_in(2, "say");
    started.answer();
    handed.until(2, |note| (note.request, note.attempt, note.executing) == (3, 1, false));
    let _fifo = running_in(&mut started, 0);
    handed.until(0, |note| (note.request, note.attempt, note.executing) == (1, 1, true));
    started.child.kill().unwrap();
    started.end();
    handed.until(0, |note| note.executing && note.since > 0);
    assert_eq!(handed.look(|page| page.read(1)), SlotNote::Unused);
}

#[test]
fn memory_that_could_be_taken_away_is_not_used() {
    let handed = Handed::new(SealFlags::GROW);
    let mut started = handed.start(1, &[HISTORY_FEATURE]);
    assert_eq!(started.next().0, MessageType::Heartbeat, "it sends them");
    assert_eq!(handed.look(|page| page.slots()), None);
    started.child.kill().unwrap();
    started.end();
}
