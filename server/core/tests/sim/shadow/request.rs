//! A request, as far as can be seen.

use std::time::Duration;

use lifeboat_core::ids::{ClientId, Digest, MethodId, PoolId, ProcessKey, WorkerId};
use lifeboat_core::reason::{AttemptEnd, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::RetryOn;
use lifeboat_core::time::Timestamp;

use super::suspects::Blame;

/// Where the shadow believes a request to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Backoff(Timestamp),
    Held(ProcessKey),
    /// Its attempt has ended in this entry point; it must get an outcome or a retry in it too.
    Limbo,
    Done(OutcomeKind),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) client: ClientId,
    /// Its client is still there.
    pub(super) connected: bool,
    pub(super) method: Option<MethodId>,
    pub(super) pool: PoolId,
    pub(super) bytes: usize,
    pub(super) digest: Option<Digest>,
    pub(super) accepted_at: Timestamp,
    pub(super) deadline: Timestamp,
    pub(super) queue_limit: Option<Duration>,
    pub(super) attempt_limit: Option<Duration>,
    pub(super) progress_limit: Option<Duration>,
    pub(super) output_limit: Option<Duration>,
    pub(super) max_attempts: u16,
    /// What its client wants to be retried.
    pub(super) retry_on: Option<RetryOn>,
    pub(super) stream: bool,
    pub(super) restartable: bool,
    pub(super) place: Place,
    /// Attempts that have started.
    pub(super) attempts: u16,
    /// Attempts that have ended.
    pub(super) ended: u16,
    pub(super) started_at: Timestamp,
    pub(super) progress_at: Timestamp,
    pub(super) last_worker: Option<WorkerId>,
    /// Until when it avoids that worker, if it is a suspect that waits.
    pub(super) avoids_until: Option<Timestamp>,
    /// What the end of its last attempt says of it.
    pub(super) blame: Blame,
    /// Its next attempt runs alone.
    pub(super) suspect: bool,
    pub(super) last_end: Option<AttemptEnd>,
    /// The limit that ended the last attempt.
    pub(super) last_limit: Option<TimeoutWhich>,
    pub(super) dispatched: bool,
    pub(super) cancelled: bool,
    /// It may be ended for a drain or shutdown of its pool.
    pub(super) limit: Option<TimeoutWhich>,
    /// What its attempts saved last, and how much of it, if that is kept.
    pub(super) saved: Option<(u64, usize)>,
    /// What its attempt saved last could not be kept.
    pub(super) unkept: bool,
    /// A part of the reply was told.
    pub(super) told_part: bool,
    /// It was abandoned while a process held it behind another one.
    pub(super) may_have_started: bool,
    /// How often it went back on a flight recorder's word.
    pub(super) spared: u8,
    /// Its outcome went to the client.
    pub(super) told: bool,
}

impl Request {
    pub(super) fn is_held_by(&self, key: ProcessKey) -> bool {
        self.place == Place::Held(key)
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.place, Place::Done(_))
    }

    /// When it has waited for too long, if it may.
    pub(super) fn queue_ends(&self) -> Option<Timestamp> {
        self.queue_limit.filter(|_| !self.dispatched).map(|limit| self.accepted_at + limit)
    }

    /// What it has saved counts with its payload.
    pub(super) fn put_saved(&mut self, saved: Option<(u64, usize)>) {
        self.bytes -= self.saved.map_or(0, |(_, bytes)| bytes);
        self.bytes += saved.map_or(0, |(_, bytes)| bytes);
        self.saved = saved;
    }

    /// The client wants to be told what happens, and is there.
    pub(super) fn listens(&self) -> bool {
        self.stream && self.connected
    }
}
