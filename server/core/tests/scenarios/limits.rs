//! Time limits: they end the work, and the outcome waits for the death.

use std::time::Duration;

use lifeboat_core::action::Action;
use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, ProcessKey, RequestId};
use lifeboat_core::reason::{AttemptEnd, CrashReason, KillReason, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, Settings};

use crate::boat::{Boat, Told, exit, life, ms, plain, retry, signal};

/// Attempts may take a second.
fn impatient(workers: u16) -> Settings {
    let mut settings = plain(workers);
    settings.methods[0].attempt_timeout = Some(ms(1000));
    settings
}

#[test]
fn a_waiting_request_times_out_at_its_deadline() {
    let mut boat = Boat::launch(plain(1));
    let tag = boat.request_with(ClientLimits { timeout: Some(ms(500)), ..ClientLimits::default() });
    boat.pass(ms(499));
    assert_eq!(boat.kind(tag), None);
    boat.pass(ms(1));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
}

#[test]
fn a_client_tightens_and_never_loosens() {
    let mut boat = Boat::launch(plain(1));
    let timeout = Some(Duration::from_secs(3600));
    let tag = boat.request_with(ClientLimits { timeout, ..ClientLimits::default() });
    boat.pass(ms(10_000));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
}

#[test]
fn at_the_deadline_the_work_is_killed_and_the_outcome_waits_for_the_death() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(10_000));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "the graces are zero");
    assert_eq!(boat.kind(tag), None, "not before its process is dead");
    boat.exits(life(0, 1));
    assert_eq!(boat.kind(tag), None);
    boat.is_collected(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Deadline)]);
    assert_eq!(boat.crashes()[0].killed_by_broker, Some(KillReason::Deadline));
}

#[test]
fn an_answer_that_lay_in_the_socket_at_the_deadline_is_delivered_late() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(10_000));
    boat.answers_ok(life(0, 1));
    boat.dies(life(0, 1), signal(9));
    let Some(Told::Ok { late, answer, .. }) = boat.outcome(tag) else { panic!("it is answered") };
    assert_eq!((*late, *answer), (true, 42));
}

#[test]
fn a_crash_beats_the_deadline_kill() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(10_000));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Crashed));
    assert_eq!(boat.reasons()[0].label(), "signal");
}

#[test]
fn a_process_that_survives_sigkill_is_called_unkillable_and_replaced() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(10_000));
    boat.pass(ms(299));
    assert_eq!(boat.kind(tag), None);
    boat.pass(ms(1));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Unkillable)]);
    assert_eq!(boat.spawned(), [life(0, 2)], "it was stable: replaced at once");
    boat.becomes_ready(life(0, 2));
    boat.orders.clear();
    boat.answers_late_and_dies(life(0, 1));
    assert!(boat.facts.iter().any(|fact| matches!(fact, Fact::UnkillableDied { .. })));
    assert_eq!(boat.crashes().len(), 1, "it is not judged again");
    assert!(boat.was_ordered(|order| matches!(order, Action::Release { process } if *process == life(0, 1))));
}

#[test]
fn the_ladder_has_its_graces() {
    let mut boat = Boat::afloat(impatient(1));
    let tag = boat.request();
    boat.pass(ms(1000));
    assert!(boat.was_ordered(|order| matches!(order, Action::SendCancel { .. })));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
    boat.pass(ms(200));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate, StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Attempt);
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::AttemptTimeout)]);
}

#[test]
fn graces_of_zero_are_at_once() {
    let mut settings = impatient(1);
    settings.pools[0].cancel_grace = Duration::ZERO;
    settings.pools[0].stop_grace = Duration::ZERO;
    let mut boat = Boat::afloat(settings);
    boat.request();
    boat.pass(ms(1000));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate, StopSignal::Kill]);
}

#[test]
fn an_ok_within_the_first_grace_saves_the_process() {
    let mut boat = Boat::afloat(impatient(1));
    let tag = boat.request();
    boat.pass(ms(1050));
    boat.answers_ok(life(0, 1));
    assert!(matches!(boat.outcome(tag), Some(Told::Ok { late: true, .. })));
    boat.pass(ms(1000));
    assert!(boat.signals(life(0, 1)).is_empty(), "the ladder is left");
    let next = boat.request();
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.kind(next), Some(OutcomeKind::Ok));
}

#[test]
fn a_handler_that_only_stops_at_a_limit_loses_its_process_all_the_same() {
    let mut boat = Boat::afloat(impatient(1));
    let tag = boat.request();
    boat.pass(ms(1010));
    boat.answers(life(0, 1), Answer::Cancelled);
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate], "the rest of the grace is cut");
    assert_eq!(boat.kind(tag), None, "a timeout is told when the process is dead");
    boat.dies(life(0, 1), exit(0));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Attempt);
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::AttemptTimeout)]);
}

#[test]
fn the_deadline_cuts_the_ladder_short() {
    let mut settings = impatient(1);
    settings.methods[0].deadline = ms(1050);
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1050));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
}

#[test]
fn a_timeout_is_retried_where_the_policy_says_so() {
    let mut settings = impatient(2);
    settings.methods[0].retry = retry(RetryOn { timeout: true, ..RetryOn::default() }, 2);
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1300));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.dispatched_to(life(1, 1)).map(|(_, attempt)| attempt), Some(AttemptNumber(2)));
    boat.answers_ok(life(1, 1));
    assert!(matches!(boat.outcome(tag), Some(Told::Ok { late: false, attempts: 2, .. })));
    assert_eq!(boat.attempt_ends(), [AttemptEnd::TimedOut, AttemptEnd::Ok]);
}

#[test]
fn no_retry_when_the_deadline_is_over() {
    let mut settings = impatient(2);
    settings.methods[0].deadline = ms(1200);
    settings.methods[0].retry = retry(RetryOn { timeout: true, ..RetryOn::default() }, 5);
    let mut boat = Boat::afloat(settings);
    let tag = boat.request();
    boat.pass(ms(1200));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::TimedOut));
}

#[test]
fn evidence_that_does_not_come_cannot_hold_up_a_deadline() {
    let mut boat = Boat::afloat(plain(1));
    let tag = boat.request();
    boat.pass(ms(9_990));
    boat.exits(life(0, 1));
    boat.pass(ms(309));
    assert_eq!(boat.kind(tag), None);
    boat.pass(ms(1));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.reasons()[0].label(), "signal", "the verdict comes when it can");
}

#[test]
fn what_is_overdue_is_not_dispatched_though_nobody_has_looked_at_its_timer() {
    let mut boat = Boat::afloat(plain(1));
    boat.request();
    let tag = boat.request_with(ClientLimits { timeout: Some(ms(50)), ..ClientLimits::default() });
    // The shell wakes late, and the answer is the first that it finds.
    boat.now = boat.now + ms(55);
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert!(boat.settlement(tag).attempts.is_empty());
    boat.pass(ms(100));
    let told = boat.count(|fact| matches!(fact, Fact::LimitPassed { .. }));
    assert_eq!((told, boat.signals(life(0, 1)).len()), (1, 0), "it passes once, and nobody is killed for it");
}

#[test]
fn who_has_no_time_is_never_dispatched() {
    let mut boat = Boat::afloat(plain(1));
    let hurried = ClientLimits { timeout: Some(Duration::ZERO), ..ClientLimits::default() };
    let tag = boat.request_with(hurried);
    assert_eq!(boat.timed_out_which(tag), TimeoutWhich::Deadline);
    assert!(boat.settlement(tag).attempts.is_empty() && boat.sent.is_empty());
}

#[test]
fn time_does_not_run_backwards() {
    let mut boat = Boat::afloat(plain(1));
    boat.pass(ms(1000));
    let tag = boat.request();
    boat.now = lifeboat_core::time::Timestamp::ZERO;
    boat.answers_ok(life(0, 1));
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
    let ended = boat
        .facts
        .iter()
        .find_map(|fact| if let Fact::RequestEnded(ended) = fact { Some(ended.duration) } else { None });
    assert_eq!(ended, Some(Duration::ZERO));
}

impl Boat {
    fn answers_late_and_dies(&mut self, process: ProcessKey) {
        let (request, attempt) = (RequestId(1 << RequestId::INDEX_BITS), AttemptNumber::FIRST);
        self.tell(Event::Answered { process, request, attempt, answer: Answer::Ok(1) });
        assert!(self.facts.iter().any(|fact| matches!(fact, Fact::AnswerRefused { .. })));
        self.dies(process, signal(9));
    }
}
