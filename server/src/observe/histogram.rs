//! A histogram of durations as plain numbers: observing one is a table look-up, a comparison or two and three adds.

use std::time::Duration;

/// The upper edges of the buckets, in microseconds: 0.5 ms to 300 s.
///
/// Source: the OpenTelemetry advice for server durations (5 ms to 10 s), widened below, because an idle worker answers
/// in well under a millisecond, and above, because workers run long jobs. The last edge is the default deadline.
pub(super) const EDGES: [u64; 17] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// For every bit length of a value, the first bucket that a value of that length can be in.
const FIRST_BUCKET: [u8; 65] = first_buckets();

const fn first_buckets() -> [u8; 65] {
    let mut table = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let smallest = 1_u64 << (bits - 1);
        let mut bucket = 0;
        while bucket < EDGES.len() && EDGES[bucket] < smallest {
            bucket += 1;
        }
        table[bits] = bucket as u8;
        bits += 1;
    }
    table
}

/// How many durations fell between which edges, and their sum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Histogram {
    /// Those above one edge and not above the next; those above the last edge are counted by `count` alone.
    buckets: [u64; EDGES.len()],
    count: u64,
    sum_micros: u64,
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub(super) fn observe(&mut self, duration: Duration) {
        let micros =
            duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()));
        self.count += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
        let bits = u64::BITS - micros.leading_zeros();
        let mut bucket = usize::from(FIRST_BUCKET[bits as usize]);
        while let Some(edge) = EDGES.get(bucket) {
            if micros <= *edge {
                self.buckets[bucket] += 1;
                return;
            }
            bucket += 1;
        }
    }

    /// How many durations were counted.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds.
    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// Each upper edge in seconds, with the number of durations that are not above it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets.iter().zip(EDGES).scan(0, |total, (count, edge)| {
            *total += count;
            Some((edge as f64 / 1e6, *total))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(micros: u64) -> Option<usize> {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::from_micros(micros));
        assert_eq!((histogram.count, histogram.sum_micros), (1, micros));
        histogram.buckets.iter().position(|count| *count == 1)
    }

    #[test]
    fn edges_belong_to_their_own_bucket() {
        for (index, edge) in EDGES.into_iter().enumerate() {
            assert_eq!(bucket_of(edge - 1), Some(index));
            assert_eq!(bucket_of(edge), Some(index));
            assert_eq!(bucket_of(edge + 1), Some(index + 1).filter(|next| *next < EDGES.len()));
        }
        assert_eq!(bucket_of(0), Some(0));
        assert_eq!(bucket_of(u64::from(u32::MAX) * 1_000_000), None);
    }

    proptest::proptest! {
        #[test]
        fn the_table_agrees_with_a_search(micros in proptest::num::u64::ANY, shift in 0_u32..64) {
            let micros = micros >> shift;
            let searched = EDGES.iter().position(|edge| micros <= *edge);
            proptest::prop_assert_eq!(bucket_of(micros), searched);
        }
    }

    #[test]
    fn the_longest_duration_is_counted_and_nothing_overflows() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::MAX);
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.count, 2);
        assert_eq!(histogram.cumulative().last(), Some((300.0, 0)));
    }
}
