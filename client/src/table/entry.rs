//! What the table keeps of a call, and how its end is told.
//!
//! Owns the shapes. Must never decide.

use std::borrow::Cow;
use std::hash::Hasher;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use lifeboat_protocol::{Ext, FrameLimit, Route, RouteFlags};
use tokio::time::Instant;

use super::backlog::{Backlog, Room, Told};
use crate::{ConnectError, LostReason};

/// What is sent for a call. Shared, never copied: one that is repeatable is kept beside the one that is written.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is shared by pointer already, and operations are rare")]
pub(crate) enum Kind {
    Request {
        method: Cow<'static, str>,
        ext: Ext,
    },
    /// An operation. The body is its whole frame, which lacks only its id.
    Operation,
}

impl Spec {
    pub(crate) fn is_operation(&self) -> bool {
        matches!(self.kind, Kind::Operation)
    }

    /// The one pool that may serve it.
    pub(super) fn pool(&self) -> Option<&String> {
        match &self.kind {
            Kind::Request { ext, .. } => ext.pool.as_ref(),
            Kind::Operation => None,
        }
    }

    /// Whether it may be sent again after it was written.
    pub(super) fn is_repeatable(&self) -> bool {
        match &self.kind {
            Kind::Request { ext, .. } => ext.idempotency_key.is_some(),
            Kind::Operation => false,
        }
    }
}

/// How a call ended, before it is turned into the caller's types (outside the lock).
#[derive(Debug)]
pub(crate) enum Ended {
    /// The handler's reply.
    Answer(Route, Bytes),
    /// The broker's error message.
    Error(Route, Bytes),
    /// What the broker says to an operation.
    Operated(Bytes),
    /// More was told of it than there was room for; so much of it is unread.
    BacklogFull(Room),
    /// There is a connection: the end of a call that asked for nothing else.
    Connected,
    /// Its deadline passed here.
    TimedOut { unanswered: bool },
    /// Its body is larger than the broker accepts.
    TooLarge { len: usize, limit: usize },
    /// Only this pool may serve it, and the broker is older than that wish.
    PoolIgnored { pool: String },
    /// The broker shuts down, and no other came in time.
    Draining,
    /// The connection went away.
    Disconnected { may_have_executed: bool, lost: LostReason },
    /// No connection in time.
    Connect(ConnectError),
}

/// What the reader of a stream gets next.
#[derive(Debug)]
pub(crate) enum Step {
    Told(Told),
    Ended(Box<Ended>),
}

/// What an abandoned call leaves behind, to be dropped outside the lock.
pub(crate) type Remains = (Option<Arc<Spec>>, Option<Box<Backlog>>);

/// Where a call is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// Not given to a connection. None: a call that only waits for a connection.
    Waiting(Option<Arc<Spec>>),
    /// In the outbox, or written.
    Sent,
    /// Nobody waits for it any more, but the broker has not ended it: a request counts in the window.
    Abandoned,
    /// To be picked up.
    Ended(Box<Ended>),
}

/// A call.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) phase: Phase,
    pub(super) waker: Option<Waker>,
    pub(super) registered: Instant,
    pub(super) deadline: Option<Instant>,
    /// An operation, not a request.
    pub(super) operation: bool,
    /// The id that it was given on its connection; see [`Table`](super::Table).
    pub(super) wire: u64,
    /// For a request that is streamed.
    pub(super) backlog: Option<Box<Backlog>>,
    /// Whether the broker has yet to end it.
    pub(super) owed: bool,
    /// Nobody waits for it, but it goes on: its end and what is told of it are thrown away.
    pub(super) let_go: bool,
    /// How often its connection broke when it was half written, or written and repeatable.
    pub(super) resent: u8,
    /// To be sent again if it is lost with its connection. None: it is not sent, not repeatable, or nobody wants it any
    /// more.
    pub(super) again: Option<Arc<Spec>>,
    /// Why the connection was lost on which it was sent before: whatever ends it now, it may have been executed.
    pub(super) lost_before: Option<LostReason>,
}

impl Ended {
    /// This end, told of a call that was sent before, on a connection that was lost.
    pub(super) fn after(self, lost: LostReason) -> Self {
        match self {
            Self::Error(mut route, body) => {
                route.flags |= RouteFlags::MAY_HAVE_STARTED;
                Self::Error(route, body)
            }
            Self::TimedOut { .. } => Self::TimedOut { unanswered: true },
            Self::Disconnected { lost, .. } => Self::Disconnected { may_have_executed: true, lost },
            Self::TooLarge { .. } | Self::PoolIgnored { .. } | Self::Draining | Self::Connect(_) => {
                Self::Disconnected { may_have_executed: true, lost }
            }
            Self::Answer(..) | Self::Operated(_) | Self::BacklogFull(_) | Self::Connected => self,
        }
    }
}

/// What a living connection allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) limit: FrameLimit,
    pub(crate) max_in_flight: usize,
    /// How long after its deadline a request's outcome is waited for.
    pub(crate) slack: Duration,
    /// The broker keeps to the pool that a request names.
    pub(crate) pools: bool,
    /// The broker said that it takes no new requests.
    pub(crate) draining: bool,
}

/// Ids rise by one, so a multiplication spreads them well enough.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio (Knuth's multiplicative hashing).
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
