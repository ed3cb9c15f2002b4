//! Suspects: requests that may be to blame for their process's death.
//!
//! It owns who becomes one, and how a suspect gets a process that holds nothing else: an empty one at once, or else one
//! that is set apart, which is given nothing new until it is empty. It must never end anything, and costs nothing while
//! no suspect waits.

use crate::core::Core;
use crate::dispatch::ups;
use crate::evidence::IntentKind;
use crate::fact::{Death, Fact};
use crate::ids::{PoolId, RequestId, WorkerId};
use crate::phase::Phase;
use crate::process::{Company, Process};
use crate::reason::{CrashReason, KillReason};

/// What an attempt's end says of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// It ended without its process's death.
    Cleared,
    /// Its process died, for another's sake or a person's: a suspect stays one, and nobody becomes one.
    Unchanged,
    /// Its process died, and it may be why.
    Suspected,
}

impl Blame {
    /// What a death says of an attempt that it ended. `past_limit` tells that a limit of the attempt had passed, and
    /// `shares` that its pool's processes execute several requests.
    pub(crate) fn of(death: &Death, past_limit: bool, shares: bool) -> Self {
        let intended = death.intent.map(|intent| intent.what);
        let kill = match (&death.reason, intended) {
            (CrashReason::Killed(KillReason::Unkillable), Some(IntentKind::Kill(why))) => Some(why),
            (CrashReason::Killed(why), _) => Some(*why),
            _ => None,
        };
        let theirs = match kill {
            Some(KillReason::Operator) => false,
            Some(why) if why.is_for_one_attempt() => past_limit,
            Some(_) | None => true,
        };
        if theirs && shares { Self::Suspected } else { Self::Unchanged }
    }

    /// Whether the request is a suspect from here on.
    pub(crate) const fn makes_suspect(self, before: bool) -> bool {
        match self {
            Self::Cleared => false,
            Self::Unchanged => before,
            Self::Suspected => true,
        }
    }
}

impl<Q, A> Core<Q, A> {
    /// The oldest suspect that has an empty process to go to.
    ///
    /// It goes before everybody else, or the process would never be empty again.
    pub(crate) fn match_suspect(&self, pool: PoolId) -> Option<(RequestId, usize)> {
        let place = &self.pools[usize::from(pool.0)];
        if place.queue.suspects().is_empty() {
            return None;
        }
        let slots = usize::from(self.settings.pool(pool).slots.get());
        let first = place.berths().start;
        let shared = place.lanes.below(slots).map(|member| first + usize::from(member));
        let empty = |berth: &usize| self.berthed(*berth).is_some_and(Process::is_idle);
        let empty: Vec<usize> = place.set_apart.iter().copied().chain(shared).filter(empty).collect();
        let goes_to = |avoid| empty.iter().copied().find(|berth| self.may_use(pool, avoid, *berth));
        let (request, avoid) = place.queue.suspects().first(|avoid| goes_to(avoid).is_some())?;
        Some((request, goes_to(avoid)?))
    }

    /// Whether whoever avoids this worker may be given to the process in this berth.
    fn may_use(&self, pool: PoolId, avoid: Option<WorkerId>, berth: usize) -> bool {
        let place = &self.pools[usize::from(pool.0)];
        avoid
            .is_none_or(|worker| self.berths[berth].worker != worker || place.up == ups(&self.berths, worker))
    }

    /// Whether a suspect waits that may be given to the process in this berth.
    fn is_wanted(&self, pool: PoolId, berth: usize) -> bool {
        let suspects = self.pools[usize::from(pool.0)].queue.suspects();
        suspects.first(|avoid| self.may_use(pool, avoid, berth)).is_some()
    }

    /// Sets processes apart for the suspects that wait, and frees those that nobody waits for. Tells whether anything
    /// changed: somebody else may be dispatched now.
    ///
    /// No more of them than suspects that wait; and of the processes that serve at most half, rounded up, are set apart
    /// or run a suspect, for the others' sake.
    pub(crate) fn set_apart_as_wanted(&mut self, pool: PoolId) -> bool {
        let place = &self.pools[usize::from(pool.0)];
        let waiting = place.queue.suspects().len();
        if waiting == 0 && place.set_apart.is_empty() {
            return false;
        }
        let serving =
            place.berths().filter_map(|berth| self.berthed(berth)).filter(|process| process.stays());
        let (serve, alone) = serving.fold((0_usize, 0), |(serve, alone), process| {
            (serve + 1, alone + usize::from(process.company == Company::Alone))
        });
        let bound = if place.breaker.is_closed() { serve.div_ceil(2).saturating_sub(alone) } else { 0 };
        let wanted = waiting.min(bound);
        let mut changed = self.free_needless(pool, wanted);
        while self.pools[usize::from(pool.0)].set_apart.len() < wanted {
            let Some(berth) = self.best_to_set_apart(pool) else { break };
            self.set_company(berth, Company::SetApart);
            self.tell_apart(berth, true);
            changed = true;
        }
        changed
    }

    /// Frees processes that no waiting suspect may use, and then the fullest of those that are too many.
    fn free_needless(&mut self, pool: PoolId, wanted: usize) -> bool {
        let apart = self.pools[usize::from(pool.0)].set_apart.clone();
        let goes_on = |berth: usize| self.berthed(berth).is_some_and(Process::stays);
        let (mut needed, mut needless): (Vec<usize>, Vec<usize>) =
            apart.into_iter().partition(|berth| goes_on(*berth) && self.is_wanted(pool, *berth));
        needed.sort_by_key(|berth| self.berthed(*berth).map(Process::load));
        needless.extend(needed.drain(wanted.min(needed.len())..).rev());
        for berth in &needless {
            self.set_company(*berth, Company::Anybody);
            self.tell_apart(*berth, false);
        }
        !needless.is_empty()
    }

    /// The process that is empty soonest, as far as can be seen: the one that holds the least.
    fn best_to_set_apart(&self, pool: PoolId) -> Option<usize> {
        let fits = |process: &Process| {
            process.phase == Phase::Serving && process.stays() && process.company == Company::Anybody
        };
        let load = |berth: &usize| self.berthed(*berth).filter(|process| fits(process)).map(Process::load);
        let berths = self.pools[usize::from(pool.0)].berths();
        let loads = berths.filter_map(|berth| Some((load(&berth)?, berth)));
        loads.filter(|(_, berth)| self.is_wanted(pool, *berth)).min().map(|(_, berth)| berth)
    }

    /// A suspect has waited for another worker than its last one for long enough: the next process that is empty will do.
    pub(crate) fn avoidance_over(&mut self, id: RequestId) {
        let record = self.requests.open_record(id);
        record.armed.avoidance = None;
        let (pool, bytes) = (record.pool, record.bytes);
        self.pools[usize::from(pool.0)].queue.remove(&self.requests, id);
        self.requests.open_record(id).avoid = None;
        self.pools[usize::from(pool.0)].queue.push_suspect(id, None, bytes);
        self.mark_dirty(pool);
    }

    fn tell_apart(&mut self, berth: usize, apart: bool) {
        let pool = self.pool_of(berth);
        let process = self.process(berth).key;
        self.out.tell(Fact::SetApart { pool, process, apart });
    }

    /// Changes with whom a process is shared: lanes and counts follow.
    pub(crate) fn set_company(&mut self, berth: usize, company: Company) {
        let process = self.process(berth);
        let before = std::mem::replace(&mut process.company, company);
        if before == company {
            return;
        }
        let pool = self.pool_of(berth);
        let place = &mut self.pools[usize::from(pool.0)];
        match before {
            Company::Anybody => place.taken += 1,
            Company::SetApart => place.set_apart.retain(|other| *other != berth),
            Company::Alone => {}
        }
        match company {
            Company::Anybody => place.taken -= 1,
            Company::SetApart => place.set_apart.push(berth),
            Company::Alone => {}
        }
        self.update_lane(berth);
    }
}
