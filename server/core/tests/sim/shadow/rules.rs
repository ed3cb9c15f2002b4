//! Rules that span entry points: who is chosen, what may be refused, what must have happened by now.

use std::time::Duration;

use lifeboat_core::Core;
use lifeboat_core::ids::{PoolId, ProcessKey, WorkerId};
use lifeboat_core::view::BrokerView;

use super::{AnswerKind, Expected, Place, Process, Shadow};
use crate::sim::coverage::Coverage;

/// What the shell's tick may add: it may be late twice, at the deadline and at the end of `kill_timeout`.
pub(super) const SLACK: Duration = Duration::from_millis(50);

impl Shadow {
    /// The least loaded, longest idle process that the request may go to; the oldest request that may go there.
    pub(super) fn check_choice(&self, key: ProcessKey, serial: u64, coverage: &mut Coverage) {
        let request = self.peek(serial);
        let prefetch = self.pool_settings(request.pool).prefetch.get();
        let chosen = self.processes.iter().find(|process| process.key == key).expect("a known process");
        assert!(chosen.has_room(prefetch), "{serial}: {key} has no room or is ending: {chosen:?}");
        if request.last_worker == Some(key.worker) {
            coverage.see("avoided worker used");
            let other = self.another_is_up(request.pool, key.worker);
            assert!(!other, "{serial}: goes to {key}, which its last attempt ended");
        }
        for other in self.processes.iter().filter(|other| other.pool == request.pool) {
            let avoided = request.last_worker == Some(other.key.worker);
            if avoided || !other.has_room(prefetch) {
                continue;
            }
            assert!(chosen.line.len() <= other.line.len(), "{serial}: {} holds fewer than {key}", other.key);
            if other.line.is_empty() {
                assert!(
                    chosen.idle_since <= other.idle_since,
                    "{serial}: {} is idle for longer than {key}",
                    other.key
                );
            }
        }
        for older in self.waiting[usize::from(request.pool.0)].range(..serial) {
            let shuns = self.peek(*older).last_worker == Some(key.worker);
            assert!(shuns, "{serial} overtakes {older}");
        }
    }

    /// Whether the pool surely has another worker that is ready or starting.
    fn another_is_up(&self, pool: PoolId, worker: WorkerId) -> bool {
        let start_timeout = self.pool_settings(pool).start_timeout;
        self.processes.iter().any(|other| {
            let late = !other.spawned && self.now >= other.ordered_at + start_timeout;
            other.pool == pool && other.key.worker != worker && other.is_up() && !late
        })
    }

    /// A request is refused as one too many only if there is nobody to take it and no room to wait.
    pub(super) fn check_full(&self, serial: u64) {
        let request = self.peek(serial);
        if self.open.len() >= self.settings.max_open_requests as usize {
            return;
        }
        let settings = self.pool_settings(request.pool);
        let prefetch = settings.prefetch.get();
        let room =
            self.processes.iter().any(|process| process.pool == request.pool && process.has_room(prefetch));
        let (depth, bytes) = self.depth[usize::from(request.pool.0)];
        let full = depth >= settings.queue.max_requests || bytes + request.bytes > settings.queue.max_bytes;
        assert!(full && !room, "{serial}: refused although there was room");
    }

    /// Everything that an entry point had to do is done.
    pub(crate) fn after(&mut self, core: &Core<u64, u64>) {
        if let Expected::Admission(serial) = self.expected
            && self.peek(serial).place == Place::Limbo
        {
            self.place(serial, Place::Waiting);
            let settings = self.pool_settings(self.peek(serial).pool);
            let (depth, bytes) = self.depth[usize::from(self.peek(serial).pool.0)];
            assert!(depth <= settings.queue.max_requests, "{serial}: the queue is bounded");
            assert!(bytes <= settings.queue.max_bytes, "{serial}: in bytes too");
        }
        if let Expected::Answer { serial, kind } = self.expected {
            let place = self.peek(serial).place;
            if kind == AnswerKind::Ok {
                assert!(matches!(place, Place::Done(_)), "{serial}: a written answer is lost");
            }
            // A cancelled answer that nobody asked for is a violation: the process is killed, and holds it still.
            if kind == AnswerKind::Cancelled && matches!(place, Place::Held(_)) {
                panic!("{serial}: the world cancels only what was cancelled");
            }
        }
        self.expected = Expected::Nothing;
        for serial in std::mem::take(&mut self.must_end) {
            assert!(matches!(self.peek(serial).place, Place::Done(_)), "{serial}: cancelled is final");
        }
        for serial in std::mem::take(&mut self.limbo) {
            assert!(self.peek(serial).place != Place::Limbo, "{serial} hangs in the air");
        }
        if let Some((bound, serial)) = self.bounds.first() {
            assert!(self.now <= *bound, "{serial} has no outcome by its deadline and kill_timeout");
        }
        self.check_waiting();
        self.check_processes();
        assert_eq!(core.is_draining(), self.draining);
        if self.draining {
            self.check_draining();
        }
    }

    /// A shutdown leaves open only what executes, or has stopped past a limit.
    fn check_draining(&self) {
        let executing = self.processes.iter().flat_map(|process| {
            let front = process.line.front().filter(|held| held.started).map(|held| held.serial);
            process.stopped.iter().copied().chain(front)
        });
        let executing: Vec<u64> = executing.collect();
        for serial in &self.open {
            let runs = executing.contains(serial);
            assert!(runs, "{serial} is not closed, though a shutdown has begun and it does not run");
        }
    }

    /// Nobody waits who could run.
    fn check_waiting(&self) {
        for (place, waiting) in self.waiting.iter().enumerate() {
            let pool = PoolId(u16::try_from(place).unwrap());
            let Some(first) = waiting.first() else { continue };
            let prefetch = self.pool_settings(pool).prefetch.get();
            let mut free =
                self.processes.iter().filter(|other| other.pool == pool && other.has_room(prefetch));
            let Some(room) = free.next() else { continue };
            assert!(free.next().is_none(), "{first} waits while two processes have room");
            for serial in waiting {
                let shuns = self.peek(*serial).last_worker == Some(room.key.worker);
                let start_timeout = self.pool_settings(pool).start_timeout;
                let others = self.processes.iter().any(|other: &Process| {
                    let late = !other.spawned && self.now >= other.ordered_at + start_timeout;
                    other.pool == pool && other.key.worker != room.key.worker && (other.is_up() || late)
                });
                assert!(shuns && others, "{serial} waits while {} has room", room.key);
            }
        }
    }

    /// Nobody is left with the dead; nobody lives on after SIGKILL for longer than `kill_timeout`.
    fn check_processes(&self) {
        for process in &self.processes {
            assert_eq!(process.signals.len(), process.signal_facts, "{}: signals are told", process.key);
            if process.concluded {
                for held in &process.line {
                    let place = self.peek(held.serial).place;
                    assert_ne!(place, Place::Held(process.key), "{} is left with the dead", held.serial);
                }
            }
            let kill_timeout = self.pool_settings(process.pool).kill_timeout;
            if let Some(at) = process.killed_at
                && !process.exited
                && !process.concluded
            {
                assert!(self.now <= at + kill_timeout + SLACK, "{} is not called unkillable", process.key);
            }
        }
    }

    /// The core's own view agrees.
    pub(crate) fn compare(&self, view: &BrokerView) {
        assert_eq!(view.open_requests, self.open.len());
        assert_eq!(view.draining, self.draining);
        for pool in &view.pools {
            let (depth, bytes) = self.depth[usize::from(pool.pool.0)];
            assert_eq!((pool.queue_depth, pool.queue_bytes), (depth, bytes), "{:?}", pool.pool);
        }
        for worker in &view.workers {
            let Some(key) = worker.process else { continue };
            let process = self.processes.iter().find(|process| process.key == key).expect("a known process");
            assert_eq!(worker.held, process.line.len(), "{key} holds");
        }
    }

    /// The account is balanced: as many outcomes as requests, each told once.
    pub(crate) fn assert_empty(&self) {
        assert!(self.finished && self.announced);
        assert_eq!(self.open.len(), 0);
        assert_eq!(self.received, self.ended, "requests in, outcomes out");
        assert_eq!(self.ended, self.outcomes_told + self.outcomes_of_the_gone, "each told once");
        assert_eq!(self.depth, vec![(0, 0); self.depth.len()]);
    }
}
