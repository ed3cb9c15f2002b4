//! The shadow model: it hears what the core is told and what the core says, and knows the promises.
//!
//! It shares nothing with the core but the vocabulary. `events` follows what the core is told, `facts` and `actions`
//! check what it says, `retries` who is tried again, `rules` holds the checks that span entry points.

mod actions;
mod events;
mod facts;
mod retries;
mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lifeboat_core::evidence::StopSignal;
use lifeboat_core::ids::{AttemptNumber, ClientId, MethodId, PoolId, ProcessKey, RequestId, WorkerId};
use lifeboat_core::reason::{AttemptEnd, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::{PoolSettings, RetryOn, Settings};
use lifeboat_core::time::Timestamp;

/// Where the shadow believes a request to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    Backoff(Timestamp),
    Held(ProcessKey),
    /// Its attempt has ended in this entry point; it must get an outcome or a retry in it too.
    Limbo,
    Done(OutcomeKind),
}

#[derive(Debug)]
struct Request {
    client: ClientId,
    /// Its client is still there.
    connected: bool,
    method: Option<MethodId>,
    pool: PoolId,
    bytes: usize,
    accepted_at: Timestamp,
    deadline: Timestamp,
    attempt_limit: Option<Duration>,
    max_attempts: u16,
    /// What its client wants to be retried.
    retry_on: Option<RetryOn>,
    place: Place,
    /// Attempts that have started.
    attempts: u16,
    /// Attempts that have ended.
    ended: u16,
    started_at: Timestamp,
    last_worker: Option<WorkerId>,
    last_end: Option<AttemptEnd>,
    dispatched: bool,
    cancelled: bool,
    limit: Option<TimeoutWhich>,
    /// Its outcome went to the client.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    serial: u64,
    attempt: AttemptNumber,
    started: bool,
    cancel_sent: bool,
}

#[derive(Debug)]
struct Process {
    key: ProcessKey,
    pool: PoolId,
    ordered_at: Timestamp,
    spawned: bool,
    ready_at: Option<Timestamp>,
    line: VecDeque<Held>,
    /// The request that was the last thing written to it; `None` if that was another frame.
    last_written: Option<u64>,
    /// The request that is proven not to have started, because the process never read it.
    never_read: Option<u64>,
    /// When it last became idle, was given work or became ready.
    idle_since: u64,
    first_sign: Option<Timestamp>,
    exited: bool,
    violated: bool,
    slots_failed: bool,
    drained: bool,
    signals: Vec<StopSignal>,
    signal_facts: usize,
    killed_at: Option<Timestamp>,
    asked: bool,
    collect: bool,
    evidence: bool,
    answered_ok: bool,
    /// Its end was told.
    concluded: bool,
    unkillable: bool,
    newest: u64,
    /// What the wait status said, once told.
    wait: Option<lifeboat_core::evidence::WaitStatus>,
    oom: lifeboat_core::evidence::OomEvidence,
    /// Requests whose attempt stopped past a limit: they wait for the death.
    stopped: Vec<u64>,
}

#[derive(Debug, Default)]
struct Worker {
    unproductive: u32,
    backoff_until: Option<Timestamp>,
    has_process: bool,
}

/// What the present event must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    /// The new request is refused, dispatched or queued.
    Admission(u64),
    /// The front attempt was answered.
    Answer {
        serial: u64,
        kind: AnswerKind,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerKind {
    Ok,
    Failed { retryable: bool },
    Panicked,
    Cancelled,
}

/// The model.
pub(crate) struct Shadow {
    settings: Settings,
    now: Timestamp,
    /// Told in `event`: nothing is due before it.
    time_told: Timestamp,
    requests: Vec<Request>,
    by_id: BTreeMap<RequestId, u64>,
    processes: Vec<Process>,
    workers: Vec<Worker>,
    worker_pools: Vec<PoolId>,
    /// Per pool, who waits for a process; backoff is not in it.
    waiting: Vec<BTreeSet<u64>>,
    /// Per pool, how many wait and the memory they pin, backoff included.
    depth: Vec<(usize, usize)>,
    open: BTreeSet<u64>,
    /// The latest moments for outcomes.
    bounds: BTreeSet<(Timestamp, u64)>,
    expected: Expected,
    /// Requests that were cancelled by this event: they end in it.
    must_end: Vec<u64>,
    limbo: Vec<u64>,
    draining: bool,
    hurried: bool,
    announced: bool,
    finished: bool,
    ticks: u64,
    received: u64,
    ended: u64,
    outcomes_told: u64,
    outcomes_of_the_gone: u64,
}

impl Shadow {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut worker_pools = Vec::new();
        for (place, pool) in settings.pools.iter().enumerate() {
            let id = PoolId(u16::try_from(place).unwrap());
            worker_pools.extend((0..pool.workers.get()).map(|_| id));
        }
        let pools = settings.pools.len();
        Self {
            settings,
            now: Timestamp::ZERO,
            time_told: Timestamp::ZERO,
            requests: Vec::new(),
            by_id: BTreeMap::new(),
            processes: Vec::new(),
            workers: worker_pools.iter().map(|_| Worker::default()).collect(),
            worker_pools,
            waiting: vec![BTreeSet::new(); pools],
            depth: vec![(0, 0); pools],
            open: BTreeSet::new(),
            bounds: BTreeSet::new(),
            expected: Expected::Nothing,
            must_end: Vec::new(),
            limbo: Vec::new(),
            draining: false,
            hurried: false,
            announced: false,
            finished: false,
            ticks: 0,
            received: 0,
            ended: 0,
            outcomes_told: 0,
            outcomes_of_the_gone: 0,
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

    fn known(&mut self, key: ProcessKey) -> &mut Process {
        self.process(key).unwrap_or_else(|| panic!("{key} is not known"))
    }

    fn never_read(&self, key: ProcessKey) -> Option<u64> {
        self.processes.iter().find(|process| process.key == key)?.never_read
    }

    fn pool_settings(&self, pool: PoolId) -> &PoolSettings {
        self.settings.pool(pool)
    }

    /// Moves a request and keeps the pool's accounts.
    fn place(&mut self, serial: u64, place: Place) {
        let request = self.request(serial);
        let (pool, bytes, old) = (usize::from(request.pool.0), request.bytes, request.place);
        request.place = place;
        let waits = |place| matches!(place, Place::Waiting | Place::Backoff(_));
        if old == Place::Waiting {
            self.waiting[pool].remove(&serial);
        }
        if place == Place::Waiting {
            self.waiting[pool].insert(serial);
        }
        let depth = &mut self.depth[pool];
        if waits(old) {
            *depth = (depth.0 - 1, depth.1 - bytes);
        }
        if waits(place) {
            *depth = (depth.0 + 1, depth.1 + bytes);
        }
        if place == Place::Limbo {
            self.limbo.push(serial);
        }
    }
}

impl Process {
    /// Ready or starting, as far as can be seen: a retry waits for such a worker rather than use the one it avoids.
    fn is_up(&self) -> bool {
        !self.is_ending()
    }

    fn is_ending(&self) -> bool {
        self.first_sign.is_some()
            || self.exited
            || self.violated
            || self.slots_failed
            || self.drained
            || self.concluded
            || !self.signals.is_empty()
    }

    /// May be given a request.
    fn has_room(&self, prefetch: u16) -> bool {
        self.ready_at.is_some()
            && !self.is_ending()
            && self.line.len() < usize::from(prefetch)
            && !self.line.front().is_some_and(|held| held.cancel_sent)
    }
}
