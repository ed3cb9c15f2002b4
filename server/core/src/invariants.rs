//! What must hold between any two entry points, numbered.
//!
//! It owns the checks alone. Debug builds run the cheap ones after every entry point and the full sweep every 1 024
//! entry points; the simulator calls the sweep at will. It must never repair anything.

use crate::berth::{berths_of, other};
use crate::breaker::BreakerState;
use crate::core::Core;
use crate::dispatch::{shared_ups, ups};
use crate::ids::{RequestId, WorkerId};
use crate::phase::{Phase, Rung};
use crate::pool::Pool;
use crate::process::{Company, Process, STANDING};
use crate::request::{NIL, Record, RequestPhase};
use crate::shutdown::Stage;
use crate::timers::{self, Timer, TimerOwner};
use crate::turns;
use crate::view::TimerKind;
use crate::worker::Worker;

impl<Q, A> Core<Q, A> {
    /// The checks that cost next to nothing.
    pub(crate) fn check_cheap_invariants(&self) {
        assert!(self.dirty.is_empty(), "I1: no pool is left to be looked at");
        if self.stage == Stage::Finished {
            assert_eq!(self.processes, 0, "I2: nothing runs after the end");
            assert_eq!(self.requests.open(), 0, "I2: every request has its outcome at the end");
        }
    }

    /// Sweeps every invariant. Costs as much as there are open requests and workers.
    ///
    /// # Panics
    /// If one does not hold: a bug in the core.
    pub fn check_invariants(&self) {
        self.check_cheap_invariants();
        self.check_requests();
        self.check_clients();
        for worker in &self.workers {
            self.check_worker(worker);
        }
        let running = self.berths.iter().filter(|berth| berth.process.is_some()).count();
        assert_eq!(self.processes, running, "I3: processes are counted");
        for pool in &self.pools {
            self.check_pool(pool);
        }
        self.check_timers();
    }

    fn check_requests(&self) {
        assert_eq!(self.requests.open(), self.requests.iter().count(), "I4: open requests are counted");
        assert!(self.ledger.len() <= self.settings.quarantine_room, "I37: the ledger of crashes is bounded");
        let saved = self.requests.iter().filter(|record| record.saved_bytes > 0).count();
        assert_eq!(self.saves.len(), saved, "I31: nothing is kept of requests that have ended");
        for record in self.requests.iter() {
            let id = record.id;
            let saved = record.saved_bytes > 0;
            assert_eq!(self.saves.has(id), saved, "I31: {id} has saved what its record says");
            assert!(record.saved_bytes <= record.bytes, "I31: {id} counts what it has saved");
            assert!(record.attempts <= record.max_attempts, "I5: {id} has had more attempts than it may");
            match record.phase {
                RequestPhase::Held { process } => {
                    let holder = self.find_process(process).and_then(|berth| self.berthed(berth));
                    let holder = holder.unwrap_or_else(|| panic!("I6: {id} is held by a process in a berth"));
                    let held = holder.held().filter(|held| held.settled.is_none());
                    let places = held.chain(&holder.awaiting_death).filter(|held| held.request == id).count();
                    assert_eq!(places, 1, "I6: {id} has one place in its process");
                }
                RequestPhase::Queued | RequestPhase::Backoff { .. } => {
                    assert!(record.armed.deadline, "I7: {id} waits, so its deadline is ahead");
                    assert!(!self.is_closing(record.pool), "I8: nothing waits during a shutdown");
                    assert!(!self.is_quarantined(id), "I36: {id} waits, so its body is not in quarantine");
                    let armed = record.armed;
                    let runs = armed.attempt || armed.progress.is_some() || armed.output.is_some();
                    assert!(!runs, "I9: {id} waits, so no timer of an attempt runs");
                }
                RequestPhase::Ended => panic!("I4: {id} has ended"),
            }
        }
    }

    fn check_clients(&self) {
        let mut linked = 0;
        for (client, place, first) in self.clients.lists() {
            let (mut index, mut last_tag) = (first, None);
            while index != NIL {
                let record = self
                    .requests
                    .peek(index)
                    .unwrap_or_else(|| panic!("I10: {client:?} lists open requests"));
                assert_eq!((record.client, record.client_slot), (client, place), "I10: and its own alone");
                assert!(last_tag < Some(record.tag), "I10: in the order of their tags");
                last_tag = Some(record.tag);
                linked += 1;
                index = record.client_next;
            }
        }
        let connected = self.requests.iter().filter(|record| record.client_slot != NIL).count();
        assert_eq!(linked, connected, "I10: every request of a connected client is listed");
    }

    fn check_worker(&self, worker: &Worker) {
        let Worker { id, name, present, .. } = worker;
        let berths = berths_of(*id);
        assert!(berths.contains(present), "I11: {name} has its present process in one of its berths");
        let pool = &self.pools[usize::from(worker.pool.0)];
        let is_there = self.berthed(*present).is_some();
        let waits = worker.backoff_until.is_some();
        let parked = worker.disabled || self.is_closing(pool.id) || !pool.breaker.is_closed();
        assert!(is_there || waits || parked, "I11: {name} has a process, or waits for its next one");
        assert!(!waits || !is_there || worker.recycle.is_some(), "I11: {name} does not wait for nothing");
        assert!(worker.recycle.is_none() || is_there, "I27: {name} has a process that can be replaced");
        let due = pool.recycle_due.iter().filter(|due| *due == id).count();
        let replacing = pool.replacing == Some(*id);
        assert_eq!(
            worker.recycle.is_some(),
            due + usize::from(replacing) == 1,
            "I27: {name} has one turn to be replaced"
        );
        let successor = self.berthed(other(*present));
        let starting = successor.is_some_and(|process| process.phase.is_starting());
        assert!(!starting || is_there, "I28: {name} has a process that its successor gets ready for");
        let serving = successor.is_some_and(|process| matches!(process.phase, Phase::Serving));
        assert!(!serving, "I28: {name} serves with its present process alone");
        for berth in berths {
            if let Some(process) = self.berthed(berth) {
                assert_eq!(self.berths[berth].worker, *id, "I28: {name} has its own process");
                self.check_process(berth, process);
            }
        }
    }

    fn check_process(&self, berth: usize, process: &Process) {
        let key = process.key;
        let pool = &self.pools[usize::from(self.pool_of(berth).0)];
        let settings = self.settings.pool(pool.id);
        assert_eq!(process.slots.len(), usize::from(settings.slots.get()), "I12: {key} has its slots");
        for slot in &process.slots {
            let most = usize::from(settings.prefetch.get());
            assert!(slot.line.len() <= most, "I12: a slot of {key} holds no more than prefetch");
            assert!(!slot.retired || slot.line.is_empty(), "I29: a retired slot of {key} holds nothing");
            for (place, held) in slot.line.iter().enumerate() {
                assert!(place == 0 || !held.started, "I13: {key} executes the fronts of its lines alone");
                let open = self.requests.get(held.request).is_some_and(|record| {
                    record.phase == RequestPhase::Held { process: key } && held.settled.is_none()
                });
                assert_eq!(
                    open,
                    held.settled.is_none(),
                    "I14: {key} holds {} as its record says",
                    held.request
                );
            }
        }
        for held in &process.awaiting_death {
            let limit = self.requests.get(held.request).and_then(|record| record.limit);
            assert!(limit.is_some(), "I15: {} awaits a death because a limit passed", held.request);
        }
        check_bounded(process);
        let lane = pool.lanes.lane_of(pool.member(berth)).map(usize::from);
        let expected = if process.phase == Phase::Serving { process.lane() } else { None };
        assert_eq!(lane, expected, "I16: {key} is in the lane of its load");
        let cancelling = process.slots.iter().any(|slot| slot.cancel.is_some());
        assert!(process.phase != Phase::Cancelling || cancelling, "I30: {key} has an attempt to cancel");
        if self.stage != Stage::Serving {
            let ending = !matches!(process.phase, Phase::Spawning | Phase::Starting | Phase::Serving);
            assert!(ending, "I8: {key} is being ended during a shutdown");
        }
    }

    fn check_pool(&self, pool: &Pool) {
        let waiting = self.requests.iter().filter(|record| record.pool == pool.id && waits(record));
        let (depth, bytes) = waiting.fold((0, 0), |(n, bytes), record| (n + 1, bytes + record.bytes));
        assert_eq!(pool.queue.depth(), depth, "I17: {:?} counts who waits", pool.id);
        assert_eq!(pool.queue.bytes(), bytes, "I17: and the memory they pin");
        let own = self.requests.iter().filter(|record| record.pool == pool.id);
        let saved: usize = own.map(|record| record.saved_bytes).sum();
        assert_eq!(pool.saved_bytes, saved, "I32: {:?} counts what its requests have saved", pool.id);
        assert!(saved <= self.saved_most(pool.id), "I32: and it is bounded");
        let (places, live) = pool.queue.fresh_places();
        assert!(places <= 2 * live + turns::SMALL, "I18: settled requests do not pile up in the queue");
        let up: u16 = pool.workers().map(|id| ups(&self.berths, id)).sum();
        assert_eq!(pool.up, up, "I19: {:?} counts who is up", pool.id);
        if self.breaker_lets_through(pool.id) {
            let idle = pool.lanes.is_empty() || live == 0;
            assert!(idle, "I20: no new request waits while a process of {:?} has room", pool.id);
            let ups = |id: WorkerId| shared_ups(&self.berths, id);
            assert_eq!(pool.match_returned(ups), None, "I20: nor one that came back and may go there");
        }
        self.check_suspects(pool);
        if let Some(id) = pool.replacing {
            let present = self.workers[usize::from(id.0)].present;
            assert!(self.berthed(other(present)).is_some(), "I27: {:?} gets one successor ready", pool.id);
        }
    }

    fn check_suspects(&self, pool: &Pool) {
        let all = || pool.berths().filter_map(|berth| Some((berth, self.berthed(berth)?)));
        let taken = all().filter(|(_, process)| process.company != Company::Anybody);
        assert_eq!(usize::from(pool.taken), taken.count(), "I33: {:?} counts who is taken", pool.id);
        for (berth, process) in all() {
            let key = process.key;
            let apart = process.company == Company::SetApart;
            assert_eq!(pool.set_apart.contains(&berth), apart, "I33: {key} is set apart as it is listed");
            assert!(!apart || process.stays(), "I33: {key} is set apart and goes on");
            let suspects = process.held().filter(|held| self.is_suspect(held.request)).count();
            assert!(suspects == 0 || process.load() == 1, "I34: {key} runs a suspect alone");
            let alone = process.company == Company::Alone;
            assert!(!alone || process.load() == 1, "I34: {key} runs alone what it runs");
            assert!(
                suspects == 0 || alone || !process.stays(),
                "I34: {key} is given nothing beside a suspect"
            );
        }
        if self.breaker_lets_through(pool.id) {
            assert_eq!(self.match_suspect(pool.id), None, "I35: no suspect waits while a process is empty");
        }
    }

    fn is_suspect(&self, id: RequestId) -> bool {
        self.requests.get(id).is_some_and(|record| record.suspect)
    }

    fn check_timers(&self) {
        assert!(self.timers.fronts_are_alive(&self.requests), "I21: the front of every class is alive");
        for (places, counted, alive) in self.timers.census(&self.requests) {
            assert_eq!(counted, alive, "I22: living limits are counted");
            assert!(places <= 2 * alive + timers::SMALL, "I22: and the dead do not pile up");
        }
        for timer in self.timers.others() {
            assert!(
                timer.at > self.now || self.entries == 0 || self.is_due(timer),
                "I23: {timer:?} is ahead"
            );
            assert!(self.is_owned(timer), "I24: {timer:?} is known to its owner");
        }
    }

    /// A timer may be due between two entry points: the shell tells events before it tells the time.
    fn is_due(&self, timer: &Timer) -> bool {
        self.timers.next().is_some_and(|(at, _)| at <= timer.at)
    }

    fn is_owned(&self, timer: &Timer) -> bool {
        let Timer { at, kind, owner } = *timer;
        match owner {
            TimerOwner::Request(id, attempt) => self.requests.get(id).is_some_and(|record| match kind {
                TimerKind::Deadline => record.armed.deadline && record.deadline == at,
                TimerKind::QueueTimeout => record.armed.queue && !record.dispatched,
                TimerKind::RetryBackoff => record.phase == RequestPhase::Backoff { until: at },
                TimerKind::Avoidance => {
                    record.armed.avoidance == Some(at)
                        && record.suspect
                        && record.phase == RequestPhase::Queued
                }
                TimerKind::AttemptTimeout => record.armed.attempt && record.attempt() == attempt,
                TimerKind::ProgressTimeout => {
                    record.armed.progress == Some(at) && record.attempt() == attempt
                }
                TimerKind::OutputTimeout => record.armed.output == Some(at) && record.attempt() == attempt,
                TimerKind::StartTimeout
                | TimerKind::Ladder
                | TimerKind::ExitGrace
                | TimerKind::KillTimeout
                | TimerKind::RestartBackoff
                | TimerKind::StableAfter
                | TimerKind::Heartbeat
                | TimerKind::RecycleAge
                | TimerKind::RecycleIdle
                | TimerKind::Probe
                | TimerKind::DrainTimeout => false,
            }),
            TimerOwner::Process(key) => {
                let process = self.find_process(key).and_then(|berth| self.berthed(berth));
                process.is_some_and(|process| {
                    let standing = STANDING.iter().position(|other| *other == kind);
                    process.timer == Some((at, kind))
                        || standing.is_some_and(|place| process.standing[place] == Some(at))
                })
            }
            TimerOwner::Worker(id) => self.workers[usize::from(id.0)].backoff_until == Some(at),
            TimerOwner::Pool(id) => {
                self.pools[usize::from(id.0)].breaker.state == BreakerState::Open { until: at }
            }
            TimerOwner::Broker => matches!(self.stage, Stage::Draining { until } if until == Some(at)),
        }
    }
}

/// Every wait for a process has a bound, but for those in which the shell owes an answer and the ones that the drain
/// timeout bounds.
fn check_bounded(process: &Process) {
    let Process { key, phase, timer, intent, .. } = process;
    let kind = timer.map(|(_, kind)| kind);
    let expected = match phase {
        Phase::Spawning | Phase::Starting => Some(TimerKind::StartTimeout),
        Phase::Cancelling | Phase::Ending(Rung::Asked | Rung::Leaving | Rung::Terminated) => {
            Some(TimerKind::Ladder)
        }
        Phase::Ending(Rung::ConnectionLost) => Some(TimerKind::ExitGrace),
        Phase::Ending(Rung::Killed) => Some(TimerKind::KillTimeout),
        Phase::Collecting => kind.filter(|kind| *kind == TimerKind::KillTimeout),
        Phase::Serving | Phase::Ending(Rung::Unborn | Rung::Retiring | Rung::Draining) => None,
    };
    assert_eq!(kind, expected, "I25: {key} in {phase:?} is waited for with a bound");
    if matches!(phase, Phase::Ending(Rung::Terminated | Rung::Killed)) {
        let signalled = intent.is_some_and(|intent| intent.signal_sent.is_some());
        assert!(signalled, "I26: {key} was sent a signal with an intent");
    }
}

fn waits<Q>(record: &Record<Q>) -> bool {
    matches!(record.phase, RequestPhase::Queued | RequestPhase::Backoff { .. })
}

/// Ids order by acceptance: the queue relies on it.
const _: () = assert!(RequestId::new(2, 0).0 > RequestId::new(1, u32::MAX >> (32 - RequestId::INDEX_BITS)).0);
