//! Processes that execute several requests at a time.

use lifeboat_core::action::{Action, AttemptCause};
use lifeboat_core::event::{Answer, ClientLimits, Event};
use lifeboat_core::evidence::StopSignal;
use lifeboat_core::fact::Fact;
use lifeboat_core::ids::{AttemptNumber, ClientTag};
use lifeboat_core::reason::{AttemptEnd, CrashReason, KillReason, OutcomeKind, TimeoutWhich};
use lifeboat_core::settings::{RetryOn, Settings};
use lifeboat_core::view::{SlotState, WorkerState};

use crate::boat::{Boat, exit, life, ms, plain, retry, retrying, signal, slotted};

/// One worker with two slots, each of which holds two requests; the boat is full with these four.
fn full(settings: Settings) -> (Boat, [ClientTag; 4]) {
    let mut boat = Boat::afloat(slotted(settings, 2, 2));
    let tags = [(); 4].map(|()| boat.request());
    (boat, tags)
}

fn timed(millis: u64) -> Settings {
    let mut settings = plain(1);
    settings.methods[0].attempt_timeout = Some(ms(millis));
    settings
}

fn within(millis: u64) -> ClientLimits {
    ClientLimits { timeout: Some(ms(millis)), ..ClientLimits::default() }
}

/// The reason of the crash of a request's last attempt.
fn reason(boat: &Boat, tag: ClientTag) -> CrashReason {
    match boat.settlement(tag).attempts.last().and_then(|attempt| attempt.cause.clone()) {
        Some(AttemptCause::Death(death)) => death.reason.clone(),
        Some(AttemptCause::Slot(reason)) => reason,
        None => panic!("{tag:?} has no cause"),
    }
}

#[test]
fn every_slot_gets_one_before_any_gets_a_second() {
    let (boat, tags) = full(plain(1));
    assert_eq!(tags.map(|tag| boat.place(tag)), [(0, 0), (0, 1), (0, 0), (0, 1)]);
}

#[test]
fn the_emptiest_process_comes_first_then_the_longest_at_that_load() {
    let mut boat = Boat::afloat(slotted(plain(2), 2, 1));
    let tags = [(); 4].map(|()| boat.request());
    assert_eq!(tags.map(|tag| boat.place(tag)), [(0, 0), (1, 0), (0, 1), (1, 1)]);
    boat.ok(tags[3]);
    boat.ok(tags[0]);
    let more = [boat.request(), boat.request()];
    assert_eq!(more.map(|tag| boat.place(tag)), [(1, 1), (0, 0)], "worker 1 has had room for longer");
}

#[test]
fn slots_answer_in_any_order_and_each_its_own_in_turn() {
    let (mut boat, tags) = full(plain(1));
    boat.ok(tags[1]);
    boat.ok(tags[3]);
    boat.ok(tags[0]);
    assert!(boat.signals(life(0, 1)).is_empty());
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::Ok), Some(OutcomeKind::Ok), None, Some(OutcomeKind::Ok)]);
    let (mut boat, tags) = full(plain(1));
    boat.ok(tags[3]);
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "it waited behind another one");
}

#[test]
fn whoever_waits_behind_has_the_rest_of_its_deadline() {
    let (boat, tags) = full(timed(1000));
    let left = tags.map(|tag| boat.sent(tag).time_left);
    assert_eq!(left, [ms(1000), ms(1000), ms(10_000), ms(10_000)]);
}

#[test]
fn a_death_charges_the_front_of_every_slot_and_nobody_else() {
    let (mut boat, tags) = full(plain(1));
    boat.dies(life(0, 1), signal(11));
    let crashed = Some(OutcomeKind::Crashed);
    assert_eq!(boat.kinds(tags), [crashed, crashed, None, None]);
    let death = boat.crashes()[0];
    let executing: Vec<_> = death.executing.iter().map(|(request, _, _)| *request).collect();
    assert_eq!(executing, [boat.sent(tags[0]).request, boat.sent(tags[1]).request]);
    assert_eq!((death.requeued, boat.given_back()), (2, 2));
    boat.pass(ms(100));
    boat.becomes_ready(life(0, 2));
    assert_eq!(boat.sent(tags[2]).attempt, AttemptNumber::FIRST, "it goes on free of charge");
}

#[test]
fn a_panic_retires_its_slot_and_the_process_goes_on() {
    let (mut boat, tags) = full(plain(1));
    boat.panic(tags[0]);
    assert_eq!(boat.kind(tags[0]), Some(OutcomeKind::Crashed));
    assert!(matches!(reason(&boat, tags[0]), CrashReason::SlotPanicked { .. }));
    assert_eq!((boat.given_back(), boat.kind(tags[2])), (1, None), "what it held behind never starts");
    assert_eq!(boat.count(|fact| matches!(fact, Fact::SlotRetired { left: 1, .. })), 1);
    let view = &boat.core.view(boat.now).workers[0];
    let slots: Vec<SlotState> = view.slots.iter().map(|slot| slot.state).collect();
    assert_eq!((view.state, slots), (WorkerState::Degraded, vec![SlotState::Failed, SlotState::Busy]));
    assert_eq!((view.consecutive_failures, view.consecutive_crashes), (1, 1));
    boat.ok(tags[1]);
    assert_eq!(boat.place(tags[2]), (0, 1), "the other slot has room now");
    boat.ok(tags[3]);
    boat.ok(tags[2]);
    boat.pass(ms(1000));
    assert!(boat.signals(life(0, 1)).is_empty() && boat.crashes().is_empty());
}

#[test]
fn a_retired_slot_is_given_nothing() {
    let mut boat = Boat::afloat(slotted(plain(2), 2, 1));
    let first = boat.request();
    boat.panic(first);
    let tags = [(); 3].map(|()| boat.request());
    assert_eq!(tags.map(|tag| boat.place(tag)), [(1, 0), (0, 1), (1, 1)], "the degraded one comes second");
    let waits = boat.request();
    assert!(!boat.was_sent(waits));
}

#[test]
fn a_process_without_slots_counts_once_and_is_given_stop_grace_to_leave() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let tags = [boat.request(), boat.request()];
    boat.panic(tags[0]);
    boat.panic(tags[1]);
    assert_eq!(boat.count(|fact| matches!(fact, Fact::SlotRetired { left: 0, .. })), 1);
    boat.pass(ms(199));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill]);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.reasons()[0].label(), "slots_exhausted");
    assert!(boat.crashes()[0].executing.is_empty(), "nothing was executing any more");
    assert_eq!(boat.core.view(boat.now).workers[0].consecutive_crashes, 2, "a panic each, and no more");
}

#[test]
fn a_crash_after_a_panic_of_another_slot_is_a_crash_of_its_own() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let tags = [boat.request(), boat.request()];
    boat.panic(tags[0]);
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.reasons(), [&CrashReason::Signal { signal: 11, core_dumped: false }]);
    assert_eq!(boat.core.view(boat.now).workers[0].consecutive_crashes, 2);
}

#[test]
fn a_retry_after_a_panic_may_use_the_same_process_if_there_is_no_other() {
    let mut boat = Boat::afloat(slotted(retrying(1, 2), 2, 1));
    let tag = boat.request();
    boat.panic(tag);
    assert_eq!((boat.place(tag), boat.sent(tag).attempt), ((0, 1), AttemptNumber(2)));
    boat.ok(tag);
    assert_eq!(boat.kind(tag), Some(OutcomeKind::Ok));
}

#[test]
fn the_first_grace_to_end_takes_the_process_down() {
    let mut boat = Boat::afloat(slotted(timed(1000), 2, 1));
    let first = boat.request();
    boat.pass(ms(50));
    let second = boat.request();
    boat.pass(ms(950));
    assert_eq!([boat.cancels(first), boat.cancels(second)], [1, 0]);
    boat.pass(ms(50));
    assert_eq!([boat.cancels(first), boat.cancels(second)], [1, 1], "both are told to stop");
    boat.pass(ms(49));
    assert!(boat.signals(life(0, 1)).is_empty());
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate], "100 ms after the first one");
    boat.pass(ms(200));
    boat.dies(life(0, 1), signal(9));
    assert_eq!([first, second].map(|tag| boat.timed_out_which(tag)), [TimeoutWhich::Attempt; 2]);
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::AttemptTimeout)]);
}

#[test]
fn a_neighbour_is_charged_as_crashed_with_the_reason_of_the_kill() {
    let mut settings = slotted(plain(2), 2, 1);
    settings.methods[0].retry = retry(RetryOn::default(), 2);
    let mut boat = Boat::afloat(settings);
    let attempt_timeout = Some(ms(1000));
    let slow = boat.request_with(ClientLimits { attempt_timeout, ..ClientLimits::default() });
    boat.request();
    let neighbour = boat.request();
    assert_eq!([slow, neighbour].map(|tag| boat.place(tag)), [(0, 0), (0, 1)]);
    boat.pass(ms(1300));
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.timed_out_which(slow), TimeoutWhich::Attempt);
    assert_eq!(boat.kind(neighbour), None, "its policy retries crashes");
    assert_eq!((boat.place(neighbour), boat.sent(neighbour).attempt), ((1, 1), AttemptNumber(2)));
    assert_eq!(boat.attempt_ends(), [AttemptEnd::TimedOut, AttemptEnd::Crashed]);
}

#[test]
fn a_neighbour_that_answers_while_the_process_is_ended_is_answered() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let slow = boat.request_with(within(500));
    let neighbour = boat.request();
    boat.pass(ms(500));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Kill], "the deadline has no graces");
    boat.ok(neighbour);
    boat.dies(life(0, 1), signal(9));
    assert_eq!(boat.kinds([slow, neighbour]), [Some(OutcomeKind::TimedOut), Some(OutcomeKind::Ok)]);
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Deadline)]);
}

#[test]
fn each_cancelled_attempt_has_its_own_grace() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let tags = [boat.request(), boat.request()];
    boat.cancel(tags[0]);
    boat.pass(ms(60));
    boat.cancel(tags[1]);
    boat.pass(ms(30));
    boat.answer(tags[0], Answer::Cancelled);
    boat.pass(ms(69));
    assert!(boat.signals(life(0, 1)).is_empty(), "the first one stopped in time");
    boat.pass(ms(1));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate], "100 ms after the second cancel");
    boat.dies(life(0, 1), signal(15));
    assert_eq!(boat.reasons(), [&CrashReason::Killed(KillReason::Cancelled)]);
}

#[test]
fn nothing_more_is_given_to_a_process_that_may_have_to_be_ended() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let first = boat.request();
    boat.cancel(first);
    let waits = boat.request();
    assert!(!boat.was_sent(waits), "it would be charged for the first one's sake");
    boat.answer(first, Answer::Cancelled);
    assert!(boat.was_sent(waits));
}

#[test]
fn every_deadline_is_its_own_even_when_the_evidence_does_not_come() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let tags = [boat.request_with(within(1000)), boat.request_with(within(1100))];
    boat.pass(ms(900));
    boat.exits(life(0, 1));
    boat.pass(ms(399));
    assert_eq!(boat.kinds(tags), [None, None]);
    boat.pass(ms(1));
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::TimedOut), None]);
    boat.pass(ms(100));
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::TimedOut); 2]);
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.crashes()[0].executing.len(), 2, "what it executed is told all the same");
}

#[test]
fn only_the_request_that_was_written_last_can_be_unread() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let tags = [boat.request(), boat.request()];
    boat.exits_unread(life(0, 1));
    boat.is_collected(life(0, 1), signal(11));
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::Crashed), None]);
    assert_eq!((boat.crashes()[0].executing.len(), boat.given_back()), (1, 1));
}

#[test]
fn the_drain_timeout_does_not_forget_a_process_that_is_rid_of_a_cancelled_attempt() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let tags = [boat.request(), boat.request()];
    boat.tell(Event::ShutdownRequested);
    boat.pass(ms(950));
    boat.cancel(tags[0]);
    boat.pass(ms(70));
    assert_eq!(boat.cancels(tags[1]), 0, "the process has until 1050 ms to be rid of the first one");
    boat.answer(tags[0], Answer::Cancelled);
    assert_eq!(boat.cancels(tags[1]), 1, "the drain timeout was over 20 ms ago");
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate]);
    boat.dies(life(0, 1), signal(15));
    assert_eq!(boat.kinds(tags), [Some(OutcomeKind::Cancelled), Some(OutcomeKind::Closed)]);
    assert!(boat.core.is_finished());
}

#[test]
fn a_shutdown_lets_every_slot_finish() {
    let (mut boat, tags) = full(plain(1));
    boat.tell(Event::ShutdownRequested);
    assert_eq!(boat.kinds(tags), [None, None, Some(OutcomeKind::Closed), Some(OutcomeKind::Closed)]);
    boat.ok(tags[1]);
    boat.pass(ms(900));
    assert!(boat.signals(life(0, 1)).is_empty(), "the other slot still runs");
    boat.ok(tags[0]);
    boat.pass(ms(100));
    assert_eq!(boat.signals(life(0, 1)), [StopSignal::Terminate], "it has nothing to wait for");
    boat.dies(life(0, 1), exit(0));
    assert!(boat.core.is_finished() && boat.crashes().is_empty());
}

#[test]
fn as_many_slots_as_there_may_be() {
    let mut boat = Boat::afloat(slotted(plain(1), 256, 1));
    let tags: Vec<ClientTag> = (0..256).map(|_| boat.request()).collect();
    assert_eq!(boat.place(tags[255]), (0, 255));
    let waits = boat.request();
    assert!(!boat.was_sent(waits));
    boat.cancel(tags[255]);
    boat.answer(tags[255], Answer::Cancelled);
    assert_eq!(boat.place(waits), (0, 255));
    boat.dies(life(0, 1), signal(11));
    assert_eq!(boat.crashes()[0].executing.len(), 256);
    assert!(boat.was_ordered(|order| matches!(order, Action::Release { .. })));
}

/// A cancel asks no process to leave: what its neighbour does meanwhile is the neighbour's own deed.
#[test]
fn an_exit_beside_a_cancelled_neighbour_is_an_exit() {
    let mut boat = Boat::afloat(slotted(plain(1), 2, 1));
    let tags = [(); 2].map(|()| boat.request());
    boat.cancel(tags[0]);
    boat.dies(life(0, 1), exit(3));
    assert_eq!(boat.reasons(), [&CrashReason::Exit { code: 3 }]);
    assert_eq!(reason(&boat, tags[1]), CrashReason::Exit { code: 3 });
    assert_eq!(boat.kind(tags[0]), Some(OutcomeKind::Cancelled), "as it was told at once");
}

/// The same for a neighbour that runs past its limit; SIGTERM does ask the process to leave.
#[test]
fn an_exit_in_the_graces_of_a_limit_is_the_limits_only_after_sigterm() {
    let limit = CrashReason::Killed(KillReason::AttemptTimeout);
    for (grace, reasons) in [(50, CrashReason::Exit { code: 3 }), (100, limit)] {
        let mut boat = Boat::afloat(slotted(timed(300), 2, 1));
        let tag = boat.request();
        boat.pass(ms(300));
        boat.pass(ms(grace));
        let other = boat.request();
        boat.dies(life(0, 1), exit(3));
        assert_eq!(boat.reasons(), [&reasons], "{:?}, {:?}", boat.kind(tag), boat.kind(other));
    }
}
