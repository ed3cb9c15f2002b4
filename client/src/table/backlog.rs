//! What was told of a streamed request and not read yet.
//!
//! Owns the bounds on it, the order, and which attempts may still be told of. Must never drop anything without
//! counting it or saying so, and never wait: the connection carries other calls too.

use std::collections::VecDeque;

use bytes::Bytes;
use lifeboat_protocol::TimeLeft;

/// Unread progress that is kept; of more, the oldest goes. Progress says how far the work is, so the newest is what
/// counts.
const PROGRESS_KEPT: usize = 64;
/// A longer body of a progress message is taken as one that says nothing: its text, and so all that is known of it, is
/// at most a quarter of this.
const PROGRESS_BODY: usize = 4 * 1024;

/// Told of a request that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The attempt that it is about.
    pub(crate) attempt: u16,
    pub(crate) what: What,
    pub(crate) body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The broker has taken it in, for so long.
    Accepted { time_left: TimeLeft },
    /// The work moves. `skipped`: how many before it were dropped unread.
    Progress { skipped: u64 },
    /// A part of the reply.
    Partial,
    /// The attempt failed, and another follows.
    AttemptFailed,
}

/// What became of something told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is there to be read.
    Kept,
    /// It is about an attempt that was over: the broker should not have told it.
    Stale,
    /// There is no room for it. Nothing more may be told of the request, or a part would be missing unnoticed.
    Full,
}

/// How much may be unread, progress not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) events: usize,
    /// Of bodies. One alone is kept whatever its size.
    pub(crate) bytes: usize,
}

impl Room {
    pub(crate) const DEFAULT: Self = Self { events: 1024, bytes: 16 * 1024 * 1024 };
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Backlog {
    room: Room,
    /// Comes before everything else.
    accepted: Option<Told>,
    /// In the order told; the numbers say which of the two queues goes on.
    progress: VecDeque<(u64, Told)>,
    others: VecDeque<(u64, Told)>,
    next: u64,
    /// Of `others`' bodies.
    bytes: usize,
    /// The lowest attempt that may still be told of. Attempts count from 1.
    floor: u32,
    /// Its reader was given something.
    was_read: bool,
}

impl Backlog {
    pub(crate) fn new(room: Room) -> Self {
        let (progress, others) = (VecDeque::new(), VecDeque::new());
        Self { room, accepted: None, progress, others, next: 0, bytes: 0, floor: 1, was_read: false }
    }

    /// Events and bytes that are unread, progress not counted.
    pub(crate) fn unread(&self) -> Room {
        Room { events: self.others.len(), bytes: self.bytes }
    }

    /// Whether its reader was given something of it.
    pub(crate) fn was_read(&self) -> bool {
        self.was_read
    }

    /// Forgets what is unread: the request begins again, with its first attempt.
    pub(crate) fn start_again(&mut self) {
        *self = Self { was_read: self.was_read, ..Self::new(self.room) };
    }

    /// Takes what was told.
    pub(crate) fn push(&mut self, mut told: Told) -> Pushed {
        let attempt = u32::from(told.attempt);
        if let What::Accepted { .. } = told.what {
            if self.next > 0 {
                return Pushed::Stale;
            }
        } else if attempt < self.floor {
            return Pushed::Stale;
        }
        match told.what {
            What::Accepted { .. } => self.accepted = Some(told),
            What::Progress { .. } => {
                if told.body.len() > PROGRESS_BODY {
                    told.body = Bytes::new();
                }
                self.floor = attempt;
                self.progress.push_back((self.next, told));
                self.drop_old_progress();
            }
            What::Partial | What::AttemptFailed => {
                if !self.has_room(told.body.len()) {
                    return Pushed::Full;
                }
                self.floor = attempt + u32::from(told.what == What::AttemptFailed);
                self.bytes += told.body.len();
                self.others.push_back((self.next, told));
            }
        }
        self.next += 1;
        Pushed::Kept
    }

    fn has_room(&self, len: usize) -> bool {
        let fits = self.others.len() < self.room.events && self.bytes.saturating_add(len) <= self.room.bytes;
        fits || self.others.is_empty()
    }

    fn drop_old_progress(&mut self) {
        if self.progress.len() <= PROGRESS_KEPT {
            return;
        }
        let oldest = self.progress.pop_front();
        if let (Some((_, oldest)), Some((_, next))) = (oldest, self.progress.front_mut())
            && let (What::Progress { skipped: before }, What::Progress { skipped }) =
                (oldest.what, &mut next.what)
        {
            *skipped += before + 1;
        }
    }

    /// The oldest that is unread.
    ///
    /// That it was accepted is nothing that a repetition makes void.
    pub(crate) fn pop(&mut self) -> Option<Told> {
        if let Some(accepted) = self.accepted.take() {
            return Some(accepted);
        }
        let number = |queue: &VecDeque<(u64, Told)>| queue.front().map_or(u64::MAX, |(number, _)| *number);
        if number(&self.progress) < number(&self.others) {
            self.was_read = true;
            return self.progress.pop_front().map(|(_, told)| told);
        }
        let (_, told) = self.others.pop_front()?;
        self.was_read = true;
        self.bytes -= told.body.len();
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRESS: What = What::Progress { skipped: 0 };

    fn told(what: What, attempt: u16, body: &[u8]) -> Told {
        Told { attempt, what, body: Bytes::copy_from_slice(body) }
    }

    fn drained(backlog: &mut Backlog) -> Vec<Told> {
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    #[test]
    fn what_is_told_comes_out_in_order() {
        let mut backlog = Backlog::new(Room::DEFAULT);
        let all = [
            told(PROGRESS, 1, b"a"),
            told(What::Partial, 1, b"b"),
            told(PROGRESS, 1, b"c"),
            told(What::AttemptFailed, 1, b"d"),
            told(What::Partial, 2, b"e"),
            told(PROGRESS, 2, b"f"),
        ];
        for one in &all {
            assert_eq!(backlog.push(one.clone()), Pushed::Kept);
        }
        assert_eq!(drained(&mut backlog), all);
        assert_eq!(backlog.unread(), Room { events: 0, bytes: 0 });
    }

    #[test]
    fn the_newest_progress_stays_and_counts_what_went_before_it() {
        let mut backlog = Backlog::new(Room::DEFAULT);
        for number in 0..1000_u16 {
            backlog.push(told(PROGRESS, 1, &number.to_be_bytes()));
        }
        let kept = drained(&mut backlog);
        assert_eq!(kept.len(), PROGRESS_KEPT);
        assert_eq!(kept[0].what, What::Progress { skipped: 1000 - PROGRESS_KEPT as u64 });
        assert!(kept[1..].iter().all(|told| told.what == PROGRESS));
        assert_eq!(&kept[PROGRESS_KEPT - 1].body[..], 999_u16.to_be_bytes());
    }

    #[test]
    fn progress_never_takes_the_room_of_partials() {
        let mut backlog = Backlog::new(Room { events: 2, bytes: 100 });
        for _ in 0..1000 {
            backlog.push(told(PROGRESS, 1, &[0; 1000]));
        }
        assert_eq!(backlog.push(told(What::Partial, 1, &[1; 50])), Pushed::Kept);
        assert_eq!(backlog.push(told(What::Partial, 1, &[2; 50])), Pushed::Kept);
        assert_eq!(backlog.push(told(PROGRESS, 1, b"")), Pushed::Kept);
    }

    #[test]
    fn count_and_bytes_are_bounds_but_one_partial_always_fits() {
        let mut backlog = Backlog::new(Room { events: 3, bytes: 100 });
        assert_eq!(backlog.push(told(What::Partial, 1, &[0; 1000])), Pushed::Kept);
        assert_eq!(backlog.push(told(What::Partial, 1, b"")), Pushed::Full);
        assert!(backlog.pop().is_some());
        for _ in 0..3 {
            assert_eq!(backlog.push(told(What::Partial, 1, b"x")), Pushed::Kept);
        }
        assert_eq!(backlog.push(told(What::AttemptFailed, 1, b"")), Pushed::Full);
        assert_eq!(backlog.unread(), Room { events: 3, bytes: 3 });
        let mut none = Backlog::new(Room { events: 0, bytes: 0 });
        assert_eq!(none.push(told(What::Partial, 1, b"x")), Pushed::Kept);
        assert_eq!(none.push(told(What::Partial, 1, b"x")), Pushed::Full);
    }

    #[test]
    fn a_long_progress_says_nothing() {
        let mut backlog = Backlog::new(Room::DEFAULT);
        backlog.push(told(PROGRESS, 1, &[0; PROGRESS_BODY]));
        backlog.push(told(PROGRESS, 1, &[0; PROGRESS_BODY + 1]));
        let lens: Vec<usize> = drained(&mut backlog).iter().map(|told| told.body.len()).collect();
        assert_eq!(lens, [PROGRESS_BODY, 0]);
    }

    #[test]
    fn nothing_is_told_of_an_attempt_that_is_over() {
        let mut backlog = Backlog::new(Room::DEFAULT);
        assert_eq!(backlog.push(told(PROGRESS, 0, b"")), Pushed::Stale);
        assert_eq!(backlog.push(told(What::AttemptFailed, 1, b"")), Pushed::Kept);
        for what in [PROGRESS, What::Partial, What::AttemptFailed] {
            assert_eq!(backlog.push(told(what, 1, b"")), Pushed::Stale);
        }
        assert_eq!(backlog.push(told(What::Partial, 3, b"")), Pushed::Kept);
        assert_eq!(backlog.push(told(What::AttemptFailed, 2, b"")), Pushed::Stale);
        assert_eq!(backlog.push(told(What::AttemptFailed, u16::MAX, b"")), Pushed::Kept);
        assert_eq!(backlog.push(told(PROGRESS, u16::MAX, b"")), Pushed::Stale);
        assert_eq!(drained(&mut backlog).len(), 3);
    }
}
