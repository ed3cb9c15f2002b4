//! The records of open requests.
//!
//! It owns where a request is in its life (`queued → held → (backoff → queued)* → ended`) and the table that finds
//! its record by id without a search. It must never decide where a request goes next: dispatch, limits and settling
//! do. A record that has ended stays readable until the shell has drained the actions, because a `Dispatch` of the
//! same entry point may still ask for its payload.

use std::time::Duration;

use crate::action::AttemptRecord;
use crate::ids::{AttemptNumber, ClientId, ClientTag, MethodId, PoolId, ProcessKey, RequestId, WorkerId};
use crate::quarantine::Body;
use crate::reason::TimeoutWhich;
use crate::settings::RetryOn;
use crate::time::Timestamp;

/// No place: the end of a list, or no client.
pub(crate) const NIL: u32 = u32::MAX;

/// Where a request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestPhase {
    /// Waits for a process.
    Queued,
    /// Is held by a process: executing if it is the front of its slot's line, else not started.
    Held {
        /// The process that holds it.
        process: ProcessKey,
    },
    /// Waits for its next attempt.
    Backoff {
        /// When it goes back to the queue.
        until: Timestamp,
    },
    /// Has its outcome; the record waits to be reclaimed.
    Ended,
}

/// One open request.
#[derive(Debug)]
pub(crate) struct Record<Q> {
    pub(crate) id: RequestId,
    pub(crate) client: ClientId,
    pub(crate) tag: ClientTag,
    pub(crate) method: MethodId,
    pub(crate) pool: PoolId,
    pub(crate) payload: Q,
    /// Whose crashes are counted, where its method has a quarantine.
    pub(crate) body: Option<Body>,
    /// Memory that the payload pins, and what is saved.
    pub(crate) bytes: usize,
    pub(crate) accepted_at: Timestamp,
    pub(crate) deadline: Timestamp,
    /// The method's or the client's limits, whichever are shorter.
    pub(crate) limits: RequestLimits,
    pub(crate) max_attempts: u16,
    /// Which ends of an attempt are retried: the method's, or those that the client left of them.
    pub(crate) retry_on: RetryOn,
    /// How many attempts have started; the number of the present or last one.
    pub(crate) attempts: u16,
    pub(crate) phase: RequestPhase,
    /// When the present attempt started.
    pub(crate) started_at: Timestamp,
    /// When the present attempt last told of progress; its start counts.
    pub(crate) progress_at: Timestamp,
    /// The limit that has fired for the present attempt.
    pub(crate) limit: Option<TimeoutWhich>,
    /// The limit that ended the last attempt.
    pub(crate) last_limit: Option<TimeoutWhich>,
    /// The shutdown has asked the present attempt to stop.
    pub(crate) closing: bool,
    /// A process was given it behind another request and may have begun it, beyond the attempts that are known.
    pub(crate) may_have_started: bool,
    /// How often it went back free of charge on a process's word.
    pub(crate) spared: u8,
    /// The client wants to be told of progress, parts and failed attempts.
    pub(crate) stream: bool,
    /// A further attempt is welcome even after a part was told.
    pub(crate) restartable: bool,
    /// How much of it is saved; nothing is where that is none.
    pub(crate) saved_bytes: usize,
    /// What its attempt saved last could not be kept.
    pub(crate) unkept: bool,
    /// A part of the reply was told.
    pub(crate) told_part: bool,
    /// It has been given to a process before.
    pub(crate) dispatched: bool,
    /// The worker of its last attempt, which the next one avoids.
    pub(crate) avoid: Option<WorkerId>,
    /// Its last attempt ended by its process's death, for which it may be to blame: the next one runs alone.
    pub(crate) suspect: bool,
    pub(crate) armed: Armed,
    /// Attempts that did not end `ok`; empty, and so without memory, until one has.
    pub(crate) history: Vec<AttemptRecord>,
    /// The client's place; [`NIL`] once it has gone.
    pub(crate) client_slot: u32,
    pub(crate) client_prev: u32,
    pub(crate) client_next: u32,
}

/// The limits of a request beside its deadline.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLimits {
    pub(crate) queue: Limit,
    pub(crate) attempt: Limit,
    pub(crate) progress: Option<Duration>,
    pub(crate) output: Option<Duration>,
}

/// A limit that is usually the method's own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit {
    pub(crate) length: Option<Duration>,
    /// It is the method's own: the method's timeout class is used.
    pub(crate) by_class: bool,
}

/// Which timers of a request run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed {
    /// The deadline timer has not fired.
    pub(crate) deadline: bool,
    /// It is the method's own.
    pub(crate) deadline_by_class: bool,
    pub(crate) queue: bool,
    /// When the suspect goes back to the worker of its last attempt if need be.
    pub(crate) avoidance: Option<Timestamp>,
    pub(crate) attempt: bool,
    /// When the limit on progress is looked at next.
    pub(crate) progress: Option<Timestamp>,
    /// When the limit on output is looked at next.
    pub(crate) output: Option<Timestamp>,
}

impl<Q> Record<Q> {
    /// The number of the present or last attempt.
    pub(crate) fn attempt(&self) -> AttemptNumber {
        AttemptNumber(self.attempts)
    }

    /// The number that the next attempt to start will have.
    pub(crate) fn next_attempt(&self) -> AttemptNumber {
        AttemptNumber(self.attempts.saturating_add(1))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase != RequestPhase::Ended
    }
}

/// The table of records: places are reused, ids never.
#[derive(Debug)]
pub(crate) struct Requests<Q> {
    places: Vec<Option<Record<Q>>>,
    free: Vec<u32>,
    /// Places whose request has ended since the last reclaim.
    ended: Vec<u32>,
    open: usize,
    next_sequence: u64,
}

impl<Q> Requests<Q> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), ended: Vec::new(), open: 0, next_sequence: 1 }
    }

    /// Requests without an outcome.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Puts a record into the table. `make` is given its id.
    ///
    /// The caller has checked [`Requests::has_room`].
    pub(crate) fn insert(&mut self, make: impl FnOnce(RequestId) -> Record<Q>) -> RequestId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("has_room() bounds the table to 2^20 places")
        });
        let id = RequestId::new(self.next_sequence, index);
        self.next_sequence += 1;
        self.places[index as usize] = Some(make(id));
        self.open += 1;
        id
    }

    /// Whether one more record has a place.
    pub(crate) fn has_room(&self, max_open: u32) -> bool {
        let places = 1_usize << RequestId::INDEX_BITS;
        self.open < (max_open as usize).min(places) && (!self.free.is_empty() || self.places.len() < places)
    }

    /// The record of an open request.
    pub(crate) fn get(&self, id: RequestId) -> Option<&Record<Q>> {
        self.kept(id).filter(|record| record.is_open())
    }

    /// The record of an open request.
    pub(crate) fn get_mut(&mut self, id: RequestId) -> Option<&mut Record<Q>> {
        let place = self.places.get_mut(id.index())?.as_mut()?;
        (place.id == id && place.is_open()).then_some(place)
    }

    /// The record of a request that is known to be open.
    pub(crate) fn open_record(&mut self, id: RequestId) -> &mut Record<Q> {
        self.get_mut(id).expect("a request that a list or a line names is open until it is taken out of it")
    }

    /// The record of a request that is open, or has ended in this entry point.
    pub(crate) fn kept(&self, id: RequestId) -> Option<&Record<Q>> {
        self.places.get(id.index())?.as_ref().filter(|record| record.id == id)
    }

    /// The record at a place of a client's list.
    pub(crate) fn at(&mut self, index: u32) -> &mut Record<Q> {
        self.places[index as usize].as_mut().expect("client lists link open records alone")
    }

    /// The open record at a place: for the invariants.
    pub(crate) fn peek(&self, index: u32) -> Option<&Record<Q>> {
        self.places.get(index as usize)?.as_ref().filter(|record| record.is_open())
    }

    /// Marks a request ended. Its record stays until [`Requests::reclaim`].
    pub(crate) fn end(&mut self, id: RequestId) {
        let record = self.open_record(id);
        record.phase = RequestPhase::Ended;
        self.ended.push(u32::try_from(id.index()).expect("an index has 20 bits"));
        self.open -= 1;
    }

    /// Drops the records that have ended, payloads and all.
    pub(crate) fn reclaim(&mut self) {
        for index in self.ended.drain(..) {
            self.places[index as usize] = None;
            self.free.push(index);
        }
    }

    /// Every open record, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record<Q>> {
        self.places.iter().flatten().filter(|record| record.is_open())
    }
}
