//! The route: 16 bytes at a fixed place in a header, rewritten from hop to hop.
//!
//! Owns the route's form and place. Must never change anything else in a frame: a broker forwards the bytes it
//! was sent, with another route.

use std::ops::{BitOr, BitOrAssign};
use std::time::Duration;

use crate::header::HeaderError;

/// Where the route's 16 bytes begin in a frame (the length prefix not counted).
pub const ROUTE_OFFSET: usize = 3;

/// Where the route's bytes end in a frame, and the header's further elements begin.
pub const ROUTE_END: usize = ROUTE_OFFSET + Route::LEN;

/// A CBOR byte string of exactly 16 bytes begins with this byte, in every canonical encoder.
pub(crate) const ROUTE_HEAD: u8 = 0x50;

/// Marks on a route, and the slot. Bits that this version does not know are ignored when read and sent as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RouteFlags(u16);

impl RouteFlags {
    /// No marks, slot 0.
    pub const NONE: Self = Self(0);
    /// The answer arrived after a limit had fired.
    pub const LATE: Self = Self(1);
    /// On an error to a client: beyond the attempts told, a process had been given the request and may have begun
    /// it.
    pub const MAY_HAVE_STARTED: Self = Self(1 << 1);

    const MARKS: u16 = Self::LATE.0 | Self::MAY_HAVE_STARTED.0;
    const SLOT_SHIFT: u32 = 8;
    const SLOT: u16 = 0xff << Self::SLOT_SHIFT;
    const KNOWN: u16 = Self::MARKS | Self::SLOT;

    /// The flags in `bits`, those unknown left out.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::KNOWN)
    }

    /// The flags as they travel.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether every mark of `other` is set. Slots are not compared.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        let marks = other.0 & Self::MARKS;
        self.0 & marks == marks
    }

    /// On a request or a cancel from broker to worker: which slot of the process it is for. 0 on everything else.
    #[must_use]
    pub const fn slot(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The same marks with this slot.
    #[must_use]
    pub const fn with_slot(self, slot: u8) -> Self {
        Self(self.0 & !Self::SLOT | (slot as u16) << Self::SLOT_SHIFT)
    }
}

/// The marks of both; one side's slot must be 0.
impl BitOr for RouteFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for RouteFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Time left until something must have ended, in milliseconds: at most 49.7 days, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeLeft(u32);

impl TimeLeft {
    /// No limit; the broker's configuration decides.
    pub const NONE: Self = Self(u32::MAX);
    /// The longest that can be said.
    pub const MAX: Self = Self(u32::MAX - 1);

    /// `millis` milliseconds; `u32::MAX` is [`NONE`](Self::NONE).
    #[must_use]
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// The milliseconds as they travel; `u32::MAX` is [`NONE`](Self::NONE).
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// A duration, rounded up to whole milliseconds so that some time left never becomes none left. What is
    /// longer than can be said becomes [`MAX`](Self::MAX), never [`NONE`](Self::NONE).
    #[must_use]
    pub fn from_duration(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        u32::try_from(millis).map_or(Self::MAX, |millis| Self(millis).min(Self::MAX))
    }

    /// The time left, or `None` when there is no limit.
    #[must_use]
    pub fn as_duration(self) -> Option<Duration> {
        (self != Self::NONE).then(|| Duration::from_millis(self.0.into()))
    }
}

/// What a message is about, as the hop it travels on knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    /// The request: between client and broker the client's own number, strictly increasing on its connection;
    /// between broker and worker the broker's.
    pub id: u64,
    /// From a client 0; to and from a worker the attempt, from 1; to a client the number of attempts made, while the
    /// request runs that of the attempt which is told of.
    pub attempt: u16,
    /// Marks, and to a worker the slot.
    pub flags: RouteFlags,
    /// From a client its whole timeout; to a worker the time until the attempt must end.
    pub time_left: TimeLeft,
}

impl Route {
    /// Bytes of a route.
    pub const LEN: usize = 16;

    /// A client's request: attempt 0, no flags.
    #[must_use]
    pub const fn request(id: u64, time_left: TimeLeft) -> Self {
        Self { id, attempt: 0, flags: RouteFlags::NONE, time_left }
    }

    /// The route of an answer to the attempt that this route dispatched: the same id and attempt, no flags, no
    /// slot and no time limit.
    #[must_use]
    pub const fn answer(self) -> Self {
        Self { flags: RouteFlags::NONE, time_left: TimeLeft::NONE, ..self }
    }

    /// The route as it travels.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let id = self.id.to_be_bytes();
        let attempt = self.attempt.to_be_bytes();
        let flags = self.flags.0.to_be_bytes();
        let left = self.time_left.0.to_be_bytes();
        [
            id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], attempt[0], attempt[1], flags[0],
            flags[1], left[0], left[1], left[2], left[3],
        ]
    }

    /// Reads a route. Every 16 bytes are one; unknown flags are dropped.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            id: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            attempt: u16::from_be_bytes([i, j]),
            flags: RouteFlags::from_bits(u16::from_be_bytes([k, l])),
            time_left: TimeLeft(u32::from_be_bytes([m, n, o, p])),
        }
    }
}

/// Reads the route at its place in a frame (the length prefix not counted) without reading the rest.
///
/// # Errors
///
/// [`HeaderError::Malformed`] if the frame has no route there.
pub fn read_route(frame: &[u8]) -> Result<Route, HeaderError> {
    let malformed = |at, what| Err(HeaderError::Malformed { at, what });
    match frame {
        [] => return malformed(0, "ends before its header"),
        [0x82..=0x8f, _, ROUTE_HEAD, ..] => {}
        [0x82..=0x8f, _, ..] => {
            return malformed(2, "no route (a byte string of 16 bytes) as second element");
        }
        [_, ..] => return malformed(0, "not an array of 2 to 15 elements"),
    }
    match frame[ROUTE_OFFSET..].first_chunk() {
        Some(bytes) => Ok(Route::from_bytes(*bytes)),
        None => malformed(frame.len(), "ends inside the route"),
    }
}

/// Writes another route into a frame (the length prefix not counted): changes its bytes 3 to 18 and no other.
///
/// # Panics
///
/// If the frame is shorter than that. Call it on a frame in which [`decode`](crate::decode) found a route.
pub fn patch_route(frame: &mut [u8], route: Route) {
    frame[ROUTE_OFFSET..ROUTE_END].copy_from_slice(&route.to_bytes());
}
