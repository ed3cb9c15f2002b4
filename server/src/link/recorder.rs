//! A process's flight recorder, read.
//!
//! It owns what the broker makes of the page: heartbeats that nobody sent, and what was noted of each slot when the process
//! was dead. What stands there is the process's word: a time to come is none, and nothing that is read leads anywhere but
//! to a value.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lifeboat_core::evidence::Evidence;
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId};
use lifeboat_core::recorder::{Began, Recording, SlotRecording};
use lifeboat_protocol::{BeganNote, FlightRecorder, SlotNote};
use rustix::time::{ClockId, clock_gettime};

use super::Links;

/// Memory that a process writes.
pub trait Memory: AsRef<[AtomicU64]> + fmt::Debug {}

impl<T: AsRef<[AtomicU64]> + fmt::Debug> Memory for T {}

/// What the broker keeps of a process's flight recorder.
pub(super) struct Recorder {
    memory: Box<dyn Memory>,
    /// Its process notes heartbeats there.
    pub(super) beats: bool,
    /// How many were seen.
    seen: u64,
}

impl Recorder {
    pub(super) fn new(memory: Box<dyn Memory>) -> Self {
        Self { memory, beats: false, seen: 0 }
    }

    fn page(&self) -> FlightRecorder<'_> {
        FlightRecorder::over((*self.memory).as_ref())
    }

    /// How long ago the latest heartbeat was, if there was one since the last look.
    fn heartbeat(&mut self) -> Option<Duration> {
        if !self.beats {
            return None;
        }
        let beats = self.page().beats();
        let moved = std::mem::replace(&mut self.seen, beats.count) != beats.count;
        moved.then(|| ago(beats.latest).unwrap_or_default())
    }

    /// What it says of so many slots; `None` if it was not used.
    fn recording(&self, slots: u16) -> Option<Recording> {
        let page = self.page();
        let noted = page.slots()?.min(u32::from(slots));
        let slots = (0..=u8::MAX).zip(0..noted).map(|(slot, _)| recorded(page.read(slot)));
        Some(Recording { beats: page.beats().count, slots: slots.collect() })
    }
}

fn recorded(note: SlotNote) -> SlotRecording {
    match note {
        SlotNote::Unreadable => SlotRecording::Unreadable,
        SlotNote::Unused => SlotRecording::Unused,
        SlotNote::Began(BeganNote { request, attempt, executing, since, progress }) => {
            let (request, attempt) = (RequestId(request), AttemptNumber(attempt));
            SlotRecording::Began(Began { request, attempt, executing, ago: ago(since), progress })
        }
    }
}

/// How long ago that was, in nanoseconds of the system's monotonic clock; `None` if it is to come.
fn ago(at: u64) -> Option<Duration> {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default();
    now.checked_sub(Duration::from_nanos(at))
}

impl Links {
    /// What the flight recorder of a dead process says is part of the evidence.
    pub fn add_recording(&mut self, process: ProcessKey, slots: u16, evidence: &mut Evidence) {
        let recorder = self.table.worker(process).and_then(|worker| worker.recorder.as_ref());
        evidence.recorder = recorder.and_then(|recorder| recorder.recording(slots));
    }

    /// Who has noted a heartbeat since the last look, and how long ago.
    pub(super) fn noted_heartbeats(&mut self) -> Vec<(ProcessKey, Duration)> {
        let workers = self.table.workers();
        workers.filter_map(|worker| Some((worker.process, worker.recorder.as_mut()?.heartbeat()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<AtomicU64> {
        (0..512).map(|_| AtomicU64::new(0)).collect()
    }

    /// A recorder over words that the test writes too.
    fn recorder(words: &'static [AtomicU64]) -> Recorder {
        Recorder { beats: true, ..Recorder::new(Box::new(words)) }
    }

    fn now() -> u64 {
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap();
        u64::try_from(now.as_nanos()).unwrap()
    }

    #[test]
    fn a_heartbeat_is_found_once_and_has_its_age() {
        let words = page().leak();
        let (theirs, mut ours) = (FlightRecorder::over(words), recorder(words));
        assert_eq!(ours.heartbeat(), None);
        theirs.beat(now() - 3_000_000_000);
        let ago = ours.heartbeat().unwrap();
        assert!((Duration::from_secs(3)..Duration::from_secs(60)).contains(&ago), "{ago:?}");
        assert_eq!(ours.heartbeat(), None, "the same one");
        theirs.beat(u64::MAX);
        assert_eq!(ours.heartbeat(), Some(Duration::ZERO), "a time to come is now");
        theirs.beat(now());
        ours.beats = false;
        assert_eq!(ours.heartbeat(), None, "it has not said that it notes them");
    }

    #[test]
    fn what_is_not_used_says_nothing_and_what_is_said_of_too_many_slots_is_cut() {
        let words = page().leak();
        let (theirs, ours) = (FlightRecorder::over(words), recorder(words));
        theirs.begin(0, 1, 1, 0);
        assert_eq!(ours.recording(4), None);
        theirs.open(u32::MAX);
        theirs.begin(1, 7, 2, u64::MAX);
        let recording = ours.recording(3).unwrap();
        assert_eq!(recording.slots.len(), 3);
        let began = Began {
            request: RequestId(7),
            attempt: AttemptNumber(2),
            executing: true,
            ago: None,
            progress: 0,
        };
        assert_eq!(recording.slots[1..], [SlotRecording::Began(began), SlotRecording::Unused]);
        theirs.open(2);
        assert_eq!(ours.recording(256).unwrap().slots.len(), 2);
    }
}
