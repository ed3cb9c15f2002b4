//! The shadow model: it hears what the core is told and what the core says, and knows the promises.
//!
//! It shares nothing with the core but the vocabulary. `events`, `answers` and `operators` follow what the core is
//! told; `facts`, `attempts`, `starts`, `deaths`, `ladder`, `pools`, `actions` and `outcomes` check what it says; `retries` is
//! who is tried again, `saves` what they are told, `recorder` who is believed not to have begun, `choice` who goes where
//! and who is next, `suspects` who runs alone, `quarantine` which bodies are refused, `limits` and `rules` hold the checks that span entry points.

mod actions;
mod answers;
mod attempts;
mod choice;
mod deaths;
mod events;
mod facts;
mod health;
mod ladder;
mod limits;
mod operators;
mod outcomes;
mod pool;
mod pools;
mod process;
mod quarantine;
mod recorder;
mod request;
mod retries;
mod rules;
mod saves;
mod starts;
mod suspects;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifeboat_core::ids::{PoolId, ProcessKey, RequestId, WorkerId};
use lifeboat_core::reason::{RejectWhy, StopReason};
use lifeboat_core::settings::{PoolSettings, Settings};
use lifeboat_core::time::Timestamp;
use lifeboat_core::view::QuarantineView;

use pool::Pool;
use process::Process;
use quarantine::Culprit;
use request::{Place, Request};

/// One worker, as far as can be seen.
#[derive(Debug, Default)]
struct Worker {
    /// Its process that serves, or is to.
    present: Option<ProcessKey>,
    /// The process that gets ready while the present one serves on.
    successor: Option<ProcessKey>,
    /// Waits before its next process, in a row.
    row: u32,
    /// Waits before the next try at a successor, in a row.
    successor_row: u32,
    backoff_until: Option<Timestamp>,
    /// Its next process has to wait.
    must_back_off: Option<Wait>,
    /// Somebody became stable and ended at the same time: either order is as good.
    row_unsure: bool,
    /// Its present process is to be replaced.
    due: Option<StopReason>,
    /// A person drained it.
    disabled: bool,
    failures: u32,
    crashes: u32,
    /// It was told to be unhealthy.
    told_unhealthy: bool,
    /// The successor that became present by the death of the one before.
    promoted: Option<ProcessKey>,
    /// It failed too often, and another one is in service.
    must_be_disabled: bool,
}

/// Why a worker's next process has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Its last one was unproductive: one more in the row.
    Longer,
    /// Its pool has come back, and the row is what it was.
    AsBefore,
}

/// What the present event must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    /// The new request is refused, dispatched or queued.
    Admission(u64, Admission),
    /// The front attempt of a slot was answered.
    Answer {
        serial: u64,
        kind: AnswerKind,
    },
    /// An answer that nobody waits for.
    Refusal,
    /// Something is saved, or its pool has no room for it.
    Save {
        serial: u64,
        kept: bool,
    },
    /// A client that streams is told.
    Forward {
        serial: u64,
        what: Told,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Dispatched,
    Waits,
    Refused(RejectWhy),
}

/// What a client that streams is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Progress(u64),
    Part(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerKind {
    Ok,
    Failed { again: Option<Duration> },
    Panicked,
    Cancelled,
}

/// The model.
pub(crate) struct Shadow {
    settings: Settings,
    now: Timestamp,
    /// The last time that was told as such: whatever is due then has happened.
    time_told: Timestamp,
    /// It is told in this entry point: what is due at once happens in it too.
    telling_time: bool,
    requests: Vec<Request>,
    by_id: BTreeMap<RequestId, u64>,
    processes: Vec<Process>,
    workers: Vec<Worker>,
    worker_pools: Vec<PoolId>,
    pools: Vec<Pool>,
    open: BTreeSet<u64>,
    /// The latest moments for outcomes.
    bounds: BTreeSet<(Timestamp, u64)>,
    /// Deadlines that have not passed, as far as was told.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// The ends of backoffs.
    backoffs: BTreeSet<(Timestamp, u64)>,
    /// When suspects avoid nobody any more.
    avoidances: BTreeSet<(Timestamp, u64)>,
    expected: Expected,
    /// The attempt that was answered now: it is over.
    answered: Option<(u64, u16)>,
    /// Requests that were cancelled by this event: they end in it.
    must_end: Vec<u64>,
    limbo: Vec<u64>,
    /// Requests of streaming clients that are to be told of a failed attempt.
    must_tell_failed: Vec<u64>,
    /// A request of a streaming client that is to be told that it was accepted.
    must_tell_accepted: Option<u64>,
    draining: bool,
    drain_began: Timestamp,
    hurried: bool,
    announced: bool,
    finished: bool,
    /// Counts entry points.
    ticks: u64,
    /// Counts what makes a process younger in its lane.
    touches: u64,
    /// A process answered `ok` in this entry point.
    ok_from: Option<ProcessKey>,
    operated: bool,
    /// Processes that became stable in this entry point.
    stable: Vec<(PoolId, ProcessKey)>,
    received: u64,
    ended: u64,
    outcomes_told: u64,
    outcomes_of_the_gone: u64,
    /// How many processes ended outside the plan.
    reports: u64,
    /// Bodies that have crashed something, by their last crash.
    culprits: Vec<Culprit>,
    /// A body that has crashed too many in this entry point.
    must_quarantine: Option<QuarantineView>,
    /// Bodies that a person let go in this entry point.
    must_release: Vec<QuarantineView>,
}

impl Shadow {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut worker_pools = Vec::new();
        for (place, pool) in settings.pools.iter().enumerate() {
            let id = PoolId(u16::try_from(place).unwrap());
            worker_pools.extend((0..pool.workers.get()).map(|_| id));
        }
        Self {
            now: Timestamp::ZERO,
            time_told: Timestamp::ZERO,
            telling_time: false,
            requests: Vec::new(),
            by_id: BTreeMap::new(),
            processes: Vec::new(),
            workers: worker_pools.iter().map(|_| Worker::default()).collect(),
            worker_pools,
            pools: settings.pools.iter().map(|_| Pool::default()).collect(),
            settings,
            open: BTreeSet::new(),
            bounds: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            backoffs: BTreeSet::new(),
            avoidances: BTreeSet::new(),
            expected: Expected::Nothing,
            answered: None,
            must_end: Vec::new(),
            limbo: Vec::new(),
            must_tell_failed: Vec::new(),
            must_tell_accepted: None,
            draining: false,
            drain_began: Timestamp::ZERO,
            hurried: false,
            announced: false,
            finished: false,
            ticks: 0,
            touches: 0,
            ok_from: None,
            operated: false,
            stable: Vec::new(),
            received: 0,
            ended: 0,
            outcomes_told: 0,
            outcomes_of_the_gone: 0,
            reports: 0,
            culprits: Vec::new(),
            must_quarantine: None,
            must_release: Vec::new(),
        }
    }

    /// Tags rise by one from 1 over all clients, so that they number the requests.
    fn request(&mut self, serial: u64) -> &mut Request {
        &mut self.requests[usize::try_from(serial).unwrap() - 1]
    }

    fn peek(&self, serial: u64) -> &Request {
        &self.requests[usize::try_from(serial).unwrap() - 1]
    }

    fn process(&mut self, key: ProcessKey) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.key == key)
    }

    fn look(&self, key: ProcessKey) -> Option<&Process> {
        self.processes.iter().find(|process| process.key == key)
    }

    fn known(&mut self, key: ProcessKey) -> &mut Process {
        self.process(key).unwrap_or_else(|| panic!("{key} is not known"))
    }

    fn worker(&mut self, id: WorkerId) -> &mut Worker {
        &mut self.workers[usize::from(id.0)]
    }

    fn pool(&mut self, id: PoolId) -> &mut Pool {
        &mut self.pools[usize::from(id.0)]
    }

    fn look_pool(&self, id: PoolId) -> &Pool {
        &self.pools[usize::from(id.0)]
    }

    fn pool_settings(&self, pool: PoolId) -> &PoolSettings {
        self.settings.pool(pool)
    }

    fn workers_of(&self, pool: PoolId) -> Vec<WorkerId> {
        let all = (0..).map(WorkerId).zip(&self.worker_pools);
        all.filter(|(_, of)| **of == pool).map(|(id, _)| id).collect()
    }

    /// The pool takes nothing new: the broker shuts down, or a person drains the pool.
    fn is_closing(&self, pool: PoolId) -> bool {
        self.draining || self.look_pool(pool).drained
    }

    fn touch(&mut self) -> u64 {
        self.touches += 1;
        self.touches
    }

    /// Moves a request and keeps the pool's accounts.
    fn place(&mut self, serial: u64, place: Place) {
        let request = self.request(serial);
        let old = std::mem::replace(&mut request.place, place);
        let (pool, bytes, client) = (request.pool, request.bytes, request.client);
        let (fresh, queue_ends) = (!request.dispatched, request.queue_ends());
        let waits = |place| matches!(place, Place::Waiting | Place::Backoff(_));
        if let Place::Backoff(until) = old {
            self.backoffs.remove(&(until, serial));
        }
        if let Place::Backoff(until) = place {
            self.backoffs.insert((until, serial));
        }
        self.avoid_for_a_while(serial);
        let pool = self.pool(pool);
        if old == Place::Waiting {
            pool.leaves(serial, client, fresh, queue_ends);
        }
        if place == Place::Waiting {
            pool.waits(serial, client, fresh, queue_ends);
        }
        if waits(old) {
            pool.depth = (pool.depth.0 - 1, pool.depth.1 - bytes);
        }
        if waits(place) {
            pool.depth = (pool.depth.0 + 1, pool.depth.1 + bytes);
        }
        if place == Place::Limbo {
            self.limbo.push(serial);
        }
    }
}
