//! Who may be to blame for a death, and that they run alone: a suspect never shares its process, in either order.

use lifeboat_core::evidence::IntentKind;
use lifeboat_core::ids::{PoolId, ProcessKey};
use lifeboat_core::reason::{AttemptEnd, CrashReason, KillReason};

use super::Shadow;
use super::process::Process;
use super::request::Place;
use crate::sim::coverage::Coverage;

/// What the end of an attempt says of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The process lives: the request is cleared.
    Nobody,
    /// The process died for somebody else's sake.
    Another,
    /// It may have been this one.
    Perhaps,
}

impl Shadow {
    /// What an attempt's end says of its request, by the verdict over its process.
    pub(super) fn blame(&self, key: ProcessKey, end: AttemptEnd) -> Blame {
        let process = self.look(key).expect("it is known");
        let Some((reason, intent)) = &process.death else { return Blame::Nobody };
        let why = match (reason, intent) {
            (CrashReason::Killed(KillReason::Unkillable), Some(IntentKind::Kill(why))) => Some(*why),
            (CrashReason::Killed(why), _) => Some(*why),
            _ => None,
        };
        let of_one = [
            KillReason::AttemptTimeout,
            KillReason::ProgressStall,
            KillReason::OutputStall,
            KillReason::Deadline,
            KillReason::Cancelled,
        ];
        match why {
            Some(KillReason::Operator) => Blame::Another,
            Some(why) if of_one.contains(&why) && end != AttemptEnd::TimedOut => Blame::Another,
            Some(_) | None => Blame::Perhaps,
        }
    }

    /// A retry is granted: whether it will run alone.
    pub(super) fn suspected(&mut self, serial: u64, suspect: bool, coverage: &mut Coverage) {
        let request = self.peek(serial);
        let shares = self.pool_settings(request.pool).slots.get() > 1;
        let expected = match request.blame {
            Blame::Nobody => false,
            Blame::Another => request.suspect,
            Blame::Perhaps => shares,
        };
        assert_eq!(suspect, expected, "{serial}: {:?} is to blame", request.blame);
        match (request.suspect, request.blame) {
            (true, Blame::Nobody) => coverage.see("a suspect was cleared and goes on"),
            (true, Blame::Another) => coverage.see("a suspect was killed for a person's sake"),
            (false, Blame::Another) if shares => coverage.see("another one was to blame"),
            (false, Blame::Perhaps) if shares => coverage.see("suspected"),
            (true, Blame::Perhaps) => coverage.see("a suspect killed its process again"),
            _ => {}
        }
        self.request(serial).suspect = suspect;
    }

    /// A suspect that waits avoids its last worker for half of the time that it has left.
    pub(super) fn avoid_for_a_while(&mut self, serial: u64) {
        let now = self.now;
        let request = self.request(serial);
        let before = request.avoids_until.take();
        if request.place == Place::Waiting && request.suspect && request.last_worker.is_some() {
            request.avoids_until = Some(now + request.deadline.since(now) / 2);
        }
        let until = request.avoids_until;
        if let Some(until) = before {
            self.avoidances.remove(&(until, serial));
        }
        if let Some(until) = until {
            self.avoidances.insert((until, serial));
        }
    }

    pub(super) fn avoid_no_more(&mut self, coverage: &mut Coverage) {
        let now = self.now;
        while let Some((_, serial)) = self.avoidances.first().copied().filter(|(until, _)| *until <= now) {
            self.avoidances.pop_first();
            let request = self.request(serial);
            (request.last_worker, request.avoids_until) = (None, None);
            coverage.see("a suspect avoids its last worker no more");
        }
    }

    /// It holds nothing and may be given something.
    fn is_empty(process: &Process) -> bool {
        let usable = process.slots.iter().any(|slot| !slot.retired);
        process.is_ready()
            && !process.is_ending()
            && !process.is_cancelling()
            && process.load() == 0
            && usable
    }

    /// Whether the request avoids a process for another one. Whether somebody counts of whom that is `doubtful` is up to
    /// the caller.
    fn avoids(&self, serial: u64, process: &Process, doubtful: bool) -> bool {
        let worker = process.key.worker;
        self.peek(serial).last_worker == Some(worker) && self.another_is_up(serial, worker, doubtful)
    }

    /// A process is empty and the suspect may be given to it.
    pub(super) fn may_go_alone(&self, serial: u64, pool: PoolId) -> bool {
        let mut theirs = self.processes.iter().filter(|other| other.pool == pool);
        theirs.any(|other| Self::is_empty(other) && !self.avoids(serial, other, true))
    }

    /// A suspect goes to a process that holds nothing.
    pub(super) fn check_alone(&self, key: ProcessKey, serial: u64, coverage: &mut Coverage) {
        let process = self.look(key).expect("a known process");
        let present = self.workers[usize::from(key.worker.0)].present;
        assert_eq!(present, Some(key), "{serial}: one serves at a time");
        assert!(Self::is_empty(process), "{serial} would share {key}: {process:?}");
        assert!(
            !self.avoids(serial, process, false),
            "{serial}: goes to {key}, which its last attempt ended"
        );
        coverage.see(if process.apart {
            "a suspect went to one set apart"
        } else {
            "a suspect went to an empty one"
        });
        if process.slots.iter().any(|slot| slot.retired) {
            coverage.see("a suspect runs beside a retired slot");
        }
    }

    /// A process is given nothing more but suspects, or is there for anybody again.
    pub(super) fn set_apart(&mut self, key: ProcessKey, apart: bool, coverage: &mut Coverage) {
        let (ticks, cancelled) = (self.ticks, !self.must_end.is_empty());
        let process = self.known(key);
        assert_ne!(process.apart, apart, "{key} is so already");
        process.apart = apart;
        process.apart_changed = ticks;
        process.freed = !apart;
        let (full, pool) = (process.load() > 1, process.pool);
        let waits = self.suspects_waiting(pool).next().is_some();
        match apart {
            true if full => coverage.see("one that holds several was set apart"),
            true => coverage.see("one that holds something was set apart"),
            false if cancelled && !waits => coverage.see("freed by a cancel"),
            false if waits => coverage.see("freed for the others' sake"),
            false => coverage.see("freed, for nobody waits"),
        }
    }

    fn suspects_waiting(&self, pool: PoolId) -> impl Iterator<Item = u64> {
        self.look_pool(pool).returned.iter().copied().filter(|serial| self.peek(*serial).suspect)
    }

    /// As many are set apart as there is need for and the others can bear, and nobody is without need.
    pub(super) fn check_apart(&self) {
        for place in 0..self.pools.len() {
            let id = PoolId(u16::try_from(place).unwrap());
            let serving: Vec<&Process> = (self.processes.iter())
                .filter(|process| process.pool == id && process.is_ready() && !process.is_ending())
                .collect();
            for process in serving.iter().filter(|process| process.is_alone()) {
                assert_eq!(process.load(), 1, "{} holds something beside a suspect", process.key);
            }
            self.check_set_apart(id, &serving);
        }
    }

    fn check_set_apart(&self, id: PoolId, serving: &[&Process]) {
        let waiting: Vec<u64> = self.suspects_waiting(id).collect();
        let apart: Vec<&&Process> = serving.iter().filter(|process| process.apart).collect();
        let alone = serving.iter().filter(|process| process.is_alone()).count();
        let bound = if self.look_pool(id).is_closed() { serving.len().div_ceil(2) } else { 0 };
        assert!(apart.len() <= waiting.len(), "{id:?}: more are set apart than suspects wait");
        assert!(apart.is_empty() || apart.len() + alone <= bound, "{id:?}: too many are set apart");
        self.check_loads(&waiting, serving);
        for process in &apart {
            let wanted = waiting.iter().any(|serial| !self.avoids(*serial, process, false));
            assert!(wanted, "{} is set apart for nobody", process.key);
        }
        if apart.len() == waiting.len() || apart.len() + alone >= bound {
            return;
        }
        let free = |process: &&&Process| !process.apart && !process.is_alone() && !process.is_cancelling();
        for process in serving.iter().filter(free) {
            let wanted = waiting.iter().any(|serial| !self.avoids(*serial, process, true));
            assert!(!wanted, "{} should be set apart for a suspect", process.key);
        }
    }

    /// The one that holds least is set apart, and the fullest is freed. What was dispatched since makes those that are not
    /// set apart look fuller than they were.
    fn check_loads(&self, waiting: &[u64], serving: &[&Process]) {
        let wanted = |process: &Process| waiting.iter().any(|serial| !self.avoids(*serial, process, true));
        let just_now = |process: &&&Process| process.apart_changed == self.ticks;
        for chosen in serving.iter().filter(just_now).filter(|process| process.apart) {
            let free = |other: &&&Process| {
                !other.apart && !other.is_alone() && !other.is_cancelling() && !other.freed && wanted(other)
            };
            for other in serving.iter().filter(free) {
                assert!(chosen.load() <= other.load(), "{} holds less than {}", other.key, chosen.key);
            }
        }
        for freed in serving.iter().filter(just_now).filter(|process| process.freed) {
            for other in serving.iter().filter(|other| other.apart && !just_now(other) && wanted(other)) {
                assert!(freed.load() >= other.load(), "{} holds more than {}", other.key, freed.key);
            }
        }
    }
}
