//! What is kept of what there was: bounded, and fair to what is rare.
//!
//! It owns the bounds. The oldest goes first, but the newest of each signature stays while a signature has several: a crash
//! loop cannot push out the one crash of another kind. Only where all are of different kinds does the oldest of them go.

use std::collections::{HashMap, VecDeque};

/// So many reports are kept at most.
pub(super) const MOST: usize = 256;

/// So many bytes of them at most, as JSON.
pub(super) const MOST_BYTES: usize = 16 << 20;

/// One of those that are kept.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    /// The name of its signature.
    pub(super) signature: String,
    /// How many bytes it counts for.
    pub(super) bytes: usize,
    /// What is kept.
    pub(super) item: T,
}

/// Those that are kept, the oldest first.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    kept: VecDeque<Kept<T>>,
    /// How many are kept of each signature.
    counts: HashMap<String, usize>,
    bytes: usize,
}

impl<T> Shelf<T> {
    pub(super) fn new() -> Self {
        Self { kept: VecDeque::new(), counts: HashMap::new(), bytes: 0 }
    }

    /// Keeps one more, the newest. Gives those that had to go.
    pub(super) fn push(&mut self, kept: Kept<T>) -> Vec<T> {
        *self.counts.entry(kept.signature.clone()).or_default() += 1;
        self.bytes += kept.bytes;
        self.kept.push_back(kept);
        let mut gone = Vec::new();
        while self.kept.len() > MOST || self.bytes > MOST_BYTES && self.kept.len() > 1 {
            gone.extend(self.remove());
        }
        gone
    }

    /// The newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Kept<T>> {
        self.kept.iter().rev()
    }

    fn remove(&mut self) -> Option<T> {
        let has_newer = |kept: &Kept<T>| self.counts.get(&kept.signature).is_some_and(|count| *count > 1);
        // The oldest of a signature that has several has a newer one.
        let place = self.kept.iter().position(has_newer).unwrap_or_default();
        let Kept { signature, bytes, item } = self.kept.remove(place)?;
        self.bytes -= bytes;
        if let Some(count) = self.counts.get_mut(&signature) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&signature);
            }
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(shelf: &mut Shelf<usize>, signature: &str, bytes: usize, item: usize) -> Vec<usize> {
        shelf.push(Kept { signature: signature.to_owned(), bytes, item })
    }

    #[test]
    fn a_crowd_does_not_push_out_the_rare_one() {
        let mut shelf = Shelf::new();
        push(&mut shelf, "rare", 10, 0);
        let gone: Vec<usize> = (1..=1_000).flat_map(|item| push(&mut shelf, "crowd", 10, item)).collect();
        assert_eq!(gone, (1..=1_001 - MOST).collect::<Vec<_>>());
        let left: Vec<usize> = shelf.newest_first().map(|kept| kept.item).collect();
        assert_eq!((left.len(), left[0], left[MOST - 1]), (MOST, 1_000, 0));
        assert_eq!(shelf.bytes, MOST * 10);
    }

    #[test]
    fn where_all_are_rare_the_oldest_goes() {
        let mut shelf = Shelf::new();
        let gone: Vec<usize> = (0..MOST + 3).flat_map(|n| push(&mut shelf, &n.to_string(), 1, n)).collect();
        assert_eq!((gone, shelf.counts.len()), (vec![0, 1, 2], MOST));
    }

    #[test]
    fn bytes_are_bounded_and_one_always_stays() {
        let mut shelf = Shelf::new();
        assert!(push(&mut shelf, "a", MOST_BYTES + 1, 1).is_empty());
        assert_eq!(push(&mut shelf, "b", 5, 2), [1]);
        assert_eq!((shelf.bytes, shelf.newest_first().count()), (5, 1));
    }
}
