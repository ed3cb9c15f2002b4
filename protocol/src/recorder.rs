//! The flight recorder: a page that a worker's process and its broker share, written by the one and read by the other.
//!
//! Owns the layout and the order of the stores: whoever reads finds a slot's words as they were written together, or learns
//! that they are not whole, also when the writer was killed between two of them. Must never believe what it reads: it is
//! the writer's word, and whatever is there is a value and never a panic. Where the page comes from is not known here.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// The variable that tells a worker the descriptor of its flight recorder.
pub const RECORDER_VARIABLE: &str = "LIFEBOAT_RECORDER";

/// The first word of a page that is used: `LIFEBOAT`, as it stands in memory.
const MAGIC: u64 = u64::from_le_bytes(*b"LIFEBOAT");
const VERSION: u32 = 1;

/// Words of the header, of which the last four are kept free.
const HEADER: usize = 8;
const SLOT: usize = 4;

const WORD: usize = size_of::<u64>();
const PAGE: usize = 4096;

/// State of a slot that executes.
const EXECUTING: u64 = 1;

/// How often a slot that is being written is looked at again. A writer needs some nanoseconds, unless it is stopped there.
const LOOKS: u32 = 64;

/// The length of the memory for so many slots, in bytes: whole pages.
#[must_use]
pub const fn recorder_len(slots: u32) -> usize {
    ((HEADER + slots as usize * SLOT) * WORD).next_multiple_of(PAGE)
}

/// A flight recorder over memory that a process and its broker share.
///
/// All stores are by one thread for a slot, and by one for the heartbeats.
#[derive(Debug, Clone, Copy)]
pub struct FlightRecorder<'a> {
    words: &'a [AtomicU64],
}

/// What is noted of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotNote {
    /// It is not whole, or no state that is known.
    Unreadable,
    /// The slot never began anything.
    Unused,
    /// The last that it began.
    Began(BeganNote),
}

/// The last that a slot began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeganNote {
    /// The request's id, as in its route.
    pub request: u64,
    /// The attempt, as in the route.
    pub attempt: u16,
    /// It has not ended.
    pub executing: bool,
    /// When it began, in nanoseconds of the system's monotonic clock.
    pub since: u64,
    /// How often its handler has said that the work moves.
    pub progress: u64,
}

/// The heartbeats of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beats {
    /// How many there were.
    pub count: u64,
    /// When the latest was, in nanoseconds of the system's monotonic clock.
    pub latest: u64,
}

impl<'a> FlightRecorder<'a> {
    /// Over these words, which are all zero until the first [`open`](Self::open).
    #[must_use]
    pub const fn over(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    /// Says that the page is used from now on, for so many slots.
    pub fn open(&self, slots: u32) {
        let [magic, form, ..] = self.header();
        store(form, u64::from(VERSION) | u64::from(slots) << 32, Ordering::Relaxed);
        store(magic, MAGIC, Ordering::Release);
    }

    /// The process is scheduled.
    pub fn beat(&self, now: u64) {
        let [_, _, count, latest] = self.header();
        store(latest, now, Ordering::Relaxed);
        store(count, load(count, Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// A slot begins an attempt. Nothing is noted of a slot beyond the page.
    pub fn begin(&self, slot: u8, request: u64, attempt: u16, now: u64) {
        let Some([mark, id, since, progress]) = self.slot(slot) else { return };
        let odd = sequence(load(mark, Ordering::Relaxed)) | 1;
        store(mark, u64::from(odd), Ordering::Relaxed);
        fence(Ordering::Release);
        store(id, request, Ordering::Relaxed);
        store(since, now, Ordering::Relaxed);
        store(progress, 0, Ordering::Relaxed);
        let even = u64::from(odd.wrapping_add(1));
        store(mark, even | u64::from(attempt) << 32 | EXECUTING << 48, Ordering::Release);
    }

    /// A slot has ended what it began.
    pub fn end(&self, slot: u8) {
        let Some([mark, ..]) = self.slot(slot) else { return };
        store(mark, load(mark, Ordering::Relaxed) & !(EXECUTING << 48), Ordering::Release);
    }

    /// A handler says that the work moves. From any thread.
    pub fn progress(&self, slot: u8) {
        let Some([.., progress]) = self.slot(slot) else { return };
        // Of two that say it at the same time one may not be counted.
        store(progress, load(progress, Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// For how many slots the page is used; `None` if it is not, or in a form that is not known.
    #[must_use]
    pub fn slots(&self) -> Option<u32> {
        let [magic, form, ..] = self.header();
        let is_open = load(magic, Ordering::Acquire) == MAGIC;
        let form = load(form, Ordering::Relaxed);
        (is_open && form as u32 == VERSION).then_some((form >> 32) as u32)
    }

    /// The heartbeats until now.
    #[must_use]
    pub fn beats(&self) -> Beats {
        let [_, _, count, latest] = self.header();
        let count = load(count, Ordering::Acquire);
        Beats { count, latest: load(latest, Ordering::Relaxed) }
    }

    /// What is noted of a slot.
    #[must_use]
    pub fn read(&self, slot: u8) -> SlotNote {
        let Some([mark, id, since, progress]) = self.slot(slot) else { return SlotNote::Unreadable };
        for _ in 0..LOOKS {
            let before = load(mark, Ordering::Acquire);
            let words = [id, since, progress].map(|word| load(word, Ordering::Relaxed));
            fence(Ordering::Acquire);
            let is_whole = sequence(before).is_multiple_of(2);
            if is_whole && sequence(load(mark, Ordering::Relaxed)) == sequence(before) {
                return note(before, words);
            }
            std::hint::spin_loop();
        }
        SlotNote::Unreadable
    }

    fn header(&self) -> [&'a AtomicU64; 4] {
        // Memory that is too short is as good as never used.
        static NOTHING: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
        let [magic, form, count, latest, ..] = self.words else { return NOTHING.each_ref() };
        [magic, form, count, latest]
    }

    fn slot(&self, slot: u8) -> Option<[&'a AtomicU64; SLOT]> {
        let words = self.words.get(HEADER + usize::from(slot) * SLOT..)?;
        let [mark, id, since, progress, ..] = words else { return None };
        Some([mark, id, since, progress])
    }
}

fn note(mark: u64, [request, since, progress]: [u64; 3]) -> SlotNote {
    let (attempt, state) = ((mark >> 32) as u16, mark >> 48);
    match state {
        _ if mark == 0 => SlotNote::Unused,
        0 | EXECUTING => {
            let executing = state == EXECUTING;
            SlotNote::Began(BeganNote { request, attempt, executing, since, progress })
        }
        _ => SlotNote::Unreadable,
    }
}

/// The count of a slot's changes: odd while it is being written.
const fn sequence(mark: u64) -> u32 {
    mark as u32
}

fn load(word: &AtomicU64, order: Ordering) -> u64 {
    u64::from_le(word.load(order))
}

fn store(word: &AtomicU64, value: u64, order: Ordering) {
    word.store(value.to_le(), order);
}
