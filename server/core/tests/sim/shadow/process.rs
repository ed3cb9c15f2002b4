//! A process, as far as can be seen.

use std::collections::VecDeque;

use lifeboat_core::evidence::{IntentKind, OomEvidence, StopSignal, WaitStatus};
use lifeboat_core::ids::{AttemptNumber, PoolId, ProcessKey, SlotId};
use lifeboat_core::reason::{CrashReason, KillReason, StopReason};
use lifeboat_core::time::Timestamp;

/// A request that a slot was sent and has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) serial: u64,
    pub(super) attempt: AttemptNumber,
    pub(super) started: bool,
    /// It has told of it.
    pub(super) moved: bool,
    /// It was told to stop: since when its slot has to be rid of it.
    pub(super) cancel: Option<Timestamp>,
    /// It runs alone.
    pub(super) suspect: bool,
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) line: VecDeque<Held>,
    pub(super) retired: bool,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) key: ProcessKey,
    pub(super) pool: PoolId,
    pub(super) ordered_at: Timestamp,
    /// The shell was told to start it.
    pub(super) ordered: bool,
    pub(super) spawned: bool,
    pub(super) ready_at: Option<Timestamp>,
    pub(super) heartbeats: bool,
    pub(super) slots: Vec<Slot>,
    /// The request that was the last thing written to it; `None` if that was another frame.
    pub(super) last_written: Option<u64>,
    /// The request that is proven not to have started, because the process never read it.
    pub(super) never_read: Option<u64>,
    /// Requests that its flight recorder says it had not begun.
    pub(super) cleared: Vec<u64>,
    /// When it last became ready, was given work or answered, as a count.
    pub(super) touched: u64,
    pub(super) active_at: Timestamp,
    pub(super) heard_at: Timestamp,
    /// That was learnt only later.
    pub(super) heard_later: bool,
    /// Its silence is borne until then, because the broker came late.
    pub(super) borne_until: Timestamp,
    pub(super) output_at: Timestamp,
    pub(super) served: u32,
    /// When it counts as productive without an answer; none once its end has begun.
    pub(super) stable_at: Option<Timestamp>,
    pub(super) is_stable: bool,
    pub(super) memory_high: bool,
    /// It has asked to be replaced.
    pub(super) asked_to_retire: bool,
    /// A person wants it replaced.
    pub(super) may_be_restarted: bool,
    /// A person killed it.
    pub(super) killed_by_hand: bool,
    pub(super) first_sign: Option<Timestamp>,
    /// Its connection ended, and it was not leaving with nothing left to do.
    pub(super) lost_at: Option<Timestamp>,
    pub(super) exited: bool,
    pub(super) violated: bool,
    /// Since when it has no slot left.
    pub(super) no_slots: Option<Timestamp>,
    /// It is to be killed as soon as it is spawned, or was not ready in time.
    pub(super) doomed: bool,
    /// That was found in this entry point, where it may have come after anything else that was due.
    pub(super) just_doomed: bool,
    /// Why it is to leave, once it has finished what it holds.
    pub(super) leaving: Vec<StopReason>,
    pub(super) drained: bool,
    /// Before this entry point some executing attempt had been told to stop.
    pub(super) was_cancelling: bool,
    /// It was told to leave and has nothing left to finish, since then.
    pub(super) asked_at: Option<Timestamp>,
    pub(super) signals: Vec<StopSignal>,
    /// When each rung was told.
    pub(super) terminated_at: Option<Timestamp>,
    pub(super) killed_at: Option<Timestamp>,
    pub(super) signal_facts: usize,
    /// With which intents.
    pub(super) signal_intents: Vec<IntentKind>,
    /// Why it may be killed.
    pub(super) grounds: Vec<KillReason>,
    /// The deadlines of executing requests that were cancelled.
    pub(super) kill_by: Option<Timestamp>,
    pub(super) collect: bool,
    pub(super) evidence: bool,
    pub(super) exiting_before_kill: bool,
    pub(super) answered_ok: bool,
    /// A panic left it without slots: the failure is counted.
    pub(super) panicked_out: bool,
    /// Its end was told.
    pub(super) concluded: bool,
    pub(super) unkillable: bool,
    pub(super) newest: u64,
    /// What the wait status said, once told.
    pub(super) wait: Option<WaitStatus>,
    pub(super) oom: OomEvidence,
    /// Requests whose attempt stopped past a limit: they wait for the death.
    pub(super) stopped: Vec<u64>,
    /// It is set apart for suspects.
    pub(super) apart: bool,
    /// In which entry point that changed last.
    pub(super) apart_changed: u64,
    /// It was freed and given nothing since: whether before or after another was given something is not known.
    pub(super) freed: bool,
    /// What its death was judged to be, and what the broker had decided.
    pub(super) death: Option<(CrashReason, Option<IntentKind>)>,
}

impl Process {
    pub(super) fn new(key: ProcessKey, pool: PoolId, now: Timestamp, slots: u16) -> Self {
        Self {
            key,
            pool,
            ordered_at: now,
            ordered: false,
            spawned: false,
            ready_at: None,
            heartbeats: false,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            last_written: None,
            never_read: None,
            cleared: Vec::new(),
            touched: 0,
            active_at: now,
            heard_at: now,
            heard_later: false,
            borne_until: now,
            output_at: now,
            served: 0,
            stable_at: None,
            is_stable: false,
            memory_high: false,
            asked_to_retire: false,
            may_be_restarted: false,
            killed_by_hand: false,
            first_sign: None,
            lost_at: None,
            exited: false,
            violated: false,
            no_slots: None,
            doomed: false,
            just_doomed: false,
            leaving: Vec::new(),
            drained: false,
            was_cancelling: false,
            asked_at: None,
            signals: Vec::new(),
            terminated_at: None,
            killed_at: None,
            signal_facts: 0,
            signal_intents: Vec::new(),
            grounds: Vec::new(),
            kill_by: None,
            collect: false,
            evidence: false,
            exiting_before_kill: false,
            answered_ok: false,
            panicked_out: false,
            concluded: false,
            unkillable: false,
            newest: 0,
            wait: None,
            oom: OomEvidence::default(),
            stopped: Vec::new(),
            apart: false,
            apart_changed: 0,
            freed: false,
            death: None,
        }
    }

    pub(super) fn slot(&mut self, slot: SlotId) -> &mut Slot {
        &mut self.slots[usize::from(slot.0)]
    }

    /// Everything that it was sent and has not answered.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.slots.iter().flat_map(|slot| &slot.line)
    }

    /// How many requests it holds; what a retired slot held is dropped.
    pub(super) fn load(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.retired).map(|slot| slot.line.len()).sum()
    }

    /// What its slots execute.
    pub(super) fn executing(&self) -> impl Iterator<Item = &Held> {
        self.held().filter(|held| held.started)
    }

    /// The slot that holds an attempt, and its place in the slot's line.
    pub(super) fn find(&self, serial: u64, attempt: AttemptNumber) -> Option<(SlotId, usize)> {
        let names = |held: &Held| held.serial == serial && held.attempt == attempt;
        (0_u8..)
            .zip(&self.slots)
            .find_map(|(slot, place)| Some((SlotId(slot), place.line.iter().position(names)?)))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_at.is_some()
    }

    /// It may run, serve or get ready on: nothing is known that ends it.
    pub(super) fn is_up(&self) -> bool {
        !self.is_ending()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.first_sign.is_some()
            || self.exited
            || self.violated
            || self.no_slots.is_some()
            || self.doomed
            || self.drained
            || self.concluded
            || !self.leaving.is_empty()
            || !self.signals.is_empty()
            || self.signal_facts > 0
    }

    /// It gets ready: neither ready nor on its way out.
    pub(super) fn is_starting(&self) -> bool {
        !self.is_ready() && !self.is_ending()
    }

    /// Some executing attempt was told to stop, and its slot is not rid of it.
    pub(super) fn is_cancelling(&self) -> bool {
        self.executing().any(|held| held.cancel.is_some())
    }

    /// It holds a suspect.
    pub(super) fn is_alone(&self) -> bool {
        self.held().any(|held| held.suspect)
    }

    /// How full it is, less is better; `None` if it may be given nothing that it would share.
    pub(super) fn lane(&self, prefetch: u16) -> Option<(usize, usize)> {
        self.shared_lane(prefetch).filter(|_| !self.apart)
    }

    /// The same, if it were not set apart.
    pub(super) fn shared_lane(&self, prefetch: u16) -> Option<(usize, usize)> {
        if !self.is_ready() || self.is_ending() || self.is_cancelling() || self.is_alone() {
            return None;
        }
        let usable = self.slots.iter().filter(|slot| !slot.retired).map(|slot| slot.line.len());
        let shortest = usable.min().filter(|depth| *depth < usize::from(prefetch))?;
        let fuller = self.slots.iter().filter(|slot| slot.retired || slot.line.len() > shortest);
        Some((shortest, fuller.count()))
    }

    /// It executes, and nothing that ends it has gone further than a cancel frame.
    pub(super) fn works(&self) -> bool {
        self.is_ready()
            && !self.exited
            && !self.violated
            && !self.concluded
            && self.lost_at.is_none()
            && self.no_slots.is_none()
            && self.signal_facts == 0
            && self.asked_at.is_none()
    }

    pub(super) fn may_be_killed_for(&mut self, why: KillReason) {
        if !self.grounds.contains(&why) {
            self.grounds.push(why);
        }
    }
}
