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
        // Whoever is set apart now may have been given this just before.
        let lane = chosen
            .shared_lane(prefetch)
            .filter(|_| !chosen.apart || chosen.apart_changed == self.ticks)
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
            let other = self.another_is_up(serial, key.worker, false);
            assert!(!other, "{serial}: goes to {key}, which its last attempt ended");
        }
        let settled = |other: &&Process| other.pool == request.pool && other.apart_changed != self.ticks;
        for other in self.processes.iter().filter(settled) {
            let avoided = request.last_worker == Some(other.key.worker);
            let Some(theirs) = other.lane(prefetch).filter(|_| !avoided) else { continue };
            assert!(lane <= theirs, "{serial}: {} is emptier than {key}: {theirs:?}, {lane:?}", other.key);
            let unsure = chosen.freed || other.freed;
            let older = lane < theirs || chosen.touched <= other.touched || unsure;
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
            // A suspect goes before everybody but an older one.
            let rank = |serial: u64| (!self.peek(serial).suspect, serial);
            for older in pool.returned.iter().filter(|other| rank(**other) < rank(serial)) {
                assert!(self.has_to_wait(*older, id), "{serial} overtakes {older}");
            }
            return;
        }
        for returned in &pool.returned {
            assert!(self.has_to_wait(*returned, id), "{serial} overtakes {returned}, which comes back");
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

    /// A request that waits cannot go to anybody who has room: it avoids them for another one that may come, or has to be
    /// alone.
    fn has_to_wait(&self, serial: u64, pool: PoolId) -> bool {
        if self.peek(serial).suspect {
            return !self.may_go_alone(serial, pool);
        }
        let prefetch = self.pool_settings(pool).prefetch.get();
        let avoids = self.peek(serial).last_worker;
        let mut room =
            self.processes.iter().filter(|other| other.pool == pool && other.lane(prefetch).is_some());
        room.all(|process| {
            avoids == Some(process.key.worker) && self.another_is_up(serial, process.key.worker, true)
        })
    }

    /// Whether the request's pool has another worker that is ready or starting; one that is kept for suspects is there
    /// for them alone. One that is told to leave while it cancels an attempt is `doubtful`, whether it was set apart or not,
    /// and one that was set apart or freed just now.
    pub(super) fn another_is_up(&self, serial: u64, worker: WorkerId, doubtful: bool) -> bool {
        let request = self.peek(serial);
        let pool = request.pool;
        let counts = |process: &Process| {
            let leaves = !process.leaving.is_empty() && !process.drained && process.is_cancelling();
            let just_now = process.apart_changed == self.ticks;
            let apart = if just_now || leaves { !doubtful } else { process.apart };
            let taken = !request.suspect && (apart || process.is_alone());
            !taken && (process.is_up() || doubtful && leaves && process.works())
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
            if pool.waiting.is_empty() || pool.is_open() || pool.is_half_open() && self.holds_anything(id) {
                continue;
            }
            let room = self.somebody_has_room(id);
            for serial in pool.waiting.iter().filter(|serial| room || self.peek(**serial).suspect) {
                assert!(self.has_to_wait(*serial, id), "{serial} waits while a process has room");
            }
        }
    }
}
