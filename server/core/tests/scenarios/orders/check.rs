//! What every one of these histories must show: one verdict, one replacement, one outcome, and the truth.

use lifeboat_core::action::Action;
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, ClientTag};
use lifeboat_core::reason::{AttemptEnd, CrashReason, OutcomeKind};

use super::play::{History, NEW, OLD, Stage};
use super::steps::Step;
use super::{End, LimitKind, Sign};
use crate::boat::Told;

impl History<'_> {
    /// The evidence is complete: the process was judged, once, and what it held is settled or back in the queue.
    pub(super) fn check_verdict(&mut self) {
        let case = self.case;
        assert_eq!((self.boat.crashes().len(), self.boat.stops().len()), (1, 0), "{case:?}: one verdict");
        assert!(self.boat.was_released(OLD), "{case:?}: nothing more is wanted of it");
        let death = self.boat.crashes()[0];
        assert_eq!(death.process, OLD);
        self.check_reason(&death.reason);
        let gives_back = self.boat.given_back();
        assert_eq!(death.requeued as usize, gives_back, "{case:?}: what had not started goes back");
        let charged = self.charged();
        assert!(charged.len() <= usize::from(case.slots), "{case:?}: the fronts alone pay: {charged:?}");
        for tag in self.neighbours.iter().chain([&self.watched]) {
            let held = self.boat.kind(*tag).is_none() && charged.contains(tag);
            assert!(
                !held || case.retried || case.step == Step::BackingOff,
                "{case:?}: {tag:?} is left with the dead"
            );
        }
    }

    /// The requests that an attempt of the old process was charged to, other than with an answer.
    fn charged(&self) -> Vec<ClientTag> {
        let attempt = |fact: &Fact| {
            let Fact::AttemptEnded { request, process: OLD, end, .. } = fact else { return None };
            let sent = self.boat.sent.iter().find(|sent| sent.request == *request)?;
            matches!(end, AttemptEnd::Crashed | AttemptEnd::TimedOut).then_some(sent.tag)
        };
        self.boat.facts.iter().filter_map(attempt).collect()
    }

    /// The reason follows from what happened, and not from the order in which it was heard.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of the many reasons few can come up here")]
    fn check_reason(&self, reason: &CrashReason) {
        let case = self.case;
        let before = |sign| {
            let evidence = case.signs.iter().position(|other| *other == Sign::Evidence);
            case.signs.iter().position(|other| *other == sign) < evidence && case.signs.contains(&sign)
        };
        let told_to_leave =
            case.step.is_past_a_limit() || self.limit_was_told() || case.step == Step::GivenUp;
        let fits = match reason {
            CrashReason::Signal { signal: 11, .. } => case.end == End::OwnCrash,
            CrashReason::Exit { code: 3 } => case.end == End::OwnExit,
            CrashReason::ProtocolViolation(_) => before(Sign::ProtocolError),
            CrashReason::Killed(_) => told_to_leave && (self.killed_first || case.end == End::OwnExit),
            CrashReason::KilledFromOutside => case.end == End::Killed && !self.killed_first,
            CrashReason::ConnectionClosed => before(Sign::EndOfFile) && self.killed_first,
            CrashReason::ConnectionError { errno } => {
                let read = *errno == 104 && before(Sign::ReadError);
                (read || *errno == 32 && before(Sign::WriteError)) && self.killed_first
            }
            _ => false,
        };
        assert!(fits, "{case:?}: {reason:?} is not what happened");
        assert!(
            case.end != End::OwnCrash || matches!(reason, CrashReason::Signal { .. }),
            "{case:?}: it came first"
        );
        let violated = before(Sign::ProtocolError) && case.end != End::OwnCrash;
        let named = matches!(reason, CrashReason::ProtocolViolation(_) | CrashReason::Killed(_));
        assert!(!violated || named, "{case:?}: what it sent is forgotten: {reason:?}");
    }

    /// A limit of the watched request has passed.
    pub(super) fn limit_was_told(&self) -> bool {
        let sent = self.boat.sent.iter().find(|sent| sent.tag == self.watched);
        let Some(request) = sent.map(|sent| sent.request) else { return false };
        self.boat
            .facts
            .iter()
            .any(|fact| matches!(fact, Fact::LimitPassed { request: of, .. } if *of == request))
    }

    /// The last frame that was written to the old process is the one that gave it this request.
    pub(super) fn was_written_last(&self, tag: ClientTag) -> bool {
        let last = self.boat.orders.iter().rev().find(|order| {
            matches!(order, Action::Dispatch { .. } | Action::SendCancel { .. } | Action::SendDrain { .. })
        });
        let Some(Action::Dispatch { request, process: OLD, .. }) = last else { return false };
        self.boat.sent.iter().any(|sent| sent.tag == tag && sent.request == *request)
    }

    /// News of the dead have touched nobody: no signal, no frame, no verdict, no outcome.
    pub(super) fn check_untouched(&mut self, orders: usize) {
        let case = self.case;
        let crashes = if case.stage == Stage::SecondDeath { 2 } else { 1 };
        assert_eq!(self.boat.crashes().len(), crashes, "{case:?}: nobody is judged twice");
        let orders = &self.boat.orders[orders..];
        assert!(
            case.slow || orders.is_empty(),
            "{case:?}: the replacement is none of their business: {orders:?}"
        );
        let touched = orders.iter().any(|order| {
            matches!(order, Action::Signal { process, .. } | Action::Collect { process } | Action::Release { process }
                if *process == OLD || *process == NEW)
        });
        assert!(!touched, "{case:?}: {orders:?}");
    }

    /// Everything is over: each request has one outcome, and it is the right one.
    pub(super) fn check_end(&mut self) {
        let case = self.case;
        for tag in self.neighbours.iter().chain([&self.watched]) {
            assert!(self.boat.kind(*tag).is_some(), "{case:?}: {tag:?} has no outcome");
        }
        assert_eq!(self.boat.core.view(self.boat.now).open_requests, 0);
        let kills = self.boat.signals(OLD).iter().filter(|signal| **signal == StopSignal::Kill).count();
        assert!(kills <= 1, "{case:?}: each rung once");
        for neighbour in self.neighbours.clone() {
            self.check_neighbour(neighbour);
        }
        let attempts = self.attempts(self.watched);
        let kind = self.boat.kind(self.watched).unwrap();
        match case.step {
            Step::Answered => assert_eq!((kind, attempts), (OutcomeKind::Ok, 1), "{case:?}: it was answered"),
            Step::GivenUp => assert_eq!(kind, OutcomeKind::Cancelled, "{case:?}: it was given up"),
            Step::Queued | Step::HeldBehind => {
                let late = if kind == OutcomeKind::TimedOut { 0 } else { 1 };
                assert!(matches!(kind, OutcomeKind::Ok | OutcomeKind::TimedOut), "{case:?}: {kind:?}");
                assert_eq!(attempts, late, "{case:?}: it pays for nothing");
                let may_be_late = case.signs.contains(&Sign::Limit) || self.waited_too_long();
                assert!(kind == OutcomeKind::Ok || may_be_late, "{case:?}: it was in time");
            }
            Step::BackingOff => {
                let in_time = kind == OutcomeKind::Failed || kind == OutcomeKind::TimedOut;
                assert!(
                    in_time && attempts == 1,
                    "{case:?}: its deadline comes before its next attempt: {kind:?}"
                );
            }
            Step::Dispatched | Step::Executing | Step::ToldToStop | Step::Terminated => {
                self.check_charged(kind)
            }
        }
    }

    /// The replacement came too late for its limit.
    fn waited_too_long(&self) -> bool {
        self.case.stage == Stage::SecondDeath || !self.case.productive || self.case.slow
    }

    /// The attempt that executed has paid, once, and was told as what it was.
    fn check_charged(&self, kind: OutcomeKind) {
        let case = self.case;
        let death = self.boat.crashes()[0];
        let attempts = self.attempts(self.watched);
        let of_the_limit = self.limit_first && death.killed_by_broker.is_some();
        let overdue = self.limit_first && case.limit == LimitKind::Deadline;
        if self.given_back && (overdue || !self.limit_first) {
            assert!(!overdue || (kind, attempts) == (OutcomeKind::TimedOut, 0), "{case:?}: it never started");
            let again = self.boat.sent.iter().filter(|sent| sent.tag == self.watched).count();
            assert!(
                self.boat.given_back() > 0 || kind == OutcomeKind::TimedOut,
                "{case:?}: it never started"
            );
            let first = self.boat.sent(self.watched).attempt == AttemptNumber::FIRST || case.retried;
            assert!(again <= 2 + usize::from(case.retried) && first, "{case:?}: free of charge");
            return;
        }
        let ends = self.boat.attempt_ends();
        let expected = if of_the_limit { AttemptEnd::TimedOut } else { AttemptEnd::Crashed };
        assert!(ends.contains(&expected), "{case:?}: {ends:?} without {expected:?}");
        let tried_again = kind == OutcomeKind::Ok;
        assert!(!tried_again || case.retried, "{case:?}: a retry that nobody asked for");
        assert_eq!(attempts, if tried_again { 2 } else { 1 }, "{case:?}: {kind:?}");
        if !tried_again {
            let told = if of_the_limit { OutcomeKind::TimedOut } else { OutcomeKind::Crashed };
            let granted = self.boat.count(|fact| matches!(fact, Fact::Retried { .. })) > 0;
            let waited = case.retried && granted && kind == OutcomeKind::TimedOut;
            assert!(kind == told || waited, "{case:?}: {kind:?}, not {told:?}");
        }
    }

    /// Whoever executed beside it has crashed, and nobody else pays.
    fn check_neighbour(&self, tag: ClientTag) {
        let case = self.case;
        let kind = self.boat.kind(tag).unwrap();
        let sent = self.boat.sent[..self.sent_before].iter().any(|sent| sent.tag == tag);
        let attempts = self.attempts(tag);
        if kind == OutcomeKind::Crashed {
            assert!(sent && attempts == 1 && !case.retried, "{case:?}: {tag:?}");
            return;
        }
        assert_eq!(kind, OutcomeKind::Ok, "{case:?}: {tag:?}");
        let free = attempts == 1;
        assert!(free || case.retried || case.step == Step::BackingOff, "{case:?}: {tag:?} in {attempts}");
        let unread = case.unread || !sent;
        assert!(!free || unread, "{case:?}: {tag:?} executed, and has paid nothing");
    }

    fn attempts(&self, tag: ClientTag) -> u16 {
        match self.boat.outcome(tag) {
            Some(Told::Ok { attempts, .. }) => *attempts,
            Some(Told::Settled(settlement)) => u16::try_from(settlement.attempts.len()).unwrap(),
            None => 0,
        }
    }
}
