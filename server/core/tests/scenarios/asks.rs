//! What the stories ask of the harness.

use lifeboat_core::action::{Action, Outcome, Settlement};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::{Death, Fact};
use lifeboat_core::ids::{AttemptNumber, ClientTag, ProcessKey, RequestId, SlotId};
use lifeboat_core::reason::{AttemptEnd, CrashReason, OutcomeKind, RejectWhy, StopReason, TimeoutWhich};

use crate::boat::{Boat, Heard, Sent, Told};

impl Boat {
    /// What a process was sent last, since the orders were last cleared.
    pub(crate) fn dispatched_to(&self, process: ProcessKey) -> Option<(RequestId, AttemptNumber)> {
        let mut found = None;
        for order in &self.orders {
            if let Action::Dispatch { process: to, request, attempt, .. } = order
                && *to == process
            {
                found = Some((*request, *attempt));
            }
        }
        found
    }

    /// Where a request was sent last.
    pub(crate) fn sent(&self, tag: ClientTag) -> Sent {
        *self.sent.iter().rev().find(|sent| sent.tag == tag).expect("it was dispatched")
    }

    pub(crate) fn was_sent(&self, tag: ClientTag) -> bool {
        self.sent.iter().any(|sent| sent.tag == tag)
    }

    /// The worker and the slot that a request was sent to last.
    pub(crate) fn place(&self, tag: ClientTag) -> (u16, u8) {
        let Sent { process, slot: SlotId(slot), .. } = self.sent(tag);
        (process.worker.0, slot)
    }

    /// How a request ended, if it has. Panics if it was told twice.
    pub(crate) fn outcome(&self, tag: ClientTag) -> Option<&Told> {
        let mut all = self.told.iter().filter(|(told, _)| *told == tag);
        let first = all.next();
        assert!(all.next().is_none(), "{tag:?} has two outcomes");
        first.map(|(_, told)| told)
    }

    pub(crate) fn kind(&self, tag: ClientTag) -> Option<OutcomeKind> {
        self.outcome(tag).map(|told| match told {
            Told::Ok { .. } => OutcomeKind::Ok,
            Told::Settled(settlement) => match settlement.outcome {
                Outcome::Failed { .. } => OutcomeKind::Failed,
                Outcome::Crashed { .. } => OutcomeKind::Crashed,
                Outcome::TimedOut { .. } => OutcomeKind::TimedOut,
                Outcome::Cancelled => OutcomeKind::Cancelled,
                Outcome::Rejected { .. } => OutcomeKind::Rejected,
                Outcome::Closed => OutcomeKind::Closed,
            },
        })
    }

    pub(crate) fn kinds<const N: usize>(&self, tags: [ClientTag; N]) -> [Option<OutcomeKind>; N] {
        tags.map(|tag| self.kind(tag))
    }

    pub(crate) fn settlement(&self, tag: ClientTag) -> &Settlement<u64> {
        match self.outcome(tag) {
            Some(Told::Settled(settlement)) => settlement,
            other => panic!("{tag:?} was not settled: {other:?}"),
        }
    }

    pub(crate) fn timed_out_which(&self, tag: ClientTag) -> TimeoutWhich {
        let outcome = &self.settlement(tag).outcome;
        let Outcome::TimedOut { which, .. } = outcome else {
            panic!("{tag:?} did not time out: {outcome:?}")
        };
        *which
    }

    pub(crate) fn rejected_why(&self, tag: ClientTag) -> RejectWhy {
        let outcome = &self.settlement(tag).outcome;
        let Outcome::Rejected { why, .. } = outcome else { panic!("{tag:?} was not rejected: {outcome:?}") };
        *why
    }

    /// What a client heard while its request ran.
    pub(crate) fn heard_of(&self, tag: ClientTag) -> Vec<&Heard> {
        self.heard.iter().filter(|(of, _)| *of == tag).map(|(_, heard)| heard).collect()
    }

    /// The crashes told so far.
    pub(crate) fn crashes(&self) -> Vec<&Death> {
        let mut deaths = Vec::new();
        for fact in &self.facts {
            if let Fact::WorkerCrashed(death) = fact {
                deaths.push(&**death);
            }
        }
        deaths
    }

    pub(crate) fn reasons(&self) -> Vec<&CrashReason> {
        self.crashes().iter().map(|death| &death.reason).collect()
    }

    /// The planned ends told so far.
    pub(crate) fn stops(&self) -> Vec<(ProcessKey, StopReason)> {
        let stop = |fact: &Fact| {
            if let Fact::WorkerStopped { process, reason, .. } = fact {
                Some((*process, *reason))
            } else {
                None
            }
        };
        self.facts.iter().filter_map(stop).collect()
    }

    pub(crate) fn attempt_ends(&self) -> Vec<AttemptEnd> {
        let end = |fact: &Fact| if let Fact::AttemptEnded { end, .. } = fact { Some(*end) } else { None };
        self.facts.iter().filter_map(end).collect()
    }

    /// How many facts of a kind were told.
    pub(crate) fn count(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        self.facts.iter().filter(|fact| wanted(fact)).count()
    }

    pub(crate) fn given_back(&self) -> usize {
        self.count(|fact| matches!(fact, Fact::RequeuedFree { .. }))
    }

    /// The signals that a process was sent.
    pub(crate) fn signals(&self, process: ProcessKey) -> Vec<StopSignal> {
        let mut signals = Vec::new();
        for order in &self.orders {
            if let Action::Signal { process: to, signal, .. } = order
                && *to == process
            {
                signals.push(*signal);
            }
        }
        signals
    }

    /// The processes that were ordered since the orders were last cleared.
    pub(crate) fn spawned(&self) -> Vec<ProcessKey> {
        let key =
            |order: &Action<u64>| if let Action::Spawn { process } = order { Some(*process) } else { None };
        self.orders.iter().filter_map(key).collect()
    }

    pub(crate) fn was_ordered(&self, wanted: impl Fn(&Action<u64>) -> bool) -> bool {
        self.orders.iter().any(wanted)
    }

    /// A process was sent a drain frame.
    pub(crate) fn was_drained(&self, key: ProcessKey) -> bool {
        self.was_ordered(|order| matches!(order, Action::SendDrain { process } if *process == key))
    }

    pub(crate) fn was_released(&self, key: ProcessKey) -> bool {
        self.was_ordered(|order| matches!(order, Action::Release { process } if *process == key))
    }

    /// How many cancel frames were ordered for a request.
    pub(crate) fn cancels(&self, tag: ClientTag) -> usize {
        let request = self.sent(tag).request;
        let names =
            |order: &&Action<u64>| matches!(order, Action::SendCancel { request: of, .. } if *of == request);
        self.orders.iter().filter(names).count()
    }
}
