//! A process's flight recorder, read.
//!
//! It owns what the broker makes of the page: heartbeats that nobody sent, and what was noted of each slot when the process
//! was dead. What stands there is the process's word: a time to come is none, and nothing that is read leads anywhere but
//! to a value.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lifeboat_core::evidence::Evidence;
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId};
use lifeboat_core::recorder::{Began, Recording, SlotRecording};
use lifeboat_protocol::{Beats, BeganNote, FlightRecorder, SlotNote, recorder_len};
use rustix::time::{ClockId, clock_gettime};

use super::Links;

/// What the broker keeps of a process's flight recorder.
pub(super) struct Recorder {
    /// Read as a file, never mapped: what a process does to its memory is an error here and no signal.
    memory: File,
    /// Its process notes heartbeats there.
    pub(super) beats: bool,
    /// How many were seen.
    seen: u64,
}

impl Recorder {
    pub(super) const fn new(memory: File) -> Self {
        Self { memory, beats: false, seen: 0 }
    }

    /// What there is for so many slots, as it is now.
    fn read(&self, slots: u16) -> io::Result<Vec<AtomicU64>> {
        let mut bytes = vec![0; recorder_len(u32::from(slots))];
        let len = self.memory.read_at(&mut bytes, 0)?;
        bytes.truncate(len);
        let (words, _) = bytes.as_chunks();
        Ok(words.iter().map(|word| AtomicU64::new(u64::from_ne_bytes(*word))).collect())
    }

    fn noted(&self) -> io::Result<Beats> {
        Ok(FlightRecorder::over(&self.read(0)?).beats())
    }

    /// How long ago the latest heartbeat was, if there was one since the last look. What cannot be read is no silence of the
    /// process's.
    fn heartbeat(&mut self) -> Option<Duration> {
        if !self.beats {
            return None;
        }
        let Ok(Beats { count, .. }) = self.noted() else { return Some(Duration::ZERO) };
        if std::mem::replace(&mut self.seen, count) == count {
            return None;
        }
        // Read again: the time was written before the count was, and a copy knows no order.
        self.noted().map_or(Some(Duration::ZERO), |noted| Some(ago(noted.latest).unwrap_or_default()))
    }

    /// What it says of so many slots, once its process is dead; `None` if it was not used.
    fn recording(&self, slots: u16) -> Option<Recording> {
        let words = self.read(slots).ok()?;
        let page = FlightRecorder::over(&words);
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
    use std::sync::atomic::Ordering;

    use super::*;

    /// A process's memory, which the test writes.
    struct Theirs {
        words: Vec<AtomicU64>,
        memory: File,
    }

    impl Theirs {
        fn new() -> (Self, Recorder) {
            let memory = tempfile::tempfile().unwrap();
            let ours = Recorder { beats: true, ..Recorder::new(memory.try_clone().unwrap()) };
            let words = (0..recorder_len(256) / 8).map(|_| AtomicU64::new(0)).collect();
            let theirs = Self { words, memory };
            theirs.write(|_| ());
            (theirs, ours)
        }

        fn write(&self, note: impl FnOnce(FlightRecorder<'_>)) {
            note(FlightRecorder::over(&self.words));
            let bytes: Vec<_> =
                self.words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
            self.memory.write_all_at(&bytes, 0).unwrap();
        }
    }

    fn now() -> u64 {
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap();
        u64::try_from(now.as_nanos()).unwrap()
    }

    #[test]
    fn a_heartbeat_is_found_once_and_has_its_age() {
        let (theirs, mut ours) = Theirs::new();
        assert_eq!(ours.heartbeat(), None);
        theirs.write(|page| page.beat(now() - 3_000_000_000));
        let ago = ours.heartbeat().unwrap();
        assert!((Duration::from_secs(3)..Duration::from_secs(60)).contains(&ago), "{ago:?}");
        assert_eq!(ours.heartbeat(), None, "the same one");
        theirs.write(|page| page.beat(u64::MAX));
        assert_eq!(ours.heartbeat(), Some(Duration::ZERO), "a time to come is now");
        theirs.write(|page| page.beat(now()));
        ours.beats = false;
        assert_eq!(ours.heartbeat(), None, "it has not said that it notes them");
    }

    #[test]
    fn what_is_not_used_says_nothing_and_what_is_said_of_too_many_slots_is_cut() {
        let (theirs, ours) = Theirs::new();
        theirs.write(|page| page.begin(0, 1, 1, 0));
        assert_eq!(ours.recording(4), None);
        theirs.write(|page| page.open(u32::MAX));
        theirs.write(|page| page.begin(1, 7, 2, u64::MAX));
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
        theirs.write(|page| page.open(2));
        assert_eq!(ours.recording(256).unwrap().slots.len(), 2);
    }
    #[test]
    fn what_cannot_be_read_is_no_silence_and_says_nothing() {
        let (theirs, mut ours) = Theirs::new();
        theirs.write(|page| page.open(4));
        theirs.memory.set_len(128).unwrap();
        let slots = ours.recording(4).unwrap().slots;
        let [there, beyond] = [SlotRecording::Unused, SlotRecording::Unreadable];
        assert_eq!(slots, [there, there, beyond, beyond]);
        ours.memory = File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(ours.recording(4), None);
        assert_eq!(ours.heartbeat(), Some(Duration::ZERO));
    }
}
