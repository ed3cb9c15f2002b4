//! Names of things, as numbers that are never reused while the broker lives.

use std::fmt;

/// A pool: its place in [`Settings::pools`](crate::settings::Settings::pools).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u16);

/// A method of the configuration: its place in [`Settings::methods`](crate::settings::Settings::methods).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId(pub u16);

/// A worker, over all its incarnations; dense from 0 over all pools in configuration order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// One life of a worker, numbered from 1 per worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// One process: a worker in one of its incarnations. Every event about a process carries it, so that news of the
/// dead cannot touch the successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// Whose life it is.
    pub worker: WorkerId,
    /// Which life.
    pub incarnation: Incarnation,
}

/// One slot of a process, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u8);

/// One client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A client's own number for one of its requests; strictly increasing per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTag(pub u64);

/// One accepted request: a sequence number that is never reused, and the place of its record.
///
/// The low [`RequestId::INDEX_BITS`] bits are the record's place, so that finding it needs no search; the rest is
/// a sequence number, which lasts 290 days at 700 000 requests a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The report of one unplanned end of a process, counted from 1 and never used again while the broker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId(pub u64);

/// A digest of a request's method and body. Whoever makes it sees to it that nobody can find another body that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl ReportId {
    /// The report's name for people and other programs, in the broker whose
    /// [`Settings::start`](crate::settings::Settings::start) this is.
    #[must_use]
    pub fn name(self, start: &str) -> String {
        format!("{start}-{}", self.0)
    }
}

impl RequestId {
    /// How many low bits hold the record's place: at most 1 048 576 requests are open at once.
    pub const INDEX_BITS: u32 = 20;

    pub(crate) const fn new(sequence: u64, index: u32) -> Self {
        Self(sequence << Self::INDEX_BITS | index as u64)
    }

    pub(crate) const fn index(self) -> usize {
        (self.0 & ((1 << Self::INDEX_BITS) - 1)) as usize
    }
}

/// The number of an attempt at a request, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptNumber(pub u16);

impl AttemptNumber {
    /// The first attempt.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}#{}", self.worker.0, self.incarnation.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:x}", self.0)
    }
}
