//! The top machine: routes each event to its room.
//!
//! It owns the tables and the order of work within an entry point. It holds no policy: what an event leads to is
//! decided in the rooms beside it, each an `impl` block of [`Core`] with one job.

use std::collections::{BTreeMap, VecDeque};

use crate::action::Action;
use crate::arming::MethodClasses;
use crate::berth::{BERTHS, Berth, berths_of};
use crate::checkpoint::Saves;
use crate::clients::Clients;
use crate::event::Event;
use crate::fact::Fact;
use crate::ids::{ClientId, ClientTag, MethodId, PoolId, ProcessKey, ReportId, RequestId, WorkerId};
use crate::output::Output;
use crate::pool::Pool;
use crate::process::Process;
use crate::quarantine::Ledger;
use crate::request::Requests;
use crate::settings::Settings;
use crate::shutdown::Stage;
use crate::time::Timestamp;
use crate::timers::Timers;
use crate::view::TimerKind;
use crate::worker::Worker;

/// How often the full sweep of invariants runs in debug builds, in entry points.
const SWEEP_EVERY: u64 = 1024;

/// The broker's brain. `Q` is the handle of a request's payload, `A` that of an answer's; it never looks inside.
///
/// Its methods come in three families:
///
/// * **told**: [`Core::start`], [`Core::handle_event`], [`Core::handle_timeout`];
/// * **polled**: [`Core::poll_action`], [`Core::poll_fact`], [`Core::poll_timeout`];
/// * **asked**: [`Core::payload`], [`Core::view`] and the other getters.
///
/// A driver goes round like this:
///
/// 1. wait for an event of the outside world or the time that [`Core::poll_timeout`] gave;
/// 2. read the clock once and tell the core;
/// 3. carry out [`Core::poll_action`] until it gives `None` (a debug assertion: before anything else is told), and
///    observe [`Core::poll_fact`] until it gives `None`;
/// 4. ask [`Core::poll_timeout`] again.
///
/// **Time** is told, never read. It does not run backwards: an older value than the last is taken for the last.
/// **Same seed, same history, same trace**: nothing here depends on addresses, hashing or clocks.
/// **News of the dead** (an event with the key of a process that was released) is ignored.
/// Every ordered process gets exactly one [`Action::Release`], also after `SpawnFailed`.
#[derive(Debug)]
pub struct Core<Q, A> {
    pub(crate) settings: Settings,
    pub(crate) rng: fastrand::Rng,
    pub(crate) now: Timestamp,
    pub(crate) out: Output<A>,
    pub(crate) timers: Timers,
    pub(crate) classes: Vec<MethodClasses>,
    pub(crate) clients: Clients,
    pub(crate) requests: Requests<Q>,
    pub(crate) saves: Saves<A>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) workers: Vec<Worker>,
    /// The places for processes: two for each worker.
    pub(crate) berths: Vec<Berth>,
    /// Processes that were called unkillable, until they die after all.
    pub(crate) unkillable: BTreeMap<ProcessKey, Process>,
    /// Pools in which a request or a process has become available in this entry point.
    pub(crate) dirty: VecDeque<PoolId>,
    pub(crate) stage: Stage,
    /// How many berths have a process.
    pub(crate) processes: usize,
    pub(crate) entries: u64,
    /// The report of the last process that ended outside the plan.
    pub(crate) last_report: ReportId,
    /// Bodies that have crashed processes.
    pub(crate) ledger: Ledger,
}

impl<Q, A> Core<Q, A> {
    /// A core that has not done anything yet: [`Core::start`] orders the first processes.
    ///
    /// `seed` feeds the jitter of all waits. `now` is the broker's start.
    #[must_use]
    pub fn new(settings: Settings, seed: u64, now: Timestamp) -> Self {
        let mut pools = Vec::with_capacity(settings.pools.len());
        let mut workers = Vec::new();
        for (place, pool) in settings.pools.iter().enumerate() {
            let id = PoolId(u16::try_from(place).expect("the configuration bounds the pools"));
            let first = workers.len();
            for member in 0..pool.workers.get() {
                let worker =
                    WorkerId(u16::try_from(workers.len()).expect("the configuration bounds the workers"));
                workers.push(Worker::new(worker, id, &pool.name, member, now));
            }
            let first = WorkerId(u16::try_from(first).expect("the configuration bounds the workers"));
            pools.push(Pool::new(id, pool, first));
        }
        let berths = workers.iter().flat_map(|worker| {
            let worker = worker.id;
            std::iter::repeat_with(move || Berth { worker, process: None }).take(BERTHS)
        });
        let berths = berths.collect();
        let mut timers = Timers::new();
        let classes = settings.methods.iter().map(|method| MethodClasses::new(&mut timers, method)).collect();
        Self {
            settings,
            rng: fastrand::Rng::with_seed(seed),
            now,
            out: Output::new(),
            timers,
            classes,
            clients: Clients::new(),
            requests: Requests::new(),
            saves: Saves::new(),
            pools,
            workers,
            berths,
            unkillable: BTreeMap::new(),
            dirty: VecDeque::new(),
            stage: Stage::Serving,
            processes: 0,
            entries: 0,
            last_report: ReportId(0),
            ledger: Ledger::default(),
        }
    }

    /// Orders the first process of every worker. Called once.
    pub fn start(&mut self, now: Timestamp) {
        self.enter(now);
        for worker in 0..self.workers.len() {
            self.order_process(self.workers[worker].present);
        }
        self.leave();
    }

    /// Tells the core that something happened.
    pub fn handle_event(&mut self, now: Timestamp, event: Event<Q, A>) {
        self.enter(now);
        match event {
            Event::ClientOpened { client } => self.clients.open(client),
            Event::ClientClosed { client } => self.client_closed(client),
            Event::RequestReceived(request) => self.request_received(request),
            Event::CancelReceived { client, tag } => self.cancel_received(client, tag),
            Event::Spawned { process, pid } => self.spawned(process, pid),
            Event::SpawnFailed { process, error } => self.spawn_failed(process, error),
            Event::Ready { process, heartbeats } => self.ready_received(process, heartbeats),
            Event::HeartbeatReceived { process, ago } => self.note_heard(process, ago),
            Event::ProgressReceived { process, request, attempt, note } => {
                self.progress_received(process, request, attempt, note);
            }
            Event::PartReceived { process, request, attempt, part } => {
                self.part_received(process, request, attempt, part);
            }
            Event::Saved { process, request, attempt, item, bytes } => {
                self.saved(process, request, attempt, item, bytes);
            }
            Event::OutputSeen { process } => self.output_seen(process),
            Event::Answered { process, request, attempt, answer } => {
                self.answered(process, request, attempt, answer);
            }
            Event::WorkersFailed { process, reasons } => self.workers_failed(process, reasons),
            Event::ConnectionEnded { process, how } => self.connection_ended(process, how),
            Event::Exited { process, unread } => self.exited(process, unread),
            Event::EvidenceGathered { process, evidence } => self.evidence_gathered(process, evidence),
            Event::MemoryExceeded { process, .. } => self.memory_exceeded(process),
            Event::MemoryHigh { process } => self.memory_high(process),
            Event::RetireReceived { process } => self.retire_received(process),
            Event::Operated { operation, target } => self.operated(operation, target),
            Event::QuarantineReleased { which } => self.release_bodies(which),
            Event::ShutdownRequested => self.shutdown_requested(),
            Event::ShutdownHurried => self.shutdown_hurried(),
        }
        self.leave();
    }

    /// Tells the core the time. Everything that is due happens, in the order of the times; harmless when nothing is.
    ///
    /// Afterwards [`Core::poll_timeout`] is later than `now`.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.enter(now);
        // Everything due fires before anything is dispatched: nobody is given a request whose time is over. What is
        // dispatched then may have a limit of zero, which is due at once.
        while self.timers.next().is_some_and(|(at, _)| at <= self.now) {
            while let Some(timer) = self.timers.pop_due(self.now) {
                self.timer_fired(timer);
                self.timers.trim(&self.requests);
            }
            self.fill_dirty();
        }
        self.leave();
        debug_assert!(
            self.poll_timeout().is_none_or(|(at, _)| at > self.now),
            "a timer that was due did not fire"
        );
    }

    /// The next order. To be called until it gives `None` before the core is told anything else; after that the
    /// payloads of requests that have ended are dropped.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action<A>> {
        let action = self.out.next_action();
        if action.is_none() {
            self.requests.reclaim();
        }
        action
    }

    /// The next thing worth counting, in the order in which it happened.
    #[must_use]
    pub fn poll_fact(&mut self) -> Option<Fact> {
        self.out.next_fact()
    }

    /// When [`Core::handle_timeout`] is to be called next, and what for. Exact and cheap: it may be asked after every
    /// event.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Timestamp, TimerKind)> {
        self.timers.next()
    }

    /// The payload of a request that is open or has ended in the present entry point.
    #[must_use]
    pub fn payload(&self, request: RequestId) -> Option<&Q> {
        self.requests.kept(request).map(|record| &record.payload)
    }

    /// Whose request it is, and the client's number for it; one that is open or has ended in the present entry point.
    #[must_use]
    pub fn client_of(&self, request: RequestId) -> Option<(ClientId, ClientTag)> {
        self.requests.kept(request).map(|record| (record.client, record.tag))
    }

    /// The method of a request that is open or has ended in the present entry point.
    #[must_use]
    pub fn method_of(&self, request: RequestId) -> Option<MethodId> {
        self.requests.kept(request).map(|record| record.method)
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The pool of a worker.
    ///
    /// # Panics
    /// If the settings have no such worker.
    #[must_use]
    pub fn worker_pool(&self, worker: WorkerId) -> PoolId {
        self.workers[usize::from(worker.0)].pool
    }

    /// The stable name of a worker, such as `images-0`.
    ///
    /// # Panics
    /// If the settings have no such worker.
    #[must_use]
    pub fn worker_name(&self, worker: WorkerId) -> &str {
        &self.workers[usize::from(worker.0)].name
    }

    /// How many workers there are, over all pools; their ids are dense from 0.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// A shutdown has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stage != Stage::Serving
    }

    /// [`Action::Finished`] was given.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    fn enter(&mut self, now: Timestamp) {
        debug_assert!(self.out.is_drained(), "poll_action() was not called until None");
        self.requests.reclaim();
        self.now = self.now.max(now);
        self.entries += 1;
    }

    fn leave(&mut self) {
        self.fill_dirty();
        self.finish_if_done();
        if cfg!(debug_assertions) {
            if self.entries.is_multiple_of(SWEEP_EVERY) {
                self.check_invariants();
            } else {
                self.check_cheap_invariants();
            }
        }
    }

    /// Has a pool looked at before the entry point ends: a request or a process has become available.
    pub(crate) fn mark_dirty(&mut self, pool: PoolId) {
        let place = &mut self.pools[usize::from(pool.0)];
        if !place.dirty {
            place.dirty = true;
            self.dirty.push_back(pool);
        }
    }

    fn fill_dirty(&mut self) {
        while let Some(pool) = self.dirty.pop_front() {
            self.pools[usize::from(pool.0)].dirty = false;
            self.fill(pool);
        }
    }

    /// The berth of the process that the key names.
    pub(crate) fn find_process(&self, key: ProcessKey) -> Option<usize> {
        let is_there = |berth: &usize| {
            let process = self.berths.get(*berth).and_then(|berth| berth.process.as_ref());
            process.is_some_and(|process| process.key == key)
        };
        berths_of(key.worker).into_iter().find(is_there)
    }

    /// The process in a berth that is known to have one.
    pub(crate) fn process(&mut self, berth: usize) -> &mut Process {
        self.berths[berth].process.as_mut().expect("the caller found the process in this berth")
    }

    /// The process in a berth, if there is one.
    pub(crate) fn berthed(&self, berth: usize) -> Option<&Process> {
        self.berths[berth].process.as_ref()
    }

    /// The worker whose berth it is.
    pub(crate) fn worker(&mut self, berth: usize) -> &mut Worker {
        &mut self.workers[usize::from(self.berths[berth].worker.0)]
    }

    /// The pool of the worker whose berth it is.
    pub(crate) fn pool_of(&self, berth: usize) -> PoolId {
        self.workers[usize::from(self.berths[berth].worker.0)].pool
    }

    /// Nothing new is begun in the pool: the broker shuts down, or a person drains the pool.
    pub(crate) fn is_closing(&self, pool: PoolId) -> bool {
        self.is_draining() || self.pools[usize::from(pool.0)].drained
    }
}
