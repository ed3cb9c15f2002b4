//! Who goes where, and who is next.

use lifeboat_core::ids::{PoolId, ProcessKey, SlotId, WorkerId};

use super::Shadow;
use super::process::Process;
use crate::sim::coverage::Coverage;

impl Shadow {
    /// The shortest line of the emptiest process, and of several the one that has been so for longest.
    pub(super) fn check_choice(&self, key: ProcessKey, slot: SlotId, serial: u64, coverage: &mut Coverage) {
        let request = self.peek(serial);
        let prefetch = self.pool_settings(request.pool).prefetch.get();
        let chosen = self.look(key).expect("a known process");
        assert_eq!(
            self.workers[usize::from(key.worker.0)].present,
            Some(key),
            "{serial}: one serves at a time"
        );
        let lane = chosen
            .lane(prefetch)
            .unwrap_or_else(|| panic!("{serial}: {key} may be given nothing: {chosen:?}"));
        let place = &chosen.slots[usize::from(slot.0)];
        assert!(
            !place.retired && place.line.len() == lane.0,
            "{serial}: {slot:?} of {key} is not the emptiest"
        );
        if slot.0 > 0 {
            coverage.see("another slot than the first");
        }
        if request.last_worker == Some(key.worker) {
            coverage.see("avoided worker used");
            let other = self.another_is_up(request.pool, key.worker, false);
            assert!(!other, "{serial}: goes to {key}, which its last attempt ended");
        }
        for other in self.processes.iter().filter(|other| other.pool == request.pool) {
            let avoided = request.last_worker == Some(other.key.worker);
            let Some(theirs) = other.lane(prefetch).filter(|_| !avoided) else { continue };
            assert!(lane <= theirs, "{serial}: {} is emptier than {key}: {theirs:?}, {lane:?}", other.key);
            let older = lane < theirs || chosen.touched <= other.touched;
            assert!(older, "{serial}: {} has waited for longer than {key}", other.key);
        }
    }

    /// Requests that come back go first, in the order of acceptance; the others by turns of their clients.
    pub(super) fn take_turn(&mut self, serial: u64, coverage: &mut Coverage) {
        let request = self.peek(serial);
        let super::request::Place::Waiting = request.place else { return };
        let (pool, client) = (self.look_pool(request.pool), request.client);
        let id = request.pool;
        if request.dispatched {
            if pool.returned.range(..serial).next().is_some() {
                coverage.see("waits although a process has room, for another worker");
            }
            for older in pool.returned.range(..serial) {
                assert!(self.shuns_all(*older, id), "{serial} overtakes {older}");
            }
            return;
        }
        for returned in &pool.returned {
            assert!(self.shuns_all(*returned, id), "{serial} overtakes {returned}, which comes back");
        }
        let mine = &pool.turns[&client];
        assert_eq!(mine.waiting.first(), Some(&serial), "{serial}: its client's oldest goes first");
        for (other, theirs) in
            pool.turns.iter().filter(|(other, turn)| **other != client && !turn.waiting.is_empty())
        {
            let had_its_turn = theirs.last > mine.last || theirs.since >= mine.last;
            assert!(had_its_turn, "{serial}: {client:?} gets a second one before {other:?} gets one");
            coverage.see("clients took turns");
        }
        let pool = self.pool(id);
        pool.turn += 1;
        let turn = pool.turn;
        if let Some(mine) = pool.turns.get_mut(&client) {
            mine.last = turn;
        }
    }

    /// A request that waits cannot go to anybody who has room: it avoids them for another one that may come.
    fn shuns_all(&self, serial: u64, pool: PoolId) -> bool {
        let prefetch = self.pool_settings(pool).prefetch.get();
        let avoids = self.peek(serial).last_worker;
        let mut room =
            self.processes.iter().filter(|other| other.pool == pool && other.lane(prefetch).is_some());
        room.all(|process| {
            avoids == Some(process.key.worker) && self.another_is_up(pool, process.key.worker, true)
        })
    }

    /// Whether the pool has another worker that is ready or starting. One that is told to leave while it cancels an
    /// attempt is `doubtful`.
    fn another_is_up(&self, pool: PoolId, worker: WorkerId, doubtful: bool) -> bool {
        let counts = |process: &Process| {
            let leaves = !process.leaving.is_empty() && !process.drained && process.is_cancelling();
            process.is_up() || doubtful && leaves && process.works()
        };
        self.processes.iter().any(|other| other.pool == pool && other.key.worker != worker && counts(other))
    }

    pub(super) fn somebody_has_room(&self, pool: PoolId) -> bool {
        let prefetch = self.pool_settings(pool).prefetch.get();
        self.processes.iter().any(|process| process.pool == pool && process.lane(prefetch).is_some())
    }

    /// A process of the pool holds something.
    pub(super) fn holds_anything(&self, pool: PoolId) -> bool {
        let mut lives = self.processes.iter().filter(|other| other.pool == pool && !other.concluded);
        lives.any(|process| process.load() > 0)
    }

    /// Nobody waits who could run, whatever is replaced meanwhile.
    pub(super) fn check_waiting(&self) {
        for (place, pool) in self.pools.iter().enumerate() {
            let id = PoolId(u16::try_from(place).unwrap());
            if pool.waiting.is_empty() || pool.is_open() {
                continue;
            }
            if pool.is_half_open() && self.holds_anything(id) || !self.somebody_has_room(id) {
                continue;
            }
            for serial in &pool.waiting {
                assert!(self.shuns_all(*serial, id), "{serial} waits while a process has room");
            }
        }
    }
}
