//! The flight recorder: its layout, what a reader finds while it is written, and what it makes of anything else.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lifeboat_protocol::*;
use proptest::prelude::*;

fn memory(slots: u32) -> Vec<AtomicU64> {
    (0..recorder_len(slots) / 8).map(|_| AtomicU64::new(0)).collect()
}

fn bytes(words: &[AtomicU64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect()
}

#[test]
fn it_is_whole_pages() {
    assert_eq!(
        [0, 1, 126, 127, 254, 255, MAX_SLOTS].map(recorder_len),
        [4096, 4096, 4096, 8192, 8192, 12288, 12288]
    );
}

/// The layout that docs/protocol.md shows, byte for byte.
#[test]
fn its_bytes_are_those_of_the_document() {
    let words = memory(2);
    let recorder = FlightRecorder::over(&words);
    assert_eq!(recorder.slots(), None, "nobody uses it yet");
    recorder.open(2);
    recorder.beat(0x1122);
    recorder.begin(1, 0x0102_0304_0506_0708, 3, 0x3344);
    recorder.progress(1);
    recorder.progress(1);
    let bytes = bytes(&words);
    assert_eq!(&bytes[..8], b"LIFEBOAT");
    assert_eq!(&bytes[8..16], &[1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(&bytes[16..32], &[1, 0, 0, 0, 0, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[32..96], &[0; 64], "kept free, and slot 0");
    assert_eq!(&bytes[96..104], &[2, 0, 0, 0, 3, 0, 1, 0]);
    assert_eq!(&bytes[104..112], &[8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(&bytes[112..128], &[0x44, 0x33, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    recorder.end(1);
    assert_eq!(words[12].load(Ordering::Relaxed).to_ne_bytes(), [2, 0, 0, 0, 3, 0, 0, 0]);
}

#[test]
fn what_is_noted_is_read() {
    let words = memory(256);
    let recorder = FlightRecorder::over(&words);
    recorder.open(256);
    assert_eq!((recorder.slots(), recorder.beats()), (Some(256), Beats::default()));
    recorder.beat(7);
    recorder.beat(9);
    assert_eq!(recorder.beats(), Beats { count: 2, latest: 9 });
    assert_eq!(recorder.read(255), SlotNote::Unused);
    for attempt in 1..=3 {
        recorder.begin(255, 42, attempt, 5);
        let noted = BeganNote { request: 42, attempt, executing: true, since: 5, progress: 0 };
        assert_eq!(recorder.read(255), SlotNote::Began(noted));
        recorder.progress(255);
        recorder.end(255);
        let noted = BeganNote { executing: false, progress: 1, ..noted };
        assert_eq!(recorder.read(255), SlotNote::Began(noted));
    }
    assert_eq!(recorder.read(254), SlotNote::Unused);
}

#[test]
fn a_writer_that_died_within_a_note_left_nothing_to_read() {
    let words = memory(1);
    let recorder = FlightRecorder::over(&words);
    recorder.begin(0, 42, 1, 5);
    for whole in [2_u64, 8 | 1 << 32] {
        words[8].store((whole | 1).to_le(), Ordering::Relaxed);
        assert_eq!(recorder.read(0), SlotNote::Unreadable);
    }
    // The next process's own note goes over it.
    recorder.begin(0, 43, 1, 5);
    assert!(matches!(recorder.read(0), SlotNote::Began(BeganNote { request: 43, .. })));
}

#[test]
fn a_reader_beside_a_writer_never_sees_half_a_note() {
    let words = memory(1);
    let recorder = FlightRecorder::over(&words);
    let over = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        scope.spawn(|| {
            for request in 1..=300_000_u64 {
                recorder.begin(0, request, request as u16, !request);
                recorder.end(0);
            }
            over.store(true, Ordering::Release);
        });
        let (mut read, mut latest) = (0, 0);
        while !over.load(Ordering::Acquire) || read == 0 {
            let SlotNote::Began(note) = recorder.read(0) else { continue };
            let BeganNote { request, attempt, since, .. } = note;
            assert_eq!((attempt, since), (request as u16, !request), "{note:?}");
            assert!(request >= latest, "{note:?} after {latest}");
            (read, latest) = (read + 1, request);
        }
        read
    });
    assert!(read > 0);
}

proptest! {
    #[test]
    fn anything_can_be_read(noise in proptest::collection::vec(any::<u64>(), 0..600), slot in any::<u8>()) {
        let words: Vec<AtomicU64> = noise.into_iter().map(AtomicU64::new).collect();
        let recorder = FlightRecorder::over(&words);
        let _ = (recorder.slots(), recorder.beats());
        if let SlotNote::Began(note) = recorder.read(slot) {
            let at = 8 + usize::from(slot) * 4;
            prop_assert_eq!(note.request, u64::from_le(words[at + 1].load(Ordering::Relaxed)));
        }
    }

    #[test]
    fn what_one_writes_the_other_reads(
        slot in any::<u8>(), request in any::<u64>(), attempt in any::<u16>(), since in any::<u64>(),
        noise in any::<[u64; 4]>(), moves in 0..5_u64,
    ) {
        let words = memory(MAX_SLOTS);
        for (word, noise) in words[8 + usize::from(slot) * 4..].iter().zip(noise) {
            word.store(noise, Ordering::Relaxed);
        }
        let recorder = FlightRecorder::over(&words);
        recorder.begin(slot, request, attempt, since);
        (0..moves).for_each(|_| recorder.progress(slot));
        let note = BeganNote { request, attempt, executing: true, since, progress: moves };
        prop_assert_eq!(recorder.read(slot), SlotNote::Began(note));
        recorder.end(slot);
        prop_assert_eq!(recorder.read(slot), SlotNote::Began(BeganNote { executing: false, ..note }));
    }
}
